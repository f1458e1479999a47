"""Decisions about labels: the queue, edits and their undo, refits, commits, tables."""

from __future__ import annotations

import json

import fiftyone as fo
import pytest

import fiftyone_deepcluster as fdc
from fiftyone_deepcluster.dataset.audit.decisions import decisions_text, read_decision
from fiftyone_deepcluster.dataset.audit.progress import refit_lock
from fiftyone_deepcluster.dataset.io.fields import FieldNames
from fiftyone_deepcluster.dataset.runs import lock
from fiftyone_deepcluster.errors import InputError, RunError, RunLockedError, RunNotFoundError
from tests.pretend_cuda import pretended_gpu


def test_the_queue_is_json_worst_first_with_evidence(audited, review):
    answer = review.queue(5)

    assert json.loads(json.dumps(answer)) == answer
    assert answer["total"] == 300
    assert [item["rank"] for item in answer["items"]] == [0, 1, 2, 3, 4]
    first = answer["items"][0]
    sample = audited[first["id"]]
    assert first["filepath"] == sample.filepath
    assert first["given"] == sample.doubtful.label
    assert first["box"] is None
    assert [near["id"] for near in first["neighbors"]] == sample.audit_neighbors
    assert first["neighbors"][0]["given"] == audited[first["neighbors"][0]["id"]].doubtful.label
    assert review.queue(5, offset=3)["items"][0]["rank"] == 3


def test_the_queue_of_one_cell_of_the_matrix(review):
    first = review.queue(1)["items"][0]
    cell = review.queue(50, given=first["given"], suggestion=first["suggestion"])

    assert 0 < cell["total"] < 300
    assert {(item["given"], item["suggestion"]) for item in cell["items"]} == {
        (first["given"], first["suggestion"])
    }
    assert review.queue(200, p_wrong=0.5)["total"] == len(review.audit.view())
    assert review.queue(200, issue="wrong_label")["total"] == len(review.audit.view())
    with pytest.raises(InputError, match="filter='no such' is not known"):
        review.queue(1, **{"no such": "x"})
    with pytest.raises(InputError, match="n=0: give 1 to 200"):
        review.queue(0)


def test_decisions_are_edits_and_change_no_label(audited, review):
    before = audited.values("doubtful.label")
    items = review.queue(5)["items"]
    ids = [item["id"] for item in items]
    review.decide(ids[0], "keep")
    review.decide([ids[1]], "accept")
    review.decide([ids[2]], "other", label="ten")
    review.decide([ids[3]], "exclude")
    change = review.decide([ids[4]], "unsure")

    assert (change.n_changed, change.counted) == (1, "1 image")
    decisions = audited.select(ids, ordered=True).values("audit_decision")
    assert decisions == ["keep", f"accept: {items[1]['suggestion']}", "other: ten", "exclude", "unsure"]
    assert audited.values("doubtful.label") == before
    assert review.queue(1)["items"][0]["rank"] == 5
    assert review.queue(1)["total"] == 295
    assert review.progress()["verdicts"] == {"keep": 1, "accept": 1, "other": 1, "exclude": 1, "unsure": 1}
    assert [edit.who for edit in review.log()] == ["ada"] * 5
    assert review.log()[2].text == "decided 'ten' for 1 label"

    review.undo(2)
    assert audited.select(ids, ordered=True).values("audit_decision")[3:] == [None, None]
    assert review.next_redo().text == "excluded 1 image"
    review.redo()
    assert audited[ids[3]].audit_decision == "exclude"
    review.undo(4)
    assert audited.count("audit_decision") == 0


def test_decide_again_replaces_the_decision(audited, review):
    first = review.queue(1)["items"][0]["id"]
    review.decide(first, "keep")
    review.decide(first, "exclude")

    assert audited[first].audit_decision == "exclude"
    review.undo()
    assert audited[first].audit_decision == "keep"
    again = review.decide(first, "keep")
    assert (again.n_changed, again.text) == (0, "no decision changed")


