"""Table of the clusters: a click on a row shows the cluster, a click on a column header sorts.

Many clusters are split into pages and can be searched by name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fiftyone.operators import types

from fiftyone_deepcluster.app.panels.hooks import hook
from fiftyone_deepcluster.app.panels.model import ROWS_A_PAGE, SORT_KEYS

if TYPE_CHECKING:
    import fiftyone.operators as foo

    from fiftyone_deepcluster.app.panels.model import PanelModel
    from fiftyone_deepcluster.dataset.review.clusters import ClusterInfo

_SEARCHED_FROM = 20  # fewer clusters need no search
_TITLES = ("Cluster", "Images", "Share", "Cohesion", "Stability")


def draw(panel: types.Object, model: PanelModel, events: foo.Panel) -> None:
    """Add the table; the row of the selected cluster is highlighted."""
    infos = model.shown
    if len(model.clusters) > _SEARCHED_FROM:
        _add_search(panel, model, events)
    view = types.TableView(
        on_click_cell=events.on_cell,
        componentsProps={
            **hook(
                "rows", "tableContainer", sx={"maxHeight": "60vh"}
            ),  # keeps the sections below within reach
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


def _add_search(panel: types.Object, model: PanelModel, events: foo.Panel) -> None:
    """Add the search input, the page selector if there are several pages, and the shown range."""
    grid = {"grid": {"sx": {"gridTemplateColumns": "1fr 1fr"}}}
    row = panel.h_stack("find", gap=2, align_y="end", componentsProps=grid)
    text = types.TextFieldView(
        placeholder="Search clusters by name",
        componentsProps={"field": {"inputProps": {"data-cy": "deepcluster-find"}}},
    )
    row.str("name", view=text, on_change=events.on_typed)
    if model.n_pages > 1:
        pages = types.DropdownView(componentsProps=hook("page", "select"))
        for page in range(model.n_pages):
            pages.add_choice(str(page), label=f"Page {page + 1} of {model.n_pages}")
        row.enum("page", pages.values(), default=str(model.page), view=pages, on_change=events.on_typed)
    panel.md(_extent(model), name="extent", componentsProps=hook("extent"))


def _extent(model: PanelModel) -> str:
    of = f"of {len(model.clusters):,} clusters"
    if model.search:
        of = f"of {len(model.found):,} found, {of}"
    first = model.page * ROWS_A_PAGE
    if not model.shown:
        return f"No match among {len(model.clusters):,} clusters"
    return f"{first + 1:,} to {first + len(model.shown):,} {of}"


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
