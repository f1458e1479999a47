"""Why a label is suspicious, in words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from fiftyone_deepcluster.analysis.label_audit.labeled_set import LabeledSet

_NEIGHBORS = 10


@dataclass(frozen=True)
class ClusterTable:
    """Clusters of a run, to explain labels with.

    Attributes:
        names: C names.
        clusters: (N,) int64 cluster of every image, -1: none.
        shares: (C, K) share of each class among the labels of the cluster.
    """

    names: tuple[str, ...]
    clusters: NDArray[np.int64]
    shares: NDArray[np.float64]


def cluster_table(
    clusters: Sequence[object | None], classes: NDArray[np.int64], n_classes: int
) -> ClusterTable:
    """Table of the classes in the clusters with the given names (N), None for images in no cluster."""
    names = tuple(sorted({str(name) for name in clusters if name is not None}))
    number = {name: at for at, name in enumerate(names)}
    ids = np.array([-1 if name is None else number[str(name)] for name in clusters], np.int64)
    inside = ids >= 0
    counts = np.bincount(ids[inside] * n_classes + classes[inside], minlength=len(names) * n_classes).reshape(
        len(names), n_classes
    )
    return ClusterTable(names, ids, counts / np.maximum(counts.sum(axis=1, keepdims=True), 1))


@dataclass(frozen=True)
class Reasons:
    """Creates the texts for a labeled set.

    Attributes:
        labeled: the images.
        names: K names of the classes.
        clusters: clusters of a run, or None.
    """

    labeled: LabeledSet
    names: Sequence[str]
    clusters: ClusterTable | None = None

    def text(self, row: int, suggested: int) -> str:
        """Reason why an image may have another class: its neighbors, and its cluster if there is one.

        Args:
            row: the image.
            suggested: class that is suggested, or the given one.
        """
        parts = [self._of_neighbors(row, suggested)]
        if self.clusters is not None and self.clusters.clusters[row] >= 0:
            parts.append(self._of_cluster(self.clusters, int(self.clusters.clusters[row])))
        return "; ".join(parts)

    def _of_neighbors(self, row: int, suggested: int) -> str:
        near = self.labeled.graph.rows[row, :_NEIGHBORS]
        classes = self.labeled.classes[near]
        own = int(self.labeled.classes[row])
        n_suggested, n_own = int((classes == suggested).sum()), int((classes == own).sum())
        if suggested == own:
            return f"{n_own} of {len(near)} neighbors are {self.names[own]!r}, too"
        return f"{n_suggested} of {len(near)} neighbors are {self.names[suggested]!r}, {n_own} {self.names[own]!r}"

    def _of_cluster(self, table: ClusterTable, cluster: int) -> str:
        most = int(table.shares[cluster].argmax())
        return f"{table.names[cluster]} is {table.shares[cluster, most]:.0%} {self.names[most]!r}"
