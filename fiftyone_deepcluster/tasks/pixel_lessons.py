"""A first round on clusters of the pixels: weights to start from, where nobody has trained any.

UCNN's authors begin with a network that was taught ImageNet's classes. Without such weights another task can
begin with a network that was taught, for some epochs, many small clusters of the images' own pixels. Ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
import torch

from fiftyone_deepcluster.clusterers.base import ClusterRequest
from fiftyone_deepcluster.clusterers.geometry import assign_to
from fiftyone_deepcluster.clusterers.kmeans import KMeans
from fiftyone_deepcluster.images.thumbnails import thumbnail_vectors
from fiftyone_deepcluster.seeds import derive, rng
from fiftyone_deepcluster.tasks.first_centers import sample_rows
from fiftyone_deepcluster.types import Assignment, Batch, ClassTargets, Outputs, Plan

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from fiftyone_deepcluster.corpus import Corpus
    from fiftyone_deepcluster.networks.base import Network
    from fiftyone_deepcluster.tasks.base import PseudoTask
    from fiftyone_deepcluster.types import Targets

_CHUNK = 1024


@runtime_checkable
class Finishing(Protocol):
    """A task that can assign once more at the end of a run."""

    def finish(self, corpus: Corpus) -> Assignment:
        """The clusters to be written; nothing that a resumed run would go on from changes."""
        ...


@dataclass(frozen=True)
class PixelParts:
    """The first round.

    Attributes:
        n_clusters: of the pixels.
        epochs: passes over the images.
        seed: of the clusters and the order.
        rate: share of the learning rates; weights that know nothing learn faster than they may later.
    """

    n_clusters: int
    epochs: int
    seed: int
    rate: float = 1.0


class PixelLessons:
    """Teaches pixel clusters in the first round, and leaves the others to a task made anew after it.

    The clusters are those of k-means on a sample; every batch is assigned as it comes, so nothing is kept of
    the images.

    Args:
        parts: the first round.
        make: the task that follows, made once for the untrained network and once for the trained one.
    """

    def __init__(self, parts: PixelParts, make: Callable[[], PseudoTask]) -> None:
        self.parts = parts
        self._make = make
        self._task = make()
        self._rounds = 0
        self._centers = torch.zeros(0)
        self._corpus: Corpus | None = None

    def begin_round(self, round_index: int, corpus: Corpus) -> Plan | None:
        """All images, ``epochs`` times; later what the other task wants."""
        self._rounds = round_index + 1
        if round_index > 0:
            return self._task.begin_round(round_index - 1, corpus)
        self._corpus = corpus
        self._centers = self._cluster(corpus)
        seed, n = self.parts.seed, len(corpus)
        order = [rng(seed, "pixels", epoch).permutation(n) for epoch in range(self.parts.epochs)]
        return Plan(np.concatenate(order), n_outputs=len(self._centers), rate=self.parts.rate)

    def targets(self, batch: Batch, outputs: Outputs) -> Targets:
        """The cluster of every image's own pixels, whatever was changed in what the network saw."""
        if self._corpus is None or self._rounds > 1:
            return self._task.targets(batch, outputs)
        device = outputs.logits.device
        vectors = _vectors(self._corpus, batch.rows.numpy()).to(device)
        return ClassTargets(assign_to(vectors, self._centers.to(device))[0])

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

    def _cluster(self, corpus: Corpus) -> torch.Tensor:
        """(K, D) centres of the pixels of a sample."""
        rows = sample_rows(len(corpus), self.parts.seed)
        chunks = [rows[at : at + _CHUNK] for at in range(0, len(rows), _CHUNK)]
        vectors = torch.cat([_vectors(corpus, chunk) for chunk in chunks])
        request = ClusterRequest(self.parts.n_clusters, derive(self.parts.seed, "pixel clusters"))
        found = KMeans().cluster(vectors.to(corpus.compute.device), request).centers
        corpus.compute.same_everywhere([found])
        return found


def _vectors(corpus: Corpus, rows: NDArray[np.int64]) -> torch.Tensor:
    """(B, D) float32."""
    return thumbnail_vectors(torch.from_numpy(corpus.store.read(rows)).permute(0, 3, 1, 2))
