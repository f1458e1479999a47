"""A first round on clusters of the pixels: weights to start from, where nobody has trained any.

UCNN's authors begin with a network that was taught ImageNet's classes; DAC's with random weights and seventy thousand
images. Without such weights, or so many images, a task can begin with a network that was taught, for some epochs,
clusters of the images' own pixels. Ours.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
import torch

from fiftyone_deepcluster.clusterers.base import CLUSTERERS, ClusterRequest
from fiftyone_deepcluster.clusterers.distances import nearest_centers
from fiftyone_deepcluster.clusterers.kmeans.clusterer import KMeans
from fiftyone_deepcluster.core.seeds import derive, rng
from fiftyone_deepcluster.core.types import Assignment, Batch, ClassTargets, Outputs, PairTargets, RoundPlan
from fiftyone_deepcluster.images.thumbnails import thumbnail_vectors
from fiftyone_deepcluster.pseudo_labels.first_centers import draw_rows
from fiftyone_deepcluster.reducers.base import REDUCERS

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from fiftyone_deepcluster.backbones.network import Network
    from fiftyone_deepcluster.core.types import Targets
    from fiftyone_deepcluster.features.corpus import Corpus
    from fiftyone_deepcluster.pseudo_labels.base import PseudoTask

_CHUNK = 1024


@runtime_checkable
class Finishing(Protocol):
    """A task that can assign once more at the end of a run."""

    def finish(self, corpus: Corpus) -> Assignment:
        """The clusters to be written; nothing that a resumed run would go on from changes."""
        ...


class FirstRound(Protocol):
    """What the first round teaches."""

    def begin(self, corpus: Corpus) -> RoundPlan:
        """The images of the round, in order."""
        ...

    def targets(self, batch: Batch, outputs: Outputs) -> Targets:
        """What this batch should have given, whatever was changed in what the network saw."""
        ...


class PixelWarmup:
    """Teaches pixel clusters in the first round, and leaves the others to a task made anew after it.

    Args:
        first: the first round.
        make: the task that follows, made once for the untrained network and once for the trained one.
    """

    def __init__(self, first: FirstRound, make: Callable[[], PseudoTask]) -> None:
        self._first = first
        self._make = make
        self._task = make()
        self._rounds = 0

    def begin_round(self, round_index: int, corpus: Corpus) -> RoundPlan | None:
        """Pixel clusters; later what the other task wants."""
        self._rounds = round_index + 1
        return (
            self._task.begin_round(round_index - 1, corpus) if round_index > 0 else self._first.begin(corpus)
        )

    def targets(self, batch: Batch, outputs: Outputs) -> Targets:
        """Of the first round, or of the other task."""
        return (self._first if self._rounds == 1 else self._task).targets(batch, outputs)

    def after_step(self, batch: Batch, before: Outputs, network: Network) -> None:
        """Nothing in the first round."""
        if self._rounds > 1:
            self._task.after_step(batch, before, network)

    def assign(self, corpus: Corpus) -> Assignment:
        """What the other task finds; it begins anew with the network of the first round."""
        if self._rounds == 1:
            self._task = self._make()
        return self._task.assign(corpus)

    def finish(self, corpus: Corpus) -> Assignment:
        """The other task's last word; its ``assign`` where it has none."""
        task = self._task
        return task.finish(corpus) if isinstance(task, Finishing) else task.assign(corpus)

    def state_dict(self) -> dict[str, Any]:
        """Rounds that began, and the other task's state under its own names."""
        return {**self._task.state_dict(), "pixel_rounds": self._rounds}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from ``state_dict``."""
        self._rounds = int(state["pixel_rounds"])
        self._task.load_state_dict({key: value for key, value in state.items() if key != "pixel_rounds"})


@dataclass
class PixelClusters:
    """Many small clusters of the pixels, by k-means on a sample; every batch is assigned as it comes.

    Nothing is kept of the images.

    Attributes:
        n_clusters: of the pixels; the head gets as many outputs.
        epochs: passes over the images.
        seed: of the clusters and the order.
        rate: share of the learning rates; weights that know nothing learn faster than they may later.
    """

    n_clusters: int
    epochs: int
    seed: int
    rate: float = 1.0

    def begin(self, corpus: Corpus) -> RoundPlan:
        """All images, ``epochs`` times."""
        rows = draw_rows(len(corpus), self.seed)
        request = ClusterRequest(self.n_clusters, derive(self.seed, "pixel clusters"))
        self._corpus = corpus
        self._centers = KMeans().cluster(_pixels(corpus, rows), request).centers
        corpus.compute.broadcast([self._centers])
        order = [rng(self.seed, "pixels", epoch).permutation(len(corpus)) for epoch in range(self.epochs)]
        return RoundPlan(np.concatenate(order), n_outputs=len(self._centers), rate=self.rate)

    def targets(self, batch: Batch, outputs: Outputs) -> ClassTargets:
        """The cluster of every image's own pixels: (B,) classes."""
        device = outputs.logits.device
        vectors = _vectors(self._corpus, batch.rows.numpy()).to(device)
        return ClassTargets(nearest_centers(vectors, self._centers.to(device))[0])


@dataclass
class PixelPairs:
    """Pairs of one cluster of the pixels belong together: those of a Gaussian mixture on a UMAP of a sample.

    Attributes:
        n_clusters: as many as the network has label features.
        batch_size: images whose pairs are compared.
        epochs: passes over the images.
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
        return RoundPlan(rows[whole_batches(len(rows), self.batch_size, self.epochs * each, draw)])

    def targets(self, batch: Batch, outputs: Outputs) -> PairTargets:
        """All pairs (B, B): alike where both lie in one cluster."""
        labels = self._labels[batch.rows.to(self._labels.device)]
        same = (labels[:, None] == labels[None, :]).float()
        return PairTargets(same, torch.ones_like(same))


def whole_batches(n: int, batch_size: int, min_steps: int, draw: np.random.Generator) -> NDArray[np.int64]:
    """Rows of ⌊n/m⌋ batches or of ``min_steps``, whichever is more, each batch without repeats."""
    each = max(1, n // batch_size)
    passes = math.ceil(max(min_steps, each) / each)
    cut = each * min(batch_size, n)
    return np.concatenate([draw.permutation(n)[:cut] for _ in range(passes)])


def _pixels(corpus: Corpus, rows: NDArray[np.int64]) -> torch.Tensor:
    """(R, D) float32 on the device."""
    chunks = [rows[at : at + _CHUNK] for at in range(0, len(rows), _CHUNK)]
    return torch.cat([_vectors(corpus, chunk) for chunk in chunks]).to(corpus.compute.device)


def _vectors(corpus: Corpus, rows: NDArray[np.int64]) -> torch.Tensor:
    """(B, D) float32."""
    return thumbnail_vectors(torch.from_numpy(corpus.store.read(rows)).permute(0, 3, 1, 2))
