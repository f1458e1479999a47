"""Landmark-based spectral clustering, in time linear in the number of images."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from fiftyone_deepcluster.clusterers.base import CLUSTERERS, Clusterer, ClusterRequest, FoundClusters

if TYPE_CHECKING:
    import torch

_LANDMARK_ITERATIONS = 5  # of the k-means that places landmarks, as in the authors' code

_TIED = 1e-6  # singular values this near 1 count as 1


@CLUSTERERS.register
class Lsc(Clusterer):
    """LSC: landmark-based spectral clustering, for clusters of any shape.

    Chen and Cai 2011. Every image is represented by Gaussian weights, of sum 1, on its nearest landmarks; the
    leading singular vectors of these weights, each landmark's divided by the root of its sum, are clustered by
    k-means. As in the authors' code, the width of the Gaussian is the mean distance of images and landmarks, the
    landmarks are placed by five iterations of k-means, and the final k-means has 10 initializations of 100 iterations.
    """

    name: Literal["lsc"] = "lsc"
    title: ClassVar[str] = "spectral clustering"
    landmarks: int = Field(1000, ge=2, description="Number of landmarks, at most a quarter of the images.")
    nearest: int = Field(5, ge=1, le=100, description="Nearest landmarks that represent an image.")
    placed: Literal["kmeans", "sample"] = Field(
        "kmeans", description="Placement of landmarks: k-means centers, or randomly drawn images."
    )

    def find(self, vectors: torch.Tensor, request: ClusterRequest) -> FoundClusters:
        """Cluster ``vectors`` (N, D) float32 into ``request.n_clusters``.

        ``objective`` and ``confidence`` are those of k-means in the spectral embedding.
        """
        from fiftyone_deepcluster.clusterers.distances import threads_for
        from fiftyone_deepcluster.clusterers.kmeans.clusterer import KMeans

        n_clusters = request.number
        with threads_for(vectors):
            landmarks = self._landmarks(vectors, n_clusters, request.seed)
            weights, near = landmark_weights(vectors, landmarks, self.nearest)
            embedded, singular = spectral_embedding(
                weights, near, n_landmarks=len(landmarks), n_components=n_clusters
            )
            found = KMeans(max_iter=100, n_init=10).cluster(
                embedded, ClusterRequest(n_clusters, request.seed)
            )
        return FoundClusters(
            labels=found.labels,
            confidence=found.confidence,
            objective=found.objective,
            scores={"landmarks": float(len(landmarks)), "last_singular_value": float(singular[-1])},
        )

    def _landmarks(self, vectors: torch.Tensor, n_clusters: int, seed: int) -> torch.Tensor:
        from fiftyone_deepcluster.clusterers.kmeans.clusterer import KMeans
        from fiftyone_deepcluster.clusterers.kmeans.seeding import first_centers

        # At least n_clusters + 1: the first singular vector is constant.
        wanted = min(len(vectors), max(n_clusters + 1, min(self.landmarks, len(vectors) // 4)))
        if self.placed == "sample":
            return first_centers(vectors, wanted, "sample", seed=seed)
        placing = KMeans(max_iter=_LANDMARK_ITERATIONS, n_init=1, init="sample")
        return placing.cluster(vectors, ClusterRequest(wanted, seed)).centers


def landmark_weights(
    vectors: torch.Tensor, landmarks: torch.Tensor, nearest: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Gaussian weights of each vector's nearest landmarks, of sum 1.

    Chen and Cai, equations 4 and 5, with exp(-|x - u|² / 2s²) and s the mean distance of vectors and landmarks.

    Args:
        vectors: (N, D) float32.
        landmarks: (P, D) float32.
        nearest: landmarks per vector, at most P.

    Returns:
        (N, r) weights and (N, r) int64 landmarks, on the vectors' device.
    """
    import torch

    from fiftyone_deepcluster.metrics.products import CenterField, chunks

    r = min(nearest, len(landmarks))
    centers = CenterField(landmarks)
    squares, near, total = [], [], 0.0
    for part in chunks(len(vectors), len(landmarks), vectors.device):
        shifted, scores = centers.scores(vectors[part])
        squared = (scores + shifted.square().sum(dim=1, keepdim=True)).clamp_min(0)
        total += float(squared.sqrt().sum(dtype=torch.float64))
        least = squared.topk(r, dim=1, largest=False)
        squares.append(least.values)
        near.append(least.indices)
    width = total / (len(vectors) * len(landmarks)) or 1.0
    # A softmax normalizes the weights without a division of 0 by 0 where all landmarks are far.
    weights = (-torch.cat(squares) / (2 * width**2)).softmax(dim=1)
    return weights, torch.cat(near)


def spectral_embedding(
    weights: torch.Tensor, near: torch.Tensor, *, n_landmarks: int, n_components: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Left singular vectors of the weights, each landmark's divided by the root of its sum.

    The first has the singular value 1 and is constant, so it is left out unless others have the value 1, too. The
    right ones are computed from the P x P Gram matrix of the landmarks, without an N x P matrix.

    Args:
        weights: (N, r), rows of sum 1.
        near: (N, r) int64 landmarks.
        n_landmarks: P.
        n_components: number of vectors.

    Returns:
        (N, n_components) float32 rows of length 1, and the first n_components + 1 singular values.
    """
    import torch
    from torch.nn import functional

    used = torch.zeros(n_landmarks, dtype=torch.float64, device=weights.device)
    used = used.scatter_add(0, near.flatten(), weights.flatten().double())
    scaled = weights.double() / used[near].clamp_min(torch.finfo(torch.float64).tiny).sqrt()
    pairs = near[:, :, None] * n_landmarks + near[:, None, :]
    products = scaled[:, :, None] * scaled[:, None, :]
    # Summed on the CPU, where the order of summation is deterministic.
    gram = torch.bincount(pairs.flatten().cpu(), products.flatten().cpu(), n_landmarks**2)
    values, right = torch.linalg.eigh(gram.view(n_landmarks, n_landmarks).to(weights.device))
    singular = values.flip(0)[: n_components + 1].clamp_min(0).sqrt()
    # In a connected graph only the first value is 1, and its vector is constant. Each further connected component
    # adds a value 1, and the first vector may be any mixture of theirs.
    begin = int(len(singular) > 1 and float(singular[1]) < 1 - _TIED)
    right = (right.flip(1)[:, : n_components + 1] / singular.clamp_min(1e-12))[
        :, begin : begin + n_components
    ]
    left = (scaled[:, :, None] * right[near]).sum(dim=1)
    return functional.normalize(left.float()), singular
