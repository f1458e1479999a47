"""Pseudo-labels from a memory bank: the training pass fills it, so that clustering costs no pass of its own.

DeepCluster-v2 (Caron et al. 2020, "Unsupervised Learning of Visual Features by Contrasting Cluster
Assignments", appendix on DeepCluster-v2).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional

from fiftyone_deepcluster.clusterers.base import Clusterer, Clustering, ClusterRequest
from fiftyone_deepcluster.clusterers.distances import describe_clusters
from fiftyone_deepcluster.core.seeds import derive, rng
from fiftyone_deepcluster.core.types import Assignment, Batch, ClassTargets, Outputs, RoundPlan

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from fiftyone_deepcluster.backbones.network import Network
    from fiftyone_deepcluster.features.corpus import Corpus


@dataclass(frozen=True)
class BankLabelsParts:
    """The parts of a round.

    Attributes:
        heads: finds each head's prototypes among the bank's rows.
        result: finds the clusters that are reported after every round.
        final: finds those of the last look.
        n_clusters: of the result.
        n_pseudo: prototypes of every head.
        n_heads: clusterings of the bank that are taught side by side.
        n_banks: crops of an image whose embeddings are kept; head h is clustered on those of crop h mod n_banks.
        epochs: passes over the images a round.
        seed: of everything drawn here.
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
    """Teaches every image, in every head, the cluster that its last seen embedding was in when the round began.

    The bank is filled once by a pass without training; from then on ``after_step`` overwrites the rows of
    each batch with what the network said of them while it learned. The network must give features of length 1.
    """

    def __init__(self, parts: BankLabelsParts) -> None:
        self.parts = parts
        self._turn = 0
        self._bank: torch.Tensor | None = None  # (n_banks, N, D) of length 1
        self._seen = torch.zeros(0, dtype=torch.bool)  # rows that the last pass has seen
        self._labels = torch.zeros(0, 0, dtype=torch.int64)
        self._start: torch.Tensor | None = None

    def begin_round(self, round_index: int, corpus: Corpus) -> RoundPlan | None:
        """Every head's clusters of the bank; their centers are the head's weights for this round."""
        self._bank = self._filled().to(corpus.compute.device)  # a resumed run brings it from a file
        bank, seen = self._bank, self._seen
        corpus.observer.phase("cluster", self.parts.n_heads)
        known = seen.nonzero()[:, 0]
        self._labels = torch.full((len(seen), self.parts.n_heads), -1)
        prototypes = []
        for head in range(self.parts.n_heads):
            found = self._cluster_head(
                bank[head % len(bank)][known.to(bank.device)], head, round_index, corpus
            )
            self._labels[known, head] = found.labels
            prototypes.append(found.centers)
            corpus.observer.advance(1)
        self._labels = self._labels.to(bank.device)
        self._seen = torch.zeros_like(seen)
        return RoundPlan(self._order(len(seen), round_index), prototypes=_stacked(prototypes))

    def targets(self, batch: Batch, outputs: Outputs) -> ClassTargets:
        """Each image's cluster in every head: (B, H)."""
        return ClassTargets(self._labels[batch.rows.to(self._labels.device)])

    def after_step(self, batch: Batch, before: Outputs, network: Network) -> None:
        """The first crops' embeddings take their rows of the bank."""
        bank = self._filled()
        crops = before.features.detach().float().view(-1, len(batch.rows), bank.shape[2])
        bank[:, batch.rows.to(bank.device)] = crops[: len(bank)]
        self._seen[batch.rows] = True

    def assign(self, corpus: Corpus) -> Assignment:
        """Clusters of the bank's embeddings, the mean over its crops; the first time the bank is filled."""
        if self._bank is None:
            vectors = corpus.features()
            self._bank = vectors.expand(self.parts.n_banks, -1, -1).contiguous()
            self._seen = torch.ones(len(vectors), dtype=torch.bool)
        elif corpus.compute.world > 1:
            self._share(corpus)
        vectors = functional.normalize(self._filled().mean(dim=0))
        assignment = self._assignment(self.parts.result, vectors, corpus)
        self._start = torch.from_numpy(assignment.centers)
        self._turn += 1
        return assignment

    def finish(self, corpus: Corpus) -> Assignment:
        """Clusters of all images as they are, by the network as it is now: what prediction compares with."""
        return self._assignment(self.parts.final, corpus.features(), corpus)

    def state_dict(self) -> dict[str, Any]:
        """The bank, what was seen last, centers for a warm start, and how often was assigned."""
        return {"turn": self._turn, "bank": self._bank, "seen": self._seen, "start": self._start}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from ``state_dict``."""
        self._turn = int(state["turn"])
        bank = state["bank"]
        # Copies: training writes into the bank, and the state may be needed again.
        self._bank = None if bank is None else bank.clone()
        self._seen = state["seen"].clone()
        self._start = state["start"]

    def _filled(self) -> torch.Tensor:
        if self._bank is None:
            raise RuntimeError("the bank is empty: assign comes before the first round")
        return self._bank

    def _order(self, n: int, round_index: int) -> NDArray[np.int64]:
        import numpy as np

        draw = rng(self.parts.seed, "sample", round_index)
        return np.concatenate([draw.permutation(n) for _ in range(self.parts.epochs)])

    def _cluster_head(self, vectors: torch.Tensor, head: int, round_index: int, corpus: Corpus) -> Clustering:
        parts = self.parts
        request = ClusterRequest(
            min(parts.n_pseudo, len(vectors)), derive(parts.seed, "head", head, round_index)
        )
        found = parts.heads.cluster(vectors, request)
        corpus.compute.broadcast([found.labels, found.centers])
        return found

    def _share(self, corpus: Corpus) -> None:
        """Give every process the rows that the others have seen."""
        bank, seen = self._filled(), self._seen.to(corpus.compute.device)
        times = corpus.compute.all_reduce_sum(seen.float())
        total = corpus.compute.all_reduce_sum(bank * seen[None, :, None])
        known = times > 0
        bank[:, known] = functional.normalize(total[:, known], dim=2)
        self._seen = known.cpu()

    def _assignment(self, clusterer: Clusterer, vectors: torch.Tensor, corpus: Corpus) -> Assignment:
        corpus.observer.phase("cluster", 1)
        start = None if self._start is None else self._start.to(vectors.device)
        request = ClusterRequest(
            self.parts.n_clusters, derive(self.parts.seed, "clusters", self._turn), start
        )
        found = clusterer.cluster(vectors, request)
        corpus.compute.broadcast([found.labels, found.centers])
        corpus.observer.advance(1)
        place = describe_clusters(vectors, found.labels)
        return Assignment(
            labels=found.labels.numpy(),
            confidence=found.confidence.float().numpy(),
            distance=place.distance.float().cpu().numpy(),
            margin=place.margin.float().cpu().numpy(),
            embeddings=vectors.float().cpu().numpy(),
            centers=place.centers.float().cpu().numpy(),
            scores={"objective": found.objective, **found.scores},
            details=found.details,
        )


def _stacked(prototypes: list[torch.Tensor]) -> torch.Tensor:
    """(H·K, D) from H sets; a set with fewer than the largest is filled up with zeros, which nothing is taught."""
    most = max(len(centers) for centers in prototypes)
    padded = [functional.pad(centers, (0, 0, 0, most - len(centers))) for centers in prototypes]
    return torch.cat(padded)
