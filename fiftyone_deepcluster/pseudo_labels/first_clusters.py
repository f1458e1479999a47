"""The clusters before training, to tell without classes whether training improved them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from fiftyone_deepcluster.clusterers.linear_accuracy import LinearAccuracy
from fiftyone_deepcluster.core.seeds import rng

if TYPE_CHECKING:
    from fiftyone_deepcluster.clusterers.base import Clustering

MOST_IMAGES = 3_000
"""Maximum number of vectors that are kept for the comparison."""


@dataclass(frozen=True)
class FirstClusters:
    """Clusters of N images before training, and a sample of R of the vectors in which they were found.

    A clustering is better if these vectors, which training does not change, give more information about it:
    ``LinearAccuracy.information``.

    Attributes:
        labels: (N,) int64.
        confidence: (N,) float32.
        rows: (R,) int64, the images of the sample.
        vectors: (R, D) float16.
        seed: random seed.
    """

    labels: torch.Tensor
    confidence: torch.Tensor
    rows: torch.Tensor
    vectors: torch.Tensor
    seed: int

    @classmethod
    def of(cls, found: Clustering, vectors: torch.Tensor, seed: int) -> FirstClusters:
        """The clusters ``found`` in ``vectors`` (N, D)."""
        n = len(vectors)
        drawn = rng(seed, "first clusters").choice(n, min(n, MOST_IMAGES), replace=False)
        rows = torch.from_numpy(np.sort(drawn))
        sample = vectors[rows.to(vectors.device)].half().cpu()
        return cls(found.labels, found.confidence, rows, sample, seed)

    def compare(self, labels: torch.Tensor) -> tuple[float, float]:
        """Information in nats about other clusters (N,), and about the first ones."""
        measure = LinearAccuracy(self.vectors.float(), self.seed)
        other, own = (measure.information(each[self.rows].numpy()) for each in (labels, self.labels))
        return other, own

    def state_dict(self) -> dict[str, Any]:
        """The attributes by name."""
        return dict(vars(self))
