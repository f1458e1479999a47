"""Live state of runs and of other jobs, visible to the App and to other processes.

State and cancel requests are kept in FiftyOne's execution store, scoped to the dataset.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from fiftyone_deepcluster.core.pace import Pace, Steps
from fiftyone_deepcluster.core.progress import duration_text
from fiftyone_deepcluster.dataset.runs.database import OUTAGES
from fiftyone_deepcluster.dataset.runs.job_names import in_words, is_run, pattern_of
from fiftyone_deepcluster.dataset.runs.kv import drop, find, run_store
from fiftyone_deepcluster.dataset.runs.lock import Holder, in_use
from fiftyone_deepcluster.errors import CancelledError, DeepClusterError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import fiftyone as fo

    from fiftyone_deepcluster.core.record import Round

TICKET = "queue_ticket"
"""Parameter of an operator that is queued: the ticket of its run."""

Status = Literal["queued", "running", "finished", "failed", "cancelled"]

_SECONDS_BETWEEN_WRITES = 0.5
# Pause after the driver has waited, usually for 30 seconds, for a database that does not respond
_SECONDS_WITHOUT_DATABASE = 60.0
_QUEUED_WITHIN_SECONDS = 60.0  # FiftyOne stores the operation after the state
_MOST_METRICS = 500
"""Rounds whose metrics are kept in the live state, which must fit into one document."""
_WHY_DEAD = "the process of this run died; resume the run to continue from its last completed round"


@dataclass(frozen=True)
class LiveState:
    """Current state of one run or other job.

    Attributes:
        key: key of the run, or name of the job, see ``job_names``.
        status: queued, running, finished, failed or cancelled. A run whose process died counts as failed.
        method: name of the method; of another job, what it does.
        phase: current phase (``decode``, ``embed``, ``cluster``, ``train``, ``write`` ...).
        fraction: estimated share of the run's time that has passed, 0..1; never decreases. Of another job, the share
            of its current phase.
        seconds_left: estimated seconds until the run ends; None: unknown.
        round: number of completed rounds.
        rounds: number of planned rounds; 0: not known yet.
        label: one line of text: ``round 3 of 10 · train``.
        metrics: one dict per round: index, loss, nmi (to the previous round), clusters, largest_share,
            seconds, and acc, truth_nmi if a truth is given. Missing values are None.
        started: start time, seconds since the epoch.
        heartbeat: time of the last write, seconds since the epoch.
        error: error message if the run failed, else "".
        result: result of a completed job, in a sentence; "" for a run.
        made: name of the dataset that the job filled, if it is not the one that the job was started on.
        ticket: id of the place in the queue, while the run is queued; else "".
        background: whether a queued run has a separate process (``Holder`` as dict in ``process``, None until it
            is known), and does not wait for a worker.
        process: see ``background``.
        cancelling: whether a running run was requested to stop.
        before: of a run that is queued to be resumed, its state until then, without metrics; else None.
        refused: why the last request to resume the run was refused, before it began; else "".
    """

    key: str
    status: Status
    method: str = ""
    phase: str = ""
    fraction: float = 0.0
    round: int = 0
    rounds: int = 0
    label: str = ""
    seconds_left: float | None = None
    metrics: list[dict[str, float | int | None]] = field(default_factory=list)
    started: float = 0.0
    heartbeat: float = 0.0
    error: str = ""
    result: str = ""
    made: str = ""
    ticket: str = ""
    background: bool = False
    process: dict[str, Any] | None = None
    cancelling: bool = False
    before: dict[str, Any] | None = None
    refused: str = ""

    @property
    def text(self) -> str:
        """Label and time left: ``round 3 of 10 · train · about 2 min left``."""
        if self.status != "running" or not self.seconds_left:
            return self.error or self.result or self.label
        return f"{self.label} · about {duration_text(self.seconds_left)} left"

    @property
    def busy(self) -> bool:
        """Whether the run is queued or running."""
        return self.status in ("queued", "running")

    def not_resumed(self, why: str = "") -> LiveState | None:
        """The state that a run has again if it is not resumed after all, with the reason; None: it had none."""
        if self.before is None:
            return None
        return replace(LiveState(**self.before), key=self.key, metrics=self.metrics, refused=why)


def read_states(dataset: fo.Dataset) -> dict[str, LiveState]:
    """State of every queued, running or ended run and other job, by key. Takes one database query."""
    values = find(dataset, "^(live|lock|cancel):")
    states = {}
    for name, value in values.items():
        if name.startswith("live:"):
            state = LiveState(**value)
            state = replace(state, cancelling=state.status == "running" and f"cancel:{state.key}" in values)
            states[state.key] = _failed_if_dead(state, values.get(f"lock:{state.key}"))
    return states


def forget(dataset: fo.Dataset, key: str) -> None:
    """Remove the state of a run and of the jobs about it, or the state of a job."""
    drop(dataset, f"^(live|cancel|form):{pattern_of(key)}$")


def forget_ended(dataset: fo.Dataset, key: str) -> None:
    """Remove the state of a run that has another key now, and of the jobs about it, except for those on their way."""
    busy = {name for name, state in read_states(dataset).items() if state.busy}
    for name in find(dataset, f"^(live|cancel|form):{pattern_of(key)}$"):
        if name.partition(":")[2] not in busy:
            run_store(dataset).delete(name)


def keep_form(dataset: fo.Dataset, key: str, form: dict[str, Any]) -> None:
    """Keep the values entered into the form that started a run, until the run has succeeded."""
    run_store(dataset).set(f"form:{key}", form)


def kept_forms(dataset: fo.Dataset) -> dict[str, dict[str, Any]]:
    """Values entered into the forms of runs that have not succeeded, by key."""
    return {name.removeprefix("form:"): form for name, form in find(dataset, "^form:").items()}


def forget_form(dataset: fo.Dataset, key: str) -> None:
    """Delete the values kept by ``keep_form``."""
    run_store(dataset).delete(f"form:{key}")


def failure_text(error: BaseException) -> str:
    """Why a run or other job failed, in words."""
    return str(error) if isinstance(error, DeepClusterError) else f"{type(error).__name__}: {error}"


class LiveObserver:
    """Observer that writes the live state and reads cancel requests, twice a second in a separate thread.

    So training waits for the database only at the end of a round, and the state is also updated during long phases
    without steps.

    Args:
        dataset: dataset of the run's samples.
        key: key of the run, or name of another job.
        method: name of the method.
        rounds: number of planned rounds; None: not known yet, or another job.
        closing: expected seconds of the phases after the last round.
    """

    def __init__(
        self,
        dataset: fo.Dataset,
        key: str,
        method: str,
        rounds: int | None,
        closing: Mapping[str, float] | None = None,
    ) -> None:
        self._store = run_store(dataset)
        self._store.delete(f"cancel:{key}")
        self._outage = dataset._doc.id, key
        before = read_states(dataset).get(key)
        self._earlier = before.metrics if before is not None else []
        self._state = LiveState(key, "running", method, rounds=rounds or 0, started=time.time())
        self._pace: Pace | Steps = Pace(rounds, closing) if is_run(key) else Steps()
        self._cancelled, self._ended, self._away_until = threading.Event(), threading.Event(), 0.0
        self._shown: object = None
        self._writing = threading.Lock()
        self._write()
        self._thread = threading.Thread(target=self._report, name=f"deepcluster state {key}", daemon=True)
        self._thread.start()

    def phase(self, name: str, total: int) -> None:
        """Called at the start of a phase."""
        self._pace.phase(name, total)
        self._state = replace(self._state, phase=name)

    def advance(self, steps: int) -> None:
        """Called after steps of the phase."""
        self._pace.advance(steps)

    def round_done(self, entry: Round, rounds: int) -> None:
        """Called after each round."""
        self._pace.round_done(entry.index, rounds)
        self._add_round(entry, rounds)

    def resumed(self, entry: Round, rounds: int) -> None:
        """Called with the last round of an earlier call that is resumed."""
        self._pace.resumed(entry.index, rounds)
        self._add_round(entry, rounds)

    def epoch(self, number: int, most: int) -> None:
        """Called at the start of an epoch of a round that is trained until its loss has converged."""
        if isinstance(self._pace, Pace):
            self._pace.epoch(number, most)

    def _add_round(self, entry: Round, rounds: int) -> None:
        metrics = self._state.metrics or [known for known in self._earlier if _index(known) < entry.index]
        metrics = [*metrics, summary(entry)][-_MOST_METRICS:]
        self._state = replace(self._state, round=entry.index + 1, rounds=rounds, metrics=metrics)
        self._write()  # immediately: after a kill, the state tells how many rounds are complete

    def cancelled(self) -> bool:
        """Whether cancellation was requested, at most half a second ago or earlier."""
        return self._cancelled.is_set()

    @contextmanager
    def recording_failure(self) -> Iterator[None]:
        """Write the final state if the block is cancelled or fails."""
        try:
            yield
        except (CancelledError, KeyboardInterrupt):
            self.finish("cancelled")
            raise
        except BaseException as error:
            self.finish("failed", failure_text(error))
            raise

    def finish(self, status: Status, error: str = "", result: str = "", made: str = "") -> None:
        """Write the final state."""
        self._ended.set()
        self._thread.join()
        self._state = replace(self._state, status=status, error=error, result=result, made=made, phase="")
        self._write()
        self._ask(lambda: self._store.delete(f"cancel:{self._state.key}"))

    def _report(self) -> None:
        while not self._ended.wait(_SECONDS_BETWEEN_WRITES):
            if not self._cancelled.is_set() and self._ask(
                lambda: self._store.has(f"cancel:{self._state.key}")
            ):
                self._cancelled.set()
            self._write()

    def _write(self) -> None:
        with self._writing:
            self._write_state()

    def _write_state(self) -> None:
        state, left, fraction = self._state, self._pace.seconds_left(), self._pace.fraction()
        if state.status != "running":
            left, fraction = None, 1.0 if state.status == "finished" else fraction
        label = self._label(state)
        shown = (state.status, label, round(fraction, 3), state.round, left and round(left, -1))
        if shown == self._shown:
            return
        self._shown = shown
        now = replace(state, label=label, seconds_left=left, fraction=fraction, heartbeat=time.time())
        self._ask(lambda: self._store.set(f"live:{state.key}", asdict(now)))

    def _ask(self, ask: Callable[[], Any]) -> Any:
        """Result of ``ask``. None while the database does not respond: training continues and tries again later."""
        from pymongo.errors import ConnectionFailure

        if time.monotonic() < self._away_until:
            return None
        try:
            answer = ask()
        except ConnectionFailure as error:
            OUTAGES.notice(self._outage, f"{in_words(self._state.key)} continues", error)
            self._away_until = time.monotonic() + _SECONDS_WITHOUT_DATABASE
            return None
        OUTAGES.over(self._outage)
        return answer

    def _label(self, state: LiveState) -> str:
        if state.status == "running":
            return self._pace.label()
        return state.status if not state.error else f"{state.status}: {state.error}"


def _index(metrics: dict[str, float | int | None]) -> float:
    return metrics["index"] or 0


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


def _failed_if_dead(state: LiveState, held: dict[str, Any] | None) -> LiveState:
    """Set the status to failed if a running state has no living process, or a queued state nothing to start it."""
    error = ""
    if state.status == "queued":
        error = _why_no_process(state) if state.background else _why_not_queued(state)
    elif state.status == "running" and not in_use(held):
        error = _WHY_DEAD if is_run(state.key) else "its process died; start it again"
    if not error:
        return state
    return state.not_resumed(error) or replace(state, status="failed", error=error, label=f"failed: {error}")


def _why_no_process(state: LiveState) -> str:
    """Why the process of a queued run will not start it any more; empty if it will."""
    if state.process is None:
        waited = time.time() - state.heartbeat > _QUEUED_WITHIN_SECONDS
        return "its process did not start" if waited else ""
    holder = replace(Holder(**state.process), heartbeat=state.heartbeat)
    return "" if holder.alive() else "its process died before the run started"


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
