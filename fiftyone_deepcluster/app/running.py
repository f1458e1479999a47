"""Execute work in a thread and yield its progress for an operator to report.

A run writes its live state to the dataset's store; it is polled here a few times per second, so that FiftyOne's queue
and the panel report the same. Other work reports its steps directly to an observer.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from fiftyone_deepcluster.core.progress import StopFlag
from fiftyone_deepcluster.errors import CancelledError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import fiftyone as fo
    import fiftyone.operators as foo

    from fiftyone_deepcluster.core.progress import Observer
    from fiftyone_deepcluster.dataset.runs.run import Run
    from fiftyone_deepcluster.dataset.runs.status import LiveState

_POLL_SECONDS = 0.4


class Steps(StopFlag):
    """Observer that tracks the progress of the current phase."""

    def __init__(self) -> None:
        super().__init__()
        self._name, self._done, self._total = "starting", 0, 0

    def phase(self, name: str, total: int) -> None:
        """Start a phase of ``total`` steps."""
        self._name, self._done, self._total = name, 0, total

    def advance(self, steps: int) -> None:
        """Count completed steps."""
        self._done += steps

    @property
    def state(self) -> tuple[float, str]:
        """Progress of the phase: fraction in [0, 1], and a text."""
        if not self._total:
            return 0.0, self._name
        done = min(self._done, self._total)
        return done / self._total, f"{self._name} · {done:,} of {self._total:,}"


def enqueue(ctx: foo.ExecutionContext, key: str, method: str, rounds: int) -> None:
    """Record the run of an operator as queued; its key and ticket are added to the operator's parameters."""
    from fiftyone_deepcluster.dataset.runs import queue, status

    ctx.params["key"] = key
    ctx.params[status.TICKET] = queue.enter(ctx.dataset, key, method, rounds)


def ticket_of(ctx: foo.ExecutionContext) -> str:
    """Ticket of the run of an operator that was queued; otherwise empty."""
    from fiftyone_deepcluster.dataset.runs.status import TICKET

    return str(ctx.params.get(TICKET, "")) if ctx.delegated else ""


def follow_run(
    dataset: fo.Dataset, key: str, work: Callable[[Observer], Run], ticket: str = ""
) -> Iterator[LiveState]:
    """Execute ``work`` in a thread, and yield the state of the run whenever it has changed.

    Closing the iterator early (the worker was stopped) requests the run to stop; its completed rounds are kept, and
    it can be resumed.

    Args:
        dataset: dataset of the run.
        key: key of the run.
        work: the run.
        ticket: ticket of a run that was queued.

    Raises:
        CancelledError: the run was cancelled while it was queued; it is not started.
        Exception: any exception raised by ``work``.
    """
    from fiftyone_deepcluster.dataset.runs import queue, status

    observer = queue.QueuedRun(dataset, ticket) if ticket else StopFlag()
    shown = None
    try:
        if observer.cancelled():
            raise CancelledError(f"run {key!r} was cancelled while it was queued, so it was not started")
        for _ in _in_thread(f"deepcluster {key}", work, observer):
            state = status.read_states(dataset).get(key)
            if state is not None and state.busy and (state.label, state.fraction) != shown:
                shown = (state.label, state.fraction)
                yield state
    except Exception as error:
        queue.leave(dataset, key, ticket, error)
        raise
    queue.leave(dataset, key, ticket)


def cancel_run(dataset: fo.Dataset, key: str) -> bool:
    """Request a run to stop before its next batch; a queued run is removed from FiftyOne's queue.

    Returns:
        Whether there is a queued or running run.
    """
    from fiftyone_deepcluster.dataset.runs import queue, status

    state = status.read_states(dataset).get(key)
    asked = queue.request_cancel(dataset, key)
    if asked and state is not None and state.ticket and not state.background:
        _remove_from_queue(dataset, key, state.ticket)
    return asked


def _remove_from_queue(dataset: fo.Dataset, key: str, ticket: str) -> None:
    from fiftyone.operators.delegated import DelegatedOperationService
    from fiftyone.operators.executor import ExecutionResult, ExecutionRunState

    from fiftyone_deepcluster.dataset.runs import queue, status

    service, queued = DelegatedOperationService(), ExecutionRunState.QUEUED
    for operation in service.list_operations(dataset_id=dataset._doc.id, run_state=queued):
        if operation.context.params.get(status.TICKET) != ticket:
            continue
        reason = CancelledError(f"run {key!r} was cancelled while it was queued")
        result = ExecutionResult(error=str(reason))
        if service.set_failed(operation.id, result=result, required_state=queued):
            queue.leave(dataset, key, ticket, reason)


def watch(name: str, work: Callable[[Observer], object]) -> Iterator[tuple[float, str]]:
    """Execute ``work`` other than a run in a thread, and yield its progress whenever it has changed.

    Closing the iterator early requests the work to stop.

    Raises:
        Exception: any exception raised by ``work``.
    """
    steps, shown = Steps(), None
    for _ in _in_thread(name, work, steps):
        if steps.state != shown:
            shown = steps.state
            yield shown


def _in_thread(name: str, work: Callable[[Observer], object], observer: StopFlag) -> Iterator[None]:
    """Execute ``work`` in a thread, and yield a few times per second until it is done."""
    failure: list[BaseException] = []

    def body() -> None:
        try:
            work(observer)
        except BaseException as error:  # raised in the caller's thread below
            failure.append(error)

    thread = threading.Thread(target=body, name=name, daemon=True)
    thread.start()
    try:
        while thread.is_alive():
            thread.join(_POLL_SECONDS)
            yield
    finally:
        if thread.is_alive():
            observer.stop()
    if failure:
        raise failure[0]
