"""Apply a finished run to new images."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fiftyone_deepcluster.api.assembly import Spread
from fiftyone_deepcluster.api.trained_run import reopen

if TYPE_CHECKING:
    from fiftyone_deepcluster.api.assembly import ImageInput
    from fiftyone_deepcluster.core.progress import Observer
    from fiftyone_deepcluster.core.types import Assignment


def predict(run_dir: str | Path, images: ImageInput, *, observer: Observer | None = None) -> Assignment:
    """Apply a finished run's network and reduction to new images and assign each to its nearest center.

    Args:
        run_dir: the ``run_dir`` given to ``fit``.
        images: as for ``fit``.
        observer: receives progress; may cancel.

    Returns:
        Cluster ids of the run, in the order of the images; unreadable ones are in ``errors``.

    Raises:
        CheckpointError: ``run_dir`` has no finished run.
        ImagesError: no image can be read.
    """
    from fiftyone_deepcluster.pseudo_labels.assignments import nearest_assignment

    with reopen(run_dir, images, observer) as run:
        vectors, ids = run.vectors(), run.model["ids"].numpy()
        found = nearest_assignment(vectors, run.model["centers"].to(vectors))
        centers = np.full((int(ids.max()) + 1, vectors.shape[1]), np.nan, np.float32)
        centers[ids] = found.centers  # empty clusters have no center
        return Spread(run.store).assignment(replace(found, labels=ids[found.labels], centers=centers))
