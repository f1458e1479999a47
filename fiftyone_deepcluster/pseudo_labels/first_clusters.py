"""The clusters before training, to tell without classes whether training improved them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from fiftyone_deepcluster.clusterers.linear_accuracy import FOLDS, SAMPLED_IMAGES, LinearAccuracy
from fiftyone_deepcluster.core.seeds import rng
from fiftyone_deepcluster.reducers.base import REDUCERS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fiftyone_deepcluster.backbones.network import Network
    from fiftyone_deepcluster.clusterers.base import Clustering

FEWEST_PER_CLUSTER = 20
"""With fewer images of the sample for each cluster, clusterings are not compared."""


@dataclass(frozen=True)
class FirstClusters:
    """Clusters of N images before training, a sample of R of the vectors in which they were found, and the network.

    A clustering is better if these vectors, which training does not change, give more information about it:
    ``LinearAccuracy.information``.

    Attributes:
        labels: (N,) int64.
        confidence: (N,) float32.
        rows: (R,) int64, the images of the sample.
        points: (R, D) float32, their vectors after PCA.
        seed: random seed.
        weights: parameters of the backbone that are trained, and its buffers, by name, as they were before.
        scores: of the clusterer.
        details: of the clusterer.
    """

    labels: torch.Tensor
    confidence: torch.Tensor
    rows: torch.Tensor
    points: torch.Tensor
    seed: int
    weights: dict[str, torch.Tensor]
    scores: dict[str, float] = field(default_factory=dict)
    details: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, found: Clustering, vectors: torch.Tensor, network: Network, *, seed: int) -> FirstClusters:
        """The clusters ``found`` in ``vectors`` (N, D), of the network before training."""
        n = len(vectors)
        drawn = rng(seed, "first clusters").choice(n, min(n, SAMPLED_IMAGES), replace=False)
        rows = torch.from_numpy(np.sort(drawn))
        sample = vectors[rows.to(vectors.device)].float()
        points = REDUCERS.parse("pca").embed(sample, seed).float().cpu()
        fixed = {name for name, weights in network.backbone.named_parameters() if not weights.requires_grad}
        weights = {
            name: values.detach().cpu().clone()
            for name, values in network.backbone.state_dict().items()
            if name not in fixed
        }
        return cls(found.labels, found.confidence, rows, points, seed, weights, found.scores, found.details)

    def of_clusters(self, found: Clustering) -> FirstClusters:
        """The same with other clusters of the same images."""
        return replace(
            self, labels=found.labels, confidence=found.confidence, scores=found.scores, details=found.details
        )

    @property
    def comparable(self) -> bool:
        """Whether other clusters, as many as these, can be compared with these; see ``compare``."""
        return self._enough(self.labels.numpy())

    def compare(self, labels: torch.Tensor) -> tuple[float, float] | None:
        """Information in nats about other clusters (N,), and about the first ones, on the same images.

        None where the two cannot be compared: noise in one of them, or too few images for the clusters.
        """
        pair = [each[self.rows].numpy() for each in (labels, self.labels)]
        if not all(self._enough(each) for each in pair):
            return None
        used = _in_usable_clusters(*pair)
        measure = LinearAccuracy(self.points, self.seed)
        other, own = (measure.information(np.where(used, each, -1)) for each in pair)
        return other, own

    def _enough(self, labels: NDArray[np.int64]) -> bool:
        """Whether there is no noise, and the sample has enough images for the clusters."""
        return bool((labels >= 0).all()) and len(self.rows) >= FEWEST_PER_CLUSTER * (1 + int(labels.max()))

    def restore(self, network: Network) -> None:
        """Give the backbone its weights of before training; the head, which was trained on others, is removed."""
        network.backbone.load_state_dict(self.weights, strict=False)  # fixed ones are unchanged
        network.head = None

    def state_dict(self) -> dict[str, Any]:
        """The attributes by name."""
        return dict(vars(self))


def _in_usable_clusters(one: NDArray[np.int64], other: NDArray[np.int64]) -> NDArray[np.bool_]:
    """(R,) whether the cluster of an image has at least ``FOLDS`` such images, in both clusterings."""
    used = np.ones(len(one), bool)
    while True:
        sizes = [np.bincount(each[used], minlength=each.max() + 1)[each] for each in (one, other)]
        now = used & (np.min(sizes, axis=0) >= FOLDS)
        if now.sum() == used.sum():
            return used
        used = now
