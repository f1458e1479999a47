"""The number of clusters of a run on a dataset."""

from __future__ import annotations

from dataclasses import replace

import fiftyone as fo
import numpy as np
import pytest

import fiftyone_deepcluster as fdc
from fiftyone_deepcluster.clusterers.number import numbers_between
from fiftyone_deepcluster.core.progress import StopFlag
from fiftyone_deepcluster.dataset.results.numbers import (
    latest_sweep,
    stored_sweep,
    sweep_of_fields,
    usual_numbers,
)
from fiftyone_deepcluster.dataset.results.results_cache import Findings
from fiftyone_deepcluster.errors import CancelledError, InputError

QUIET = {"baselines": False, "progress": False, "compute_brain": False}


@pytest.fixture
def planted(make_digits):
    """60 images whose given vectors form three groups, with a run of five clusters."""
    dataset = make_digits(60)
    draw = np.random.default_rng(0)
    vectors = 0.1 * draw.standard_normal((60, 8)) + 5 * np.eye(8)[np.arange(60) % 3]
    dataset.set_values("vector", list(vectors.astype(np.float32)))
    fdc.cluster(dataset, "frozen", "dc", n_clusters=5, embeddings_field="vector", **QUIET)
    return dataset


class Counted(StopFlag):
    def __init__(self):
        super().__init__()
        self.phases, self.steps = [], 0

    def phase(self, name, total):
        self.phases.append((name, total))

    def advance(self, steps):
        self.steps += steps


def test_planted_groups_are_counted_and_kept_with_the_run(planted):
    run = fdc.load_run(planted, "dc")
    before = planted.values("dc.label")
    assert stored_sweep(run) is None
    assert latest_sweep(planted) is None
    observer = Counted()
    found = fdc.recommend_number(planted, "dc", reducer="identity", repetitions=2, observer=observer)
    assert found.numbers == tuple(range(2, 13))
    assert found.recommended == 3
    assert found.interval == (3, 3)
    assert found.stands_out
    assert max(found.gain) == found.gain[1]
    assert observer.phases == [("identity of every seed", 2), ("clusterings", 30)], (
        "four more numbers up to 24"
    )
    assert observer.steps == 32
    assert stored_sweep(run) == found
    assert latest_sweep(planted) == ("dc", found)
    assert planted.values("dc.label") == before
    fdc.rename_run(planted, "dc", "renamed")
    assert latest_sweep(planted) == ("renamed", found)


def test_sweeps_of_older_versions_are_read(planted):
    """Without the gain of each number."""
    run = fdc.load_run(planted, "dc")
    found = fdc.recommend_number(planted, "dc", [2, 3, 4], reducer="identity", repetitions=2)
    findings = Findings(run)
    kept = findings.load("numbers")
    assert len(kept.pop("gain")) == 3
    findings.save("numbers", kept)
    assert stored_sweep(run) == replace(found, gain=())
    assert stored_sweep(run).advice == "recommended: 3 clusters, no other number scores nearly as well"


def test_a_view_and_the_number_of_images_limit_it(planted):
    found = fdc.recommend_number(planted.limit(30), "dc", [2, 3, 30], reducer="identity", repetitions=2)
    assert found.numbers == (2, 3, 30)
    with pytest.raises(InputError, match="31 is more than the 30 vectors"):
        fdc.recommend_number(planted.limit(30), "dc", [2, 31], reducer="identity")
    with pytest.raises(InputError, match="41 is more than the 40 vectors"):
        fdc.recommend_number(planted, "dc", [2, 41], reducer="identity", max_images=40)
    with pytest.raises(InputError, match="19 images of run 'dc' have an embedding; give 20 or more"):
        fdc.recommend_number(planted.limit(19), "dc")


def test_a_sweep_that_is_cancelled_stores_nothing(planted):
    observer = StopFlag()
    observer.stop()
    with pytest.raises(CancelledError, match="nothing of the sweep"):
        fdc.recommend_number(planted, "dc", reducer="identity", observer=observer)
    assert latest_sweep(planted) is None


class StopsWithin(Counted):
    """Cancels within the repetitions of one number of clusters."""

    def advance(self, steps):
        super().advance(steps)
        if self.steps == 4:  # three reductions, one of three repetitions
            self.stop()


