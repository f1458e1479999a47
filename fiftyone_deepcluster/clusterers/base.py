"""The contract of a clusterer.

It takes and gives tensors and keeps the device of what it was given.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from fiftyone_deepcluster.core.registry import Part, Registry

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class ClusterRequest:
    """What is asked of a clusterer.

    Attributes:
        n_clusters: number of clusters, or None where the clusterer finds it by itself.
        seed: makes the result repeatable on one machine.
        init_centers: (K, D) centers of the last round for a warm start, or None. A clusterer may ignore it.
        origin: (N, D') the vectors before a reducer changed their geometry; None: there was no reducer. A clusterer
            may ignore it.
    """

    n_clusters: int | None
    seed: int = 0
    init_centers: torch.Tensor | None = None
    origin: torch.Tensor | None = None


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


class Clusterer(Part):
    """Groups vectors.

    Attributes:
        finds_number: it finds the number of clusters by itself.
    """

    finds_number: ClassVar[bool] = False

    @abstractmethod
    def cluster(self, vectors: torch.Tensor, request: ClusterRequest) -> Clustering:
        """Cluster ``vectors`` (N, D) float32.

        Raises:
            InputError: fewer vectors than clusters, NaN or infinite values, or n_clusters missing
                where the method needs it. The message says which and what to do.
        """


CLUSTERERS: Registry[Clusterer] = Registry("clusterers", Clusterer)  # type: ignore[type-abstract]
