"""What a clusterer gives: labels and what belongs to them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray


@dataclass(frozen=True)
class FoundClusters:
    """What ``Clusterer.find`` found, where it knows more than labels; what is left out is computed.

    Attributes:
        labels: (N,) whole numbers from 0, -1 for noise.
        centers: (K, D), one row for every label in use; by default the mean of each cluster's vectors.
        confidence: (N,) in 0..1; by default 1 - d1/d2 of the distances to the own and the nearest other center.
        objective: what the method minimizes; by default the sum of squared distances to the own center.
        scores: further figures for the record: the same names in every round, for they become columns.
        details: lists of figures for the record, of any length.
    """

    labels: torch.Tensor | NDArray[Any]
    centers: torch.Tensor | NDArray[Any] | None = None
    confidence: torch.Tensor | NDArray[Any] | None = None
    objective: float | None = None
    scores: dict[str, float] = field(default_factory=dict)
    details: dict[str, list[float]] = field(default_factory=dict)


@dataclass(frozen=True)
class Clustering:
    """Clusters of N vectors.

    Attributes:
        labels: (N,) int64 on the CPU in 0..K-1, every number in use; -1 marks noise (density methods).
        centers: (K, D) float32, the mean of each cluster's vectors, on the vectors' device; scaled to length
            1 where the method keeps them there (spherical k-means).
        confidence: (N,) float32 on the CPU in 0..1: the posterior where the method has one,
            else 1 - d1/d2 of the distances to the nearest and the second nearest center.
        objective: what the method minimizes (inertia of k-means, minus log-likelihood of a mixture).
        scores: further figures for the record: the same names in every round, for they become columns.
        details: lists of figures for the record, of any length.
    """

    labels: torch.Tensor
    centers: torch.Tensor
    confidence: torch.Tensor
    objective: float
    scores: dict[str, float] = field(default_factory=dict)
    details: dict[str, list[float]] = field(default_factory=dict)

    @property
    def n_clusters(self) -> int:
        """Number of clusters found."""
        return len(self.centers)
