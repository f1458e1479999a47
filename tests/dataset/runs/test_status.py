"""The live state: rate-limited writes, readable from other processes, with cancel requests."""

from __future__ import annotations

import time

import pytest

from fiftyone_deepcluster.core.progress import Observer
from fiftyone_deepcluster.core.record import AgreementScores, Round
from fiftyone_deepcluster.dataset.runs import lock, status
from fiftyone_deepcluster.dataset.runs.kv import find


@pytest.fixture
def dataset(make_digits):
    return make_digits(2)


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
        state = status.read_states(dataset)["dc"]
        assert (state.status, state.round, state.rounds, state.method) == ("running", 1, 4, "deepcluster")
        assert state.label == "round 2 of 4 · train"
        assert 0.2 < state.fraction < 0.6
        assert state.metrics[0]["loss"] == 1.5
        assert state.metrics[0]["seconds"] == 3.0
        assert state.metrics[0]["nmi"] is None
        assert state.busy
        observer.finish("done")
    state = status.read_states(dataset)["dc"]
    assert (state.status, state.fraction, state.busy) == ("done", 1.0, False)
    status.forget(dataset, "dc")
    assert status.read_states(dataset) == {}


def test_summary_has_known_metrics_and_none_for_the_others():
    agreement = AgreementScores(nmi=0.5, ari=0.25, purity=0.75, acc=0.625)
    values = status.summary(Round(index=2, change=agreement, truth=agreement))
    assert (values["nmi"], values["acc"], values["truth_nmi"], values["loss"]) == (0.5, 0.625, 0.5, None)
    assert all(value is None or type(value) in (int, float) for value in values.values())


def test_fraction_never_decreases(dataset):
    with lock.acquire(dataset, "dc"):
        observer = status.LiveObserver(dataset, "dc", "m", 3)
        seen = []
        for index in range(3):
            for phase in ("embed", "cluster", "train", "unknown phase"):
                observer.phase(phase, 2)
                for _ in range(2):
                    observer.advance(1)
                    observer._write(force=True)
                    seen.append(status.read_states(dataset)["dc"].fraction)
            observer.round_done(Round(index=index), 3)
        observer.phase("write", 1)
        observer._write(force=True)
        seen.append(status.read_states(dataset)["dc"].fraction)
    assert seen == sorted(seen)
    assert 0 < seen[0] < seen[-1] < 1


def test_written_twice_a_second_at_most(dataset):
    with lock.acquire(dataset, "dc"):
        observer = status.LiveObserver(dataset, "dc", "m", 1)
        observer.phase("train", 10_000)
        before = find(dataset, "^live:dc$")
        start = time.monotonic()
        for _ in range(2_000):
            observer.advance(1)
            observer.cancelled()
        spent = time.monotonic() - start
        assert spent < 1
        if spent < 0.4:
            assert find(dataset, "^live:dc$") == before


def test_cancel(dataset):
    assert not status.request_cancel(dataset, "dc")
    with lock.acquire(dataset, "dc"):
        observer = status.LiveObserver(dataset, "dc", "m", 1)
        assert not observer.cancelled()
        assert status.request_cancel(dataset, "dc")
        time.sleep(0.6)
        assert observer.cancelled()
        observer.finish("cancelled")
        # a wish of yesterday does not stop the next run
        assert not status.LiveObserver(dataset, "dc", "m", 1).cancelled()


def test_queued_and_cancelled_before_it_began(dataset):
    ticket = status.queue(dataset, "dc", "deepcluster", 5)
    state = status.read_states(dataset)["dc"]
    assert (state.status, state.rounds, state.busy, state.ticket) == ("queued", 5, True, ticket)
    assert not status.is_withdrawn(dataset, ticket)
    assert status.request_cancel(dataset, "dc")
    assert status.read_states(dataset)["dc"].status == "cancelled"
    assert status.is_withdrawn(dataset, ticket)
    # the key is free: the next run of this key has a ticket of its own
    again = status.queue(dataset, "dc", "deepcluster", 5)
    assert status.is_withdrawn(dataset, ticket)
    assert not status.is_withdrawn(dataset, again)
    status.leave_queue(dataset, "dc", ticket)
    assert not status.is_withdrawn(dataset, ticket)
    assert status.read_states(dataset)["dc"].status == "queued"
    with lock.acquire(dataset, "dc"):
        assert not status.LiveObserver(dataset, "dc", "m", 1).cancelled()


def test_a_queued_run_that_is_refused_leaves_the_queue(dataset):
    ticket = status.queue(dataset, "dc", "deepcluster", 5)
    status.leave_queue(dataset, "dc", ticket, ValueError("no such field"))
    state = status.read_states(dataset)["dc"]
    assert (state.status, state.error, state.busy) == ("failed", "ValueError: no such field", False)


def test_what_is_known_of_a_run_is_kept_while_it_is_queued_again(dataset):
    with lock.acquire(dataset, "dc"):
        observer = status.LiveObserver(dataset, "dc", "m", 4)
        observer.round_done(Round(index=0, loss=1.5), 4)
        observer.finish("failed", "no memory")
    status.queue(dataset, "dc", "m", 4)
    state = status.read_states(dataset)["dc"]
    assert (state.status, state.round, state.error) == ("queued", 1, "")
    assert state.metrics[0]["loss"] == 1.5


def test_running_without_a_process_reads_as_failed(dataset):
    held = lock.acquire(dataset, "dc")
    status.LiveObserver(dataset, "dc", "m", 1)
    assert status.read_states(dataset)["dc"].status == "running"
    held.release()
    state = status.read_states(dataset)["dc"]
    assert state.status == "failed"
    assert "resume" in state.error
