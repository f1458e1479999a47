"""Images that are similar to some others, from the stored vectors of a few clusters."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fiftyone_deepcluster.dataset.review.clusters import aggregate, image_stages
from fiftyone_deepcluster.dataset.review.members import members_of
from fiftyone_deepcluster.dataset.review.overview import PICTURE_VALUES, picture_of, truth_of
from fiftyone_deepcluster.dataset.review.vectors import vectors_of
from fiftyone_deepcluster.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fiftyone_deepcluster.dataset.review.overview import Picture
    from fiftyone_deepcluster.dataset.runs.kept_run import KeptRun

_MOST_COMPARED = 20_000
"""Images whose vectors are read, so that the time does not grow with the dataset."""


def similar_images(
    run: KeptRun, ids: Sequence[str], clusters: Sequence[str], n: int, label_field: str | None = None
) -> list[Picture]:
    """Images nearest to the mean vector of the given ones, nearest first, without these.

    Args:
        run: the run.
        ids: ids of images (for patches, of objects).
        clusters: names of the clusters to search, besides those of the images.
        n: number of images, at most.
        label_field: field whose value is read, too.

    Raises:
        InputError: the run has none of the images, or they have no vectors.
        RunError: the run has no stored vectors.
    """
    import numpy as np

    given = members_of(run, ids)
    asked = {old.image_id for old in given}
    searched = list(dict.fromkeys([*(str(old.value) for old in given), *clusters]))
    parts = [vectors_of(run, [name], max(1, _MOST_COMPARED // len(searched))) for name in searched]
    images = [image for found, _ in parts for image in found]
    rows = [row for row, image in enumerate(images) if image["image"] in asked]
    if not rows:
        raise InputError(f"the {run.fields.unit}s have no vectors in run {run.key!r}; choose others")
    vectors = np.concatenate([vectors for _, vectors in parts if len(vectors)])
    distances = np.linalg.norm(vectors - vectors[rows].mean(axis=0), axis=1)
    order = distances.argsort(kind="stable").tolist()
    chosen = [images[row] for row in order if images[row]["image"] not in asked][:n]
    ids_in_order = [image["image"] for image in chosen]
    stages = [
        {"$match": {"_id": {"$in": [image["sample"] for image in chosen]}}},
        *image_stages(run.fields, {"$in": searched}, PICTURE_VALUES, truth_of(run, label_field)),
        {"$match": {"image": {"$in": ids_in_order}}},
    ]
    shown = {document["image"]: picture_of(document) for document in aggregate(run, stages)}
    return [shown[image] for image in ids_in_order if image in shown]
