"""Split, move, reject, mark as reviewed, commit, redo, progress and export."""

from __future__ import annotations

import csv
import json
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.cluster import KMeans

from fiftyone_deepcluster import load_run, review
from fiftyone_deepcluster.dataset.review.changes import CommitRow
from fiftyone_deepcluster.errors import DiskError, InputError


def stored(dataset):
    """Everything stored with the samples, except when it was changed."""
    dataset.reload()
    return [
        {name: value for name, value in document.items() if name != "last_modified_at"}
        for document in dataset._sample_collection.find()
    ]


def counts(dataset):
    return dataset.count_values("dc.label")


# ---------------------------------------------------------------- images


def test_images_of_a_view_are_moved_and_others_are_ignored(dataset):
    import fiftyone as fo

    edits, before = review(dataset, "dc"), counts(dataset)
    dataset.add_sample(fo.Sample(filepath=dataset.first().filepath))  # not of the run
    view = dataset.match({"dc.label": {"$in": ["cluster-01", None]}})
    change = edits.move(view, to="cluster-02", dry_run=True)
    assert (change.n_changed, counts(dataset)["cluster-02"]) == (before["cluster-01"], before["cluster-02"])
    assert edits.move(view, to="cluster-02") == change
    assert change.clusters == ("cluster-01", "cluster-02")
    assert counts(dataset)["cluster-02"] == before["cluster-01"] + before["cluster-02"]
    assert counts(dataset)[None] == 1


def test_a_new_name_makes_a_cluster_and_all_but_some_are_moved(dataset):
    edits, before = review(dataset, "dc"), counts(dataset)
    ids = dataset.match({"dc.label": "cluster-00"}).values("id")
    edits.move(cluster="cluster-00", besides=ids[:2], to="new")
    assert counts(dataset)["cluster-00"] == 2
    assert counts(dataset)["new"] == before["cluster-00"] - 2
    assert sorted(dataset.match({"dc.label": "cluster-00"}).values("id")) == sorted(ids[:2])


def test_rejected_images_are_noise_and_come_back(dataset):
    edits, before = review(dataset, "dc"), stored(dataset)
    ids = dataset.match({"dc.label": "cluster-00"}).values("id")[:3]
    assert edits.reject(ids).text == "rejected 3 images"
    assert sorted(dataset.match({"dc.label": "noise"}).values("id")) == sorted(ids)
    assert dataset.match({"dc.label": "noise"}).distinct("dc.cluster") == [0]  # what the run found stays
    edits.move(cluster="noise", to="cluster-00")
    assert stored(dataset) == before


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda edits: edits.move(to="a"), "either samples or cluster"),
        (lambda edits: edits.move([], cluster="cluster-00", to="a"), "either samples or cluster"),
        (lambda edits: edits.move(["x"], to="a"), "give ids such as"),
        (lambda edits: edits.move("5" * 24, to="a"), "give a list of ids"),
        (
            lambda edits: edits.move(edits.run.dataset.first(), to="a"),
            "is not a list of ids; give ids, or a view",
        ),
        (lambda edits: review(edits.run.dataset, "dc", user=3), "user=3 is not a name"),
        (lambda edits: edits.move(["5" * 24], to="a"), "none of the images belongs to run 'dc'"),
        (lambda edits: edits.move(cluster="cluster-00", to="noise"), "reserved"),
        (lambda edits: edits.reject(cluster="cluster-77"), "no cluster 'cluster-77'"),
        (lambda edits: edits.split("cluster-00", 1), "n_clusters=1: give 2 to 10"),
        (lambda edits: edits.split("cluster-00", 2.5), "n_clusters=2.5 is not a whole number"),
        (lambda edits: edits.split("cluster-00", by="x"), "by='x' is not known; choose one of: kmeans, gmm"),
        (lambda edits: edits.mark_reviewed("cluster-00"), "give a list of names"),
        (
            lambda edits: edits.commit("mine"),
            "no cluster to write that has a name of its own; rename clusters, or give only_named=False$",
        ),
        (
            lambda edits: edits.commit("mine", only_named=False, only_reviewed=True),
            "no cluster to write that is reviewed; mark clusters as reviewed, or give only_reviewed=False$",
        ),
        (
            lambda edits: edits.preview_commit("mine", only_reviewed=True),
            "own and is reviewed; rename clusters and mark .*, or give only_named=False and only_reviewed=False$",
        ),
        (lambda edits: edits.commit("dc"), "field='dc' belongs to a run"),
        (lambda edits: edits.export("x.txt"), "must end in .csv or .json"),
        (lambda edits: edits.export("/no/such/folder/x.csv"), "there is no folder"),
        (lambda edits: edits.export(None), "path=None is not a path"),
    ],
)
def test_bad_calls_change_nothing(dataset, call, message):
    before = stored(dataset)
    with pytest.raises(InputError, match=message):
        call(review(dataset, "dc"))
    assert stored(dataset) == before
    assert review(dataset, "dc").log() == []


