"""Execute a job in a thread and yield its progress for a delegated operator to report; the queue of delegated jobs.

A job writes its live state to the dataset's store; it is polled here a few times per second, so that FiftyOne's queue
and the panel report the same.
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
    from fiftyone_deepcluster.dataset.background import Job
    from fiftyone_deepcluster.dataset.runs.status import LiveState

_POLL_SECONDS = 0.4


def enqueue(ctx: foo.ExecutionContext, job: Job) -> None:
    """Record the job of an operator as queued; its ticket is added to the operator's parameters."""
    from fiftyone_deepcluster.dataset.runs import status

    ctx.params[status.TICKET] = job.enter()


def ticket_of(ctx: foo.ExecutionContext) -> str:
    """Ticket of the job of an operator that was queued; otherwise empty."""
    from fiftyone_deepcluster.dataset.runs.status import TICKET

    return str(ctx.params.get(TICKET, "")) if ctx.delegated else ""


def follow(
    dataset: fo.Dataset, name: str, work: Callable[[Observer], object], ticket: str = ""
) -> Iterator[LiveState]:
    """Execute ``work`` in a thread, and yield the state of the job whenever it has changed.

    Closing the iterator early (the worker was stopped) requests the job to stop; completed rounds of a run are kept,
    and it can be resumed.

    Args:
        dataset: dataset of the job.
        name: name of the job: of a run, its key.
        work: what is done.
        ticket: ticket of a job that was queued.

    Raises:
        CancelledError: the job was cancelled while it was queued; it is not started.
        Exception: any exception raised by ``work``.
    """
    from fiftyone_deepcluster.dataset.runs import queue, status
    from fiftyone_deepcluster.dataset.runs.job_names import in_words

    observer = queue.QueuedRun(dataset, ticket) if ticket else StopFlag()
    shown = None
    try:
        if observer.cancelled():
            raise CancelledError(f"{in_words(name)} was cancelled while it was queued, so it was not started")
        for _ in _in_thread(f"deepcluster {name}", work, observer):
            state = status.read_states(dataset).get(name)
            if state is not None and state.busy and (state.label, state.fraction) != shown:
                shown = (state.label, state.fraction)
                yield state
    except Exception as error:
        queue.leave(dataset, name, ticket, error)
        raise
    queue.leave(dataset, name, ticket)


def cancel_job(dataset: fo.Dataset, name: str) -> bool:
    """Request a run or other job to stop before its next batch; a queued one is removed from FiftyOne's queue.

    Returns:
        Whether it is queued or running.
    """
    from fiftyone_deepcluster.dataset.runs import queue, status

    state = status.read_states(dataset).get(name)
    asked = queue.request_cancel(dataset, name)
    if asked and state is not None and state.ticket and not state.background:
        _remove_from_queue(dataset, name, state.ticket)
    return asked


def _remove_from_queue(dataset: fo.Dataset, name: str, ticket: str) -> None:
    from fiftyone.operators.delegated import DelegatedOperationService
    from fiftyone.operators.executor import ExecutionResult, ExecutionRunState

    from fiftyone_deepcluster.dataset.runs import queue, status
    from fiftyone_deepcluster.dataset.runs.job_names import in_words

    service, queued = DelegatedOperationService(), ExecutionRunState.QUEUED
    for operation in service.list_operations(dataset_id=dataset._doc.id, run_state=queued):
        if operation.context.params.get(status.TICKET) != ticket:
            continue
        reason = CancelledError(f"{in_words(name)} was cancelled while it was queued")
        result = ExecutionResult(error=str(reason))
        if service.set_failed(operation.id, result=result, required_state=queued):
            queue.leave(dataset, name, ticket, reason)


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
