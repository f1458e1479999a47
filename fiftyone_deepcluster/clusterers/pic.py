"""Power iteration clustering, the variant used by DeepCluster."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from fiftyone_deepcluster.clusterers.base import CLUSTERERS, Clusterer, ClusterRequest, FoundClusters
from fiftyone_deepcluster.errors import InputError

if TYPE_CHECKING:
    import torch


@CLUSTERERS.register
class Pic(Clusterer):
    """Power iteration clustering on a neighbor graph: determines the number of clusters; gives many small ones.

    The alternative to k-means in DeepCluster (Caron et al., appendix; Douze et al. 2017, "Low-shot learning with
    large-scale diffusion"). Weights diffuse over the graph of nearest neighbors. Then every image points to the
    neighbor with the largest gain in weight, or to itself if it is a local maximum. A cluster is a local maximum with
    all images that lead to it. ``n_clusters`` is ignored.
    """

    name: Literal["pic"] = "pic"
    title: ClassVar[str] = "PIC"
    finds_number: ClassVar[bool] = True
    n_neighbors: int = Field(5, ge=1, le=500, description="Nearest neighbors to which each image is linked.")
    sigma: float = Field(
        0.2,
        gt=0,
        description="Width of the Gaussian link weights, relative to the vectors' root mean square length.",
    )
    alpha: float = Field(
        0.001,
        gt=0,
        lt=1,
        description="Share of an image's weight that comes from its neighbors, per iteration.",
    )
    max_iter: int = Field(200, ge=1, description="Number of power iterations.")
    join_singletons: bool = Field(
        True,
        description="Add an image that is alone in its cluster to the cluster of its nearest neighbor that is not.",
    )

    def find(self, vectors: torch.Tensor, request: ClusterRequest) -> FoundClusters:
        """Cluster ``vectors`` (N, D) float32; ``scores["maxima"]`` is the number of clusters before singletons join.

        ``objective`` is the sum of squared distances to the cluster means.

        Raises:
            InputError: there are not more vectors than ``n_neighbors``.
        """
        near, squared = _neighbors(vectors, self.n_neighbors, self.title)
        scale = float(vectors.double().square().sum(dim=1).mean()) or 1.0
        graph = _graph(near, _gaussian(squared, self.sigma**2 * scale))
        labels = _local_maxima(graph, self._spread(graph))
        maxima = int(labels.max()) + 1
        if self.join_singletons:
            labels = _join_singletons(labels, near)
        return FoundClusters(labels, scores={"maxima": float(maxima)})

    def _spread(self, graph: Any) -> Any:
        """(N,) float64 weights after all iterations of v <- alpha W v + (1 - alpha) / N, normalized to sum 1."""
        import numpy as np

        n = graph.shape[0]
        weights = np.full(n, 1.0 / n)
        for _ in range(self.max_iter):
            weights = self.alpha * (graph @ weights) + (1.0 - self.alpha) / n
            weights /= weights.sum()
        return weights


def _neighbors(vectors: torch.Tensor, k: int, who: str) -> tuple[Any, Any]:
    """The k nearest neighbors of every vector, nearest first: (N, k) rows and squared distances.

    Raises:
        InputError: there are not more than k vectors.
    """
    import numpy as np

    from fiftyone_deepcluster.metrics.knn import exact_neighbors

    n = len(vectors)
    if n <= k:
        raise InputError(
            f"PIC with n_neighbors={k} needs {k + 1:,} images, not {n:,}; lower n_neighbors or add images"
        )
    near, distance = exact_neighbors(vectors.float(), k + 1)
    # Among duplicates, a vector need not be its own first neighbor, or be found at all.
    own = near == np.arange(n)[:, None]
    own[~own.any(axis=1), -1] = True
    others = ~own
    return near[others].reshape(n, k), np.square(distance[others].reshape(n, k), dtype=np.float64)


def _gaussian(squared: Any, width: float) -> Any:
    """exp(-d / width), kept above 0 so that no link is lost."""
    import numpy as np

    return np.exp(-squared / width).clip(np.finfo(np.float64).tiny)


def _graph(near: Any, weights: Any) -> Any:
    """W = A + A^T, (N, N) sparse: links of mutual neighbors are counted twice."""
    import numpy as np
    from scipy import sparse

    n, k = near.shape
    # Copies: sorting works in place, and the neighbors are used again later.
    links = sparse.csr_array((weights.flatten(), near.flatten(), np.arange(0, n * k + 1, k)), shape=(n, n))
    graph = (links + links.T).tocsr()
    graph.sort_indices()
    return graph


def _local_maxima(graph: Any, weights: Any) -> Any:
    """(N,) int64: the local maximum to which every node leads, numbered in node order.

    A node points to the neighbor with the largest w_ij (v_j - v_i), the first of ties, or to itself
    if none is above 0.
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
    pointers[rows[steepest]] = columns[steepest]  # reversed, so that the first of ties is written last
    while True:
        further = pointers[pointers]
        if np.array_equal(further, pointers):
            return np.unique(pointers, return_inverse=True)[1].astype(np.int64)
        pointers = further


def _join_singletons(labels: Any, near: Any) -> Any:
    """Labels after adding single nodes to the cluster of their nearest neighbor that is not single."""
    import numpy as np

    alone = np.bincount(labels)[labels] == 1
    near_cluster = ~alone[near]
    nodes = np.flatnonzero(alone & near_cluster.any(axis=1))
    joined = labels.copy()
    joined[nodes] = labels[near[nodes, near_cluster[nodes].argmax(axis=1)]]
    return np.unique(joined, return_inverse=True)[1].astype(np.int64)
