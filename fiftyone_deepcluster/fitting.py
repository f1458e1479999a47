"""Deep clustering of a plain list of images, without FiftyOne: ``fit``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from fiftyone_deepcluster.images.source import ImageRef
    from fiftyone_deepcluster.observer import Observer
    from fiftyone_deepcluster.recipes.base import Options
    from fiftyone_deepcluster.record import RunRecord


@dataclass(frozen=True)
class FitResult:
    """Clusters of N images, row by row as they were given.

    Attributes:
        labels: (N,) int64; -1 for an image that could not be read (or noise of a density method).
        confidence: (N,) float32 in 0..1, NaN where the label is -1 for an unreadable image.
        distance: (N,) float32 to the cluster's centre in ``embeddings``; NaN likewise.
        margin: (N,) float32, distance to the second nearest centre less ``distance``; NaN likewise.
        embeddings: (N, D) float32, the vectors that were clustered; rows of zeros for unreadable images.
        round_labels: (N, R) int32, the cluster in every round; ids mean the same cluster throughout.
        round_losses: (N, R) float32, mean training loss in every round; NaN where it was not drawn.
        errors: row -> why that image could not be read.
        record: figures, options, why it stopped.
        run_dir: where checkpoint and model lie, if they were asked for.
    """

    labels: NDArray[np.int64]
    confidence: NDArray[np.float32]
    distance: NDArray[np.float32]
    margin: NDArray[np.float32]
    embeddings: NDArray[np.float32]
    round_labels: NDArray[np.int32]
    round_losses: NDArray[np.float32]
    errors: dict[int, str]
    record: RunRecord
    run_dir: Path | None = None


def fit(
    images: Sequence[str | Path | ImageRef] | NDArray[np.uint8],
    options: Options | str = "deepcluster",
    *,
    truth: Sequence[object] | None = None,
    observer: Observer | None = None,
    run_dir: str | Path | None = None,
    features: NDArray[np.float32] | None = None,
) -> FitResult:
    """Cluster images by deep clustering.

    Args:
        images: paths, ``ImageRef`` (a path and a box), or a uint8 array (N, H, W) or (N, H, W, C).
        options: an Options object, or a method's name for its defaults.
        truth: N class names or numbers, None where unknown. Measured in the record, never used.
        observer: told of progress; may cancel.
        run_dir: keep a checkpoint after every round there and the model at the end; where it holds
            a checkpoint of the same images and options, the run goes on from it.
        features: (N, D) float32 in place of a network's, for ``frozen`` only.

    Raises:
        OptionsError: options that do not fit each other or the images.
        ImagesError: no image can be read.
    """
    raise NotImplementedError
