"""Results of a clusterer: labels, centers, confidence, objective and scores."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray


@dataclass(frozen=True)
class FoundClusters:
    """Result of ``Clusterer.find``; values left as None are computed from labels and vectors.

    Attributes:
        labels: (N,) integers from 0, -1 for noise.
        centers: (K, D), one row per label in use; by default the mean of each cluster's vectors.
        confidence: (N,) in 0..1; by default 1 - d1/d2 with the distances d1 to the assigned and d2 to the nearest
            other center.
        objective: the minimized quantity; by default the sum of squared distances to the assigned center.
        scores: further numbers for the run record; use the same names in every round, since they become columns.
        details: lists of numbers or of texts for the run record, of any length.
    """

    labels: torch.Tensor | NDArray[Any]
    centers: torch.Tensor | NDArray[Any] | None = None
    confidence: torch.Tensor | NDArray[Any] | None = None
    objective: float | None = None
    scores: dict[str, float] = field(default_factory=dict)
    details: dict[str, list[float] | list[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Clustering:
    """A clustering of N vectors.

    Attributes:
        labels: (N,) int64 on the CPU in 0..K-1, every number in use; -1 marks noise (density methods).
        centers: (K, D) float32, the mean of each cluster's vectors, on the vectors' device; scaled to length
            1 by spherical k-means.
        confidence: (N,) float32 on the CPU in 0..1: the posterior where the method has one,
            else 1 - d1/d2 of the distances to the nearest and the second nearest center.
        objective: the minimized quantity (inertia of k-means, negative log-likelihood of a mixture).
        scores: further numbers for the run record; use the same names in every round, since they become columns.
        details: lists of numbers or of texts for the run record, of any length.
    """

    labels: torch.Tensor
    centers: torch.Tensor
    confidence: torch.Tensor
    objective: float
    scores: dict[str, float] = field(default_factory=dict)
    details: dict[str, list[float] | list[str]] = field(default_factory=dict)

    @property
    def n_clusters(self) -> int:
        """Number of clusters found."""
        return len(self.centers)
