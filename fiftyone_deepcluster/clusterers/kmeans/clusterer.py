"""k-means, by torch on the vectors' device or by faiss."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from fiftyone_deepcluster.clusterers.base import CLUSTERERS, Clusterer, Clustering, ClusterRequest

if TYPE_CHECKING:
    import torch

    from fiftyone_deepcluster.clusterers.anchors import Anchors


_SHORT = 16
"""Maximum number of dimensions for which the default number of initializations is higher."""


@CLUSTERERS.register
class KMeans(Clusterer):
    """k-means: spherical clusters of similar size; fast for any number of images.

    Labels are the nearest centers of the last iteration; objective and confidence use the distances to these. The
    centers returned are the means of the labels (scaled to length 1 where ``spherical``).

    The result has fewer clusters if the vectors have fewer distinct values than ``n_clusters``.
    """

    name: Literal["kmeans"] = "kmeans"
    title: ClassVar[str] = "k-means"
    keeps_labels: ClassVar[bool] = True
    max_iter: int = Field(20, ge=1, description="Maximum number of iterations.")
    n_init: int | None = Field(
        None,
        ge=1,
        description="Random initializations, of which the best result is kept; empty: 20 for few clusters, 1 for many, "
        "up to 60 for few vectors of at most 16 dimensions.",
    )
    init: Literal["kmeans++", "sample"] = Field(
        "kmeans++", description="Initial centers: k-means++, or randomly drawn images (sample)."
    )
    spherical: bool = Field(
        False, description="Spherical k-means: centers are scaled to length 1; for vectors of length 1."
    )
    sample_per_cluster: int | None = Field(
        None, ge=1, description="Fit the centers to at most this many images per cluster; empty: all images."
    )
    tolerance: float = Field(
        1e-3, ge=0, lt=1, description="Stop when at most this share of the images changes cluster."
    )
    backend: Literal["auto", "torch", "faiss"] = Field(
        "auto", description="Implementation; auto: torch, on the device of the vectors."
    )
    warm_start: bool = Field(
        True, description="Use the last round's centers as one initialization, if they fit."
    )

    def find(self, vectors: torch.Tensor, request: ClusterRequest) -> Clustering:
        """Cluster ``vectors`` (N, D) float32 into ``request.n_clusters``.

        Raises:
            MissingDependencyError: ``backend="faiss"`` without faiss.
        """
        from fiftyone_deepcluster.clusterers.distances import threads_for

        n_clusters = request.number
        if request.anchors is not None:
            with threads_for(vectors):
                return self._find_around(vectors, request.anchors, request.seed)
        seen = self._sample(vectors, n_clusters, request.seed)
        warm = self._warm_start(vectors, n_clusters, request)
        runs = self.n_init or max(default_n_init(n_clusters), _affordable(seen, n_clusters))
        # Random initializations besides the last round's centers, which alone could keep a poor optimum in all rounds.
        starts = [warm, *[None] * (runs - 1)]
        results = (
            self._run(vectors, seen, n_clusters, request.seed + index, start)
            for index, start in enumerate(starts)
        )
        with threads_for(vectors):
            return min(results, key=lambda result: result.objective)

    def _find_around(self, vectors: torch.Tensor, anchors: Anchors, seed: int) -> Clustering:
        """Constrained k-means: starts from the means of the known labels; fixed images keep theirs."""
        from fiftyone_deepcluster.clusterers.distances import confidence_of, means, nearest_two
        from fiftyone_deepcluster.clusterers.kmeans.lloyd import LloydSettings, constrained_lloyd

        settings = LloydSettings(self.max_iter, self.tolerance, self.spherical, seed)
        centers, n_iter = constrained_lloyd(vectors, anchors, settings)
        labels, first, second = nearest_two(vectors, centers, anchors.own.to(vectors.device))
        return Clustering(
            labels=labels.cpu(),
            centers=self._directions(means(vectors, labels, len(centers))),
            confidence=confidence_of(first.sqrt().cpu(), second.sqrt().cpu()),
            objective=float(first.cpu().double().sum()),
            scores={"n_iter": float(n_iter)},
        )

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
        settings = LloydSettings(self.max_iter, self.tolerance, self.spherical, seed)
        start = first_centers(seen, n_clusters, self.init, seed=seed) if warm is None else warm
        centers, n_iter = iterate(seen, self._directions(start), settings)
        return self._finish(vectors, centers, n_iter)

    def _directions(self, centers: torch.Tensor) -> torch.Tensor:
        import torch

        return torch.nn.functional.normalize(centers, dim=1) if self.spherical else centers

    def _finish(self, vectors: torch.Tensor, centers: torch.Tensor, n_iter: int) -> Clustering:
        from fiftyone_deepcluster.clusterers.distances import confidence_of, means
        from fiftyone_deepcluster.clusterers.kmeans.lloyd import final_assignment

        labels, first, second = final_assignment(vectors, centers)
        final = self._directions(means(vectors, labels, int(labels.max()) + 1))
        return Clustering(
            labels=labels.cpu(),
            centers=final,
            confidence=confidence_of(first.sqrt().cpu(), second.sqrt().cpu()),
            objective=float(first.cpu().double().sum()),
            scores={"n_iter": float(n_iter)},
        )


def _affordable(vectors: torch.Tensor, n_clusters: int) -> int:
    """Number of initializations that are cheap on the few coordinates of a reducer; 0 for longer vectors.

    On UMAP's ten coordinates of 2,255 scenes, 13 initializations ended at an objective of 371, and 60 at 361.
    """
    if vectors.shape[1] > _SHORT:
        return 0
    return min(60, 2**24 // (vectors.numel() * n_clusters))


def default_n_init(n_clusters: int, most: int = 20) -> int:
    """Default number of initializations: few clusters are fast and prone to poor optima, many clusters less so."""
    return max(1, min(most, 200 // n_clusters))
