"""Pictures of the chosen cluster: the images nearest to its centre."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from fiftyone.operators import types

from fiftyone_deepcluster.app.panels.hooks import hook

if TYPE_CHECKING:
    from fiftyone_deepcluster.app.panels.clusters import ClustersPanel
    from fiftyone_deepcluster.app.panels.model import PanelModel

_SIDE = "72px"


def draw(panel: types.Object, model: PanelModel, events: ClustersPanel) -> None:
    """Title and thumbnails; a click on one opens the sample."""
    info = model.chosen
    if info is None:
        return
    panel.md(
        f"**{info.name}** · {info.size:,} images; below those nearest to the centre",
        name="chosen",
        componentsProps=hook("chosen"),
    )
    words = ((model.learnt.words if model.learnt is not None else None) or {}).get(info.name)
    if words:
        panel.md(f"Key words: {', '.join(words)}", name="words", componentsProps=hook("words"))
    gallery = panel.grid("gallery", gap=1, componentsProps=hook("gallery"))  # no orientation: it wraps
    shown = zip(info.exemplars, info.exemplar_paths, info.exemplar_boxes, strict=True)
    for number, (image, path, box) in enumerate(shown):
        gallery.str(
            f"image{number}",
            default="/media?filepath=" + quote(path, safe=""),
            view=types.ImageView(
                height=_SIDE,
                width=_SIDE,
                alt=f"image {number + 1} of {info.name}",
                operator=events.on_image,
                params={"id": image},  # the grid shows the cluster: objects where objects were clustered
                componentsProps=hook(f"image-{number}", "image", loading="lazy", style=_style(box)),
            ),
        )


def _style(box: tuple[float, ...] | None) -> dict[str, str]:
    """How an image fills its square; of an object only what lies in its box, where the browser can."""
    style = {"objectFit": "cover"}
    if box is not None:
        x, y, width, height = box
        sides = (y, 1 - x - width, 1 - y - height, x)  # cut off at the top, right, bottom and left
        style["objectViewBox"] = f"inset({' '.join(f'{max(0.0, side):.2%}' for side in sides)})"
    return style