@pytest.mark.parametrize(
    ("decided", "text"),
    [
        ({"keep": 1}, "kept 1 label"),
        ({"accept: cat": 3}, "accepted 'cat' for 3 labels"),
        ({"accept: cat": 1, "accept: dog": 4}, "accepted 5 suggestions: 4 'dog', 1 'cat'"),
        ({"other: a": 2, "other: b": 1}, "decided 3 other labels: 2 'a', 1 'b'"),
        (
            {"exclude": 2, "unsure": 1200, "keep": 2},
            "kept 2 labels; excluded 2 images; put aside 1,200 labels",
        ),
        (
            {f"accept: {name}": 9 - at for at, name in enumerate("abcdef")},
            "accepted 39 suggestions: 9 'a', 8 'b', 7 'c', 15 with other labels",
        ),
    ],
)
def test_what_was_decided_in_words(decided, text):
    counts = {read_decision(stored): n for stored, n in decided.items()}

    assert decisions_text(counts, FieldNames("audit", None, "audit").counted) == text


def test_all_above_a_probability_after_a_preview(audited, review):
    preview = review.preview_above(0.9, n=4)
    counted = review.accept_above(0.9, dry_run=True)
    assert audited.count("audit_decision") == 0
    change = review.accept_above(0.9)

    assert change.text.startswith(f"accepted {change.n_changed} suggestions: ")
    assert json.loads(json.dumps(preview)) == preview
    assert preview["n"] == counted.n_changed == change.n_changed > 3
    assert len(preview["sample"]) == 4
    assert sum(pair["n"] for pair in preview["pairs"]) == preview["n"]
    assert all(item["p_wrong"] >= 0.9 for item in preview["sample"])
    assert audited.count("audit_decision") == change.n_changed
    assert len(review.log()) == 1
    with pytest.raises(InputError, match="no undecided label with a suggestion is as suspicious"):
        review.accept_above(0.9)
    review.undo()
    assert audited.count("audit_decision") == 0


def test_objects(labeled):
    vectors, labels = labeled.values("pixels"), labeled.values("doubtful.label")
    boxes = [
        fo.Detections(
            detections=[fo.Detection(label=label, bounding_box=[0.0, 0.0, 1.0, 1.0], vector=vector)]
        )
        for label, vector in zip(labels, vectors, strict=True)
    ]
    labeled.set_values("objects", boxes, dynamic=True)
    fdc.audit_labels(labeled, "objects", embeddings_field="vector")
    review = fdc.review_labels(labeled, refit_every=0)
    items = review.queue(2)["items"]
    assert items[0]["box"] == [0.0, 0.0, 1.0, 1.0]
    assert items[0]["id"] != items[0]["sample_id"]
    assert len(items[0]["neighbors"]) == 12

    review.decide([item["id"] for item in items], "accept")
    assert review.queue(1)["total"] == 298
    review.refit()
    assert review.progress()["n_decided"] == 2
    review.commit()
    detection = labeled[items[0]["sample_id"]].objects.detections[0]
    assert detection.label == items[0]["suggestion"]
    assert detection.audit_p_wrong == 0
    review.undo(2)
    assert labeled[items[0]["sample_id"]].objects.detections[0].label == items[0]["given"]


def test_a_refit_believes_what_was_decided(audited):
    review = fdc.review_labels(audited, refit_every=4)
    first = review.queue(4)["items"]
    for item in first[:3]:
        review.decide(item["id"], "accept")
    assert audited[first[0]["id"]].audit_p_wrong != 0
    review.decide(first[3]["id"], "keep")

    assert review.audit.record.n_decided == 4
    ids = [item["id"] for item in first]
    assert audited.select(ids).values("audit_p_wrong") == [0.0] * 4
    assert min(audited.select(ids).values("audit_rank")) == 296
    assert audited.select(ids, ordered=True).values("audit_decision")[3] == "keep"
    assert audited.values("audit_given") == audited.values("doubtful.label")
    assert fdc.load_audit(audited, "audit").record.n_decided == 4
    assert review.queue(1)["items"][0]["rank"] == 0
    assert not review.progress()["refit_due"]
    audited.delete_sample_field("pixels")
    again = fdc.review_labels(audited, refit_every=0)
    with pytest.raises(RunError, match="cannot be fitted again"):
        again.refit()


