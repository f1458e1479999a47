"""Images, options and weights for fits, and the comparison of two results."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from sklearn.datasets import load_digits

from fiftyone_deepcluster.backbones.base import BACKBONES
from fiftyone_deepcluster.core.process_state import seeded_torch

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from fiftyone_deepcluster.api.fit import FitResult

FAST = {
    "n_clusters": 10,
    "pseudo_clusters": 20,
    "rounds": 3,
    "baselines": False,
    "image_size": 16,
    "batch_size": 64,
}
"""Options of DeepCluster for a fit on ``some_digits`` that takes seconds."""


def some_digits() -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """400 images (400, 8, 8) and their classes."""
    data = load_digits()
    return (data.images[:400] * 15.9375).astype(np.uint8), data.target[:400]


def same(a: FitResult, b: FitResult) -> bool:
    """Whether labels, embeddings and histories are equal to the bit."""
    return (
        np.array_equal(a.labels, b.labels)
        and np.array_equal(a.embeddings, b.embeddings)
        and np.array_equal(a.round_labels, b.round_labels)
        and np.array_equal(a.round_losses, b.round_losses, equal_nan=True)
    )


def small_weights(folder: Path) -> Path:
    """A file of weights of the backbone ``small`` for color images of 16 pixels."""
    path = folder / "small.pth"
    with seeded_torch(3):
        torch.save(BACKBONES.parse("small").build(3, 16, None).state_dict(), path)
    return path
