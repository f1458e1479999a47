"""Units of a layer: the image that maximizes the activation, and the images with the highest activations."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from fiftyone.operators import types

from fiftyone_deepcluster.app.panels.hooks import hook
from fiftyone_deepcluster.app.panels.plain_text import in_markdown

if TYPE_CHECKING:
    import fiftyone.operators as foo

    from fiftyone_deepcluster.app.panels.model import PanelModel

_WIDTH, _HEIGHT = "148px", "73px"


def draw(panel: types.Object, model: PanelModel, events: foo.Panel) -> None:
    """Add one tile per unit; a click shows the unit's top images in the grid."""
    if model.learned is None or model.learned.filters is None:
        return
    layer, units = model.learned.filters
    panel.md(
        f"**{in_markdown(layer)}**, {len(units)} units. Left: image optimized to maximize the activation; right: the "
        "nine images with the highest activations. Click a unit to show them in the grid",
        name="filters_title",
        componentsProps=hook("filters"),
    )
    gallery = panel.grid("filters", gap=1, componentsProps=hook("filters-gallery"))
    for number, drawn in enumerate(units):
        gallery.str(
            f"unit{number}",
            default="/media?filepath=" + quote(drawn.tile, safe=""),
            view=types.ImageView(
                height=_HEIGHT,
                width=_WIDTH,
                alt=f"unit {drawn.unit} of {layer}",
                operator=events.on_unit,
                params={"unit": drawn.unit},
                componentsProps=hook(
                    f"unit-{drawn.unit}", "image", title=f"{layer}, unit {drawn.unit}", loading="lazy"
                ),
            ),
        )
