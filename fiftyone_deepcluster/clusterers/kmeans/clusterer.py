"""K-means, with the iteration made by torch where the vectors are, or by faiss."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from fiftyone_deepcluster.clusterers.base import CLUSTERERS, Clusterer, Clustering, ClusterRequest

if TYPE_CHECKING:
    import torch


@CLUSTERERS.register
class KMeans(Clusterer):
    """K-means: round clusters of similar extent, fast for any number of images.

    Labels are those of the nearest of the last iteration's centers; the centers returned are the means of
    exactly these labels (of length 1 where ``spherical``), objective and confidence those of the labels.

    Where the vectors have fewer different values than ``n_clusters``, the result has fewer clusters.
    """

    name: Literal["kmeans"] = "kmeans"
    max_iter: int = Field(20, ge=1, description="Iterations at most.")
    n_init: int | None = Field(
        None,
        ge=1,
        description="Runs from different starts, the best one kept; empty: 20 for few clusters, 1 for many.",
    )
    init: Literal["kmeans++", "sample"] = Field(
        "kmeans++", description="First centers: spread out (kmeans++), or images by chance (sample)."
    )
    spherical: bool = Field(
        False, description="Keep centers at length 1: clusters of directions, for vectors of length 1."
    )
    sample_per_cluster: int | None = Field(
        None, ge=1, description="Find the centers from at most this many images a cluster; empty: from all."
    )
    tolerance: float = Field(
        1e-3, ge=0, lt=1, description="Stop when at most this share of the images changes its cluster."
    )
    backend: Literal["auto", "torch", "faiss"] = Field(
        "auto", description="Who iterates; auto: torch, on the device that holds the vectors."
    )
    warm_start: bool = Field(True, description="Start from the centers of the round before where they fit.")

    def cluster(self, vectors: torch.Tensor, request: ClusterRequest) -> Clustering:
        """Cluster ``vectors`` (N, D) float32 into ``request.n_clusters``.

        Raises:
            InputError: fewer vectors than clusters, values that are not finite, or no n_clusters.
            MissingDependencyError: ``backend="faiss"`` without faiss.
        """
        from fiftyone_deepcluster.clusterers.distances import check_vectors, threads_for

        n_clusters = check_vectors(vectors, request.n_clusters, "k-means")
        seen = self._sample(vectors, n_clusters, request.seed)
        warm = self._warm_start(vectors, n_clusters, request)
        runs = default_n_init(n_clusters) if self.n_init is None else self.n_init
        # Last round's centers are one start among others: alone they would keep a poor optimum for ever.
        starts = [warm, *[None] * (runs - 1)]
        results = (
            self._run(vectors, seen, n_clusters, request.seed + turn, start)
            for turn, start in enumerate(starts)
        )
        with threads_for(vectors):
            return min(results, key=lambda result: result.objective)

    def _sample(self, vectors: torch.Tensor, n_clusters: int, seed: int) -> torch.Tensor:
        import torch

        if self.sample_per_cluster is None or len(vectors) <= n_clusters * self.sample_per_cluster:
            return vectors
        order = torch.randperm(len(vectors), generator=torch.Generator().manual_seed(seed))
        return vectors[order[: n_clusters * self.sample_per_cluster].to(vectors.device)]

    def _warm_start(
        self, vectors: torch.Tensor, n_clusters: int, request: ClusterRequest
    ) -> torch.Tensor | None:
        import torch

        start = request.init_centers if self.warm_start else None
        if start is None or start.shape != (n_clusters, vectors.shape[1]) or not torch.isfinite(start).all():
            return None
        return start.to(vectors).clone()

    def _run(
        self, vectors: torch.Tensor, seen: torch.Tensor, n_clusters: int, seed: int, warm: torch.Tensor | None
    ) -> Clustering:
        from fiftyone_deepcluster.clusterers.kmeans.faiss import faiss_lloyd
        from fiftyone_deepcluster.clusterers.kmeans.lloyd import LloydSettings, lloyd
        from fiftyone_deepcluster.clusterers.kmeans.seeding import first_centers

        iterate = faiss_lloyd if self.backend == "faiss" else lloyd
        schedule = LloydSettings(self.max_iter, self.tolerance, self.spherical, seed)
        start = first_centers(seen, n_clusters, self.init, seed) if warm is None else warm
        centers, n_iter = iterate(seen, self._directions(start), schedule)
        return self._finish(vectors, centers, n_iter)

    def _directions(self, centers: torch.Tensor) -> torch.Tensor:
        import torch

        return torch.nn.functional.normalize(centers, dim=1) if self.spherical else centers

    def _finish(self, vectors: torch.Tensor, centers: torch.Tensor, n_iter: int) -> Clustering:
        from fiftyone_deepcluster.clusterers.distances import confidence_of, means
        from fiftyone_deepcluster.clusterers.kmeans.lloyd import settle

        labels, first, second = settle(vectors, centers)
        final = self._directions(means(vectors, labels, int(labels.max()) + 1))
        return Clustering(
            labels=labels.cpu(),
            centers=final,
            confidence=confidence_of(first.sqrt().cpu(), second.sqrt().cpu()),
            objective=float(first.cpu().double().sum()),
            scores={"n_iter": float(n_iter)},
        )


def default_n_init(n_clusters: int, most: int = 20) -> int:
    """Starts to try where nobody says: few clusters are cheap and fall into poor optima, many average it out."""
    return max(1, min(most, 200 // n_clusters))
