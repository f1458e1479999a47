"""What goes out of a label audit and comes back: tables and reports."""

from __future__ import annotations

import csv

import fiftyone as fo
import pytest

import fiftyone_deepcluster as fdc
from fiftyone_deepcluster.errors import InputError


def test_a_table_goes_out_and_comes_back(audited, review, tmp_path):
    review.decide(review.queue(1)["items"][0]["id"], "keep")
    path = review.export(tmp_path / "labels.csv")
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 300
    assert rows[0]["decision"] == "keep"
    assert rows[1]["suggestion"] == audited[rows[1]["id"]].audit_suggestion

    rows[1]["decision"] = "accept"
    rows[2] |= {"decision": "Other", "label": "ten"}
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    assert review.import_decisions(path, dry_run=True).n_changed == 2
    assert review.import_decisions(path).n_changed == 2
    assert audited[rows[2]["id"]].audit_decision == "other: ten"
    review.undo()
    assert audited.count("audit_decision") == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no column id"),
        ("id,decision\nno,keep\n", "id='no' in line 2"),
        ("name,decision\nx,keep\n", "has no column id"),
        ("id,decision\n{id},maybe\n", r"decision='maybe' is not known.*line 2"),
        ("id,decision\n{id},other\n", "needs the right label in line 2"),
        ("id,decision\n{id},\n", "has no decisions"),
        (
            "id,decision\n{id},keep\n{id},exclude\n",
            "line 3 .* has decision 'exclude', and 'keep' in a line before",
        ),
        ("id,decision\n,keep\n", "id='' in line 2"),
        ("id,decision\n{id}\n", "has no decisions"),
        ("id,decision,label\n{id},other,\N{LATIN SMALL LETTER E WITH ACUTE}\n", "save it as CSV UTF-8"),
    ],
)
def test_tables_that_cannot_be_read_decide_nothing(audited, review, tmp_path, text, message):
    path = tmp_path / "labels.csv"
    path.write_text(text.format(id=audited.first().id), encoding="latin-1")
    with pytest.raises(InputError, match=message):
        review.import_decisions(path)
    assert review.log() == []
    with pytest.raises(InputError, match="cannot be read"):
        review.import_decisions(tmp_path / "none.csv")
    with pytest.raises(InputError, match=r"must end in \.csv"):
        review.export(tmp_path / "labels.txt")


def test_a_table_accepts_the_suggestion_that_it_shows(audited, review, tmp_path):
    path = review.export(tmp_path / "labels.csv")
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))[:3]
    shown = [row["suggestion"] for row in rows]
    for row, other in zip(rows, ["one", "two", "three"], strict=True):
        row["decision"] = "accept"
        audited.select(row["id"]).set_values("audit_suggestion", [other])  # as a refit may do
    rows[2]["label"] = "twelve"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0], delimiter=";")  # as spreadsheets do in some countries
        writer.writeheader()
        writer.writerows(rows)
    review.import_decisions(path)
    decisions = [audited[row["id"]].audit_decision for row in rows]
    assert decisions == [f"accept: {shown[0]}", f"accept: {shown[1]}", "other: twelve"]
    review.export(path)
    assert review.import_decisions(path).n_changed == 0
    path.write_text(f"ID, Decision\n{rows[0]['id']},exclude\n")
    assert review.import_decisions(path).text == "excluded 1 image"


def test_the_report_is_one_file_with_pictures(audited, review, tmp_path):
    audited.add_sample(fo.Sample(filepath="/none/missing.png"))
    review.decide(review.queue(1)["items"][0]["id"], "accept")
    text = review.report(tmp_path / "audit.html", n_worst=7).read_text()
    assert "&gt; 99% wrong" in text
    assert "100% wrong" not in text

    assert text.count("<figure>") == text.count("data:image/png;base64,") == 7
    assert "Label audit of doubtful" in text
    assert "accept: " in text
    assert "http" not in text
    for name in review.audit.record.classes:
        assert f"<th>{name}</th>" in text
    with pytest.raises(InputError, match=r"must end in \.html"):
        review.report(tmp_path / "audit.pdf")


def test_names_are_shown_as_they_are_in_a_report(labeled, tmp_path):
    labels = [f"<b>{label}</b>" for label in labeled.values("doubtful.label")]
    labeled.set_values("doubtful.label", labels)
    fdc.audit_labels(labeled, "doubtful", embeddings_field="pixels")
    text = fdc.review_labels(labeled).report(tmp_path / "audit.html", n_worst=2).read_text()

    assert "<b>" not in text
    assert "&lt;b&gt;" in text
