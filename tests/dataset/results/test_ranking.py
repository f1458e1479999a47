"""``rank_runs``: which of several runs agrees most with the others."""

from __future__ import annotations

import fiftyone as fo
import numpy as np
import pytest
from sklearn.metrics import normalized_mutual_info_score

import fiftyone_deepcluster as fdc
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
    with pytest.raises(InputError, match="no image has a cluster in each of the runs one, early, late"):
        fdc.rank_runs(dataset, ["one", "early", "late"])
    dataset.delete_sample_field("two")
    with pytest.raises(RunError, match="was deleted"):
        fdc.rank_runs(dataset, ["one", "two", "three"])


def test_runs_of_objects_and_of_whole_images_are_not_ranked_together(dataset):
    dataset.set_values(
        "objects", [fo.Detections(detections=[whole(label)]) for label in dataset.values("one.label")]
    )
    fdc.cluster(dataset, "frozen", "boxes", patches_field="objects", n_clusters=3, **FROZEN)
    assert "boxes" not in fdc.rank_runs(dataset).names
    with pytest.raises(InputError, match="compare runs of the same objects"):
        fdc.rank_runs(dataset, ["one", "two", "boxes"])