def test_a_decision_stands_where_the_scores_cannot_be_fitted_again(audited, caplog):
    audited.delete_sample_field("pixels")
    review = fdc.review_labels(audited, refit_every=1)
    first = review.queue(1)["items"][0]["id"]
    assert review.decide(first, "keep").n_changed == 1
    assert (
        "the decisions are stored, but the scores are not fitted again: audit 'audit' cannot" in caplog.text
    )
    assert review.progress()["n_decided"] == 1


@pytest.mark.parametrize("value", ["decision", "given", "neighbors", "p_wrong"])
def test_without_one_of_its_fields_nothing_is_written(audited, value):
    review = fdc.review_labels(audited, refit_every=0)
    first = review.queue(1)["items"][0]["id"]
    review.decide(first, "keep")
    audited.delete_sample_field(f"audit_{value}")
    said = f"the field audit_{value} of audit 'audit' was deleted from .*; repeat the audit"
    for call in (
        lambda: review.decide(first, "exclude"),
        review.undo,
        review.refit,
        review.progress,
        review.audit.to_dataframe,
        lambda: review.commit("mine"),
    ):
        with pytest.raises(RunError, match=said):
            call()
    assert [sample.id for sample in audited] == audited.values("id")  # all samples can be loaded
    fdc.delete_audit(audited, "audit")
    assert not [name for name in audited.get_field_schema() if name.startswith("audit")]


def test_what_another_process_fitted_is_read(audited):
    document = audited._doc.runs["audit"]
    stale = type(document).objects.with_id(document.id)  # as another process has it
    assert stale.results.read()
    review = fdc.review_labels(audited, refit_every=0)
    review.decide(review.queue(1)["items"][0]["id"], "keep")
    assert review.refit().record.n_fits == 2

    audited._doc.runs["audit"] = stale
    assert fdc.load_audit(audited).record.n_fits == 2
    audited._doc.runs["audit"] = document
    assert review.refit().record.n_fits == 3
    audited._doc.runs["audit"] = stale
    assert review.refit().record.n_fits == 4
    assert fdc.load_audit(audited).record.n_decided == 1


def test_a_refit_uses_the_device_of_the_audit(labeled, caplog):
    with pretended_gpu(free=2**33) as gpu:
        fdc.audit_labels(labeled, "doubtful", embeddings_field="pixels", device="cpu")
        review = fdc.review_labels(labeled, refit_every=0)
        review.decide(review.queue(1)["items"][0]["id"], "keep")
        review.refit()
        assert not gpu.waits
        review.undo()
        fdc.audit_labels(labeled, "doubtful", embeddings_field="pixels", overwrite=True, device="cuda")
        assert gpu.waits
    for refits in (2, 3):  # on a machine without a GPU
        assert fdc.review_labels(labeled, refit_every=0).refit().record.n_fits == refits
    said = [text for text in caplog.messages if "device='auto'" in text]
    assert len(said) == 1
    assert "device='cuda' is not available" in said[0]


def test_two_refits_at_once(audited):
    review = fdc.review_labels(audited, refit_every=1)
    with lock.acquire(audited, refit_lock(review.audit)):
        assert review.progress()["refitting"]
        with pytest.raises(RunLockedError, match="are being fitted again already"):
            review.refit()
        assert review.decide(review.queue(1)["items"][0]["id"], "keep").n_changed == 1
    assert not review.progress()["refitting"]
    assert review.progress()["n_decided"] == 1
    assert fdc.load_audit(audited).record.n_fits == 1
    review.decide(review.queue(1)["items"][0]["id"], "keep")
    assert fdc.load_audit(audited).record.n_decided == 2


