"""The clusters as a table: a click on a row shows the cluster, a click on a title sorts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fiftyone.operators import types

from fiftyone_deepcluster.app.panels.hooks import hook
from fiftyone_deepcluster.app.panels.model import SORT_KEYS

if TYPE_CHECKING:
    from fiftyone_deepcluster.app.panels.clusters import ClustersPanel
    from fiftyone_deepcluster.app.panels.model import PanelModel
    from fiftyone_deepcluster.dataset.runs import ClusterInfo

MAX_ROWS = 200
_TITLES = ("Cluster", "Images", "Share", "Cohesion", "Stability")


def draw(panel: types.Object, model: PanelModel, events: ClustersPanel) -> None:
    """The table; the chosen cluster's row is marked."""
    infos = model.clusters[:MAX_ROWS]
    view = types.TableView(
        on_click_cell=events.on_cell,
        componentsProps={
            **hook("table", "table", sx={"minWidth": 0}),
            **hook("row", "tableBodyRow", sx={"cursor": "pointer"}),
            **hook("cell", "tableBodyCell"),
            **hook("head", "tableHeadCell", sx={"cursor": "pointer"}),
        },
    )
    for key, title in zip(SORT_KEYS, _TITLES, strict=True):
        view.add_column(key, label=f"{title} {_arrow(model)}" if key == model.sort else title)
    chosen = [number for number, info in enumerate(infos) if info.name == model.cluster]
    content = {"columns": list(SORT_KEYS), "rows": [_row(info) for info in infos], "selectedRows": chosen}
    panel.obj("table", default=content, view=view)
    if len(model.clusters) > MAX_ROWS:
        panel.md(f"The first {MAX_ROWS} of {len(model.clusters):,} clusters.", name="more")


def _row(info: ClusterInfo) -> list[str]:
    return [
        info.name,
        f"{info.size:,}",
        f"{info.share:.1%}",
        "–" if info.cohesion is None else f"{info.cohesion:.3f}",
        "–" if info.stability is None else f"{info.stability:.0%}",
    ]


def _arrow(model: PanelModel) -> str:
    downwards = (model.sort not in {"name", "cohesion"}) != model.flipped
    return "▼" if downwards else "▲"
