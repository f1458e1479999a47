"""Events of the Clusters panel, as its React component sends them."""

from __future__ import annotations

import re
from pathlib import Path

import fiftyone as fo
import numpy as np
import pytest

import fiftyone_deepcluster as fdc
from fiftyone_deepcluster.app import names
from fiftyone_deepcluster.app.panels import clusters
from fiftyone_deepcluster.app.panels.answers.clusters import facts, shown_key
from fiftyone_deepcluster.app.panels.answers.rounds import alarms
from fiftyone_deepcluster.app.panels.clusters import COMPONENT, EVENTS, ClustersPanel
from fiftyone_deepcluster.core.record import AgreementScores, Round
from fiftyone_deepcluster.dataset.api import cluster
from fiftyone_deepcluster.dataset.review import overview
from fiftyone_deepcluster.dataset.review.review import review
from fiftyone_deepcluster.dataset.runs import queue
from fiftyone_deepcluster.dataset.runs.run import load_run
from tests.observers import Acts, disk_full

LEARNED = {"n_clusters": 4, "rounds": 2, "image_size": 16, "min_steps": 1}
LEARNED |= {"progress": False, "compute_brain": False, "baselines": False}
FRONTEND = Path(clusters.__file__).parents[3] / "frontend" / "src"


@pytest.fixture
def ask(asker, clustered):
    return asker(clustered)


def edit(ask, **asked):
    return ask("edit", key="dc", edit=asked, dry_run=False, label_field=None)


# ---------------------------------------------------------------- the component


def test_only_loading_draws_the_component_with_the_address_of_every_event(ask):
    ask.send("on_load")
    view = ask.calls["show_panel_output"]["output"]["view"]
    assert (view["component"], view["composite_view"]) == (COMPONENT, True)
    assert {name: view[name] for name in EVENTS} == {name: f"{ClustersPanel().uri}#{name}" for name in EVENTS}
    ask("load", key=None)
    assert ask.calls == {}


def test_both_sides_know_the_same_events_and_the_same_name():
    texts = [(FRONTEND / "model" / name).read_text(encoding="utf-8") for name in ("api.ts", "auditApi.ts")]
    starts = ("export interface Events", "export interface AuditEvents")
    body = "".join(text[text.index(start) :] for text, start in zip(texts, starts, strict=True))
    assert set(re.findall(r"^  (\w+): \{", body, re.MULTILINE)) == set(EVENTS)
    assert f'name: "{COMPONENT}"' in (FRONTEND / "index.tsx").read_text(encoding="utf-8")


# ---------------------------------------------------------------- what is shown


def test_without_a_run_there_is_nothing(asker, digits_dataset):
    shown = asker(digits_dataset)("load", key=None)
    assert (shown["runs"], shown["run"], shown["clusters"]) == ([], None, [])


def test_it_opens_on_the_newest_finished_run(ask, clustered):
    cluster(clustered, "frozen", "later", n_clusters=3, baselines=False, progress=False, compute_brain=False)
    shown = ask("load", key=None)
    assert shown["run"]["key"] == "later"
    assert [row["key"] for row in shown["runs"]] == ["dc", "later"]
    assert ask("load", key="dc")["run"]["key"] == "dc"


def test_which_run_is_shown():
    rows = [{"key": "a", "status": "finished"}, {"key": "b", "status": "running"}]
    assert shown_key("a", rows) == "a"
    assert shown_key("b", rows) == "a"
    assert shown_key("gone", rows) == "a"
    assert shown_key(None, rows[1:]) is None


def test_clusters_have_names_sizes_and_the_majority_of_a_label_field(ask, clustered):
    shown = ask("load", key="dc", label_field="ground_truth")
    assert {row["name"]: row["size"] for row in shown["clusters"]} == clustered.count_values("dc.label")
    for row in shown["clusters"]:
        labels = clustered.match({"dc.label": row["name"]}).count_values("ground_truth.label")
        assert labels[row["majority"]] == max(labels.values())
    assert shown["run"]["label_fields"][0] == "ground_truth"


