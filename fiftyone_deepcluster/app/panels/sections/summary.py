"""Summary of a run: method, sizes, stop reason, comparison with the baselines."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fiftyone.operators import types

from fiftyone_deepcluster.app.panels.hooks import hook
from fiftyone_deepcluster.app.panels.plain_text import in_markdown
from fiftyone_deepcluster.core.record import StopReason

if TYPE_CHECKING:
    import fiftyone.operators as foo

    from fiftyone_deepcluster.app.panels.model import PanelModel
    from fiftyone_deepcluster.dataset.runs.run import Run

_TROUBLE = {StopReason.COLLAPSED, StopReason.DIVERGED}
_RESUMABLE = {StopReason.CANCELLED, StopReason.OUT_OF_TIME}


def draw(panel: types.Object, model: PanelModel, events: foo.Panel) -> None:
    """Add facts, the comparison with the baselines, and warnings."""
    run = model.run
    if run is None:
        return
    box = panel.v_stack("summary", gap=1, columns=1)
    box.md(_facts(run), name="facts", componentsProps=hook("facts"))
    if run.record.verdict:
        box.view(
            "verdict",
            types.AlertView(
                severity="warning" if run.record.beaten else "info",
                label="Comparison with simple baselines",
                description=run.record.verdict,
                componentsProps=hook("verdict"),
            ),
        )
    for number, text in enumerate(_warnings(run)):
        box.view(f"warning{number}", types.AlertView(severity="warning", label=text))
    if run.stop_reason in _RESUMABLE:
        box.btn(
            "resume",
            label="Resume",
            icon="play_arrow",
            variant="outlined",
            on_click=events.on_resume,
            componentsProps=hook("resume", "button"),
        )


def _facts(run: Run) -> str:
    record = run.record
    facts = [
        f"**{in_markdown(record.method)}**",
        f"{record.n_images:,} images",
        f"{record.n_clusters} clusters",
        f"{len(record.rounds)} round{'' if len(record.rounds) == 1 else 's'}",
    ]
    truth = record.rounds[-1].truth if record.rounds else None
    if truth is not None:
        facts.append(f"ACC {truth.acc:.3f}, NMI {truth.nmi:.3f} to ground truth (evaluation only)")
    stopped = run.stop_reason.message if run.stop_reason else ""
    return " · ".join(facts) + f"\n\n{stopped}"


def _warnings(run: Run) -> list[str]:
    found = list(run.record.notes)
    if run.stop_reason in _TROUBLE:
        found.insert(0, run.stop_reason.message)
    if run.record.n_failed:
        found.insert(
            0,
            f"{run.record.n_failed:,} images could not be read; see the field {run.key}_error for the reasons.",
        )
    return found
