"""What is asked of a clusterer, and what it gives."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from fiftyone_deepcluster.errors import InputError

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray


@dataclass(frozen=True)
class ClusterRequest:
    """What is asked of a clusterer.

    Attributes:
        n_clusters: number of clusters, or None where the clusterer finds it by itself.
        seed: makes the result repeatable on one machine.
        start: (K, D) centres of the last round for a warm start, or None. A clusterer may ignore it.
        origin: (N, D') the vectors before a space changed their geometry; None: there was no space. A clusterer
            may ignore it.
    """

    n_clusters: int | None
    seed: int = 0
    start: torch.Tensor | None = None
    origin: torch.Tensor | None = None

    @property
    def number(self) -> int:
        """``n_clusters``, for clusterers that need it: ``cluster`` has made sure that it is there.

        Raises:
            InputError: it is None.
        """
        if self.n_clusters is None:
            raise InputError("n_clusters is None; give a number of clusters")
        return self.n_clusters


@dataclass(frozen=True)
class Found:
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
            else 1 - d1/d2 of the distances to the nearest and the second nearest centre.
        objective: what the method minimises (inertia of k-means, minus log-likelihood of a mixture).
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
