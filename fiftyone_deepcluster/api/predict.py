"""A finished run applied to images it never saw."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fiftyone_deepcluster.api.assembly import Spread
from fiftyone_deepcluster.api.trained_run import reopen

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fiftyone_deepcluster.api.assembly import ImageInput
    from fiftyone_deepcluster.core.progress import Observer


@dataclass(frozen=True)
class Prediction:
    """Clusters of N images that a finished run never saw.

    Attributes:
        labels: (N,) int64, cluster ids of the run; -1 for an image that could not be read.
        confidence: (N,) float32, 1 - d1/d2 of the distances to the nearest two centers; NaN likewise.
        distance: (N,) float32; NaN likewise.
        margin: (N,) float32; NaN likewise.
        embeddings: (N, D) float32; zeros likewise.
        errors: row -> why that image could not be read.
    """

    labels: NDArray[np.int64]
    confidence: NDArray[np.float32]
    distance: NDArray[np.float32]
    margin: NDArray[np.float32]
    embeddings: NDArray[np.float32]
    errors: dict[int, str]


def predict(run_dir: str | Path, images: ImageInput, *, observer: Observer | None = None) -> Prediction:
    """Apply a finished run to images it never saw: its network, its reduction, its nearest center.

    Args:
        run_dir: of a ``fit`` that was given one.
        images: as for ``fit``.
        observer: told of progress; may cancel.

    Raises:
        CheckpointError: no finished run lies there.
        ImagesError: no image can be read.
    """
    from fiftyone_deepcluster.clusterers.distances import confidence_of, nearest_two

    with reopen(run_dir, images, observer) as run:
        vectors = run.vectors()
        nearest, own, other = (part.cpu() for part in nearest_two(vectors, run.model["centers"].to(vectors)))
        own, other = own.sqrt(), other.sqrt()
        spread = Spread(run.store)
        return Prediction(
            labels=spread(run.model["ids"].numpy()[nearest.numpy()], -1),
            confidence=spread(confidence_of(own, other).numpy(), np.nan),
            distance=spread(own.numpy(), np.nan),
            margin=spread((other - own).nan_to_num(0.0, 0.0, 0.0).numpy(), np.nan),
            embeddings=spread(vectors.cpu().numpy(), 0),
            errors=dict(run.store.errors),
        )
