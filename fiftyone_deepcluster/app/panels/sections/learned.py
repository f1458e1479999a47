"""Learned features: buttons of the analyses, and bar charts of the linear probes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fiftyone.operators import types

from fiftyone_deepcluster.app.panels.hooks import hook
from fiftyone_deepcluster.app.panels.plain_text import in_markdown
from fiftyone_deepcluster.app.panels.sections.buttons import add_row
from fiftyone_deepcluster.app.panels.sections.charts import BLUE, GRAY, named

if TYPE_CHECKING:
    import fiftyone.operators as foo

    from fiftyone_deepcluster.analysis.linear_probe import LayerScore, ProbeResult
    from fiftyone_deepcluster.app.panels.model import PanelModel

_MAX_NUMBERED = 9  # more bars with numbers on them would overlap
_CLASSIFIERS = {"logistic": "logistic regression", "svm": "linear SVM"}


def draw(panel: types.Object, model: PanelModel, events: foo.Panel) -> None:
    """Add title, buttons and the last probe."""
    learned = model.learned
    if learned is None:
        return
    box = panel.v_stack("learned", gap=1, columns=1)
    box.md("**Learned features**", name="title", componentsProps=hook("learned"))
    add_row(
        box,
        (
            ("probe", "Probe layers", "troubleshoot", events.on_probe),
            ("filters", "Draw filters", "texture", events.on_draw_filters),
            ("neighbors", "Find neighbors", "join_inner", events.on_find_neighbors),
        ),
    )
    if learned.probe is not None:
        _add_probe(box, learned.probe)


def _add_probe(box: types.Object, probe: ProbeResult) -> None:
    box.md(_facts(probe), name="probe_facts", componentsProps=hook("probe"))
    charts = box.v_stack("probe_charts", gap=1, columns=1)
    for name, title in _CLASSIFIERS.items():
        charts.plot(
            name,
            data=[_bars(probe, name, "trained", BLUE), _bars(probe, name, "initial", GRAY)],
            layout={
                "title": {"text": _title(title), "font": {"size": 13}},
                "margin": {"t": 30, "l": 40, "r": 8, "b": 25},
                "showlegend": False,
                "barmode": "group",
                "yaxis": {"range": [0, 1.12], "tickformat": ".0%", "zeroline": False},
                "shapes": [_level(probe.chance)],
            },
            config={"displayModeBar": False, "scrollZoom": False},
            height="180px",
            componentsProps=hook(f"probe-{name}"),
        )


def _facts(probe: ProbeResult) -> str:
    return (
        f"Accuracy of a linear classifier on held-out images, layer by layer: {in_markdown(probe.label_field)}, "
        f"{probe.n_images:,} images in {probe.n_classes} classes, {probe.folds} folds. "
        f"Dotted line: always predicting the largest class, {probe.chance:.0%}."
    )


def _title(classifier: str) -> str:
    return f"{classifier}: {named('trained', BLUE)} · {named('before training', GRAY)}"


def _bars(probe: ProbeResult, classifier: str, network: str, color: str) -> dict[str, Any]:
    scores: list[LayerScore] = [score for score in probe.scores if score.network == network]
    values = [getattr(score, classifier) for score in scores]
    numbered = len(scores) <= _MAX_NUMBERED
    return {
        "type": "bar",
        "name": network,
        "x": [score.layer for score in scores],
        "y": values,
        "text": [f"{100 * value:.1f}" for value in values] if numbered else None,
        "textposition": "outside",
        "textangle": 0,
        "cliponaxis": False,
        "textfont": {"size": 10},
        "error_y": {
            "type": "data",
            "array": [getattr(score, f"{classifier}_spread") for score in scores],
            "visible": not numbered,
            "thickness": 1,
        },
        "marker": {"color": color},
    }


def _level(chance: float) -> dict[str, Any]:
    line = {"color": GRAY, "width": 1, "dash": "dot"}
    return {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": chance, "y1": chance, "line": line}
