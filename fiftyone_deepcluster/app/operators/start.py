"""Execution of the operators that cluster: in the background from a form, in this process from a script or worker."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fiftyone_deepcluster.app.operators.shared_inputs import from_app
from fiftyone_deepcluster.app.running import follow_run, ticket_of
from fiftyone_deepcluster.core.progress import Silent
from fiftyone_deepcluster.dataset.display.workspace import CLUSTERS_PANEL
from fiftyone_deepcluster.errors import DeepClusterError

if TYPE_CHECKING:
    from collections.abc import Callable

    import fiftyone.operators as foo

    from fiftyone_deepcluster.dataset.background import RunCall


def run_or_start(
    ctx: foo.ExecutionContext, read: Callable[[], tuple[RunCall, str, int]]
) -> dict[str, Any] | None:
    """Carry out the call of a clustering operator.

    From a form, the run starts in the background and the form closes. If the start fails, the form opens again with
    the values that were entered.

    Args:
        ctx: context of the operator.
        read: reads the call, the method and the number of planned rounds from the operator's parameters.

    Returns:
        Key of the run, and whether it was started in the background.

    Raises:
        Exception: anything that the call raises, if it was not started in the background.
    """
    if ctx.delegated or not from_app(ctx):
        call, _, _ = read()
        if ctx.delegated:
            for state in follow_run(ctx.dataset, call.key, call.carry_out, ticket_of(ctx)):
                ctx.set_progress(progress=state.fraction, label=state.text)
            ctx.set_progress(progress=1.0, label="done")
        else:
            call.carry_out(Silent())
        return {"key": call.key, "background": False}
    try:
        call, method, rounds = read()
        call.start(method, rounds)
    except DeepClusterError as error:
        ctx.ops.notify(str(error), variant="error")
        ctx.prompt(ctx.operator_uri, params=dict(ctx.params))
        return None
    _keep_form(ctx, call.key)
    _show_progress(ctx, call.key)
    return {"key": call.key, "background": True}


def _keep_form(ctx: foo.ExecutionContext, key: str) -> None:
    from fiftyone_deepcluster.dataset.runs import status

    status.keep_form(ctx.dataset, key, {"operator": ctx.operator_uri, "params": dict(ctx.params)})


def _show_progress(ctx: foo.ExecutionContext, key: str) -> None:
    """Notify that the panel shows the progress; open the panel if it is closed."""
    ctx.ops.notify(f"{key} runs in the background; the Clusters panel shows its progress", variant="info")
    if not _is_open(ctx):
        ctx.ops.open_panel(CLUSTERS_PANEL, layout="horizontal", state={"state": {"run": key}})


def _is_open(ctx: foo.ExecutionContext) -> bool:
    import fiftyone as fo

    waiting: list[Any] = [ctx.spaces]
    while waiting:
        part = waiting.pop()
        if isinstance(part, fo.Panel) and part.type == CLUSTERS_PANEL:
            return True
        waiting += getattr(part, "children", None) or []
    return False
