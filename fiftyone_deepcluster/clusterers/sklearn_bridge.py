"""scikit-learn's agglomerative clustering and HDBSCAN, for small data sets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from fiftyone_deepcluster.clusterers.base import CLUSTERERS, Clusterer, ClusterRequest, FoundClusters
from fiftyone_deepcluster.core.words import counted
from fiftyone_deepcluster.errors import InputError

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray


@CLUSTERERS.register
class Agglomerative(Clusterer):
    """Agglomerative: merges the closest clusters step by step, for up to about 20,000 images."""

    name: Literal["agglomerative"] = "agglomerative"
    title: ClassVar[str] = "agglomerative clustering"
    linkage: Literal["ward", "average", "complete"] = Field(
        "ward",
        description="Linkage: smallest increase of variance (ward), mean distance, or largest distance.",
    )
    max_images: int = Field(20_000, ge=2, description="Limit on the images: memory and time are quadratic.")

    def find(self, vectors: torch.Tensor, request: ClusterRequest) -> torch.Tensor | NDArray[Any]:
        """Cluster ``vectors`` (N, D) float32 into ``request.n_clusters``.

        Raises:
            InputError: more vectors than ``max_images``.
        """
        import torch
        from sklearn.cluster import AgglomerativeClustering

        n = len(vectors)
        if n > self.max_images:
            raise InputError(
                f"agglomerative clustering of {counted(n, 'image')} needs {n * n * 4 / 1e9:.1f} GB for distances, but "
                f"max_images={self.max_images}; raise it, or use kmeans"
            )
        if n == 1:
            return torch.zeros(1, dtype=torch.int64)
        model = AgglomerativeClustering(request.number, linkage=self.linkage)
        return model.fit_predict(vectors.cpu().numpy())  # type: ignore[no-any-return]


@CLUSTERERS.register
class Hdbscan(Clusterer):
    """HDBSCAN: density-based clusters of any shape and number; images in sparse regions are noise.

    Campello, Moulavi and Sander 2013. It determines the number of clusters and ignores ``n_clusters``. In many
    dimensions nearly all images are noise, so use it after UMAP.
    """

    name: Literal["hdbscan"] = "hdbscan"
    title: ClassVar[str] = "HDBSCAN"
    finds_number: ClassVar[bool] = True
    min_cluster_size: int = Field(10, ge=2, description="Minimum number of images per cluster.")
    min_samples: int | None = Field(
        None,
        ge=1,
        description="Neighbors of a core point; larger values give more noise; empty: min_cluster_size.",
    )
    selection: Literal["eom", "leaf"] = Field(
        "eom",
        description="Selection: the most persistent clusters (excess of mass, eom), or the finest (leaf).",
    )

    def find(self, vectors: torch.Tensor, request: ClusterRequest) -> FoundClusters:
        """Cluster ``vectors`` (N, D) float32; noise is -1 with confidence 0.

        ``confidence`` is the membership strength; ``objective`` the sum of squared distances to the centers over
        all vectors that are not noise.

        Raises:
            InputError: fewer vectors than ``min_cluster_size`` or ``min_samples``.
        """
        import torch
        from sklearn.cluster import HDBSCAN

        least = max(self.min_cluster_size, self.min_samples or 0)
        if len(vectors) < least:
            raise InputError(
                f"HDBSCAN with min_cluster_size={self.min_cluster_size} and min_samples={self.min_samples} needs "
                f"{least:,} images, not {len(vectors):,}; lower them or add images"
            )
        model = HDBSCAN(
            min_cluster_size=self.min_cluster_size,
            min_samples=self.min_samples,
            cluster_selection_method=self.selection,
            copy=True,
        ).fit(vectors.cpu().double().numpy())
        confidence = torch.from_numpy(model.probabilities_).float().nan_to_num(0.0).clamp(0.0, 1.0)
        noise = float((model.labels_ < 0).mean())
        return FoundClusters(model.labels_, confidence=confidence, scores={"noise": noise})
