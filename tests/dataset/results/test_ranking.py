"""``rank_runs``: which of several runs agrees most with the others."""

from __future__ import annotations

import fiftyone as fo
import numpy as np
import pytest
from sklearn.metrics import normalized_mutual_info_score

import fiftyone_deepcluster as fdc
from fiftyone_deepcluster.dataset.io.read_fields import with_fields
from fiftyone_deepcluster.dataset.results import compare
from fiftyone_deepcluster.errors import InputError, RunError, RunNotFoundError

FROZEN = {"baselines": False, "compute_brain": False, "progress": False, "image_size": 8}


@pytest.fixture
def dataset(make_digits):
    """60 digits with three runs of five clusters, and one whose clusters were shuffled."""
    made = make_digits(60)
    for seed, key in enumerate(("one", "two", "three", "bad")):
        fdc.cluster(made, "frozen", key, n_clusters=5, seed=seed, **FROZEN)
    labels = made.values("bad.label")
    made.set_values("bad.label", np.random.default_rng(0).permutation(labels).tolist())
    return made


def whole(label):
    """A box around the whole image."""
    return fo.Detection(label=label, bounding_box=[0, 0, 1, 1])


def test_a_run_that_agrees_less_with_the_others_is_last(dataset):
    found = fdc.rank_runs(dataset)
    assert found.names[-1] == "bad"
    assert found.best in ("one", "two", "three")
    assert (found.n_images, found.n_clusters.tolist()) == (60, [5] * 4)
    one, two = (dataset.values(f"{key}.label") for key in found.names[:2])
    assert found.nmi[0, 1] == pytest.approx(normalized_mutual_info_score(one, two), abs=1e-9)
    assert set(fdc.rank_runs(dataset, ["bad", "one", "two"]).names) == {"bad", "one", "two"}


def test_only_images_of_the_view_that_have_a_cluster_in_each_run_count(dataset):
    first = dataset.first()
    first["two"] = None
    first.save()
    assert fdc.rank_runs(dataset).n_images == 59
    assert fdc.rank_runs(dataset.limit(7).select_fields()).n_images == 6


@pytest.mark.parametrize(
    ("keys", "error", "message"),
    [
        (
            ["one", "two"],
            InputError,
            r"keys=\['one', 'two'\] are 2 runs.*needs 3 or more; cluster with other",
        ),
        ("one", InputError, "is one run"),
        (["one", "two", "none"], RunNotFoundError, "'none'"),
        (["one", "two", "one"], InputError, "a name twice"),
        (
            ["one", "two", "ground_truth"],
            RunNotFoundError,
            "'ground_truth'; choose one of: one, two, three, bad",
        ),
        ([], InputError, "not a list of names"),
        (7, InputError, "keys=7 is not a list of names"),
        (["one", "two", 7], InputError, "not a list of names"),
    ],
)
def test_what_cannot_be_ranked_is_said(dataset, keys, error, message):
    with pytest.raises(error, match=message):
        fdc.rank_runs(dataset, keys)


def test_runs_without_common_images_or_fields_are_refused(dataset):
    for key, view in (("early", dataset.limit(20)), ("late", dataset.skip(40))):
        fdc.cluster(view, "frozen", key, n_clusters=3, **FROZEN)
    with pytest.raises(
        InputError, match="no image of samples is in a cluster of each of the runs one, early, late"
    ):
        fdc.rank_runs(dataset, ["one", "early", "late"])
    dataset.delete_sample_field("two")
    with pytest.raises(RunError, match="was deleted"):
        fdc.rank_runs(dataset, ["one", "two", "three"])


@pytest.mark.parametrize("delete", [fdc.delete_run, lambda made, key: made.delete_sample_field(key)])
def test_a_run_that_is_deleted_while_runs_are_read_is_named(dataset, monkeypatch, delete):
    def late(*given):
        delete(dataset, "two")
        return with_fields(*given)

    monkeypatch.setattr(compare, "with_fields", late)
    with pytest.raises(RunError, match=r"'two' of .* was deleted|of run 'two' was deleted"):
        fdc.rank_runs(dataset)


