"""Mini-batch k-means, for data sets too large for k-means."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from fiftyone_deepcluster.clusterers.base import CLUSTERERS, Clusterer, ClusterRequest, FoundClusters

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch


@CLUSTERERS.register
class MiniBatchKMeans(Clusterer):
    """Mini-batch k-means (Sculley 2010): faster and less exact than k-means.

    Labels are the nearest of the final centers; the centers returned are the means of the labels.
    """

    name: Literal["minibatch-kmeans"] = "minibatch-kmeans"
    title: ClassVar[str] = "mini-batch k-means"
    batch_size: int = Field(256, ge=1, description="Images per batch.")
    epochs: int = Field(10, ge=1, description="Passes over the images.")
    init: Literal["kmeans++", "sample"] = Field(
        "kmeans++", description="Initial centers: k-means++, or randomly drawn images (sample)."
    )
    patience: int = Field(
        50,
        ge=1,
        description="A center is moved after this many images times n_clusters without an assignment.",
    )

    def find(self, vectors: torch.Tensor, request: ClusterRequest) -> FoundClusters:
        """Cluster ``vectors`` (N, D) float32 into ``request.n_clusters``."""
        from fiftyone_deepcluster.clusterers.distances import confidence_of
        from fiftyone_deepcluster.clusterers.kmeans.lloyd import final_assignment
        from fiftyone_deepcluster.clusterers.kmeans.seeding import first_centers
        from fiftyone_deepcluster.clusterers.kmeans.streams import Centroids

        n_clusters = request.number
        stream = Centroids(first_centers(vectors, n_clusters, self.init, seed=request.seed))
        for batch in self._batches(vectors, request.seed):
            labels = stream.nearest(batch)
            stream.update(batch, labels)
            stream.revive(batch, labels, patience=self.patience * n_clusters)
        labels, first, second = final_assignment(vectors, stream.centers)
        return FoundClusters(
            labels=labels,
            confidence=confidence_of(first.sqrt().cpu(), second.sqrt().cpu()),
            objective=float(first.cpu().double().sum()),
        )

    def _batches(self, vectors: torch.Tensor, seed: int) -> Iterator[torch.Tensor]:
        """The vectors in random order, ``epochs`` times."""
        import torch

        generator = torch.Generator().manual_seed(seed)
        for _ in range(self.epochs):
            order = torch.randperm(len(vectors), generator=generator).to(vectors.device)
            for at in range(0, len(order), self.batch_size):
                yield vectors[order[at : at + self.batch_size]]
