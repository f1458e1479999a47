"""The ``worker`` command: execute operations queued by the App or a script, one at a time."""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

_STOPPED = "the worker was stopped during this operation; a clustering run can be resumed"


def work(*, once: bool, poll_seconds: float, echo: Callable[[str], None]) -> int:
    """Execute queued operations until Ctrl-C, or until the queue is empty.

    Args:
        once: return when the queue is empty instead of waiting.
        poll_seconds: polling interval of the queue in seconds.
        echo: called with a line of text per event.

    Returns:
        Number of executed operations.
    """
    from fiftyone.operators.delegated import DelegatedOperationService

    service = DelegatedOperationService()
    _interrupt_at_once()
    done = 0
    try:
        while True:
            if _execute_next(service, echo):
                done += 1
            elif once:
                break
            else:
                time.sleep(poll_seconds)
    except KeyboardInterrupt:
        echo("stopped")
    return done


def _execute_next(service: Any, echo: Callable[[str], None]) -> bool:
    """Execute the oldest queued operation; return whether there was one.

    Raises:
        KeyboardInterrupt: after marking the current operation as failed; otherwise it would remain in the
            running state.
    """
    from fiftyone.factory import DelegatedOperationPagingParams
    from fiftyone.operators.executor import ExecutionResult, ExecutionRunState

    paging = DelegatedOperationPagingParams(limit=1)
    waiting = service.list_operations(run_state=ExecutionRunState.QUEUED, paging=paging)
    if not waiting:
        return False
    operation = waiting[0]
    echo(f"{operation.operator} {operation.id} ...")
    try:
        service.execute_operation(operation)
    except KeyboardInterrupt:
        service.set_failed(operation.id, result=ExecutionResult(error=_STOPPED))
        echo(f"{operation.operator} {operation.id} stopped")
        raise
    after = service.get(operation.id)
    error = getattr(after.result, "error", None) if after.result else None
    reason = f": {error.strip().splitlines()[-1]}" if error else ""
    echo(f"{operation.operator} {operation.id} {after.run_state}{reason}")
    return True


def _interrupt_at_once() -> None:
    """Let Ctrl-C and SIGTERM interrupt a running operation immediately.

    FiftyOne runs operations with ``asyncio.run``, which since Python 3.11 converts the first Ctrl-C to a
    cancellation that waits for the operation to end, but does not replace a custom signal handler.
    """

    def interrupt(_signal: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, interrupt)
    signal.signal(signal.SIGTERM, interrupt)
