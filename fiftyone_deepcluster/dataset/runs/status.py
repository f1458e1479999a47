"""Live state of runs, visible to the App and to other processes.

State and cancel requests are kept in FiftyOne's execution store, scoped to the dataset.
"""

from __future__ import annotations

import logging
import time
import uuid
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from fiftyone_deepcluster.core.progress import CLOSING, PREPARING
from fiftyone_deepcluster.dataset.runs.kv import find, run_store
from fiftyone_deepcluster.dataset.runs.lock import Holder
from fiftyone_deepcluster.errors import CancelledError

if TYPE_CHECKING:
    from collections.abc import Callable

    import fiftyone as fo

    from fiftyone_deepcluster.core.record import Round

logger = logging.getLogger(__name__)

TICKET = "queue_ticket"
"""Parameter of an operator that is queued: the ticket of its run."""

Status = Literal["queued", "running", "done", "failed", "cancelled"]

_SECONDS_BETWEEN_WRITES = 0.5
_CANCEL_POLL_SECONDS = 0.5
# Pause after the driver has waited for a database that is away, usually for 30 seconds
_SECONDS_WITHOUT_DATABASE = 60.0
_QUEUED_WITHIN_SECONDS = 60.0  # FiftyOne stores the operation after the state
# Fractions of a run spent before the first round and on writing at the end, and span of each phase within a
# round: rough values for an evenly moving progress bar, not time estimates.
_BEFORE, _AFTER = 0.05, 0.05
_SPANS = {"embed": (0.0, 0.3), "cluster": (0.3, 0.45), "train": (0.45, 0.95), "assign": (0.95, 1.0)}


@dataclass(frozen=True)
class LiveState:
    """Current state of one run.

    Attributes:
        key: key of the run.
        status: queued, running, done, failed or cancelled. A run whose process died counts as failed.
        method: name of the method.
        phase: current phase (``decode``, ``embed``, ``cluster``, ``train``, ``write`` ...).
        fraction: progress of the whole run, 0..1; a rough estimate that never decreases.
        round: number of completed rounds.
        rounds: number of planned rounds.
        label: one line of text: ``round 3 of 10 · train``.
        metrics: one dict per round: index, loss, nmi (to the previous round), clusters, largest_share,
            seconds, and acc, truth_nmi if a truth is given. Missing values are None.
        started: start time, seconds since the epoch.
        heartbeat: time of the last write, seconds since the epoch.
        error: error message if the run failed, else "".
        ticket: id of the place in the queue, while the run is queued; else "".
    """

    key: str
    status: Status
    method: str = ""
    phase: str = ""
    fraction: float = 0.0
    round: int = 0
    rounds: int = 0
    label: str = ""
    metrics: list[dict[str, float | int | None]] = field(default_factory=list)
    started: float = 0.0
    heartbeat: float = 0.0
    error: str = ""
    ticket: str = ""

    @property
    def busy(self) -> bool:
        """Whether the run is queued or running."""
        return self.status in ("queued", "running")


def read_states(dataset: fo.Dataset) -> dict[str, LiveState]:
    """State of every queued, running or ended run, by key. Takes one database query."""
    values = find(dataset, "^(live|lock):")
    states = {}
    for name, value in values.items():
        if name.startswith("live:"):
            state = LiveState(**value)
            states[state.key] = _failed_if_dead(state, values.get(f"lock:{state.key}"))
    return states


def queue(dataset: fo.Dataset, key: str, method: str, rounds: int = 0) -> str:
    """Mark a run as waiting for a worker, so that it is displayed at once.

    What is known of an earlier part of the run, which it may continue, is kept.

    Returns:
        Ticket of the run: whether it was cancelled is asked by the ticket, as its key may be used again.
    """
    now, ticket = time.time(), uuid.uuid4().hex
    before = read_states(dataset).get(key, LiveState(key, "queued"))
    state = LiveState(
        key, "queued", method, round=before.round, rounds=rounds, label="waiting for a worker",
        metrics=before.metrics, started=now, heartbeat=now, ticket=ticket,
    )  # fmt: skip
    store = run_store(dataset)
    store.delete(f"cancel:{key}")
    store.set(f"live:{key}", asdict(state))
    return ticket


def leave_queue(dataset: fo.Dataset, key: str, ticket: str, error: Exception | None = None) -> None:
    """Note that a queued run is over; if it was cancelled or refused before it started, its state says why.

    Args:
        dataset: dataset of the run.
        key: key of the run.
        ticket: its ticket; empty for a run that was not queued.
        error: why it ended, if it failed.
    """
    if not ticket:
        return
    run_store(dataset).delete(_withdrawn(ticket))
    state = read_states(dataset).get(key)
    if error is None or state is None or state.ticket != ticket or state.status == "cancelled":
        return
    ended: Status = "cancelled" if isinstance(error, CancelledError) else "failed"
    text = f"{type(error).__name__}: {error}"
    over = replace(state, status=ended, error=text, label=f"{ended}: {text}")
    run_store(dataset).set(f"live:{key}", asdict(over))


def forget(dataset: fo.Dataset, key: str) -> None:
    """Remove the state of a run."""
    place = run_store(dataset)
    place.delete(f"live:{key}")
    place.delete(f"cancel:{key}")


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
    store.set(_withdrawn(state.ticket), True)
    cancelled = replace(state, status="cancelled", label="cancelled before the start")
    store.set(f"live:{key}", asdict(cancelled))
    return True


def is_withdrawn(dataset: fo.Dataset, ticket: str) -> bool:
    """Whether a queued run was cancelled; asked by the worker that would start it."""
    return bool(run_store(dataset).has(_withdrawn(ticket)))


