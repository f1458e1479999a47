"""The category tree: groups above the clusters that they hold; a click on one shows its images."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fiftyone.operators import types

from fiftyone_deepcluster.app.panels.hooks import hook
from fiftyone_deepcluster.app.panels.sections.buttons import add_row
from fiftyone_deepcluster.app.panels.sections.charts import BLUE

if TYPE_CHECKING:
    from fiftyone_deepcluster.app.panels.clusters import ClustersPanel
    from fiftyone_deepcluster.app.panels.model import PanelModel
    from fiftyone_deepcluster.dataset.categories import Node

_ROW, _MARGIN = 54, 12


def draw(panel: types.Object, model: PanelModel, events: ClustersPanel) -> None:
    """The buttons, and the tree that was built last."""
    learnt = model.learnt
    if learnt is None:
        return
    box = panel.v_stack("categories", gap=1, columns=1)
    box.md("**What belongs together**", name="title", componentsProps=hook("categories"))
    add_row(
        box,
        (
            ("tree", "Build category tree", "account_tree", events.on_build_tree),
            ("words", "Find key words", "abc", events.on_key_words),
        ),
    )
    if learnt.tree:
        box.md(
            "Groups that the network confuses, from the widest down; the length is the number of images. "
            "Click one to see them.",
            name="about_tree",
            componentsProps=hook("tree-about"),
        )
        _add_icicle(box, learnt.tree, learnt.words or {}, events)


def _add_icicle(
    box: types.Object, nodes: list[Node], words: dict[str, list[str]], events: ClustersPanel
) -> None:
    """Bars that lie where an icicle plot has its cells: only of bars does a click tell which one it was."""
    places = [_place(node, nodes) for node in nodes]
    depths = 1 + max(depth for depth, _ in places)
    box.plot(
        "tree",
        data=[_cells(nodes, places, words)],
        layout={
            "margin": {"t": 4, "l": 4, "r": 4, "b": 4},
            "bargap": 0,
            "barmode": "overlay",
            "showlegend": False,
            "xaxis": {"visible": False},
            "yaxis": {"visible": False},
        },
        config={"displayModeBar": False, "scrollZoom": False},
        height=f"{_ROW * depths + _MARGIN}px",
        on_click=events.on_node,
        componentsProps=hook("tree"),
    )


def _cells(
    nodes: list[Node], places: list[tuple[int, int]], words: dict[str, list[str]]
) -> dict[str, object]:
    """One bar a node."""
    return {
        "type": "bar",
        "orientation": "h",
        "ids": [node.name for node in nodes],
        "x": [node.size for node in nodes],
        "base": [start for _, start in places],
        "y": [-depth for depth, _ in places],
        "width": 0.94,
        "text": [_text(node, words) for node in nodes],
        "textposition": "inside",
        "insidetextanchor": "middle",
        "textangle": 0,
        "constraintext": "none",
        "insidetextfont": {"color": "#ffffff", "size": 10},
        "hovertext": [_hover(node, words) for node in nodes],
        "hoverinfo": "text",
        "marker": {"color": [_tint(node) for node in nodes], "line": {"width": 2, "color": "#26262640"}},
    }


def _place(node: Node, nodes: list[Node]) -> tuple[int, int]:
    """Depth, and the number of images to the left of it: siblings lie in their order within their parent."""
    siblings = [other for other in nodes if other.parent == node.parent]
    before = sum(other.size for other in siblings[: siblings.index(node)])
    parent = next((other for other in nodes if other.name == node.parent and not other.leaf), None)
    if parent is None:
        return 0, before
    depth, start = _place(parent, nodes)
    return depth + 1, start + before


def _text(node: Node, words: dict[str, list[str]]) -> str:
    some = ", ".join(words.get(node.name, [])[:2])
    return f"{node.name}<br>{node.size:,}" + (f"<br>{some}" if some else "")


def _hover(node: Node, words: dict[str, list[str]]) -> str:
    about = ", ".join(words.get(node.name, [])) if node.leaf else ", ".join(node.clusters)
    return f"{node.name}: {node.size:,} images<br>{about}"


def _tint(node: Node) -> str:
    """Groups in full, clusters lighter."""
    return BLUE if not node.leaf else BLUE + "80"
