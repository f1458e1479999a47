"""A run with edits, or an audit with decisions, is neither replaced nor resumed: nothing that a person did is lost."""

from __future__ import annotations

import numpy as np
import pytest

import fiftyone_deepcluster as fdc
from fiftyone_deepcluster.errors import RunError, RunExistsError
from tests.dataset.small_runs import FROZEN, LEARNED
from tests.observers import Acts

QUIET = {"progress": False, "compute_brain": False}


@pytest.fixture
def dataset(make_digits):
    """30 digits with a run, whose first cluster is renamed."""
    made = make_digits(30, persistent=True)
    run = fdc.cluster(made, key="dc", **FROZEN)
    fdc.review(made, "dc").rename(run.names()[0], "threes")
    return made


@pytest.mark.parametrize("others", [{}, {"n_clusters": 3}], ids=["same", "different"])
def test_a_run_with_edits_is_not_replaced(dataset, others):
    before, uid = dataset.values("dc.label"), fdc.load_run(dataset, "dc").uid
    with pytest.raises(
        RunExistsError, match=r"run 'dc' .* has 1 edit, which .*: delete_run\(samples, 'dc'\)"
    ):
        fdc.cluster(dataset, key="dc", overwrite=True, **{**FROZEN, **others})
    assert dataset.values("dc.label") == before
    assert fdc.load_run(dataset, "dc").uid == uid
    assert len(fdc.review(dataset, "dc").log()) == 1


def test_edits_count_in_a_clone_whose_original_is_gone(dataset):
    clone = dataset.clone()
    fdc.delete_run(dataset, "dc")
    before = clone.values("dc.label")
    with pytest.raises(RunExistsError, match=r"run 'dc' .* has 1 edit"):
        fdc.cluster(clone, key="dc", overwrite=True, **FROZEN)
    assert clone.values("dc.label") == before
    clone.delete()


def test_it_is_replaced_once_the_edits_are_undone(dataset):
    fdc.review(dataset, "dc").undo()
    fdc.cluster(dataset, key="dc", overwrite=True, **{**FROZEN, "n_clusters": 3})
    assert fdc.load_run(dataset, "dc").n_clusters == 3


def test_it_is_replaced_if_its_clusters_were_deleted(dataset):
    dataset.delete_sample_field("dc")
    assert len(fdc.cluster(dataset, key="dc", overwrite=True, **FROZEN).names()) == 4


def test_a_replacement_that_was_interrupted_is_not_resumed_over_later_edits(make_digits):
    dataset = make_digits(30, persistent=True)
    run = fdc.cluster(dataset, key="dc", **FROZEN)

    def stop():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fdc.cluster(
            dataset, key="dc", overwrite=True, rounds=2, observer=Acts(stop, after_round=1), **LEARNED
        )
    review = fdc.review(dataset, "dc")
    review.rename(run.names()[0], "threes")
    before = dataset.values("dc.label")
    with pytest.raises(RunError, match="run 'dc' was edited since its replacement was interrupted"):
        fdc.resume(dataset, "dc", **QUIET)
    assert dataset.values("dc.label") == before
    review.undo()
    assert fdc.resume(dataset, "dc", **QUIET).record.method == "deepcluster"


def test_an_audit_with_decisions_is_not_replaced(make_digits):
    dataset = make_digits(100, persistent=True)
    dataset.set_values("pixels", [np.random.default_rng(row).random(8) for row in range(100)])
    fdc.audit_labels(dataset, "ground_truth", embeddings_field="pixels")
    review = fdc.review_labels(dataset, refit_every=0)
    item = review.queue(1)["items"][0]
    review.decide(item["id"], "keep")
    with pytest.raises(
        RunExistsError, match=r"audit 'audit' .* has 1 edit, which .*: delete_audit\(samples, 'audit'\)"
    ):
        fdc.audit_labels(dataset, "ground_truth", embeddings_field="pixels", overwrite=True)
    assert dataset.count("audit_decision") == 1
    review.undo()
    assert fdc.audit_labels(dataset, "ground_truth", embeddings_field="pixels", overwrite=True).key == "audit"