def test_what_is_left_of_the_matrix(audited, review):
    left = review.tables()["left"]
    assert json.loads(json.dumps(left)) == [list(pair) for pair in left]
    given, suggestion, n = left[0]
    cell = review.queue(200, given=given, suggestion=suggestion, p_wrong=0.5)
    assert cell["total"] == n
    assert sum(pair[2] for pair in left) == review.progress()["n_issues_left"]
    review.decide(cell["items"][0]["id"], "accept")
    assert sum(pair[2] for pair in review.tables()["left"]) == review.progress()["n_issues_left"]
    pairs = {(one, other): k for one, other, k in review.tables()["left"]}
    assert pairs.get((given, suggestion), 0) == n - 1


def test_the_image_that_is_looked_at_stays_first(review):
    items = review.queue(5)["items"]
    again = review.queue(3, first=items[3]["id"])["items"]
    assert [item["rank"] for item in again] == [3, 0, 1]
    assert [item["rank"] for item in review.queue(2, first=items[0]["id"])["items"]] == [0, 1]
    review.decide(items[3]["id"], "keep")
    assert [item["rank"] for item in review.queue(2, first=items[3]["id"])["items"]] == [0, 1]
    with pytest.raises(InputError, match="is not an id"):
        review.queue(1, first="x")


def test_the_cluster_of_a_label(labeled, stored_run):
    stored_run(labeled)
    fdc.audit_labels(labeled, "doubtful", run="dc")
    item = fdc.review_labels(labeled).queue(1)["items"][0]
    assert item["cluster"] == labeled[item["id"]].dc.label
    fdc.delete_run(labeled, "dc")
    assert fdc.review_labels(labeled).queue(1)["items"][0]["cluster"] is None


def test_a_group_is_one_decision(labeled):
    labels = labeled.values("ground_truth.label")
    order = sorted(range(300), key=lambda row: labels[row])
    series = {row: f"series {place // 6}" for place, row in enumerate(order)}
    labeled.set_values("series", [series[row] for row in range(300)])
    broken = [("9" if series[row] == "series 12" else labels[row]) for row in range(300)]
    labeled.set_values("doubtful.label", broken)
    fdc.audit_labels(labeled, "doubtful", embeddings_field="pixels", group_field="series")
    review = fdc.review_labels(labeled, refit_every=0)

    truth = next(labels[row] for row in range(300) if series[row] == "series 12")
    change = review.decide(group="series 12", decision="other", label=truth)
    assert change.n_changed == 6
    assert len(review.log()) == 1
    review.commit()
    assert labeled.values("doubtful.label") == labels
    with pytest.raises(InputError, match="has no undecided labels"):
        review.decide(group="series 12", decision="keep")
    with pytest.raises(InputError, match="give one of them"):
        review.decide()


def test_wrong_decisions(audited, review):
    right = audited.sort_by("audit_rank", reverse=True).first().id
    with pytest.raises(InputError, match="there is no suggestion"):
        review.decide(right, "accept")
    with pytest.raises(InputError, match="needs the right label"):
        review.decide(right, "other")
    with pytest.raises(InputError, match="decision='no' is not known"):
        review.decide(right, "no")
    with pytest.raises(InputError, match="is not an image of audit"):
        review.decide(["0" * 24], "keep")
    with pytest.raises(InputError, match="give ids"):
        review.decide("x", "keep")
    assert review.log() == []
    fdc.delete_audit(audited, "audit")
    with pytest.raises(RunNotFoundError, match=r"audit 'audit' of .* was deleted or renamed"):
        review.queue()


def test_deleting_the_audit_deletes_its_log(audited, review):
    review.decide(review.queue(1)["items"][0]["id"], "keep")
    fdc.delete_audit(audited, "audit")
    fdc.audit_labels(audited, "doubtful", embeddings_field="pixels")

    assert fdc.review_labels(audited).log() == []
    assert audited.count("audit_decision") == 0