# ---------------------------------------------------------------- split


def test_a_split_is_k_means_on_the_vectors_of_the_cluster(dataset):
    edits = review(dataset, "dc")
    members = dataset.match({"dc.label": "cluster-00"}).sort_by("_id")
    vectors = np.stack(members.values("dc_embedding"))
    seed = load_run(dataset, "dc").options.seed
    expected = KMeans(3, n_init=10, random_state=seed).fit_predict(vectors)
    sizes = sorted(np.bincount(expected).tolist(), reverse=True)
    parts = edits.preview_split("cluster-00", 3)
    assert [part.size for part in parts] == sizes
    edits.split("cluster-00", 3)
    after = counts(dataset)
    assert [after[name] for name in ("cluster-00", "cluster-04", "cluster-05")] == sizes
    nearest = parts[1].pictures[0]
    assert dataset[nearest.sample_id].dc.label == "cluster-04"
    edits.split("cluster-04", 2)
    assert "cluster-06" in counts(dataset)


@pytest.mark.parametrize("by", ["kmeans", "gmm"])
def test_the_number_of_parts_is_found(dataset, by):
    """Two groups that lie far apart are two parts."""
    members = dataset.match({"dc.label": "cluster-00"})
    size = len(members)
    moved = [vector + (100.0 if at % 2 else 0.0) for at, vector in enumerate(members.values("dc_embedding"))]
    members.set_values("dc_embedding", moved)
    parts = review(dataset, "dc").preview_split("cluster-00", by=by)
    assert [part.size for part in parts] == sorted([size // 2, size - size // 2], reverse=True)


# ---------------------------------------------------------------- reviewed, progress, export


def test_a_cluster_without_vectors_is_not_split(dataset):
    dataset.match({"dc.label": "cluster-01"}).set_field("dc_embedding", None).save()
    with pytest.raises(
        InputError, match="'cluster-01' has 0 images with vectors; 2 parts need at least as many"
    ):
        review(dataset, "dc").preview_split("cluster-01", 2)


def test_a_name_that_cannot_be_shown_says_why(dataset):
    edits = review(dataset, "dc")
    with pytest.raises(
        InputError, match=r"\(201 characters\) has more than 200 characters; give a shorter name"
    ):
        edits.rename("cluster-00", "x" * 201)
    with pytest.raises(InputError, match=r"contains the character U\+000A"):
        edits.rename("cluster-00", "two\nlines")


def test_what_is_reviewed_follows_names_merges_and_splits(dataset):
    edits = review(dataset, "dc")
    assert edits.mark_reviewed(["cluster-00", "cluster-01"]).clusters == ("cluster-00", "cluster-01")
    edits.rename("cluster-00", "a")
    assert edits.reviewed() == ["a", "cluster-01"]
    edits.merge(["a", "cluster-01"], into="b")
    assert edits.reviewed() == ["b"]
    edits.merge(["b", "cluster-02"], into="b")
    assert edits.reviewed() == []
    edits.undo()
    assert edits.reviewed() == ["b"]
    edits.split("b", 2)
    assert edits.reviewed() == []
    edits.undo(3)
    assert edits.reviewed() == ["cluster-00", "cluster-01"]
    edits.mark_reviewed(["cluster-01"], reviewed=False)
    progress = edits.progress()
    assert (progress.n_clusters, progress.n_reviewed) == (4, 1)
    assert progress.n_images_reviewed == counts(dataset)["cluster-00"]
    assert progress.n_images == 40
    assert review(dataset.clone(), "dc").reviewed() == ["cluster-00"]


def test_images_in_no_cluster_do_not_count(dataset):
    edits = review(dataset, "dc")
    edits.reject(dataset.match({"dc.label": "cluster-00"}))
    assert edits.progress().n_clusters == 3
    assert edits.progress().n_images == 40 - counts(dataset)["noise"]
    assert edits.mark_reviewed(["noise"]).clusters == ()


def test_a_review_that_cannot_be_written_leaves_nothing(dataset, tmp_path):
    (tmp_path / "review.csv").mkdir()
    with pytest.raises(DiskError, match=r"cannot be written.*move that folder away.*another path"):
        review(dataset, "dc").export(tmp_path / "review.csv")
    assert [path.name for path in tmp_path.iterdir()] == ["review.csv"]


def test_a_review_is_exported(dataset, tmp_path):
    edits = review(dataset, "dc")
    edits.rename("cluster-00", "näme, with a comma")
    edits.mark_reviewed(["näme, with a comma"])
    rows = json.loads(edits.export(tmp_path / "review.json").read_text(encoding="utf-8"))
    assert len(rows) == 40
    with edits.export(tmp_path / "review.csv").open(encoding="utf-8", newline="") as file:
        table = list(csv.DictReader(file))
    assert [row["filepath"] for row in table] == [row["filepath"] for row in rows]
    for row, text in zip(rows, table, strict=True):
        sample = dataset[row["sample_id"]]
        assert (row["filepath"], row["cluster"]) == (sample.filepath, sample.dc.label)
        assert row["reviewed"] == (row["number"] == 0)
        assert text["reviewed"] == str(row["reviewed"])
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".partial"] == []


# ---------------------------------------------------------------- commit


def test_names_are_written_to_a_field_as_one_edit(dataset):
    edits = review(dataset, "dc")
    edits.rename("cluster-00", "zero")
    edits.rename("cluster-01", "one")
    edits.mark_reviewed(["one"])
    before = stored(dataset)
    after = counts(dataset)
    rows = edits.preview_commit("mine")
    assert {row.cluster: row.n_changed for row in rows} == {"zero": after["zero"], "one": after["one"]}
    assert [row.cluster for row in edits.preview_commit("mine", only_reviewed=True)] == ["one"]
    change = edits.commit("mine")
    assert change.n_changed == after["zero"] + after["one"]
    assert dataset.count_values("mine.label") == {
        "zero": after["zero"],
        "one": after["one"],
        None: 40 - change.n_changed,
    }
    edits.undo()
    assert stored(dataset) == before
    assert "mine" not in dataset.get_field_schema()
    edits.redo()
    assert dataset.count_values("mine.label")["zero"] == after["zero"]


def test_clusters_whose_images_have_their_name_already_are_no_row(dataset):
    edits = review(dataset, "dc")
    edits.rename("cluster-00", "zero")
    edits.rename("cluster-01", "one")
    edits.label_cluster("zero", "mine", "zero")
    edits.label_cluster("one", "mine", "other")
    size = counts(dataset)["one"]
    assert edits.preview_commit("mine") == [CommitRow("one", 0, size)]
    assert edits.commit("mine").n_kept == size
    assert edits.preview_commit("mine", overwrite=True) == [CommitRow("one", size, 0)]
    edits.commit("mine", overwrite=True)
    assert edits.preview_commit("mine") == []


def test_no_images_are_an_error_that_says_so(dataset):
    edits = review(dataset, "dc")
    for nothing in ([], dataset.limit(0)):
        with pytest.raises(InputError, match=r"^samples is empty; give images that run 'dc' has clustered$"):
            edits.move(nothing, to="cluster-01")
        with pytest.raises(InputError, match=r"^samples is empty"):
            edits.reject(nothing)


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ("x", "='x' is one id; give a list of ids, or a view"),
        (5, "=5 is not a list of ids; give ids, or a view"),
        (np.array(5), r"=array\(5\) is not a list of ids"),
        ({"a": 1}, r"=\{'a': 1\} is not a list of ids"),
        (["x"], ": 'x' is not an id; give ids such as"),
        ([None], ": None is not an id"),
        ([b"twelve bytes"], ": b'twelve bytes' is not an id"),
    ],
)
def test_what_is_no_id_is_named_with_its_argument(dataset, ids, message):
    edits = review(dataset, "dc")
    with pytest.raises(InputError, match=f"^samples{message}"):
        edits.move(ids, to="cluster-01")
    with pytest.raises(InputError, match=f"^besides{message}"):
        edits.move(cluster="cluster-00", besides=ids, to="cluster-01")