def test_the_verdict_names_inputs_of_the_form(make_digits):
    run = fdc.cluster(make_digits(60), "frozen", "dc", n_clusters=4, progress=False, compute_brain=False)
    assert 'Give "Known classes", where some images have a class' in facts(run)["verdict"]


def test_nearest_clusters_are_those_of_the_stored_centers(ask, clustered):
    nearest = ask("load", key="dc")["nearest"]
    vectors, numbers = np.stack(clustered.values("dc_embedding")), np.array(clustered.values("dc.cluster"))
    centers = np.stack([vectors[numbers == number].mean(axis=0) for number in range(5)])
    for number in range(5):
        distances = np.linalg.norm(centers - centers[number], axis=1)
        assert nearest[str(number)] == np.argsort(distances)[1:].tolist()


def test_images_come_in_pages_of_bounded_size(ask, clustered):
    name = ask("load", key="dc")["clusters"][0]["name"]
    asked = {"key": "dc", "cluster": name, "order": "nearest", "offset": 5, "limit": 10**6}
    shown = ask("images", **asked, label_field="ground_truth")
    size = clustered.count_values("dc.label")[name]
    assert (shown["total"], len(shown["images"])) == (size, size - 5)
    image = shown["images"][0]
    sample = clustered[image["id"]]
    assert (image["path"], image["box"]) == (sample.filepath, None)
    assert (image["label"], image["distance"]) == (sample.ground_truth.label, sample.dc.distance)
    distances = [image["distance"] for image in shown["images"]]
    assert distances == sorted(distances)


def test_strips_show_the_images_nearest_to_the_center(ask, clustered):
    run = load_run(clustered, "dc")
    shown = ask("strips", key="dc", clusters=run.names(), n=4)["strips"]
    for info in run.clusters(n_exemplars=4):
        assert [picture["id"] for picture in shown[info.name]] == list(info.exemplars)


def test_objects_are_shown_by_what_lies_in_their_boxes(asker, make_digits):
    dataset = make_digits(20)
    for sample in dataset.iter_samples(autosave=True):
        boxes = [[0.0, 0.0, 0.5, 1.0], [0.5, 0.0, 0.5, 1.0]]
        sample["objects"] = fo.Detections(
            detections=[fo.Detection(label="x", bounding_box=box) for box in boxes]
        )
    patches = dataset.to_patches("objects")
    cluster(patches, "frozen", "dc", n_clusters=3, baselines=False, progress=False, compute_brain=False)
    ask = asker(dataset)
    shown = ask("load", key="dc")
    assert shown["run"]["unit"] == "object"
    assert sum(row["size"] for row in shown["clusters"]) == 40
    name = shown["clusters"][0]["name"]
    images = ask("images", key="dc", cluster=name, order="nearest", offset=0, limit=3)["images"]
    assert all(image["box"][2:] == (0.5, 1.0) for image in images)
    ids = [image["id"] for image in images]
    other = shown["clusters"][1]["name"]
    moved = edit(ask, verb="move", images={"ids": ids}, to=other)
    assert moved["change"]["text"] == f"moved {len(ids)} objects to '{other}'"
    assert moved["change"]["n_changed"] == len(ids)
    assert set(dataset.to_patches("objects").select(ids).values("objects.dc")) == {other}
    edit(ask, verb="undo")
    assert set(dataset.to_patches("objects").select(ids).values("objects.dc")) == {name}


def test_the_sidebar_is_sent_as_it_is_stored(ask, clustered):
    groups = {group["name"]: group["paths"] for group in ask("load", key="dc")["sidebar"]}
    assert groups["dc"] == ["dc", "dc_embedding", "dc_round_labels"]  # no changes, losses, errors or tree


