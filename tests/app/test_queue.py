"""Runs that wait for a worker: cancelled there they never start, and their key is free."""

from __future__ import annotations

import fiftyone.operators as foo
import pytest
from fiftyone.operators.delegated import DelegatedOperationService

from fiftyone_deepcluster.app import names
from fiftyone_deepcluster.app.operators import CancelClustering, ClusterImages
from fiftyone_deepcluster.app.running import follow
from fiftyone_deepcluster.dataset.api import cluster
from fiftyone_deepcluster.dataset.runs import lock, queue, status
from fiftyone_deepcluster.dataset.runs.kv import find
from fiftyone_deepcluster.dataset.runs.run import list_runs, load_run
from fiftyone_deepcluster.errors import CancelledError, RunExistsError
from tests.app.test_operators import FROZEN, requests_of


@pytest.fixture
def dataset(plugin, make_digits):
    return make_digits(20, persistent=True)


def work_off(dataset):
    """What a worker does; the states and errors of all operations of the dataset, oldest first."""
    service = DelegatedOperationService()
    service.execute_queued_operations(dataset_name=dataset.name)
    dataset.reload()
    operations = sorted(service.list_operations(dataset_name=dataset.name), key=lambda one: one.id)
    return [(one.run_state, getattr(one.result, "error", None) or "") for one in operations]


def test_a_queued_run_that_is_cancelled_never_starts(dataset, make_context):
    ClusterImages()(dataset, FROZEN, "later", delegate=True, compute_brain=False)
    ctx = make_context(dataset, {"key": "later"})
    assert CancelClustering().execute(ctx) == {"cancelled": True}
    assert requests_of(ctx)["notify"]["message"] == "later is cancelled and will not start"
    assert CancelClustering().execute(make_context(dataset, {"key": "later"})) == {"cancelled": False}
    # the same key, queued again: the first operation must not start in the place of the second
    ClusterImages()(dataset, {**FROZEN, "n_clusters": 3}, "later", delegate=True, compute_brain=False)
    first, second = work_off(dataset)
    assert first[0] == "failed"
    assert "run 'later' was cancelled while it was queued" in first[1]
    assert second == ("completed", "")
    assert load_run(dataset, "later").options.n_clusters == 3
    assert not find(dataset, "^withdrawn:")


def test_only_cancelled_leaves_nothing_behind(dataset, make_context):
    ClusterImages()(dataset, FROZEN, "later", delegate=True, compute_brain=False)
    CancelClustering().execute(make_context(dataset, {"key": "later"}))
    assert work_off(dataset)[0][0] == "failed"
    state = status.read_states(dataset)["later"]
    assert (state.status, state.label) == ("cancelled", "cancelled before the start")
    assert list_runs(dataset) == []
    assert not dataset.has_field("later")
    assert lock.holder(dataset, "later") is None
    cluster(dataset, "frozen", "later", n_clusters=4, baselines=False, compute_brain=False, progress=False)


def test_cancelled_when_a_worker_has_just_taken_it(dataset):
    ticket = queue.enter(dataset, "dc", "frozen")
    assert queue.request_cancel(dataset, "dc")
    with pytest.raises(CancelledError, match="'dc' was cancelled while it was queued, so it was not started"):
        list(follow(dataset, "dc", lambda observer: pytest.fail("it was started"), ticket))
    assert not find(dataset, "^withdrawn:")

    ticket = queue.enter(dataset, "dc", "frozen")

    def work(observer):
        assert queue.request_cancel(dataset, "dc")  # the worker reads the inputs; the state is still "queued"
        return cluster(
            dataset, "frozen", "dc", n_clusters=4, baselines=False, progress=False, observer=observer
        )

    with pytest.raises(CancelledError):
        list(follow(dataset, "dc", work, ticket))
    assert status.read_states(dataset)["dc"].status == "cancelled"
    assert list_runs(dataset) == []
    assert not find(dataset, "^(withdrawn|cancel|lock):")


def test_a_queued_run_that_is_refused_does_not_wait_for_ever(dataset):
    ClusterImages()(dataset, FROZEN, "later", delegate=True, compute_brain=False)
    dataset.set_values("later", ["taken"] * 20)
    assert status.read_states(dataset)["later"].status == "queued"
    assert work_off(dataset)[0][0] == "failed"
    state = status.read_states(dataset)["later"]
    assert (state.status, state.busy) == ("failed", False)
    assert "Name 'later' is taken" in state.error

    ticket = queue.enter(dataset, "other", "frozen")

    def work(observer):
        raise RunExistsError("taken since")

    with pytest.raises(RunExistsError):
        list(follow(dataset, "other", work, ticket))
    assert status.read_states(dataset)["other"].error == "taken since"


def test_a_run_whose_operation_was_deleted_does_not_wait_for_ever(dataset, monkeypatch):
    ClusterImages()(dataset, FROZEN, "later", delegate=True, compute_brain=False)
    service = DelegatedOperationService()
    service.delete_operation(service.list_operations(dataset_name=dataset.name)[0].id)
    assert status.read_states(dataset)["later"].status == "queued"  # it might be stored in a moment
    monkeypatch.setattr(status, "_QUEUED_WITHIN_SECONDS", 0)
    state = status.read_states(dataset)["later"]
    assert (state.status, state.error) == ("failed", "its operation is no longer in FiftyOne's queue")


def test_a_queued_resume_can_be_cancelled(dataset, make_context):
    options = {"n_clusters": 4, "baselines": False, "compute_brain": False, "progress": False}
    cluster(dataset, "frozen", "dc", **options)
    foo.execute_operator(
        names.RESUME_CLUSTERING, {"dataset": dataset}, params={"key": "dc"}, request_delegation=True
    )
    state = status.read_states(dataset)["dc"]
    assert (state.status, state.method, state.round) == ("queued", "frozen", 1)
    CancelClustering().execute(make_context(dataset, {"key": "dc"}))
    assert work_off(dataset)[0][0] == "failed"
    assert load_run(dataset, "dc").n_clusters == 4