def test_labels_that_are_there_stay_unless_they_are_to_be_replaced(dataset):
    edits = review(dataset, "dc")
    truth = dataset.values("ground_truth.label")
    edits.rename("cluster-00", "zero")
    size = counts(dataset)["zero"]
    assert edits.commit("ground_truth").n_kept == size
    assert dataset.values("ground_truth.label") == truth
    assert edits.preview_commit("ground_truth", overwrite=True)[0].n_changed == size
    edits.commit("ground_truth", overwrite=True)
    assert dataset.count_values("ground_truth.label")["zero"] == size


def test_unnamed_clusters_are_written_only_if_asked(dataset):
    edits = review(dataset, "dc")
    edits.commit("mine", only_named=False)
    assert dataset.values("mine.label") == dataset.values("dc.label")


# ---------------------------------------------------------------- history


def test_a_new_edit_ends_what_could_be_redone(dataset):
    edits = review(dataset, "dc")
    edits.rename("cluster-00", "a")
    edits.rename("cluster-01", "b")
    edits.undo(2)
    version = edits.version()
    assert edits.next_redo().text == "renamed 'cluster-00' to 'a'"
    assert edits.next_undo() is None
    edits.redo()
    assert edits.version() != version
    assert "a" in edits.names()
    edits.rename("cluster-02", "c")
    assert edits.next_redo() is None
    assert edits.redo() == []
    assert sorted(edits.names()) == ["a", "c", "cluster-01", "cluster-03"]


