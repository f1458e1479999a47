"""Views that hide fields, or group images: a call does what it would do with all fields, or says why not."""

from __future__ import annotations

import pytest

import fiftyone_deepcluster as fdc
from fiftyone_deepcluster.errors import ImagesError

FROZEN = {"n_clusters": 3, "baselines": False, "compute_brain": False, "progress": False, "image_size": 8}


@pytest.fixture
def dataset(make_digits):
    made = make_digits(24)
    fdc.cluster(made, "frozen", "dc", **FROZEN)
    fdc.cluster(made, "frozen", "two", **{**FROZEN, "n_clusters": 2})
    return made


def hide(dataset):
    return [dataset.exclude_fields("dc"), dataset.select_fields(), dataset.select_fields("two")]


def test_runs_are_compared_where_the_view_hides_one(dataset):
    whole = fdc.compare_runs(dataset, "dc", "two").counts
    for view in hide(dataset):
        assert (fdc.compare_runs(view, "dc", "two").counts == whole).all()
        assert fdc.compare_runs(view.limit(7), "dc", "ground_truth").counts.sum() == 7


def test_images_keep_their_cluster_where_the_view_hides_it(dataset):
    before = dataset.values("dc.label")
    dataset.add_samples([dataset.first().copy()], progress=False)
    new = dataset.last()
    new["dc"] = None
    new.save()
    for view in hide(dataset):
        assert fdc.assign(view.limit(24), "dc") == 0
    assert fdc.assign(dataset.select_fields("two"), "dc") == 1
    assert dataset.values("dc.label")[:24] == before
    assert dataset.last().dc.label == before[0]


def test_a_view_that_is_grouped_by_a_field_is_refused(dataset):
    grouped = dataset.group_by("ground_truth.label")
    for call in (lambda: fdc.compare_runs(grouped, "dc", "two"), lambda: fdc.assign(grouped, "dc")):
        with pytest.raises(ImagesError, match=r"give the view without group_by"):
            call()