def test_rejected_images_are_left_out(dataset):
    expected = fdc.rank_runs(dataset.skip(20), ["one", "two", "three"])
    for key, rejected in (("one", dataset.limit(20)), ("two", dataset.limit(5))):
        fdc.review(dataset, key).reject(rejected)
    found = fdc.rank_runs(dataset, ["one", "two", "three"])
    assert (found.names, found.n_images) == (expected.names, 40)
    assert (found.nmi == expected.nmi).all()
    assert (found.n_clusters == expected.n_clusters).all()
    fdc.review(dataset, "three").reject(dataset)
    with pytest.raises(InputError, match="no image of samples is in a cluster of each"):
        fdc.rank_runs(dataset)


def test_runs_with_one_cluster_do_not_win(dataset):
    for key in ("two", "three"):
        fdc.review(dataset, key).merge(fdc.load_run(dataset, key).names(), into="all")
    found = fdc.rank_runs(dataset, ["two", "three", "one", "bad"])
    assert set(found.names[:2]) == {"one", "bad"}
    assert found.agreement[2:].tolist() == [0, 0]
    with pytest.raises(InputError, match=r"holds all images of samples \(1\) in each of the runs one"):
        fdc.rank_runs(dataset.limit(1))


def test_missing_runs_are_counted(make_digits):
    made = make_digits(20)
    with pytest.raises(InputError, match=r"has 0 finished runs of whole images, but .* needs 3 or more"):
        fdc.rank_runs(made)
    fdc.cluster(made, "frozen", "one", n_clusters=3, **FROZEN)
    with pytest.raises(InputError, match="has one finished run of whole images, but"):
        fdc.rank_runs(made)


def test_labels_that_are_no_text_do_not_count(dataset):
    dataset._sample_collection.update_one({}, {"$set": {"two.label": float("nan")}})
    found = fdc.rank_runs(dataset)
    assert (found.n_images, set(found.n_clusters.tolist())) == (59, {5})


@pytest.fixture
def boxes(dataset):
    """The same digits with three runs of one object each."""
    dataset.set_values(
        "objects", [fo.Detections(detections=[whole(label)]) for label in dataset.values("one.label")]
    )
    for seed, key in enumerate(("box_one", "box_two", "box_three")):
        fdc.cluster(dataset, "frozen", key, patches_field="objects", n_clusters=3, seed=seed, **FROZEN)
    return dataset


def test_runs_of_objects_and_of_whole_images_are_not_ranked_together(boxes):
    assert not any(name.startswith("box") for name in fdc.rank_runs(boxes).names)
    assert set(fdc.rank_runs(boxes.to_patches("objects")).names) == {"box_one", "box_two", "box_three"}
    with pytest.raises(InputError, match="compare runs of the same objects"):
        fdc.rank_runs(boxes, ["one", "two", "box_one"])


def test_objects_of_a_view_that_hides_them_are_ranked_and_compared(boxes):
    keys = ["box_one", "box_two", "box_three"]
    expected = fdc.rank_runs(boxes.limit(30), keys)
    found = fdc.rank_runs(boxes.limit(30).select_fields(), keys)
    assert (found.names, found.n_images) == (expected.names, 30)
    assert (found.nmi == expected.nmi).all()
    assert fdc.compare_runs(boxes.limit(7).select_fields(), *keys[:2]).n_images == 7


def test_a_view_of_other_objects_is_refused(boxes):
    boxes.clone_sample_field("objects", "others")
    keys = ["box_one", "box_two", "box_three"]
    for view, asked, clustered in (
        (boxes.to_patches("others"), keys, "others, but run 'box_one' clustered objects"),
        (boxes.to_patches("objects"), ["one", "two", "bad"], "objects, but run 'one' clustered whole images"),
    ):
        for call in (lambda: fdc.rank_runs(view, asked), lambda: fdc.compare_runs(view, *asked[:2])):  # noqa: B023
            with pytest.raises(InputError, match=f"a patches view of {clustered}; give the dataset"):
                call()
