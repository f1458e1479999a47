"""Pseudo-labels from a memory bank filled by the training pass, so that clustering needs no extra pass.

DeepCluster-v2 (Caron et al. 2020, "Unsupervised Learning of Visual Features by Contrasting Cluster
Assignments", appendix on DeepCluster-v2).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional

from fiftyone_deepcluster.clusterers.base import Clusterer, Clustering, ClusterRequest
from fiftyone_deepcluster.core.seeds import derive, rng
from fiftyone_deepcluster.core.types import Assignment, Batch, ClassTargets, Outputs, RoundPlan
from fiftyone_deepcluster.pseudo_labels.anchored import anchors_of
from fiftyone_deepcluster.pseudo_labels.assignments import assignment_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from fiftyone_deepcluster.backbones.network import Network
    from fiftyone_deepcluster.clusterers.anchors import Anchors
    from fiftyone_deepcluster.features.corpus import Corpus


@dataclass(frozen=True)
class BankLabelsParts:
    """The parts of a round.

    Attributes:
        heads: clusters the bank for each head's prototypes.
        result: clusterer of the result after every round.
        final: clusterer of the final result.
        n_clusters: clusters of the result.
        n_pseudo: prototypes per head.
        n_heads: number of heads, each with its own clustering of the bank.
        n_banks: stored crops per image; head h clusters the embeddings of crop h mod n_banks.
        epochs: epochs per round.
        seed: random seed.
    """

    heads: Clusterer
    result: Clusterer
    final: Clusterer
    n_clusters: int
    n_pseudo: int
    n_heads: int
    n_banks: int
    epochs: int
    seed: int


class BankLabels:
    """The target of an image in each head is the cluster of its latest embedding at the start of the round.

    Each bank is initialized with one augmented crop of every image, without training; from then on
    ``after_step`` overwrites the rows of each batch with the outputs of the training pass. The network must return
    L2-normalized features.
    """

    def __init__(self, parts: BankLabelsParts) -> None:
        self.parts = parts
        self._clusterings = 0
        self._bank: torch.Tensor | None = None  # (n_banks, N, D) of length 1
        self._seen = torch.zeros(0, dtype=torch.bool)  # rows updated in the last pass
        self._labels = torch.zeros(0, 0, dtype=torch.int64)
        self._start: torch.Tensor | None = None
        self._last = torch.zeros(0, dtype=torch.int64)  # (N,) clusters of the last round

    def begin_round(self, round_index: int, corpus: Corpus) -> RoundPlan | None:
        """Cluster the bank for every head; the centers are the head's weights in this round."""
        self._bank = self._filled().to(corpus.compute.device)  # after a resume it is on the CPU
        bank, seen = self._bank, self._seen
        corpus.observer.phase("cluster", self.parts.n_heads)
        anchors = self._anchors(corpus)
        known = seen.nonzero()[:, 0] if anchors is None else torch.arange(len(seen))
        self._labels = torch.full((len(seen), self.parts.n_heads), -1)
        prototypes = []
        for head in range(self.parts.n_heads):
            seed = derive(self.parts.seed, "head", head, round_index)
            request = ClusterRequest(min(self.parts.n_pseudo, len(known)), seed, anchors=anchors)
            found = self._cluster(
                self.parts.heads, bank[head % len(bank)][known.to(bank.device)], request, corpus
            )
            self._labels[known, head] = found.labels
            prototypes.append(found.centers)
            corpus.observer.advance(1)
        self._labels = self._labels.to(bank.device)
        self._seen = torch.zeros_like(seen)
        return RoundPlan(self._order(len(seen), round_index), prototypes=_stacked(prototypes))

    def targets(self, batch: Batch, outputs: Outputs) -> ClassTargets:
        """Each image's cluster in every head: (B, H)."""
        return ClassTargets(self._labels[batch.device_rows])

    def after_step(self, batch: Batch, before: Outputs, network: Network) -> None:
        """Store the embeddings of the first crops in the bank."""
        bank = self._filled()
        crops = before.features.detach().float().view(-1, len(batch.rows), bank.shape[2])
        bank[:, batch.device_rows] = crops[: len(bank)]
        self._seen[batch.rows] = True

    def assign(self, corpus: Corpus) -> Assignment:
        """Cluster the bank's embeddings, averaged over the crops; the first call fills the bank with random crops."""
        if self._bank is None:
            banks = range(self.parts.n_banks)
            crops = [
                corpus.features(augmented=True, seed=derive(self.parts.seed, "bank", bank)) for bank in banks
            ]
            self._bank = torch.stack(crops)
            self._seen = torch.ones(len(corpus), dtype=torch.bool)
        elif corpus.compute.world > 1:
            self._synchronize(corpus)
        vectors = functional.normalize(self._filled().mean(dim=0))
        assignment = self._assignment(self.parts.result, vectors, corpus)
        self._start, self._last = torch.from_numpy(assignment.centers), torch.from_numpy(assignment.labels)
        self._clusterings += 1
        return assignment

    def finish(self, corpus: Corpus, last: Assignment) -> Assignment:
        """Cluster the embeddings of all unaugmented images by the final network, as prediction uses them."""
        return self._assignment(self.parts.final, corpus.features(), corpus)

    def state_dict(self) -> dict[str, Any]:
        """The bank, the rows last updated, the last clusters and their centers, the number of calls of ``assign``."""
        bank = None if self._bank is None else self._bank.cpu().clone()
        last = {"start": self._start, "last": self._last}
        return {"turn": self._clusterings, "bank": bank, "seen": self._seen.clone(), **last}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Resume from ``state_dict``."""
        self._clusterings = int(state["turn"])
        bank = state["bank"]
        # Copies: training writes into the bank, and the state may be needed again.
        self._bank = None if bank is None else bank.clone()
        self._seen = state["seen"].clone()
        self._start, self._last = state["start"], state["last"]

    def _filled(self) -> torch.Tensor:
        if self._bank is None:
            raise RuntimeError("the bank is empty: call assign before the first round")
        return self._bank

    def _order(self, n: int, round_index: int) -> NDArray[np.int64]:
        import numpy as np

        draw = rng(self.parts.seed, "sample", round_index)
        return np.concatenate([draw.permutation(n) for _ in range(self.parts.epochs)])

    def _anchors(self, corpus: Corpus) -> Anchors | None:
        return anchors_of(corpus, self._last, moves=self._clusterings > 0)

    def _cluster(
        self, clusterer: Clusterer, vectors: torch.Tensor, request: ClusterRequest, corpus: Corpus
    ) -> Clustering:
        found = clusterer.cluster(vectors, request)
        corpus.compute.broadcast([found.labels, found.centers])
        return found

    def _synchronize(self, corpus: Corpus) -> None:
        """Exchange the updated rows between all processes."""
        bank, seen = self._filled(), self._seen.to(corpus.compute.device)
        times = corpus.compute.all_reduce_sum(seen.float())
        total = corpus.compute.all_reduce_sum(bank * seen[None, :, None])
        known = times > 0
        bank[:, known] = functional.normalize(total[:, known], dim=2)
        self._seen = known.cpu()

    def _assignment(self, clusterer: Clusterer, vectors: torch.Tensor, corpus: Corpus) -> Assignment:
        corpus.observer.phase("cluster", 1)
        start = None if self._start is None else self._start.to(vectors.device)
        anchors, seed = self._anchors(corpus), derive(self.parts.seed, "clusters", self._clusterings)
        request = ClusterRequest(self.parts.n_clusters, seed, start, anchors=anchors)
        found = self._cluster(clusterer, vectors, request, corpus)
        corpus.observer.advance(1)
        return assignment_of(found, vectors, numbers_kept=anchors is not None)


def _stacked(prototypes: list[torch.Tensor]) -> torch.Tensor:
    """(H·K, D) from H sets; smaller sets are padded with zero rows, which are never targets."""
    most = max(len(centers) for centers in prototypes)
    padded = [functional.pad(centers, (0, 0, 0, most - len(centers))) for centers in prototypes]
    return torch.cat(padded)
