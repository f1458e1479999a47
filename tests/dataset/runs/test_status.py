"""The live state: written in a thread, readable from other processes, with cancel requests."""

from __future__ import annotations

import time

import pytest

from fiftyone_deepcluster.core.progress import Observer
from fiftyone_deepcluster.core.record import AgreementScores, Round
from fiftyone_deepcluster.dataset.runs import lock, queue, status
from fiftyone_deepcluster.dataset.runs.kv import find
from fiftyone_deepcluster.errors import CancelledError


@pytest.fixture
def dataset(make_digits):
    return make_digits(2)


def until(dataset, what):
    """The state of the run once ``what`` holds for it: it is written twice a second."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        state = status.read_states(dataset)["dc"]
        if what(state):
            return state
        time.sleep(0.05)
    raise AssertionError(state)


def test_the_state_follows_the_phases_of_a_run(dataset):
    entry = Round(
        index=0, loss=1.5, clusters_in_use=9, largest_share=0.25, seconds={"train": 2.0, "embed": 1.0}
    )
    with lock.acquire(dataset, "dc"):
        observer = status.LiveObserver(dataset, "dc", "deepcluster", 4)
        assert isinstance(observer, Observer)
        assert status.read_states(dataset)["dc"].label == "starting"
        observer.phase("train", 10)
        observer.advance(5)
        observer.round_done(entry, 4)
        state = until(dataset, lambda state: state.round)
        assert (state.status, state.round, state.rounds, state.method) == ("running", 1, 4, "deepcluster")
        assert state.label == "round 2 of 4 · train"
        assert 0 < state.fraction < 1
        assert state.seconds_left > 0
        assert state.text.startswith("round 2 of 4 · train · about ")
        assert state.metrics[0]["loss"] == 1.5
        assert state.metrics[0]["seconds"] == 3.0
        assert state.metrics[0]["nmi"] is None
        assert state.busy
        observer.finish("finished")
    state = status.read_states(dataset)["dc"]
    assert (state.status, state.fraction, state.busy) == ("finished", 1.0, False)
    status.forget(dataset, "dc")
    assert status.read_states(dataset) == {}


def test_summary_has_known_metrics_and_none_for_the_others():
    agreement = AgreementScores(nmi=0.5, ari=0.25, purity=0.75, acc=0.625)
    values = status.summary(Round(index=2, change=agreement, truth=agreement))
    assert (values["nmi"], values["acc"], values["truth_nmi"], values["loss"]) == (0.5, 0.625, 0.5, None)
    assert all(value is None or type(value) in (int, float) for value in values.values())


def test_what_is_shown_is_what_runs(dataset):
    """A phase without steps that follows a short one is shown, too, and so is the time left in it."""
    with lock.acquire(dataset, "dc"):
        observer = status.LiveObserver(dataset, "dc", "m", 1, {"write": 1.0, "brain": 500.0})
        observer.phase("decode", 1)
        assert until(dataset, lambda state: state.phase == "decode").label == "reading the images"
        observer.phase("train", 1)
        observer.round_done(Round(index=0), 1)
        observer.phase("write", 1)
        observer.phase("brain", 1)
        state = until(dataset, lambda state: state.phase == "brain")
        assert "2-D map" in state.label
        assert state.fraction < 0.5
        assert 100 < state.seconds_left <= 500
        observer.finish("finished")
    assert status.read_states(dataset)["dc"].fraction == 1.0


def test_a_run_that_goes_on_starts_at_its_real_round(dataset):
    with lock.acquire(dataset, "dc"):
        observer = status.LiveObserver(dataset, "dc", "m", 20)
        for index in range(10):
            observer.round_done(Round(index=index, loss=float(index)), 20)
        observer.finish("failed", "no memory")
        observer = status.LiveObserver(dataset, "dc", "m", 20)
        observer.resumed(Round(index=8, loss=8.0), 20)  # the checkpoint is one round older
        observer.phase("train", 1)
        state = until(dataset, lambda state: state.phase == "train")
        assert (state.label, state.round) == ("round 10 of 20 · train", 9)
        assert [entry["loss"] for entry in state.metrics] == [float(index) for index in range(9)]
        observer.finish("cancelled")


def test_the_metrics_of_very_many_rounds_fit_into_a_document(dataset, monkeypatch):
    monkeypatch.setattr(status, "_MOST_METRICS", 20)
    with lock.acquire(dataset, "dc"):
        observer = status.LiveObserver(dataset, "dc", "m", 100_000)
        for index in range(30):
            observer.round_done(Round(index=index, loss=1.0), 100_000)
        observer.finish("finished")
    metrics = status.read_states(dataset)["dc"].metrics
    assert [entry["index"] for entry in metrics] == list(range(10, 30))


def test_training_does_not_wait_for_the_database(dataset):
    with lock.acquire(dataset, "dc"):
        observer = status.LiveObserver(dataset, "dc", "m", 1)
        observer.phase("train", 10_000)
        before = find(dataset, "^live:dc$")
        start = time.monotonic()
        for _ in range(10_000):
            observer.advance(1)
            observer.cancelled()
        if time.monotonic() - start < 0.4:
            assert find(dataset, "^live:dc$") == before
        observer.finish("finished")


def test_cancel(dataset):
    assert not queue.request_cancel(dataset, "dc")
    with lock.acquire(dataset, "dc"):
        observer = status.LiveObserver(dataset, "dc", "m", 1)
        assert not observer.cancelled()
        assert queue.request_cancel(dataset, "dc")
        assert status.read_states(dataset)["dc"].cancelling
        end = time.monotonic() + 60
        while not observer.cancelled() and time.monotonic() < end:
            time.sleep(0.05)
        assert observer.cancelled()
        observer.finish("cancelled")
        # a wish of yesterday does not stop the next run
        observer = status.LiveObserver(dataset, "dc", "m", 1)
        assert not observer.cancelled()
        observer.finish("finished")


def test_a_run_that_starts_while_it_is_cancelled_is_still_displayed_as_running(dataset, monkeypatch):
    ticket = queue.enter(dataset, "dc", "m", 5)
    started = []

    def read_then_start(dataset):
        states = status.read_states(dataset)
        started.append(status.LiveObserver(dataset, "dc", "m", 1))
        return states

    with lock.acquire(dataset, "dc"):
        with monkeypatch.context() as patched:
            patched.setattr(queue, "read_states", read_then_start)
            assert queue.request_cancel(dataset, "dc")
        assert status.read_states(dataset)["dc"].status == "running"
        assert queue.QueuedRun(dataset, ticket).cancelled(), "it stops nevertheless"
        started[0].finish("cancelled")
    queue.leave(dataset, "dc", ticket, CancelledError("stopped"))
    assert status.read_states(dataset)["dc"].error == ""


def test_queued_and_cancelled_before_it_began(dataset):
    ticket = queue.enter(dataset, "dc", "deepcluster", 5)
    state = status.read_states(dataset)["dc"]
    assert (state.status, state.rounds, state.busy, state.ticket) == ("queued", 5, True, ticket)
    assert not queue.is_withdrawn(dataset, ticket)
    assert queue.request_cancel(dataset, "dc")
    assert status.read_states(dataset)["dc"].status == "cancelled"
    assert queue.is_withdrawn(dataset, ticket)
    # the key is free: the next run of this key has a ticket of its own
    again = queue.enter(dataset, "dc", "deepcluster", 5)
    assert queue.is_withdrawn(dataset, ticket)
    assert not queue.is_withdrawn(dataset, again)
    queue.leave(dataset, "dc", ticket)
    assert not queue.is_withdrawn(dataset, ticket)
    assert status.read_states(dataset)["dc"].status == "queued"
    with lock.acquire(dataset, "dc"):
        observer = status.LiveObserver(dataset, "dc", "m", 1)
        assert not observer.cancelled()
        observer.finish("finished")


def test_a_queued_run_that_is_refused_leaves_the_queue(dataset):
    ticket = queue.enter(dataset, "dc", "deepcluster", 5)
    queue.leave(dataset, "dc", ticket, ValueError("no such field"))
    state = status.read_states(dataset)["dc"]
    assert (state.status, state.error, state.busy) == ("failed", "ValueError: no such field", False)


def test_what_is_known_of_a_run_is_kept_while_it_is_queued_again(dataset):
    with lock.acquire(dataset, "dc"):
        observer = status.LiveObserver(dataset, "dc", "m", 4)
        observer.round_done(Round(index=0, loss=1.5), 4)
        observer.finish("failed", "no memory")
    queue.enter(dataset, "dc", "m", 4)
    state = status.read_states(dataset)["dc"]
    assert (state.status, state.round, state.error) == ("queued", 1, "")
    assert state.metrics[0]["loss"] == 1.5


def test_running_without_a_process_reads_as_failed(dataset):
    held = lock.acquire(dataset, "dc")
    observer = status.LiveObserver(dataset, "dc", "m", 1)
    assert status.read_states(dataset)["dc"].status == "running"
    held.release()
    state = status.read_states(dataset)["dc"]
    assert state.status == "failed"
    assert "resume" in state.error
    observer.finish("failed")
