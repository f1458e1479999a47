"""Self-training: the network is trained on the most confident images, and its head then labels all images."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from fiftyone_deepcluster.backbones.cut import cut_layer
from fiftyone_deepcluster.clusterers.base import Clusterer, Clustering, ClusterRequest, FoundClusters
from fiftyone_deepcluster.clusterers.complete import complete
from fiftyone_deepcluster.core.devices import send
from fiftyone_deepcluster.core.pace import CLUSTER_FIRST, CLUSTER_ONCE
from fiftyone_deepcluster.core.progress import stop_if_cancelled
from fiftyone_deepcluster.core.seeds import derive, rng
from fiftyone_deepcluster.core.types import Assignment, Batch, ClassTargets, Outputs, RoundPlan
from fiftyone_deepcluster.errors import CheckpointError
from fiftyone_deepcluster.features.base import EncodeRequest
from fiftyone_deepcluster.features.view_outputs import FEATURES, cache_maps, view_outputs
from fiftyone_deepcluster.pseudo_labels.assignments import assignment_of
from fiftyone_deepcluster.pseudo_labels.first_clusters import FirstClusters
from fiftyone_deepcluster.pseudo_labels.other_vectors import VOTE_FOLDS, joined_with, voted
from fiftyone_deepcluster.pseudo_labels.plain_clusters import plain_clusters
from fiftyone_deepcluster.pseudo_labels.round_labels import most_confident
from fiftyone_deepcluster.pseudo_labels.samplers import Shuffled

if TYPE_CHECKING:
    from fiftyone_deepcluster.backbones.network import Network
    from fiftyone_deepcluster.features.base import Encoding
    from fiftyone_deepcluster.features.corpus import Corpus
    from fiftyone_deepcluster.features.view_whitening import ViewWhitened


@dataclass(frozen=True)
class SelfTrainingParts:
    """The parts of a round.

    Attributes:
        encoder: converts the views of every image to a vector.
        clusterer: clusters the vectors; its confidence selects the images to train on.
        n_clusters: number of clusters.
        confident_share: share of each cluster's images that are trained on, the most confident ones.
        epochs: epochs per round.
        layer: layer below which the network is frozen; None: the last one below the trained stages.
        stages: number of trained stages; see ``cut_layer``.
        recluster: cluster the learned vectors anew before every round; False: train on the labels of the head.
        other_weight: weight of the vectors of another source, relative to the features and to the head.
        plain_start: start from UMAP + k-means on the images' own features if these clusters are better.
        keep_first: return the first clusters where training has not improved them.
        seed: random seed.
    """

    encoder: ViewWhitened
    clusterer: Clusterer
    n_clusters: int
    confident_share: float
    epochs: int
    layer: str | None
    stages: int
    recluster: bool
    other_weight: float
    plain_start: bool
    keep_first: bool
    seed: int


class SelfTrainingTask:
    """Pseudo-task whose first clusters are a clusterer's, and all later ones those of the trained head.

    The head is applied to all views of an image, and its probabilities are averaged over them. Vectors of another
    source take part in the clusterings, and vote on the labels beside the head.
    """

    def __init__(self, parts: SelfTrainingParts) -> None:
        self.parts = parts
        self._pseudo = torch.zeros(0, dtype=torch.int64)
        self._fitted: dict[str, Any] | None = None
        self._encoding: Encoding | None = None
        self._scores: dict[str, float] = {}
        self._details: dict[str, list[float] | list[str]] = {}
        self._first: FirstClusters | None = None

    def begin_round(self, round_index: int, corpus: Corpus) -> RoundPlan:
        """Plan with a new head for the most confident images of each cluster."""
        parts = self.parts
        self._cache(corpus)  # a resumed run has none
        if round_index and parts.recluster:
            encoding = self._encoding or self._encode(corpus)
            found = self._cluster(encoding, round_index, corpus, "cluster")
            self._pseudo = most_confident(found.labels, found.confidence, parts.confident_share)
        labels, sampler = self._pseudo.numpy(), Shuffled()
        order = [sampler.draw(labels, rng(parts.seed, "sample", round_index, i)) for i in range(parts.epochs)]
        return RoundPlan(np.concatenate(order), n_outputs=int(self._pseudo.max()) + 1)

    def targets(self, batch: Batch, outputs: Outputs) -> ClassTargets:
        """Each image's pseudo-label."""
        return ClassTargets(send(self._pseudo[batch.rows], outputs.logits.device))

    def after_step(self, batch: Batch, before: Outputs, network: Network) -> None:
        """Nothing: pseudo-labels are fixed for the whole round."""

    def assign(self, corpus: Corpus) -> Assignment:
        """Clusters of the vectors before the first round, then the classes of the head."""
        cached = self._cache(corpus)
        self._encoding = encoding = self._encode(corpus)
        if len(self._pseudo):
            found = self._by_head(corpus, encoding.vectors)
        else:
            phase = CLUSTER_FIRST if self.parts.recluster else CLUSTER_ONCE
            found = self._cluster(encoding, 0, corpus, phase)
        if not len(self._pseudo) or not self.parts.recluster:
            self._pseudo = most_confident(found.labels, found.confidence, self.parts.confident_share)
        scores = {**encoding.scores, **self._scores, "cached_maps": float(cached)}
        return assignment_of(found, encoding.vectors, scores)

    def finish(self, corpus: Corpus, last: Assignment) -> Assignment:
        """The clusters, vectors and network of before training if training did not improve the clusters, else ``last``.

        The scores ``information`` and ``information_first`` are of the clusters after and before training;
        ``compared`` is 0 where the two cannot be compared. The state that a resumed run needs is unchanged, except for
        the network.
        """
        first = self._first
        if first is None:
            return last
        corpus.observer.phase("compare", 1)
        compared = _compared(first, torch.from_numpy(last.labels), corpus)
        corpus.observer.advance(1)
        if compared is None:
            return replace(last, scores={**last.scores, "compared": 0.0})
        after, before = compared
        scores = {"information": after, "information_first": before}
        if after >= before:
            return replace(last, scores={**last.scores, **scores})
        scores["cached_maps"] = last.scores["cached_maps"]
        first.restore(corpus.network)
        vectors = self._encode(corpus).vectors
        found = FoundClusters(
            first.labels, confidence=first.confidence, scores=first.scores, details=first.details
        )
        return assignment_of(complete(found, vectors, "the clusterer"), vectors, scores)

    def state_dict(self) -> dict[str, Any]:
        """Pseudo-labels, the clusterer's scores and details, the first clusters, and the fitted encoder."""
        found = {"scores": self._scores, "details": self._details}
        first = None if self._first is None else self._first.state_dict()
        return {"pseudo": self._pseudo, **found, "first": first, "reduction": self._fitted}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Resume from ``state_dict``.

        Raises:
            CheckpointError: the state of an older version.
        """
        if not {"scores", "details", "first"} <= state.keys():
            raise CheckpointError(
                "the checkpoint is that of an older version of self-training, which cannot be resumed; cluster again "
                "with overwrite=True, or choose another run_dir"
            )
        self._pseudo = state["pseudo"]
        self._scores, self._details = dict(state["scores"]), dict(state["details"])
        self._first = None if state["first"] is None else FirstClusters(**state["first"])
        self._fitted = state["reduction"]
        self._encoding = None

    def _cache(self, corpus: Corpus) -> bool:
        """Cache the maps of the frozen layers, unless done already; returns whether there is room for them."""
        if corpus.cached is not None:
            return True
        blank = torch.zeros(1, corpus.store.shape[3], corpus.size, corpus.size, device=corpus.compute.device)
        layer = cut_layer(corpus.network, blank, self.parts.layer, stages=self.parts.stages)
        return cache_maps(corpus, self.parts.encoder.view_settings, layer)

    def _encode(self, corpus: Corpus) -> Encoding:
        encoding = self.parts.encoder.encode(
            corpus, EncodeRequest(self.parts.seed, None, self.parts.n_clusters)
        )
        self._fitted = encoding.fitted
        return encoding

    def _cluster(self, encoding: Encoding, round_index: int, corpus: Corpus, phase: str) -> Clustering:
        """Clusters of the vectors, joined with those of another source where there are any."""
        parts = self.parts
        corpus.observer.phase(phase, parts.clusterer.reported_steps)
        joined = joined_with(encoding, corpus.other_vectors, parts.other_weight)
        request = ClusterRequest(
            parts.n_clusters,
            derive(parts.seed, "clusters", round_index),
            origin=joined.vectors,
            widths=joined.widths,
            step=lambda: corpus.observer.advance(1),
        )
        found = parts.clusterer.cluster(joined.vectors, request)
        corpus.compute.broadcast([found.labels, found.confidence])
        if not len(self._pseudo):
            found = self._better_start(found, joined.vectors, corpus)
        self._scores, self._details = found.scores, found.details
        return found

    def _better_start(self, found: Clustering, vectors: torch.Tensor, corpus: Corpus) -> Clustering:
        """The clusters ``found`` in ``vectors`` (N, D), or those of the images' own features if they are better.

        Better are those about which ``vectors`` give more information, as in ``finish``. The scores
        ``information_plain`` and ``information_views`` are of both, where they can be compared.
        """
        parts = self.parts
        if not (parts.plain_start or parts.keep_first):
            return found
        first = FirstClusters.of(found, vectors, corpus.network, seed=parts.seed)
        n_clusters = 1 + int(found.labels.max())
        if parts.plain_start and n_clusters > 1 and first.comparable:
            plain = plain_clusters(corpus, parts.encoder.view_settings, n_clusters, parts.seed)
            compared = _compared(first, plain.labels, corpus)
            if compared is not None:
                scores = dict(zip(("information_plain", "information_views"), compared, strict=True))
                own = plain if compared[0] > compared[1] else found
                found = replace(own, scores={**own.scores, **scores})
        self._first = first.of_clusters(found) if parts.keep_first else None
        return found

    def _by_head(self, corpus: Corpus, vectors: torch.Tensor) -> Clustering:
        """Clusters by the mean probability over all views and the votes of other vectors; it is the confidence."""
        network = corpus.network.eval()
        probabilities = torch.zeros(len(corpus), network.n_outputs)
        corpus.observer.phase("predict", len(corpus))
        for rows, (features,) in view_outputs(corpus, self.parts.encoder.view_settings, [FEATURES]):
            with torch.inference_mode():
                logits = network.outputs_of(features.flatten(0, 1)).logits.float()
            mean = logits.softmax(dim=1).view(*features.shape[:2], -1).mean(dim=0)
            probabilities[rows] = mean.cpu()
        probabilities = self._with_vote(corpus.compute.sum_shards(probabilities), corpus)
        confidence, labels = probabilities.max(dim=1)
        found = FoundClusters(labels, confidence=confidence.clone(), details=self._details)
        return complete(found, vectors, "the head")

    def _with_vote(self, probabilities: torch.Tensor, corpus: Corpus) -> torch.Tensor:
        """Probabilities (N, K) of the head after the vote of vectors of another source, if there are any."""
        parts, others = self.parts, corpus.other_vectors
        if others is None:
            return probabilities

        def step() -> None:
            corpus.observer.advance(1)
            stop_if_cancelled(corpus.observer, "cancelled while the given vectors voted")

        corpus.observer.phase("vote", VOTE_FOLDS)
        found = voted(
            probabilities, others, parts.other_weight, share=parts.confident_share, seed=parts.seed, step=step
        )
        corpus.compute.broadcast([found])
        return found


def _compared(first: FirstClusters, labels: torch.Tensor, corpus: Corpus) -> tuple[float, float] | None:
    """``first.compare(labels)``, the same in all processes."""
    compared = first.compare(labels)
    if compared is None:
        return None
    values = torch.tensor(compared)
    corpus.compute.broadcast([values])
    other, own = values.tolist()
    return other, own