def test_images_far_from_the_center_are_outliers(ask, clustered):
    for row in ask("load", key="dc")["clusters"]:
        distances = clustered.match({"dc.label": row["name"]}).values("dc.distance")
        assert row["outlier_from"] == pytest.approx(np.mean(distances) + 2 * np.std(distances))


def test_an_undo_says_what_it_left(ask, clustered):
    name = ask("load", key="dc")["clusters"][0]["name"]
    edit(ask, verb="rename", cluster=name, new_name="one")
    clustered.match({"dc.label": "one"}).limit(2).set_values("dc.label", ["by hand"] * 2)
    undone = edit(ask, verb="undo")["change"]
    assert undone["n_kept"] == 2
    assert undone["text"].endswith("2 images were changed since and stay")


def test_a_label_field_that_the_run_does_not_have_is_left_out(ask, clustered):
    asked = {"key": "dc", "label_field": "mine"}
    clustered.add_sample_field("mine", fo.EmbeddedDocumentField, embedded_doc_type=fo.Classification)
    assert ask("load", **asked)["label_field"] == "mine"
    clustered.delete_sample_field("mine")
    shown = ask("load", **asked)
    assert shown["label_field"] is None
    name = shown["clusters"][0]["name"]
    renamed = {"verb": "rename", "cluster": name, "new_name": "one"}
    changed = ask("edit", **asked, edit=renamed, dry_run=False)["clusters"]
    assert [row["name"] for row in changed] == ["one"]
    page = ask("images", **asked, cluster="one", order="nearest", offset=0, limit=3)["images"]
    assert [image["label"] for image in page] == [None] * 3


# ---------------------------------------------------------------- edits


def test_an_edit_answers_with_the_clusters_that_changed(ask, clustered):
    first, second, *_ = (row["name"] for row in ask("load", key="dc")["clusters"])
    sizes = clustered.count_values("dc.label")
    done = edit(ask, verb="merge", clusters=[first, second], into="both")
    assert "reload_samples" in ask.calls
    assert [(row["name"], row["size"]) for row in done["clusters"]] == [
        ("both", sizes[first] + sizes[second])
    ]
    assert sorted(done["gone"]) == sorted([first, second])
    assert done["history"]["undo"].startswith("merged")
    undone = edit(ask, verb="undo")
    assert {row["name"] for row in undone["clusters"]} == {first, second}
    assert undone["gone"] == ["both"]
    assert undone["history"]["redo"].startswith("merged")
    assert edit(ask, verb="redo")["gone"] == sorted([first, second])


def test_a_dry_run_counts_and_changes_nothing(ask, clustered):
    name = ask("load", key="dc")["clusters"][0]["name"]
    sizes = clustered.count_values("dc.label")
    asked = {"verb": "reject", "images": {"cluster": name, "except": []}}
    shown = ask("edit", key="dc", edit=asked, dry_run=True)
    assert shown["change"]["n_changed"] == sizes[name]
    assert clustered.count_values("dc.label") == sizes
    assert ask.calls == {}


def test_a_commit_is_shown_before_it_is_made(ask, clustered):
    name = ask("load", key="dc")["clusters"][0]["name"]
    edit(ask, verb="rename", cluster=name, new_name="eight")
    size = clustered.count_values("dc.label")["eight"]
    asked = {"field": "mine", "overwrite": False, "only_reviewed": False, "only_named": True}
    rows = ask("preview_commit", key="dc", **asked)["rows"]
    assert rows == [{"cluster": "eight", "label": "eight", "changes": size, "keeps": 0}]
    assert len(ask("preview_commit", key="dc", **{**asked, "only_named": False})["rows"]) == 5
    assert ask("preview_commit", key="dc", **{**asked, "only_reviewed": True}) == {"rows": []}
    edit(ask, verb="commit", **asked)
    clustered.reload()
    assert clustered.count_values("mine.label")["eight"] == size