VERBS = ("rename", "merge", "split", "move", "reject", "mark", "label", "commit", "undo", "redo")


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(steps=st.lists(st.tuples(st.sampled_from(VERBS), st.integers(0, 10**6), st.booleans()), max_size=8))
def test_any_edits_by_two_people_undone_restore_everything(make_digits, stored_run, steps):
    dataset = make_digits(30)
    stored_run(dataset)
    before = stored(dataset)
    people = [review(dataset, "dc", user=name) for name in ("Ada", "Bo")]
    for verb, number, who in steps:
        _do(people[who], verb, number, dataset)
    while people[0].undo(3):
        pass
    assert stored(dataset) == before
    assert people[1].reviewed() == []
    assert people[1].next_undo() is None


def _do(edits, verb, number, dataset):
    names = [name for name in edits.names() if name != "noise"]
    first, second = names[number % len(names)], names[(number // 7) % len(names)]
    ids = dataset.match({"dc.label": first}).values("id")
    calls = {
        "rename": lambda: edits.rename(first, f"name {number}"),
        "merge": lambda: edits.merge([first, second], into=second),
        "split": lambda: edits.split(first, 2),
        "move": lambda: edits.move(ids[: number % 5 + 1], to=second),
        "reject": lambda: edits.reject(ids[: number % 3 + 1]),
        "mark": lambda: edits.mark_reviewed([first], reviewed=number % 3 > 0),
        "label": lambda: edits.label_cluster(
            first, "ground_truth", f"label {number}", overwrite=number % 2 > 0
        ),
        "commit": lambda: edits.commit("made", only_named=number % 2 > 0, overwrite=number % 3 > 0),
        "undo": lambda: edits.undo(number % 3 + 1),
        "redo": lambda: edits.redo(number % 3 + 1),
    }
    with suppress(InputError):  # such as a merge of a cluster with itself
        calls[verb]()
