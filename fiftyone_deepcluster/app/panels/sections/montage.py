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
    for number, (sample, path) in enumerate(zip(info.exemplar_samples, info.exemplar_paths, strict=True)):
        gallery.str(
            f"image{number}",
            default="/media?filepath=" + quote(path, safe=""),
            view=types.ImageView(
                height=_SIDE,
                width=_SIDE,
                alt=f"image {number + 1} of {info.name}",
                operator=events.on_image,
                params={"id": sample},
                componentsProps=hook(
                    f"image-{number}", "image", loading="lazy", style={"objectFit": "cover"}
                ),
            ),
        )
