"""The ``worker`` command: carries out operations that the App or a script queued, one at a time."""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

_STOPPED = "the worker was stopped while it ran this; a clustering run can be resumed"


def work(*, once: bool, poll_seconds: float, echo: Callable[[str], None]) -> int:
    """Execute queued operations until Ctrl-C, or until the queue is empty.

    Args:
        once: end when nothing is queued instead of waiting for more.
        poll_seconds: pause between two looks at the queue.
        echo: told of every operation.

    Returns:
        Number of operations carried out.
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
    """Execute the oldest queued operation; whether there was one.

    Raises:
        KeyboardInterrupt: after the operation under way was marked as failed; it would show as running
            for ever otherwise.
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
    """Let Ctrl-C and SIGTERM break into a running operation.

    FiftyOne runs operations under ``asyncio.run``, which since Python 3.11 turns the first Ctrl-C into
    a cancellation that waits for the operation to end; it leaves a handler of ours alone.
    """

    def interrupt(_signal: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, interrupt)
    signal.signal(signal.SIGTERM, interrupt)
