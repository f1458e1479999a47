"""Queued runs and other jobs: they wait for a worker, or in a separate process for others of the dataset to end.

In separate processes, runs wait for runs, and other jobs for other jobs. A place in the queue has a unique ticket.
Cancellation is looked up by ticket, since the key may be used again.
"""

from __future__ import annotations

import time
import uuid
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from fiftyone_deepcluster.core.progress import StopFlag
from fiftyone_deepcluster.dataset.runs import lock
from fiftyone_deepcluster.dataset.runs.job_names import in_words, is_run
from fiftyone_deepcluster.dataset.runs.kv import run_store
from fiftyone_deepcluster.dataset.runs.status import LiveState, Status, failure_text, read_states
from fiftyone_deepcluster.errors import CancelledError, RunLockedError

if TYPE_CHECKING:
    import fiftyone as fo

_POLL_SECONDS = 0.4
_HEARTBEAT_SECONDS = 10.0


def enter(
    dataset: fo.Dataset,
    key: str,
    method: str,
    rounds: int = 0,
    *,
    background: bool = False,
    resumes: bool = False,
) -> str:
    """Mark a run or other job as queued, so that it is displayed immediately.

    The metrics of an earlier call, which the run may resume, are kept.

    Args:
        dataset: dataset of the run.
        key: key of the run, or name of the job.
        method: name of its method.
        rounds: number of planned rounds; 0: not known yet.
        background: whether the run has a separate process, instead of waiting for a worker.
        resumes: whether it resumes a run, which gets its state again if that is refused or cancelled before it begins.

    Returns:
        Ticket of the run.

    Raises:
        RunLockedError: a run with this key is running, or will start in a separate process.
    """
    now, ticket = time.time(), uuid.uuid4().hex
    stored = read_states(dataset).get(key)
    before = stored or LiveState(key, "failed")
    # FiftyOne asks an operator several times whether it is delegated, each time on the way to the same queue
    if before.busy and (background or before.background or before.status == "running"):
        otherwise = ", cancel it, or choose another key" if is_run(key) else " or cancel it"
        raise RunLockedError(
            f"{in_words(key)} of {dataset.name!r} is {before.status}; wait for it{otherwise}"
        )
    label = "starting" if background else "waiting for a worker"
    state = LiveState(
        key, "queued", method, round=before.round, rounds=rounds, label=label, metrics=before.metrics, started=now,
        heartbeat=now, ticket=ticket, background=background, before=_kept(stored) if resumes else None,
    )  # fmt: skip
    store = run_store(dataset)
    store.delete(f"cancel:{key}")
    store.set(f"live:{key}", asdict(state))
    return ticket


def _kept(stored: LiveState | None) -> dict[str, Any] | None:
    """What to keep of the state of a run that is to be resumed: of one that is queued already, what that kept."""
    if stored is None or stored.busy:
        return None if stored is None else stored.before
    return {**asdict(stored), "metrics": []}


def note_process(dataset: fo.Dataset, key: str, ticket: str, pid: int) -> None:
    """Store the process of this host that will start a queued run."""
    _update(dataset, key, ticket, process=asdict(lock.holder_of(pid)))


def leave(dataset: fo.Dataset, key: str, ticket: str, error: BaseException | None = None) -> None:
    """Mark a queued run as ended; if it was cancelled or refused before it started, its state has the reason.

    Args:
        dataset: dataset of the run.
        key: key of the run.
        ticket: its ticket; empty for a run that was not queued.
        error: why it ended, if it failed.
    """
    if not ticket:
        return
    run_store(dataset).delete(_withdrawn(ticket))
    if error is not None:
        ended: Status = "cancelled" if isinstance(error, CancelledError) else "failed"
        text = failure_text(error)
        _end(dataset, key, ticket, text, status=ended, error=text, label=f"{ended}: {text}")


def request_cancel(dataset: fo.Dataset, key: str) -> bool:
    """Request the run ``key`` to stop at its next batch; a queued run is not started.

    Returns:
        Whether there is a queued or running run.
    """
    state = read_states(dataset).get(key)
    if state is None or not state.busy:
        return False
    store = run_store(dataset)
    if state.status == "running":
        store.set(f"cancel:{key}", True)
        return True
    store.set(_withdrawn(state.ticket), True)  # also asked for by a run that starts at this moment
    _end(dataset, key, state.ticket, status="cancelled", label="cancelled before the start")
    return True


def is_withdrawn(dataset: fo.Dataset, ticket: str) -> bool:
    """Whether a queued run was cancelled; asked by the process that would start it."""
    return bool(run_store(dataset).has(_withdrawn(ticket)))


class QueuedRun(StopFlag):
    """Observer of a run that was queued: also requests cancellation if it was cancelled before it started.

    Args:
        dataset: dataset of the run.
        ticket: ticket of the run in the queue.
    """

    def __init__(self, dataset: fo.Dataset, ticket: str) -> None:
        super().__init__()
        self._dataset, self._ticket = dataset, ticket
        self._asked = float("-inf")
        # the check before the run starts, and the first within it: a short run has no later one
        self._first = 2

    def cancelled(self) -> bool:
        """Whether ``stop`` was called, or the run was cancelled while it was queued."""
        now = time.monotonic()
        if not super().cancelled() and (self._first > 0 or now - self._asked > _POLL_SECONDS):
            self._first, self._asked = self._first - 1, now
            if is_withdrawn(self._dataset, self._ticket):
                self.stop()
        return super().cancelled()


def wait_for_turn(dataset: fo.Dataset, key: str, ticket: str) -> None:
    """Wait until no other run of the dataset is running, and none that entered earlier waits; so for other jobs.

    Raises:
        CancelledError: the run was cancelled meanwhile.
    """
    written, at = "", float("-inf")
    while not is_withdrawn(dataset, ticket):
        other = _job_before(dataset, key)
        if other is None:
            return
        label, now = f"waits for {in_words(other)} to end", time.monotonic()
        if label != written or now - at > _HEARTBEAT_SECONDS:
            _update(dataset, key, ticket, label=label, heartbeat=time.time())
            written, at = label, now
        time.sleep(_POLL_SECONDS)
    raise CancelledError(f"{in_words(key)} was cancelled while it was queued, so it was not started")


def _job_before(dataset: fo.Dataset, key: str) -> str | None:
    """Key of a run that comes before this one; None if it is this run's turn. Other jobs wait for their like."""
    states = read_states(dataset)
    own = states.pop(key, None)
    if own is None:
        return None
    for state in states.values():
        if is_run(state.key) != is_run(key):
            continue
        waits = state.status == "queued" and state.background
        if state.status == "running" or (waits and (state.started, state.ticket) < (own.started, own.ticket)):
            return state.key
    return None


def _end(dataset: fo.Dataset, key: str, ticket: str, why: str = "", **changes: object) -> None:
    """Change the state of a queued run, which does not begin; one that was to be resumed is as it was before."""
    stored = run_store(dataset).get(f"live:{key}")
    old = None if stored is None else LiveState(**stored).not_resumed(why)
    _update(dataset, key, ticket, **(changes if old is None else asdict(old)))


def _update(dataset: fo.Dataset, key: str, ticket: str, /, **changes: object) -> None:
    """Change the state of a queued run if it is still queued with this ticket."""
    store = run_store(dataset)
    while True:
        before = store.get(f"live:{key}")
        if before is None or before["ticket"] != ticket or before["status"] != "queued":
            return
        if store.compare_and_set(f"live:{key}", before, {**before, **changes}):
            return


def _withdrawn(ticket: str) -> str:
    return f"withdrawn:{ticket}"
