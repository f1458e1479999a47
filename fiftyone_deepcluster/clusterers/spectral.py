"""Landmark-based spectral clustering: groups of any shape, in time that grows with the images and not their square."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from fiftyone_deepcluster.clusterers.base import CLUSTERERS, Clusterer, ClusterRequest, FoundClusters

if TYPE_CHECKING:
    import torch

_LANDMARK_ITERATIONS = 5  # of the k-means that places landmarks, as in the authors' code

_TIED = 1e-6  # a singular value so near 1 is one


@CLUSTERERS.register
class Lsc(Clusterer):
    """LSC: spectral clustering of a graph between the images and some landmarks.

    Chen and Cai 2011. Every image is written as a mixture of its nearest landmarks, by Gaussian weights that sum
    to 1; the leading singular vectors of these weights, each landmark weighed down by how often it is used, are
    clustered by k-means. Width of the Gaussian (mean distance of images and landmarks), five iterations of
    k-means for the landmarks, and 10 starts of 100 iterations at the end are those of the authors' code.
    """

    name: Literal["lsc"] = "lsc"
    title: ClassVar[str] = "spectral clustering"
    landmarks: int = Field(
        1000, ge=2, description="Landmarks; fewer where there are not four times as many images."
    )
    nearest: int = Field(5, ge=1, le=100, description="Landmarks that an image is written by.")
    placed: Literal["kmeans", "sample"] = Field(
        "kmeans", description="Landmarks are k-means centers, or images by chance."
    )

    def find(self, vectors: torch.Tensor, request: ClusterRequest) -> FoundClusters:
        """Cluster ``vectors`` (N, D) float32 into ``request.n_clusters``.

        ``objective`` is that of k-means in the spectral space, and so is ``confidence``.
        """
        from fiftyone_deepcluster.clusterers.distances import threads_for
        from fiftyone_deepcluster.clusterers.kmeans.clusterer import KMeans

        n_clusters = request.number
        with threads_for(vectors):
            landmarks = self._landmarks(vectors, n_clusters, request.seed)
            weights, near = landmark_weights(vectors, landmarks, self.nearest)
            embedded, singular = spectral_embedding(weights, near, len(landmarks), n_clusters)
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

        # One more than clusters: the first singular vector says nothing.
        wanted = min(len(vectors), max(n_clusters + 1, min(self.landmarks, len(vectors) // 4)))
        if self.placed == "sample":
            return first_centers(vectors, wanted, "sample", seed)
        placing = KMeans(max_iter=_LANDMARK_ITERATIONS, n_init=1, init="sample")
        return placing.cluster(vectors, ClusterRequest(wanted, seed)).centers


def landmark_weights(
    vectors: torch.Tensor, landmarks: torch.Tensor, nearest: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """How much of each landmark is in a vector: Gaussian weights of the nearest ones, summing to 1.

    Chen and Cai, equations 4 and 5, with exp(-|x - u|² / 2s²) and s the mean distance of vectors and landmarks.

    Args:
        vectors: (N, D) float32.
        landmarks: (P, D) float32.
        nearest: landmarks a vector, cut to P.

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
    # A softmax is the same quotient, and has none of zeros where all landmarks are far.
    weights = (-torch.cat(squares) / (2 * width**2)).softmax(dim=1)
    return weights, torch.cat(near)


def spectral_embedding(
    weights: torch.Tensor, near: torch.Tensor, n_landmarks: int, n_components: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Left singular vectors of the weights, each landmark's divided by the root of its sum.

    The first has the singular value 1 and tells nothing, so it is left out where it is alone. The right ones come
    from the P x P products of landmarks: no N x P matrix is held.

    Args:
        weights: (N, r), rows sum to 1.
        near: (N, r) int64 landmarks.
        n_landmarks: P.
        n_components: vectors wanted.

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
    # Added up on the CPU, where the order and so the sum is the same in every run.
    gram = torch.bincount(pairs.flatten().cpu(), products.flatten().cpu(), n_landmarks**2)
    values, right = torch.linalg.eigh(gram.view(n_landmarks, n_landmarks).to(weights.device))
    singular = values.flip(0)[: n_components + 1].clamp_min(0).sqrt()
    # In a connected graph only the first is 1, and its vector constant. Groups without a tie share the value 1,
    # and any mixture of their vectors may come first.
    begin = int(len(singular) > 1 and float(singular[1]) < 1 - _TIED)
    right = (right.flip(1)[:, : n_components + 1] / singular.clamp_min(1e-12))[
        :, begin : begin + n_components
    ]
    left = (scaled[:, :, None] * right[near]).sum(dim=1)
    return functional.normalize(left.float()), singular