@pytest.mark.parametrize(
    ("event", "params", "message"),
    [
        ("edit", {"key": "dc", "edit": {"verb": "drop"}}, "give a verb"),
        ("edit", {"key": "dc", "edit": None}, "give a verb"),
        (
            "edit",
            {"key": "dc", "edit": {"verb": "rename", "cluster": "x", "new_name": "y"}},
            "no cluster 'x'",
        ),
        (
            "edit",
            {"key": "dc", "edit": {"verb": "merge", "clusters": [], "into": "y"}},
            "not a list of names",
        ),
        ("load", {"key": {"$ne": None}}, "not a string"),
        ("images", {"key": "gone", "cluster": "x", "order": "nearest", "offset": 0, "limit": 1}, "'gone'"),
        ("images", {"key": "dc", "cluster": "x", "order": "up", "offset": 0, "limit": 1}, "order='up'"),
        (
            "images",
            {"key": "dc", "cluster": "x", "order": "nearest", "offset": -1, "limit": 1},
            "whole number",
        ),
        ("strips", {"key": "dc", "clusters": "x", "n": 1}, "list of strings"),
        ("compare", {"key": "dc", "other": "nothing"}, "neither a run nor a label field"),
        ("start", {"operator": "rm -rf", "key": None}, "give one of"),
    ],
)
def test_what_cannot_be_done_is_said_and_the_panel_stays(ask, event, params, message):
    answer = ask.send(event, **params)
    assert set(answer) == {"message"}
    assert message in answer["message"]


# ---------------------------------------------------------------- rounds, comparison, runs


def test_charts_have_a_value_for_every_round(asker, make_digits):
    dataset = make_digits(40)
    cluster(dataset, "deepcluster", "dc", truth_field="ground_truth", **LEARNED)
    shown = {chart["title"]: chart for chart in asker(dataset)("rounds", key="dc")["charts"]}
    rounds = load_run(dataset, "dc").rounds
    assert shown["Loss"]["lines"][0]["values"] == [entry.loss for entry in rounds]
    truth = {line["name"]: line["values"] for line in shown["Agreement with the truth"]["lines"]}
    assert truth["ACC"] == [entry.truth.acc for entry in rounds]
    assert {line["name"] for line in shown["Seconds by phase"]["lines"]} == set(rounds[0].seconds)


def test_a_drop_of_the_agreement_and_a_jump_of_the_loss_are_said():
    def entry(index, nmi, loss):
        return Round(index=index, loss=loss, change=AgreementScores(nmi=nmi, ari=0, purity=0, acc=0))

    assert alarms([entry(0, 0.5, 1.0), entry(1, 0.6, 0.9), entry(2, 0.55, 1.1)]) == []
    found = alarms([entry(0, 0.9, 1.0), entry(1, 0.5, 2.0)])
    assert ["the clusters changed more" in found[0], "the loss jumped" in found[1]] == [True, True]
    assert all(text.startswith("Round 2") for text in found)


def test_two_runs_are_compared_and_a_cell_shows_its_images(ask, clustered):
    shown = ask("compare", key="dc", other="ground_truth")
    table = np.array(shown["counts"])
    assert table.sum() == 200
    row, column = np.unravel_index(table.argmax(), table.shape)
    pair = {"cluster": shown["rows"][row], "value": shown["columns"][column]}
    ask("show_pair", key="dc", other="ground_truth", **pair)
    view = fo.DatasetView._build(clustered, ask.calls["set_view"]["view"])
    assert len(view) == table[row, column]
    assert set(view.values("dc.label")) == {pair["cluster"]}
    assert set(view.values("ground_truth.label")) == {pair["value"]}


