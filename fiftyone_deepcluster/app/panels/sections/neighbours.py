"""Neighbours of the selected image, after training and before, and figures of retrieval."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from fiftyone.operators import types

from fiftyone_deepcluster.app.panels.hooks import hook

if TYPE_CHECKING:
    import fiftyone.operators as foo

    from fiftyone_deepcluster.app.panels.learnt import LearntModel
    from fiftyone_deepcluster.app.panels.model import PanelModel
    from fiftyone_deepcluster.dataset.results.neighbours import Neighbour, Retrieval

_SIDE = "64px"
_NAMES = {"learnt": "after training", "initial": "before training", "pixels": "in the pixels"}


def draw(panel: types.Object, model: PanelModel, events: foo.Panel) -> None:
    """Figures, and a row of thumbnails for each kind of features; a click on one opens the sample."""
    learnt = model.learnt
    if learnt is None:
        return
    if learnt.scores is not None:
        panel.md(in_words(learnt.scores), name="retrieval", componentsProps=hook("retrieval"))
    if learnt.neighbours is None:
        return
    if not learnt.neighbours:
        panel.md(_hint(learnt), name="neighbours_hint", componentsProps=hook("neighbours-hint"))
        return
    for kind, found in learnt.neighbours.items():
        panel.md(
            f"**Nearest to the selected image, {_NAMES[kind]}**",
            name=f"{kind}_title",
            componentsProps=hook(f"neighbours-{kind}"),
        )
        _add_row(panel, learnt, kind, found, events)


def in_words(scores: Retrieval) -> str:
    """Figures of retrieval as one line."""
    parts = [
        f"{_NAMES[score.features]} mAP {score.mean_average_precision:.3f}, precision@{score.k} {score.precision:.3f}"
        for score in scores.scores
    ]
    chance = scores.scores[0].chance
    return f"**Neighbours of the same {scores.label_field}** (by chance {chance:.3f}): " + " · ".join(parts)


def _hint(learnt: LearntModel) -> str:
    if learnt.selected is None:
        return "Select one image in the grid (the box in its corner) to see its neighbours here."
    return (
        "The selected image has no neighbours yet: it joined the run since they were sought, or was not read."
    )


def _add_row(
    panel: types.Object, learnt: LearntModel, kind: str, found: list[Neighbour], events: foo.Panel
) -> None:
    gallery = panel.grid(f"{kind}_neighbours", gap=1)
    for number, near in enumerate(found):
        path = learnt.paths.get(near.sample_id)
        if path is None:
            continue  # deleted since
        title = f"distance {near.distance:.3f}"
        gallery.str(
            f"image{number}",
            default="/media?filepath=" + quote(path, safe=""),
            view=types.ImageView(
                height=_SIDE,
                width=_SIDE,
                alt=f"neighbour {number + 1} {_NAMES[kind]}",
                operator=events.on_image,
                params={"id": near.sample_id},
                componentsProps=hook(
                    f"{kind}-{number}", "image", title=title, loading="lazy", style={"objectFit": "cover"}
                ),
            ),
        )
