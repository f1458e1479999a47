"""Live state of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fiftyone.operators import types

from fiftyone_deepcluster.app import names
from fiftyone_deepcluster.app.panels.hooks import hook
from fiftyone_deepcluster.app.panels.plain_text import in_markdown
from fiftyone_deepcluster.app.panels.sections import charts

if TYPE_CHECKING:
    import fiftyone.operators as foo

    from fiftyone_deepcluster.app.panels.model import PanelModel

_POLL_MILLISECONDS = 1500


def draw(panel: types.Object, model: PanelModel, events: foo.Panel) -> None:
    """Add the progress of the shown run and a cancel button, or the reason of its failure."""
    state = model.state
    if state is None:
        return
    if state.status == "failed":
        _add_failure(panel, model, events)
    if not state.busy:
        return
    box = panel.v_stack("live", gap=2, columns=1)
    if state.status == "queued":
        box.md(
            f"**{in_markdown(state.key)}** is queued and waits for a worker. Start one with `{names.WORKER_COMMAND}`.",
            name="queued",
            componentsProps=hook("queued"),
        )
    else:
        box.md(
            f"**{in_markdown(state.method)}** is running · {in_markdown(state.label or 'starting')}",
            name="label",
            componentsProps=hook("live"),
        )
        box.float(
            "progress", default=state.fraction, view=types.ProgressView(componentsProps=hook("progress"))
        )
    box.btn(
        "cancel",
        label="Cancel",
        icon="cancel",
        variant="outlined",
        on_click=events.on_cancel,
        componentsProps=hook("cancel", "button"),
    )
    if state.metrics:
        charts.draw(box, state.metrics)
    # only while a run is busy: the response to a timer event may overtake the response to an edit
    panel.view("timer", types.TimerView(interval=_POLL_MILLISECONDS, on_interval=events.on_tick))


def _add_failure(panel: types.Object, model: PanelModel, events: foo.Panel) -> None:
    box = panel.v_stack("failure", gap=1)
    box.view(
        "why",
        types.AlertView(
            severity="error",
            label=f"{model.key} failed",
            description=model.state.error if model.state else "",
            componentsProps=hook("failed"),
        ),
    )
    box.btn(
        "resume",
        label="Resume",
        icon="play_arrow",
        variant="outlined",
        on_click=events.on_resume,
        componentsProps=hook("resume", "button"),
    )
    if model.run is None:
        box.btn(
            "delete",
            label="Delete its data",
            icon="delete",
            variant="outlined",
            on_click=events.on_delete_run,
            componentsProps=hook("delete-left", "button"),
        )
