"""Charts of the metrics per round."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fiftyone_deepcluster.app.panels.hooks import hook

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fiftyone.operators import types

    from fiftyone_deepcluster.core.record import Round

ChartPoint = dict[str, Any]
ORANGE, BLUE, GREEN, YELLOW, GRAY = "#ff6d04", "#4c9be8", "#5bb974", "#e8b34c", "#9aa0a6"


def points(rounds: Sequence[Round]) -> list[ChartPoint]:
    """Convert rounds to the dicts that the live state uses, too."""
    return [
        {
            "index": entry.index,
            "loss": entry.loss,
            "nmi": entry.change.nmi if entry.change else None,
            "clusters": entry.clusters_in_use,
            "largest_share": entry.largest_share,
            "acc": entry.truth.acc if entry.truth else None,
            "truth_nmi": entry.truth.nmi if entry.truth else None,
        }
        for entry in rounds
    ]


def draw(panel: types.Object, rounds: Sequence[ChartPoint]) -> None:
    """Add charts of the loss, of the agreement with last round and ground truth, and of the largest cluster."""
    if len(rounds) < 2:
        return
    row = panel.h_stack("charts", gap=1, columns=3)
    _add(row, "loss", [_line(rounds, "loss", "loss", ORANGE)])
    agreement = [
        _line(rounds, "nmi", "NMI to last round", BLUE),
        _line(rounds, "truth_nmi", "NMI", GREEN),
        _line(rounds, "acc", "ACC to truth", YELLOW),
    ]
    _add(row, "agreement", agreement, {"range": [0, 1.02]})
    share = [_line(rounds, "largest_share", "largest cluster's share", GRAY)]
    _add(row, "sizes", share, {"rangemode": "tozero", "tickformat": ".0%"})


def named(text: str, color: str) -> str:
    """HTML text in the color of the line that it names."""
    return f'<span style="color:{color}">{text}</span>'


def _line(rounds: Sequence[ChartPoint], key: str, name: str, color: str) -> ChartPoint:
    known = [entry for entry in rounds if entry.get(key) is not None]
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "name": name,
        "x": [entry["index"] + 1 for entry in known],
        "y": [entry[key] for entry in known],
        "line": {"color": color, "width": 2},
        "marker": {"size": 4},
    }


def _add(row: types.Object, name: str, lines: list[ChartPoint], y_axis: dict[str, Any] | None = None) -> None:
    """Add a chart; its colored title replaces the legend, which would take half the width."""
    lines = [line for line in lines if line["x"]]
    if not lines:
        return
    row.plot(
        name,
        data=lines,
        layout={
            "title": {
                "text": " · ".join(named(line["name"], line["line"]["color"]) for line in lines),
                "font": {"size": 13},
            },
            "margin": {"t": 30, "l": 40, "r": 8, "b": 30},
            "showlegend": False,
            "xaxis": {"title": {"text": ""}, "dtick": _step(lines), "zeroline": False},
            "yaxis": {"zeroline": False, **(y_axis or {})},
        },
        config={"displayModeBar": False, "scrollZoom": False},
        height="190px",
        componentsProps=hook(f"chart-{name}"),
    )


def _step(lines: list[ChartPoint]) -> int:
    """Tick distance in rounds for about six ticks."""
    last: int = max(line["x"][-1] for line in lines)
    return max(1, last // 6)
