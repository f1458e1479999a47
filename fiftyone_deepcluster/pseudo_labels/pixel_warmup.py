"""A first round on clusters of the pixels: initial weights when no pre-trained ones are given.

UCNN's authors start from a network pre-trained on ImageNet; DAC's from random weights and seventy thousand
images. Without such weights, or so many images, the network can first be trained for some epochs on
clusters of the images' own pixels. Ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch

from fiftyone_deepcluster.clusterers.base import CLUSTERERS, ClusterRequest
from fiftyone_deepcluster.clusterers.distances import nearest_centers
from fiftyone_deepcluster.clusterers.kmeans.clusterer import KMeans
from fiftyone_deepcluster.core.devices import send
from fiftyone_deepcluster.core.seeds import derive, rng
from fiftyone_deepcluster.core.types import Assignment, Batch, ClassTargets, Outputs, PairTargets, RoundPlan
from fiftyone_deepcluster.images.thumbnails import thumbnail_vectors
from fiftyone_deepcluster.pseudo_labels.base import Finishing
from fiftyone_deepcluster.pseudo_labels.first_centers import draw_rows
from fiftyone_deepcluster.pseudo_labels.samplers import whole_batches
from fiftyone_deepcluster.reducers.base import REDUCERS

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from fiftyone_deepcluster.backbones.network import Network
    from fiftyone_deepcluster.core.types import Targets
    from fiftyone_deepcluster.features.corpus import Corpus
    from fiftyone_deepcluster.pseudo_labels.base import PseudoTask

_CHUNK = 1024


class FirstRound(Protocol):
    """The targets of the first round."""

    def begin(self, corpus: Corpus) -> RoundPlan:
        """The images of the round, in order."""
        ...

    def targets(self, batch: Batch, outputs: Outputs) -> Targets:
        """The targets of this batch, independent of the augmentation."""
        ...


class PixelWarmup:
    """Trains on pixel clusters in the first round, and then hands over to a new task.

    Args:
        first: the first round.
        make: creates the task that follows; called for the untrained network and again for the trained one.
    """

    def __init__(self, first: FirstRound, make: Callable[[], PseudoTask]) -> None:
        self._first = first
        self._make = make
        self._task = make()
        self._rounds = 0

    def begin_round(self, round_index: int, corpus: Corpus) -> RoundPlan | None:
        """Pixel clusters; after the first round the plan of the other task."""
        self._rounds = round_index + 1
        return (
            self._task.begin_round(round_index - 1, corpus) if round_index > 0 else self._first.begin(corpus)
        )

    def targets(self, batch: Batch, outputs: Outputs) -> Targets:
        """Targets of the first round, or of the other task."""
        return (self._first if self._rounds == 1 else self._task).targets(batch, outputs)

    def after_step(self, batch: Batch, before: Outputs, network: Network) -> None:
        """Nothing in the first round."""
        if self._rounds > 1:
            self._task.after_step(batch, before, network)

    def assign(self, corpus: Corpus) -> Assignment:
        """The other task's assignment; the task is created anew after the first round."""
        if self._rounds == 1:
            self._task = self._make()
        return self._task.assign(corpus)

    def finish(self, corpus: Corpus, last: Assignment) -> Assignment:
        """The other task's ``finish``, or its ``assign`` if it has none."""
        task = self._task
        return task.finish(corpus, last) if isinstance(task, Finishing) else task.assign(corpus)

    def state_dict(self) -> dict[str, Any]:
        """Number of rounds started, and the other task's state under its own names."""
        return {**self._task.state_dict(), "pixel_rounds": self._rounds}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Resume from ``state_dict``."""
        self._rounds = int(state["pixel_rounds"])
        self._task.load_state_dict({key: value for key, value in state.items() if key != "pixel_rounds"})


@dataclass
class PixelClusters:
    """Many small clusters of the pixels, by k-means on a sample; each batch is assigned when it is used.

    No data of the images is stored.

    Attributes:
        n_clusters: number of pixel clusters and of outputs of the head.
        epochs: epochs over the images.
        seed: of the clusters and the order.
        rate_factor: factor of the learning rates; random weights tolerate higher ones.
    """

    n_clusters: int
    epochs: int
    seed: int
    rate_factor: float = 1.0

    def begin(self, corpus: Corpus) -> RoundPlan:
        """All images, ``epochs`` times."""
        rows = draw_rows(len(corpus), self.seed)
        request = ClusterRequest(self.n_clusters, derive(self.seed, "pixel clusters"))
        self._corpus = corpus
        self._centers = KMeans().cluster(_pixels(corpus, rows), request).centers
        corpus.compute.broadcast([self._centers])
        order = [rng(self.seed, "pixels", epoch).permutation(len(corpus)) for epoch in range(self.epochs)]
        return RoundPlan(np.concatenate(order), n_outputs=len(self._centers), rate_factor=self.rate_factor)

    def targets(self, batch: Batch, outputs: Outputs) -> ClassTargets:
        """The pixel cluster of every image: (B,) classes."""
        device = outputs.logits.device
        vectors = send(_vectors(self._corpus, batch.rows.numpy()), device)
        return ClassTargets(nearest_centers(vectors, self._centers.to(device))[0])


@dataclass
class PixelPairs:
    """Pairs within one cluster of the pixels are positive; clusters of a Gaussian mixture on a UMAP of a sample.

    Attributes:
        n_clusters: equal to the number of label features of the network.
        batch_size: pairs are formed within batches of this size.
        epochs: epochs over the images.
        seed: of the clusters and the order.
    """

    n_clusters: int
    batch_size: int
    epochs: int
    seed: int

    def begin(self, corpus: Corpus) -> RoundPlan:
        """The images of the sample, in whole batches."""
        rows = draw_rows(len(corpus), self.seed)
        corpus.observer.phase("cluster pixels", 1)
        layout = REDUCERS.parse("umap").embed(_pixels(corpus, rows), derive(self.seed, "pixel layout"))
        request = ClusterRequest(self.n_clusters, derive(self.seed, "pixel clusters"))
        found = CLUSTERERS.parse("gmm").cluster(layout, request).labels.to(corpus.compute.device)
        corpus.compute.broadcast([found])
        self._labels = torch.full((len(corpus),), -1, device=found.device)
        self._labels[torch.from_numpy(rows)] = found
        draw = rng(self.seed, "pixel pairs")
        each = max(1, len(rows) // self.batch_size)
        return RoundPlan(
            rows[whole_batches(len(rows), self.batch_size, min_steps=self.epochs * each, draw=draw)]
        )

    def targets(self, batch: Batch, outputs: Outputs) -> PairTargets:
        """All pairs (B, B), positive if both images are in one cluster."""
        labels = self._labels[batch.device_rows]
        same = (labels[:, None] == labels[None, :]).float()
        return PairTargets(same, torch.ones_like(same))


def _pixels(corpus: Corpus, rows: NDArray[np.int64]) -> torch.Tensor:
    """(R, D) float32 on the device."""
    chunks = [rows[at : at + _CHUNK] for at in range(0, len(rows), _CHUNK)]
    return torch.cat([_vectors(corpus, chunk) for chunk in chunks]).to(corpus.compute.device)


def _vectors(corpus: Corpus, rows: NDArray[np.int64]) -> torch.Tensor:
    """(B, D) float32."""
    return thumbnail_vectors(torch.from_numpy(corpus.store.read(rows)).permute(0, 3, 1, 2))
