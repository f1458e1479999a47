"""Category tree: groups above their clusters; a click on a node shows its images."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fiftyone.operators import types

from fiftyone_deepcluster.app.panels.hooks import hook
from fiftyone_deepcluster.app.panels.plain_text import in_plot
from fiftyone_deepcluster.app.panels.sections.buttons import add_row
from fiftyone_deepcluster.app.panels.sections.charts import ORANGE

if TYPE_CHECKING:
    import fiftyone.operators as foo

    from fiftyone_deepcluster.app.panels.model import PanelModel
    from fiftyone_deepcluster.dataset.results.categories import Node

_ROW, _MARGIN = 66, 8
_LETTERS = 110  # characters of the small font that fit into the width of a panel beside the grid
_SMALLEST = 9  # minimum legible font size; a name that does not fit is only in the hover text
_GROUP, _CLUSTER = "#2b6cb0", "#4a6076"  # white text is legible on both, in the dark and the light theme


def draw(panel: types.Object, model: PanelModel, events: foo.Panel) -> None:
    """Add the buttons and the tree built last."""
    learned = model.learned
    if learned is None:
        return
    box = panel.v_stack("categories", gap=1, columns=1)
    box.md("**Categories**", name="title", componentsProps=hook("categories"))
    add_row(
        box,
        (
            ("tree", "Build category tree", "account_tree", events.on_build_tree),
            ("words", "Find key words", "abc", events.on_key_words),
        ),
    )
    if learned.tree:
        box.md(
            "Groups of clusters that the network confuses, from the largest down; the width is the number of images. "
            "Click a group or cluster to show its images.",
            name="about_tree",
            componentsProps=hook("tree-about"),
        )
        _add_icicle(box, model, learned.tree, events)


def _add_icicle(box: types.Object, model: PanelModel, nodes: list[Node], events: foo.Panel) -> None:
    """Add an icicle plot made of bars: only click events of bars identify the clicked node."""
    places = [_place(node, nodes) for node in nodes]
    depths = 1 + max(depth for depth, _ in places)
    box.plot(
        "tree",
        data=[_cells(nodes, places, model)],
        layout={
            "margin": {"t": 4, "l": 0, "r": 0, "b": 4},
            "bargap": 0,
            "barmode": "overlay",
            "showlegend": False,
            "uniformtext": {"mode": "hide", "minsize": _SMALLEST},
            "xaxis": {"visible": False, "fixedrange": True, "range": [0, _n_images(nodes)]},
            "yaxis": {"visible": False, "fixedrange": True},
        },
        config={"displayModeBar": False, "scrollZoom": False},
        height=f"{_ROW * depths + _MARGIN}px",
        on_click=events.on_node,
        componentsProps=hook("tree"),
    )


def _cells(nodes: list[Node], places: list[tuple[int, int]], model: PanelModel) -> dict[str, object]:
    """One bar per node; the node shown in the grid has a thick edge."""
    words = (model.learned.words if model.learned is not None else None) or {}
    shown = [node.name == model.node for node in nodes]
    total = _n_images(nodes)
    return {
        "type": "bar",
        "orientation": "h",
        "ids": [node.name for node in nodes],
        "x": [node.size for node in nodes],
        "base": [start for _, start in places],
        "y": [-depth for depth, _ in places],
        "width": 0.94,
        "text": [_text(node, words, _LETTERS * node.size / total) for node in nodes],
        "textposition": "inside",
        "insidetextanchor": "middle",
        "textangle": "auto",  # rotates the text in narrow cells
        "insidetextfont": {"color": "#ffffff", "size": 11},
        "hovertext": [_hover(node, words) for node in nodes],
        "hoverinfo": "text",
        "marker": {
            "color": [_CLUSTER if node.leaf else _GROUP for node in nodes],
            "line": {
                "width": [3 if chosen else 1 for chosen in shown],
                "color": [ORANGE if chosen else "#00000080" for chosen in shown],
            },
        },
    }


def _n_images(nodes: list[Node]) -> int:
    return sum(node.size for node in nodes if node.leaf)


def _place(node: Node, nodes: list[Node]) -> tuple[int, int]:
    """Depth, and number of images to the left of the node; siblings keep their order within their parent."""
    siblings = [other for other in nodes if other.parent == node.parent]
    before = sum(other.size for other in siblings[: siblings.index(node)])
    parent = next((other for other in nodes if other.name == node.parent and not other.leaf), None)
    if parent is None:
        return 0, before
    depth, start = _place(parent, nodes)
    return depth + 1, start + before


def _text(node: Node, words: dict[str, list[str]], letters: float) -> str:
    """Name of a node; with size and first key words if a line of ``letters`` characters has room for them."""
    if letters < len(node.name):
        return in_plot(node.name)
    some = ""
    for word in words.get(node.name, []):
        longer = f"{some}, {word}" if some else word
        if len(longer) > letters:
            break
        some = longer
    return "<br>".join(filter(None, [in_plot(node.name), f"{node.size:,}", in_plot(some)]))


def _hover(node: Node, words: dict[str, list[str]]) -> str:
    about = ", ".join(words.get(node.name, [])) if node.leaf else ", ".join(node.clusters)
    return f"{in_plot(node.name)}: {node.size:,} images<br>{in_plot(about)}"
