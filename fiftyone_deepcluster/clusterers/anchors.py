"""Clustering with known labels: fixed labels stay as they are, the others only initialize the clusters.

Constrained k-means of Basu, Banerjee and Mooney ("Semi-supervised Clustering by Seeding", 2002), where the known labels
are both the seeds and the constraint; and the same for other clusterers.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from fiftyone_deepcluster.core.words import counted
from fiftyone_deepcluster.errors import InputError, PartError

if TYPE_CHECKING:
    import torch

    from fiftyone_deepcluster.clusterers.values import Clustering


@dataclass(frozen=True)
class Anchors:
    """Labels of N images before they are clustered.

    Attributes:
        labels: (N,) int64 on the CPU, 0..K-1 with every number in use; -1 where unknown.
        fixed: (N,) bool on the CPU: the image keeps its label; one with label -1 is then in no cluster.
    """

    labels: torch.Tensor
    fixed: torch.Tensor

    @property
    def n_clusters(self) -> int:
        """Number of clusters."""
        return int(self.labels.max()) + 1

    @property
    def in_clusters(self) -> torch.Tensor:
        """(N,) bool: False for the images that are in no cluster."""
        return ~(self.fixed & (self.labels < 0))

    @property
    def own(self) -> torch.Tensor:
        """(N,) int64: the labels that stay, -1 for all other images."""
        import torch

        return torch.where(self.fixed, self.labels, -1)

    def choose(self, rows: torch.Tensor) -> Anchors:
        """The anchors of the images selected by ``rows``, (N,) bool."""
        return Anchors(self.labels[rows], self.fixed[rows])

    def with_one_each(self, vectors: torch.Tensor) -> Anchors:
        """The anchors with at least one fixed image for each cluster, so that no cluster can vanish.

        In a cluster without one, the image nearest to the cluster's mean becomes fixed.

        Args:
            vectors: (N, D) float32.
        """
        import torch

        from fiftyone_deepcluster.clusterers.distances import describe_clusters

        n = self.n_clusters
        held = torch.bincount(self.labels[self.fixed & (self.labels >= 0)], minlength=n)
        loose = (held == 0).nonzero()[:, 0]
        if not len(loose):
            return self
        distance = describe_clusters(vectors, self.labels, n).distance
        fixed = self.fixed.clone()
        for cluster in loose.tolist():
            rows = (self.labels == cluster).nonzero()[:, 0]
            fixed[rows[distance[rows].argmin()]] = True
        return Anchors(self.labels, fixed)


def check_anchors(anchors: Anchors, n: int, n_clusters: int | None, *, who: str) -> None:
    """Raise InputError unless the anchors fit N vectors and the number of clusters."""
    import torch

    if anchors.labels.shape != (n,) or anchors.fixed.shape != (n,):
        raise InputError(
            f"{who} got known labels for {len(anchors.labels):,} of {counted(n, 'image')}; give one for each image"
        )
    used = torch.unique(anchors.labels[anchors.labels >= 0])
    if not len(used) or len(used) != anchors.n_clusters or len(used) != n_clusters:
        raise InputError(
            f"{who} got {counted(len(used), 'known label')} for n_clusters={n_clusters}; give as many, numbered from 0"
        )


def spread_over(found: Clustering, anchors: Anchors, who: str) -> Clustering:
    """Extend the clustering of the images in clusters to all N images; fixed images get confidence 1.

    Raises:
        PartError: an image that should keep its label has another, or a cluster is missing.
    """
    import torch

    rows = anchors.in_clusters
    known = anchors.choose(rows)
    if found.n_clusters != anchors.n_clusters or bool((found.labels != known.labels)[known.fixed].any()):
        raise PartError(
            f"{who} changed labels that it should keep; return request.anchors.labels where fixed"
        )
    confidence = torch.where(known.fixed, 1.0, found.confidence)
    if bool(rows.all()):
        return replace(found, confidence=confidence)
    labels, all_confidence = torch.full((len(rows),), -1), torch.zeros(len(rows))
    labels[rows], all_confidence[rows] = found.labels, confidence
    return replace(found, labels=labels, confidence=all_confidence)
