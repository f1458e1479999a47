"""Units of a layer: the image made to excite each, and the images of the run that do so most."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from fiftyone.operators import types

from fiftyone_deepcluster.app.panels.hooks import hook

if TYPE_CHECKING:
    import fiftyone.operators as foo

    from fiftyone_deepcluster.app.panels.model import PanelModel

_WIDTH, _HEIGHT = "148px", "73px"


def draw(panel: types.Object, model: PanelModel, events: foo.Panel) -> None:
    """One tile a unit; a click on one shows its images in the grid."""
    if model.learned is None or model.learned.filters is None:
        return
    layer, units = model.learned.filters
    panel.md(
        f"**{layer}**, {len(units)} units: left an image made to excite the unit, right the nine images that "
        "do so most; a click shows those in the grid",
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