def test_runs_are_ranked_by_their_agreement(ask, clustered):
    assert "needs 3 or more" in ask.send("rank", key="dc")["message"]
    frozen = {"n_clusters": 5, "image_size": 8, "baselines": False, "compute_brain": False, "progress": False}
    for key in ("two", "three"):
        cluster(clustered, "frozen", key, seed=len(key), **frozen)
    rows = ask("rank", key="dc")["rows"]
    found = fdc.rank_runs(clustered, ["dc", "two", "three"])
    assert [(row["key"], row["nmi"], row["clusters"]) for row in rows] == list(
        zip(found.names, found.agreement.tolist(), [5, 5, 5], strict=True)
    )


def test_an_edit_says_whether_others_edited_before(ask, clustered):
    first, second, *_ = load_run(clustered, "dc").names()
    version = ask("load", key="dc")["history"]["version"]
    own = {"verb": "rename", "cluster": first, "new_name": "mine"}
    done = ask("edit", key="dc", edit=own, dry_run=False, label_field=None, version=version)
    assert done["stale"] is False
    review(clustered, "dc").rename(second, "by another")
    back = {"verb": "undo"}
    version = done["history"]["version"]
    undone = ask("edit", key="dc", edit=back, dry_run=False, label_field=None, version=version)
    assert undone["change"]["text"] == f"Undone: renamed '{second}' to 'by another'"
    assert undone["stale"] is True


def test_edits_of_others_are_noticed(ask, clustered):
    version = ask("load", key="dc")["history"]["version"]
    assert not ask("poll", key="dc", version=version)["stale"]
    review(clustered, "dc").rename(load_run(clustered, "dc").names()[0], "by another")
    assert ask("poll", key="dc", version=version)["stale"]


def test_what_others_edit_while_an_answer_is_made_is_noticed(ask, clustered, monkeypatch):
    """The edit of the other comes after the clusters were read, and before the answer is complete."""
    shown = review(clustered, "dc").names()
    rows = overview.cluster_rows

    def rows_and_an_edit(*asked):
        found = rows(*asked)
        review(clustered, "dc", user="another").rename(*waiting.pop()) if waiting else None
        return found

    monkeypatch.setattr(overview, "cluster_rows", rows_and_an_edit)
    waiting = [(shown[0], "by another")]
    loaded = ask("load", key=None, label_field=None)
    assert ask("poll", key="dc", version=loaded["history"]["version"])["stale"]
    loaded = ask("load", key=None, label_field=None)
    version = loaded["history"]["version"]
    assert not ask("poll", key="dc", version=version)["stale"]
    waiting = [(shown[1], "also by another")]
    mine = {"verb": "rename", "cluster": shown[2], "new_name": "mine"}
    answer = ask("edit", key="dc", edit=mine, dry_run=False, label_field=None, version=version)
    assert not answer["stale"], "nothing was edited before"
    assert ask("poll", key="dc", version=answer["history"]["version"])["stale"]


def test_what_an_interrupted_run_left_can_be_resumed_or_deleted(asker, make_digits):
    dataset = make_digits(40)
    with pytest.raises(OSError, match="disk is full"):
        cluster(dataset, "deepcluster", "dc", observer=Acts(disk_full, after_round=1), **LEARNED)
    ask = asker(dataset)
    (row,) = ask("poll", key=None, version=0)["runs"]
    assert row["status"] == "interrupted"
    assert "the disk is full" in row["text"]
    assert row["resumable"]
    ask("start", operator="delete_clustering_run", key="dc")
    prompt = ask.calls["prompt_user_for_operation"]
    assert prompt["operator_uri"] == names.DELETE_CLUSTERING_RUN
    assert prompt["params"]["key"] == "dc"


def test_a_waiting_run_shows_and_can_be_cancelled(asker, digits_dataset):
    queue.enter(digits_dataset, "later", "deepcluster", 10)
    ask = asker(digits_dataset)
    (row,) = ask("load", key=None)["runs"]
    assert (row["key"], row["status"], row["fraction"]) == ("later", "queued", None)
    (row,) = ask("cancel", key="later")["runs"]
    assert (row["status"], row["resumable"], row["again"]) == ("cancelled", False, False)
