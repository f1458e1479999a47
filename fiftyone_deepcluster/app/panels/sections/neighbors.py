"""Nearest neighbors of the selected image, before and after training, and retrieval scores."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from fiftyone.operators import types

from fiftyone_deepcluster.app.panels.hooks import hook
from fiftyone_deepcluster.app.panels.plain_text import in_markdown

if TYPE_CHECKING:
    import fiftyone.operators as foo

    from fiftyone_deepcluster.app.panels.learned import LearnedModel
    from fiftyone_deepcluster.app.panels.model import PanelModel
    from fiftyone_deepcluster.dataset.results.neighbors import Neighbor, Retrieval

_SIDE = "64px"
_NAMES = {"learned": "after training", "initial": "before training", "pixels": "on pixels"}


def draw(panel: types.Object, model: PanelModel, events: foo.Panel) -> None:
    """Add retrieval scores, and thumbnails per kind of features; a click on a thumbnail opens the sample."""
    learned = model.learned
    if learned is None:
        return
    if learned.scores is not None:
        panel.md(retrieval_text(learned.scores), name="retrieval", componentsProps=hook("retrieval"))
    if learned.neighbors is None:
        return
    if not learned.neighbors:
        panel.md(_hint(learned), name="neighbors_hint", componentsProps=hook("neighbors-hint"))
        return
    for kind, found in learned.neighbors.items():
        panel.md(
            f"**Nearest neighbors of the selected image, {_NAMES[kind]}**",
            name=f"{kind}_title",
            componentsProps=hook(f"neighbors-{kind}"),
        )
        _add_row(panel, learned, kind, found, events)


def retrieval_text(scores: Retrieval) -> str:
    """Retrieval scores as one line of text."""
    parts = [
        f"{_NAMES[score.features]} mAP {score.mean_average_precision:.3f}, precision@{score.k} {score.precision:.3f}"
        for score in scores.scores
    ]
    chance = scores.scores[0].chance
    return (
        f"**Neighbors of the same {in_markdown(scores.label_field)}** (by chance {chance:.3f}): "
        + " · ".join(parts)
    )


def _hint(learned: LearnedModel) -> str:
    if learned.selected is None:
        return "Select one image in the grid (checkbox in its corner) to see its neighbors here."
    return "No neighbors are known for the selected image: it was added after they were computed, or not readable."


def _add_row(
    panel: types.Object, learned: LearnedModel, kind: str, found: list[Neighbor], events: foo.Panel
) -> None:
    gallery = panel.grid(f"{kind}_neighbors", gap=1)
    for number, near in enumerate(found):
        path = learned.paths.get(near.sample_id)
        if path is None:
            continue  # deleted after the neighbors were computed
        title = f"distance {near.distance:.3f}"
        gallery.str(
            f"image{number}",
            default="/media?filepath=" + quote(path, safe=""),
            view=types.ImageView(
                height=_SIDE,
                width=_SIDE,
                alt=f"neighbor {number + 1} {_NAMES[kind]}",
                operator=events.on_image,
                params={"id": near.sample_id},
                componentsProps=hook(
                    f"{kind}-{number}", "image", title=title, loading="lazy", style={"objectFit": "cover"}
                ),
            ),
        )
