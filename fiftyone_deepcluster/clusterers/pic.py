"""Power iteration clustering, in DeepCluster's variant."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from fiftyone_deepcluster.clusterers.base import CLUSTERERS, Clusterer, ClusterRequest, FoundClusters
from fiftyone_deepcluster.errors import InputError

if TYPE_CHECKING:
    import torch


@CLUSTERERS.register
class Pic(Clusterer):
    """Power iteration on a neighbor graph: finds the number of clusters, many small ones.

    The variant that DeepCluster offers beside k-means (Caron et al., appendix; Douze et al. 2017, "Low-shot
    learning with large-scale diffusion"): weight spreads over the graph of nearest neighbors, every image
    points to the neighbor where it grows most, and each image that points to itself, a local maximum, is
    a cluster with all that lead to it. It ignores ``n_clusters``.
    """

    name: Literal["pic"] = "pic"
    title: ClassVar[str] = "PIC"
    finds_number: ClassVar[bool] = True
    n_neighbors: int = Field(5, ge=1, le=500, description="Neighbors that each image is linked to.")
    sigma: float = Field(
        0.2, gt=0, description="Width of the links' weights, for vectors of length 1; others are scaled."
    )
    alpha: float = Field(
        0.001, gt=0, lt=1, description="Share of its weight that an image gets from its neighbors."
    )
    max_iter: int = Field(200, ge=1, description="Power iterations.")
    join_singletons: bool = Field(
        True,
        description="An image alone in its cluster joins that of its nearest neighbor that is not alone.",
    )

    def find(self, vectors: torch.Tensor, request: ClusterRequest) -> FoundClusters:
        """Cluster ``vectors`` (N, D) float32; ``scores["maxima"]`` counts clusters before singletons join.

        ``objective`` is the sum of squared distances to the clusters' means.

        Raises:
            InputError: no more vectors than ``n_neighbors``.
        """
        near, squared = _neighbors(vectors, self.n_neighbors, self.title)
        scale = float(vectors.double().square().sum(dim=1).mean()) or 1.0
        graph = _graph(near, _gaussian(squared, self.sigma**2 * scale))
        labels = _climb(graph, self._spread(graph))
        maxima = int(labels.max()) + 1
        if self.join_singletons:
            labels = _join_singletons(labels, near)
        return FoundClusters(labels, scores={"maxima": float(maxima)})

    def _spread(self, graph: Any) -> Any:
        """(N,) float64 weights v <- alpha W v + (1 - alpha) / N, of sum 1, after all iterations."""
        import numpy as np

        n = graph.shape[0]
        weights = np.full(n, 1.0 / n)
        for _ in range(self.max_iter):
            weights = self.alpha * (graph @ weights) + (1.0 - self.alpha) / n
            weights /= weights.sum()
        return weights


def _neighbors(vectors: torch.Tensor, k: int, who: str) -> tuple[Any, Any]:
    """The k nearest others of every vector, nearest first: (N, k) rows and squared distances.

    Raises:
        InputError: there are no k others.
    """
    import numpy as np

    from fiftyone_deepcluster.metrics.knn import exact_neighbors

    n = len(vectors)
    if n <= k:
        raise InputError(
            f"PIC with n_neighbors={k} needs {k + 1} images, not {n}; lower n_neighbors or add images"
        )
    near, distance = exact_neighbors(vectors.float(), k + 1)
    # Among many equal vectors a vector need not come first among its own neighbors, or at all.
    own = near == np.arange(n)[:, None]
    own[~own.any(axis=1), -1] = True
    others = ~own
    return near[others].reshape(n, k), np.square(distance[others].reshape(n, k), dtype=np.float64)


def _gaussian(squared: Any, width: float) -> Any:
    """exp(-d / width), kept above 0: a link that counts for nothing would not be one."""
    import numpy as np

    return np.exp(-squared / width).clip(np.finfo(np.float64).tiny)


def _graph(near: Any, weights: Any) -> Any:
    """W = A + A^T, (N, N) sparse: links of mutual neighbors count twice."""
    import numpy as np
    from scipy import sparse

    n, k = near.shape
    # Copies: sorting works in place, and whose neighbor is the nearest is asked later.
    links = sparse.csr_array((weights.flatten(), near.flatten(), np.arange(0, n * k + 1, k)), shape=(n, n))
    graph = (links + links.T).tocsr()
    graph.sort_indices()
    return graph


def _climb(graph: Any, weights: Any) -> Any:
    """(N,) int64: the local maximum that every node leads to, numbered in order of the nodes.

    A node points to the neighbor with the largest w_ij (v_j - v_i), the first of equals, or to itself
    where none is above 0.
    """
    import numpy as np

    n = graph.shape[0]
    rows = np.repeat(np.arange(n), np.diff(graph.indptr))
    gains = graph.data * (weights[graph.indices] - weights[rows])
    up = gains > 0
    rows, columns, gains = rows[up], graph.indices[up], gains[up]
    best = np.zeros(n)
    np.maximum.at(best, rows, gains)
    steepest = np.flatnonzero(gains == best[rows])[::-1]
    pointers = np.arange(n)
    pointers[rows[steepest]] = columns[steepest]  # backwards: of equals the first is written last
    while True:
        further = pointers[pointers]
        if np.array_equal(further, pointers):
            return np.unique(pointers, return_inverse=True)[1].astype(np.int64)
        pointers = further


def _join_singletons(labels: Any, near: Any) -> Any:
    """Labels with every node alone in its cluster moved to that of its first neighbor that is not alone."""
    import numpy as np

    alone = np.bincount(labels)[labels] == 1
    company = ~alone[near]
    nodes = np.flatnonzero(alone & company.any(axis=1))
    joined = labels.copy()
    joined[nodes] = labels[near[nodes, company[nodes].argmax(axis=1)]]
    return np.unique(joined, return_inverse=True)[1].astype(np.int64)