class LiveObserver:
    """Observer that writes the live state, at most twice a second, and reads cancel requests.

    Args:
        dataset: dataset of the run's samples.
        key: key of the run.
        method: name of the method.
        rounds: number of planned rounds.
    """

    def __init__(self, dataset: fo.Dataset, key: str, method: str, rounds: int) -> None:
        self._store = run_store(dataset)
        self._store.delete(f"cancel:{key}")
        self._state = LiveState(key, "running", method, rounds=rounds, started=time.time())
        self._steps, self._total = 0, 0
        self._wrote, self._looked, self._cancelled = 0.0, 0.0, False
        self._away_until = 0.0
        self._write(force=True)

    def phase(self, name: str, total: int) -> None:
        """Called at the start of a phase."""
        self._steps, self._total = 0, total
        self._state = replace(self._state, phase=name)
        self._write()

    def advance(self, steps: int) -> None:
        """Called after steps of the phase."""
        self._steps += steps
        self._write()

    def round_done(self, entry: Round, rounds: int) -> None:
        """Called after each round."""
        self._state = replace(
            self._state, round=entry.index + 1, rounds=rounds, metrics=[*self._state.metrics, summary(entry)]
        )
        self._write(force=True)

    def cancelled(self) -> bool:
        """Whether cancellation was requested."""
        now = time.monotonic()
        if not self._cancelled and now - self._looked > _CANCEL_POLL_SECONDS:
            self._looked = now
            self._cancelled = bool(self._ask(lambda: self._store.has(f"cancel:{self._state.key}")))
        return self._cancelled

    def finish(self, status: Status, error: str = "") -> None:
        """Write the final state."""
        self._state = replace(self._state, status=status, error=error, phase="")
        self._write(force=True)
        self._ask(lambda: self._store.delete(f"cancel:{self._state.key}"))

    def _write(self, force: bool = False) -> None:
        now = time.monotonic()
        if not force and now - self._wrote < _SECONDS_BETWEEN_WRITES:
            return
        self._wrote = now
        state = self._state
        fraction = 1.0 if state.status == "done" else max(state.fraction, self._fraction())
        self._state = replace(state, fraction=fraction, label=self._label(), heartbeat=time.time())
        self._ask(lambda: self._store.set(f"live:{state.key}", asdict(self._state)))

    def _ask(self, ask: Callable[[], Any]) -> Any:
        """Answer of the store. None while the database is away: training goes on, and asks again after a while."""
        from pymongo.errors import ConnectionFailure

        if time.monotonic() < self._away_until:
            return None
        try:
            return ask()
        except ConnectionFailure as error:
            logger.warning("run %r goes on, although the database is away: %s", self._state.key, error)
            self._away_until = time.monotonic() + _SECONDS_WITHOUT_DATABASE
            return None

    def _fraction(self) -> float:
        state, within = self._state, self._steps / self._total if self._total else 0.0
        if state.phase in PREPARING:
            return _BEFORE * min(1.0, within)
        if state.phase in CLOSING or not state.rounds:
            return 1.0 - _AFTER if state.phase in CLOSING else 0.0
        first, last = _SPANS.get(state.phase, (0.0, 0.0))
        done = state.round + first + (last - first) * min(1.0, within)
        return _BEFORE + (1.0 - _BEFORE - _AFTER) * min(1.0, done / state.rounds)

    def _label(self) -> str:
        state = self._state
        if state.status != "running":
            return state.status if not state.error else f"{state.status}: {state.error}"
        if state.phase in (*PREPARING, *CLOSING) or not state.phase:
            return state.phase or "starting"
        return f"round {min(state.round + 1, state.rounds)} of {state.rounds} · {state.phase}"


def _withdrawn(ticket: str) -> str:
    return f"withdrawn:{ticket}"


def summary(entry: Round) -> dict[str, float | int | None]:
    """Metrics of a round for the charts."""
    return {
        "index": entry.index,
        "loss": entry.loss,
        "nmi": entry.change.nmi if entry.change else None,
        "clusters": entry.clusters_in_use,
        "largest_share": entry.largest_share,
        "seconds": sum(entry.seconds.values()),
        "acc": entry.truth.acc if entry.truth else None,
        "truth_nmi": entry.truth.nmi if entry.truth else None,
    }


def _failed_if_dead(state: LiveState, lock: dict[str, Any] | None) -> LiveState:
    """Set the status to failed if a running state has no living process, or a queued state no operation."""
    error = ""
    if state.status == "queued":
        error = _why_not_queued(state)
    elif state.status == "running" and (lock is None or not Holder(**lock).alive()):
        error = "the process of this run died; resume the run to continue from its last completed round"
    return replace(state, status="failed", error=error, label=f"failed: {error}") if error else state


def _why_not_queued(state: LiveState) -> str:
    """Why FiftyOne will not execute a queued run any more; empty if it will."""
    from fiftyone.core.odm import get_db_conn

    query = {f"context.request_params.params.{TICKET}": state.ticket}
    operation = get_db_conn().delegated_ops.find_one(query, {"run_state": 1, "result": 1})
    if operation is None:
        waited = time.time() - state.started > _QUEUED_WITHIN_SECONDS
        return "its operation is no longer in FiftyOne's queue" if waited else ""
    if operation["run_state"] not in ("failed", "completed"):
        return ""
    lines = ((operation.get("result") or {}).get("error") or "").strip().splitlines()
    return lines[-1] if lines else "its operation ended before the run started"
