"""The selected cluster: key words, the images nearest to its center, and random images."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from fiftyone.operators import types

from fiftyone_deepcluster.app.panels.hooks import hook
from fiftyone_deepcluster.app.panels.plain_text import in_markdown

if TYPE_CHECKING:
    import fiftyone.operators as foo

    from fiftyone_deepcluster.app.panels.model import PanelModel
    from fiftyone_deepcluster.dataset.review.clusters import ClusterInfo

_SIDE = "72px"


def draw(panel: types.Object, model: PanelModel, events: foo.Panel) -> None:
    """Add title, key words and thumbnails; a click on a thumbnail opens the sample."""
    info = model.chosen
    if info is None:
        return
    panel.md(
        f"**{in_markdown(info.name)}** · {info.size:,} images", name="chosen", componentsProps=hook("chosen")
    )
    words = ((model.learned.words if model.learned is not None else None) or {}).get(info.name)
    if words:
        panel.md(f"Key words: {in_markdown(', '.join(words))}", name="words", componentsProps=hook("words"))
    drawn = model.drawn
    which = "Nearest to the center" if drawn is not None else "All images, nearest to the center first"
    panel.md(which, name="about_nearest")
    _add_gallery(panel, "gallery", info, "image", events)
    if drawn is not None:
        _add_title(panel, info, events)
        _add_gallery(panel, "random", drawn, "random", events)


def _add_title(panel: types.Object, info: ClusterInfo, events: foo.Panel) -> None:
    row = panel.h_stack("about_random", gap=1, align_y="center")
    row.md("Random images", name="text")
    row.btn(
        "again",
        label="Draw others",
        icon="shuffle",
        variant="outlined",
        on_click=events.on_draw_others,
        componentsProps=hook("draw-others", "button", title=f"Other images of {info.name}"),
    )


def _add_gallery(panel: types.Object, name: str, info: ClusterInfo, image: str, events: foo.Panel) -> None:
    gallery = panel.grid(name, gap=1, componentsProps=hook(name))  # a grid without orientation wraps
    shown = zip(info.exemplars, info.exemplar_paths, info.exemplar_boxes, strict=True)
    for number, (image_id, path, box) in enumerate(shown):
        gallery.str(
            f"image{number}",
            default="/media?filepath=" + quote(path, safe=""),
            view=types.ImageView(
                height=_SIDE,
                width=_SIDE,
                alt=f"image {number + 1} of {info.name}",
                operator=events.on_image,
                params={"id": image_id},  # sample id, or object id if objects were clustered
                componentsProps=hook(f"{image}-{number}", "image", loading="lazy", style=_style(box)),
            ),
        )


def _style(box: tuple[float, ...] | None) -> dict[str, str]:
    """CSS that crops an image to a square, and to the object's box where the browser supports it."""
    style = {"objectFit": "cover"}
    if box is not None:
        x, y, width, height = box
        sides = (y, 1 - x - width, 1 - y - height, x)  # cropped from top, right, bottom, left
        style["objectViewBox"] = f"inset({' '.join(f'{max(0.0, side):.2%}' for side in sides)})"
    return style
