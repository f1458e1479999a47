"""The ``worker`` command: execute operations queued by the App or a script, one at a time."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from fiftyone_deepcluster.cli.ending import interrupted_by_signals

if TYPE_CHECKING:
    from collections.abc import Callable

_STOPPED = "the worker was stopped during this operation; a clustering run can be resumed"


def work(*, once: bool, poll_seconds: float, echo: Callable[[str], None]) -> int:
    """Execute queued operations until Ctrl-C or SIGTERM, or until the queue is empty.

    Args:
        once: return when the queue is empty instead of waiting.
        poll_seconds: polling interval of the queue in seconds.
        echo: called with a line of text per event.

    Returns:
        Number of executed operations.
    """
    from fiftyone.operators.delegated import DelegatedOperationService

    service = DelegatedOperationService()
    done = 0
    try:
        with interrupted_by_signals():
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