def test_a_sweep_is_cancelled_between_two_repetitions(planted):
    observer = StopsWithin()
    with pytest.raises(CancelledError, match="nothing of the sweep"):
        fdc.recommend_number(planted, "dc", reducer="identity", observer=observer)
    assert observer.steps == 4


def test_fields_need_no_run(planted):
    draw = np.random.default_rng(1)
    planted.set_values("other", list(9 * np.eye(4)[np.arange(60) % 3] + draw.random((60, 4))))
    quick = {"reducer": "identity", "repetitions": 2}
    found = fdc.recommend_number(planted, embeddings_field="vector", **quick)
    assert found.numbers == tuple(range(2, 13))
    assert (found.recommended, found.interval) == (3, (3, 3))
    assert sweep_of_fields(planted) == (["vector"], found)
    assert stored_sweep(fdc.load_run(planted, "dc")) is None
    both = fdc.recommend_number(planted, numbers=[2, 3, 4], embeddings_field=["vector", "other"], **quick)
    assert both.recommended == 3
    assert sweep_of_fields(planted) == (["vector", "other"], both)
    assert sweep_of_fields(planted, ["other", "vector"]) == (["vector", "other"], both)
    assert sweep_of_fields(planted, ["vector"]) == (["vector"], found)
    assert sweep_of_fields(planted, ["other"]) is None
    planted.delete_sample_field("other")
    assert sweep_of_fields(planted) == (["vector"], found)


def test_fields_give_what_their_run_gives(planted):
    """The embeddings of a run of given vectors are these vectors."""
    quick = {"reducer": "identity", "repetitions": 2, "max_images": 40}
    of_run = fdc.recommend_number(planted, "dc", [2, 3, 4], **quick)
    assert fdc.recommend_number(planted, None, [2, 3, 4], embeddings_field="dc_embedding", **quick) == of_run
    again = fdc.recommend_number(planted, "dc", [2, 3, 4], seed=7, **quick)
    assert again.objective != of_run.objective


def test_images_without_a_vector_are_left_out(planted):
    vectors = planted.values("vector")
    vectors[0], vectors[1], vectors[2] = None, np.zeros(8), np.full(8, np.nan)
    planted.set_values("vector", vectors)
    with pytest.raises(InputError, match="58 is more than the 57 vectors"):
        fdc.recommend_number(planted, numbers=[2, 58], embeddings_field="vector", reducer="identity")


def test_vectors_of_objects(planted):
    vectors = planted.values("vector")
    boxes = [fo.Detections(detections=[fo.Detection(bounding_box=[0, 0, 1, 1], own=one)]) for one in vectors]
    planted.set_values("objects", boxes)
    planted.add_sample_field("objects.detections.own", fo.VectorField)
    quick = {"reducer": "identity", "repetitions": 2}
    objects = planted.to_patches("objects")
    found = fdc.recommend_number(objects, numbers=[2, 3, 4], embeddings_field="own", **quick)
    assert found.recommended == 3
    assert sweep_of_fields(planted, patches_field="objects") == (["own"], found)
    assert sweep_of_fields(planted) is None, "the images have no such vectors"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "key=None and embeddings_field=None: give one of the two"),
        ({"key": "dc", "embeddings_field": "vector"}, "give one of the two"),
        ({"embeddings_field": "none"}, "embeddings_field='none' is not a field"),
        ({"embeddings_field": "views"}, "embeddings_field='views' has 2 vectors for each image"),
        ({"embeddings_field": "vector", "seed": -1}, "seed=-1"),
        ({"embeddings_field": 7}, "embeddings_field=7 is not a list of names"),
    ],
)
def test_what_is_given_is_checked(planted, given, message):
    planted.set_values("views", [np.ones((2, 4))] * 60)
    with pytest.raises(InputError, match=message):
        fdc.recommend_number(planted, **given)
    assert sweep_of_fields(planted) is None


def test_usual_numbers_reach_twice_the_run_with_five_images_each():
    assert usual_numbers(60, 5) == list(range(2, 13))
    assert usual_numbers(5_000, 5) == list(range(2, 21))
    many = usual_numbers(5_000, 100)
    assert (many[0], many[-1]) == (2, 200)
    assert 15 < len(many) <= 20
    assert usual_numbers(20, 2) == [2, 3, 4]
    assert numbers_between(2, 3) == [2, 3]
