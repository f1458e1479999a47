"""Two people with a process each: what one does to a run, the other sees, or is told in one sentence."""

from __future__ import annotations

import numpy as np
import pytest

import fiftyone_deepcluster as fdc
from fiftyone_deepcluster.errors import DeepClusterError, RunNotFoundError
from tests.dataset.other_process import FROZEN


@pytest.fixture
def dataset(make_digits):
    return make_digits(24, persistent=True)


@pytest.fixture
def run(dataset):
    return fdc.cluster(dataset, "frozen", "dc", **FROZEN)


@pytest.fixture
def audited(dataset):
    classes = [int(label.label) for label in dataset.values("ground_truth")]
    dataset.set_values("odd", ["odd" if label % 2 else "even" for label in classes])
    draw = np.random.default_rng(0)
    vectors = np.eye(10)[classes] + draw.normal(0, 0.1, (24, 10))
    dataset.set_values("vector", list(vectors.astype(np.float32)))
    fdc.audit_labels(dataset, "odd", embeddings_field="vector")
    return fdc.review_labels(dataset, refit_every=0)


def at_once(other, dataset, code, act):
    """Errors of two processes that do the same, empty where there was none."""
    other.start(dataset, code)
    try:
        act()
        own = ""
    except DeepClusterError as error:
        own = f"{type(error).__name__}: {error}"
    return sorted([own, other.answer()])


def test_a_run_that_another_process_deleted(dataset, run, other):
    other.does(dataset, "fdc.delete_run(dataset, 'dc')")
    for call in (
        lambda: fdc.load_run(dataset, "dc"),
        run.clusters,
        lambda: fdc.review(dataset, "dc"),
        lambda: fdc.rename_run(dataset, "dc", "new"),
        lambda: fdc.delete_run(dataset, "dc"),
    ):
        with pytest.raises(RunNotFoundError, match="dc"):
            call()
    assert fdc.list_runs(dataset) == []


def test_a_run_that_another_process_replaced(dataset, run, other):
    review = fdc.review(dataset, "dc")
    before = review.names()
    other.does(dataset, "fdc.cluster(dataset, 'frozen', 'dc', overwrite=True, **{**FROZEN, 'n_clusters': 2})")
    with pytest.raises(
        RunNotFoundError, match=r"run 'dc' of .* was replaced since it was loaded; load it again"
    ):
        review.rename(before[0], "first")
    assert fdc.load_run(dataset, "dc").n_clusters == 2
    assert fdc.review(dataset, "dc").names() == before[:2]
    assert fdc.review(dataset, "dc").log() == []


def test_a_run_that_another_process_renamed(dataset, run, other):
    other.does(dataset, "fdc.rename_run(dataset, 'dc', 'new')")
    with pytest.raises(RunNotFoundError, match="new"):
        run.clusters()
    assert fdc.list_runs(dataset) == ["new"]
    assert sum(info.size for info in fdc.load_run(dataset, "new").clusters()) == 24


def test_edits_of_another_process_are_seen_and_undone_in_their_order(dataset, run, other):
    review = fdc.review(dataset, "dc", user="ada")
    first, second, third = review.names()
    other.does(dataset, f"fdc.review(dataset, 'dc', user='bob').merge([{first!r}, {second!r}], into='both')")
    review.rename("both", "all but one")
    assert [edit.who for edit in review.log()] == ["bob", "ada"]
    other.does(dataset, "fdc.review(dataset, 'dc').undo()")
    assert sorted(review.names()) == sorted(["both", third])
    review.undo()
    assert review.names() == [first, second, third]


def test_two_processes_cluster_under_one_key(dataset, other):
    code = "fdc.cluster(dataset, 'frozen', 'dc', **FROZEN)"
    one, two = at_once(other, dataset, code, lambda: fdc.cluster(dataset, "frozen", "dc", **FROZEN))
    assert one == ""
    assert two.startswith(("RunLockedError: key='dc'", "RunExistsError:"))
    assert fdc.list_runs(dataset) == ["dc"]
    assert dataset.count("dc.label") == 24


def test_two_processes_delete_one_run(dataset, run, other):
    one, two = at_once(other, dataset, "fdc.delete_run(dataset, 'dc')", lambda: fdc.delete_run(dataset, "dc"))
    assert one == ""
    assert two.startswith(("RunLockedError: key='dc'", "RunNotFoundError:"))
    assert fdc.list_runs(dataset) == []
    dataset.reload()
    assert not [name for name in dataset.get_field_schema() if name.startswith("dc")]


def test_two_processes_edit_one_run(dataset, run, other):
    names = fdc.review(dataset, "dc").names()
    code = f"fdc.review(dataset, 'dc').rename({names[0]!r}, 'one')"
    errors = at_once(other, dataset, code, lambda: fdc.review(dataset, "dc").rename(names[1], "two"))
    assert errors == ["", ""]
    review = fdc.review(dataset, "dc")
    assert sorted(review.names()) == sorted(["one", "two", names[2]])
    review.undo(2)
    assert review.names() == names


def test_scores_that_another_process_fitted_again(dataset, audited, other):
    ids = [item["id"] for item in audited.queue(4)["items"]]
    audited.decide(ids[:2], "keep")
    other.does(dataset, "fdc.review_labels(dataset, refit_every=0).refit()")
    assert fdc.load_audit(dataset).record.n_decided == 2
    audited.decide(ids[2:], "exclude")
    audited.refit()
    assert fdc.load_audit(dataset).record.n_decided == 4
    other.does(dataset, "assert fdc.load_audit(dataset).record.n_decided == 4")
    assert len(fdc.load_audit(dataset).to_dataframe()) == 24


def test_decisions_of_two_processes_on_one_label(dataset, audited, other):
    image = audited.queue(1)["items"][0]["id"]
    other.does(dataset, f"fdc.review_labels(dataset, user='bob', refit_every=0).decide({image!r}, 'keep')")
    audited.decide(image, "exclude")
    assert [entry.text for entry in audited.log()] == ["kept 1 label", "excluded 1 image"]
    other.does(dataset, "fdc.review_labels(dataset, refit_every=0).undo()")
    assert audited.progress()["verdicts"]["keep"] == 1
    audited.undo()
    assert audited.progress()["n_decided"] == 0


def test_an_audit_that_another_process_replaced(dataset, audited, other):
    image = audited.queue(1)["items"][0]["id"]
    other.does(dataset, "fdc.audit_labels(dataset, 'odd', embeddings_field='vector', overwrite=True)")
    with pytest.raises(RunNotFoundError, match=r"audit 'audit' of .* was replaced since it was loaded"):
        audited.decide(image, "keep")
    assert fdc.load_audit(dataset).record.n_decided == 0


def test_two_processes_audit_under_one_key(dataset, audited, other):
    fdc.delete_audit(dataset, "audit")
    code = "fdc.audit_labels(dataset, 'odd', embeddings_field='vector')"
    one, two = at_once(
        other, dataset, code, lambda: fdc.audit_labels(dataset, "odd", embeddings_field="vector")
    )
    assert one == ""
    assert two.startswith(("RunLockedError: key='audit'", "RunExistsError:"))
    assert fdc.list_audits(dataset) == ["audit"]
    assert dataset.count("audit_rank") == 24


def test_a_dataset_that_another_process_deleted(dataset, run, other):
    review = fdc.review(dataset, "dc")
    other.does(dataset, "dataset.delete()")
    for call in (run.clusters, review.undo, lambda: fdc.load_run(dataset, "dc")):
        with pytest.raises(DeepClusterError, match="was deleted"):
            call()
