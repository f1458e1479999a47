"""Pseudo-labels once per round: embed all images, cluster them, train the network on the clusters.

DeepCluster (Caron et al.), its manifold variant, cardiac-MR DeepCluster and LDPO differ only in the parts
given here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from fiftyone_deepcluster.clusterers.base import Clusterer, Clustering, ClusterRequest
from fiftyone_deepcluster.clusterers.distances import means
from fiftyone_deepcluster.core.devices import send
from fiftyone_deepcluster.core.progress import report_epoch
from fiftyone_deepcluster.core.seeds import derive, rng
from fiftyone_deepcluster.core.types import Assignment, Batch, ClassTargets, Outputs, RoundPlan
from fiftyone_deepcluster.features.base import EncodeRequest
from fiftyone_deepcluster.metrics.agreement import nmi
from fiftyone_deepcluster.pseudo_labels.anchored import anchors_of
from fiftyone_deepcluster.pseudo_labels.assignments import assignment_of
from fiftyone_deepcluster.pseudo_labels.initial import InitialName, initial_labels

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from fiftyone_deepcluster.backbones.network import Network
    from fiftyone_deepcluster.clusterers.anchors import Anchors
    from fiftyone_deepcluster.features.base import Encoder
    from fiftyone_deepcluster.features.corpus import Corpus
    from fiftyone_deepcluster.pseudo_labels.convergence import LossConvergence
    from fiftyone_deepcluster.pseudo_labels.holdout import Holdout, Split
    from fiftyone_deepcluster.pseudo_labels.samplers import Sampler
    from fiftyone_deepcluster.reducers.base import Reducer


GROUPS = 100
"""Number of random or k-means groups in the first round, if no number of clusters is given."""


@dataclass(frozen=True)
class RoundLabelsParts:
    """The parts of a round.

    Attributes:
        encoder: converts features to vectors.
        reducer: dimensionality reduction before clustering.
        clusterer: clusters the vectors.
        sampler: draws the images of an epoch.
        n_clusters: clusters of the result; None if the clusterer finds the number.
        n_pseudo: pseudo-classes that the network is trained on; None: the clusters themselves.
        pseudo_class_rounds: rounds on the pseudo-classes; later ones train on the clusters. None: all of them.
        epochs: epochs per round; 0: no training.
        seed: random seed.
        initial: pseudo-labels of the first round, a name of ``initial_labels``.
        train_initial: whether the first round trains on them; otherwise it trains on clusters of vectors whose encoder
            was given them as the last clusters.
        initial_epochs: minimum number of epochs of the first round on given labels or topics.
        initial_rule: ends that round when its loss has converged, instead of ``initial_epochs``; None: does not.
        holdout: split into training and held-out images in each round; None: train on all images.
        confident_share: share of each cluster's images that are trained on, the most confident ones.
        early: clusterers used while training on pseudo-classes. Of several, keep the result with the highest NMI to
            the last round; in round 0 the first. Empty: ``clusterer``.
    """

    encoder: Encoder
    reducer: Reducer
    clusterer: Clusterer
    sampler: Sampler
    n_clusters: int | None
    n_pseudo: int | None
    pseudo_class_rounds: int | None
    epochs: int
    seed: int
    initial: InitialName = "features"
    train_initial: bool = True
    initial_epochs: int = 1
    initial_rule: LossConvergence | None = None
    holdout: Holdout | None = None
    confident_share: float = 1.0
    early: tuple[Clusterer, ...] = ()


class RoundLabels:
    """Pseudo-task whose target is the cluster of each image at the start of the round."""

    def __init__(self, parts: RoundLabelsParts) -> None:
        self.parts = parts
        self._clusterings = 0
        self._pseudo = torch.zeros(0, dtype=torch.int64)
        self._whole = torch.zeros(0, dtype=torch.int64)  # as _pseudo, also of images that are not trained on
        self._last = torch.zeros(0, dtype=torch.int64)
        self._groupings: dict[str, torch.Tensor] = {}  # labels of the last round, for a warm start
        self._fitted: dict[str, Any] | None = None
        self._split: Split | None = None
        self._initial_training: dict[str, float] = {}

    def begin_round(self, round_index: int, corpus: Corpus) -> RoundPlan | None:
        """Plan with a new head for the pseudo-labels of the last ``assign``; None without training."""
        if self.parts.epochs == 0:
            return None
        labels = self._pseudo.numpy()
        if self.parts.holdout is not None:
            self._split = self.parts.holdout.split(len(corpus), round_index, corpus.groups)
            kept = np.full_like(labels, -1)
            kept[self._split.training] = labels[self._split.training]
            labels = kept
        given = round_index == 0 and self.parts.initial in ("labels", "topics")
        if given and self.parts.initial_rule is not None:
            return self._until_converged(self.parts.initial_rule, labels, corpus)
        order = [
            self.parts.sampler.draw(labels, rng(self.parts.seed, "sample", round_index, epoch))
            for epoch in range(max(self.parts.epochs, self.parts.initial_epochs if given else 1))
        ]
        return RoundPlan(np.concatenate(order), n_outputs=int(self._pseudo.max()) + 1)

    def _until_converged(self, rule: LossConvergence, labels: NDArray[np.int64], corpus: Corpus) -> RoundPlan:
        """Plan of the first round, on ``labels`` (N,), that ends when ``rule`` says so."""

        def draw(epoch: int) -> NDArray[np.int64]:
            report_epoch(corpus.observer, epoch + 1, rule.most)
            return self.parts.sampler.draw(labels, rng(self.parts.seed, "sample", 0, epoch))

        def next_epoch(losses: Sequence[float]) -> NDArray[np.int64] | None:
            if not rule.ended(losses):
                return draw(len(losses))
            self._initial_training = {
                "initial_epochs": float(len(losses)),
                "initial_converged": float(rule.converged(losses)),
                "initial_loss_share": losses[-1] / losses[0] if losses[0] else 0.0,
            }
            return None

        return RoundPlan(draw(0), n_outputs=int(self._pseudo.max()) + 1, next_epoch=next_epoch)

    def targets(self, batch: Batch, outputs: Outputs) -> ClassTargets:
        """Each image's pseudo-label."""
        return ClassTargets(send(self._pseudo[batch.rows], outputs.logits.device))

    def after_step(self, batch: Batch, before: Outputs, network: Network) -> None:
        """Nothing: pseudo-labels are fixed for the whole round."""

    def assign(self, corpus: Corpus) -> Assignment:
        """Embed and cluster all images, and compute the pseudo-labels of the next round."""
        parts = self.parts
        held_out = {**self._held_out_scores(corpus), **self._initial_training}
        self._initial_training = {}
        anchors = anchors_of(corpus, self._last, moves=self._clusterings > 0 or parts.epochs == 0)
        if self._clusterings == 0 and anchors is None:
            n_groups = parts.n_pseudo or parts.n_clusters or GROUPS
            given = initial_labels(parts.initial, n_groups, corpus, seed=parts.seed)
            self._pseudo = self._whole = self._pseudo if given is None else given
        groups = self._pseudo if len(self._pseudo) else None
        seed = derive(parts.seed, "encode", self._clusterings)
        encoding = parts.encoder.encode(corpus, EncodeRequest(seed, groups, parts.n_clusters))
        self._fitted = encoding.fitted
        clusterers = self._clusterers()
        corpus.observer.phase("cluster", sum(one.reported_steps for one in clusterers) + 1)
        vectors = parts.reducer.embed(encoding.vectors, derive(parts.seed, "space", self._clusterings))
        widths = encoding.widths if vectors is encoding.vectors else ()
        wanted = ClusterRequest(parts.n_clusters, origin=encoding.vectors, anchors=anchors, widths=widths)
        watched = replace(wanted, step=lambda: corpus.observer.advance(1))
        found = self._most_stable(clusterers, vectors, watched, corpus)
        pseudo = self._pseudo_classes(found, vectors, wanted, corpus)
        corpus.observer.advance(1)
        replaced = parts.initial == "features" or not parts.train_initial
        if self._clusterings > 0 or anchors is not None or replaced:
            self._pseudo, self._whole = self._confident(pseudo, anchors), pseudo.labels
        self._clusterings += 1
        scores = {**encoding.scores, **held_out, "pseudo_clusters": float(pseudo.n_clusters)}
        return assignment_of(found, encoding.vectors, scores, numbers_kept=anchors is not None)

    def state_dict(self) -> dict[str, Any]:
        """Pseudo-labels, labels for a warm start, the fitted encoder, and the number of calls of ``assign``."""
        return {
            "turn": self._clusterings,
            "pseudo": self._pseudo,
            "whole": self._whole,
            "last": self._last,
            "groupings": dict(self._groupings),
            "reduction": self._fitted,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Resume from ``state_dict``."""
        self._clusterings = int(state["turn"])
        self._pseudo, self._whole = state["pseudo"], state["whole"]
        self._last = state["last"]
        self._groupings = dict(state["groupings"])
        self._fitted = state["reduction"]

    def _clusterers(self) -> tuple[Clusterer, ...]:
        """The clusterers of this round; only one where there is no last round to compare them with."""
        parts = self.parts
        final = parts.pseudo_class_rounds is not None and self._clusterings > parts.pseudo_class_rounds
        chosen = (parts.clusterer,) if final or not parts.early else parts.early
        return chosen if len(self._last) else chosen[:1]

    def _most_stable(
        self,
        clusterers: tuple[Clusterer, ...],
        vectors: torch.Tensor,
        request: ClusterRequest,
        corpus: Corpus,
    ) -> Clustering:
        """The result of the ``clusterers`` with the highest NMI to the last round."""
        found = [self._cluster("clusters", clusterer, vectors, request, corpus) for clusterer in clusterers]
        best = found[0] if len(found) == 1 else max(found, key=lambda one: nmi(one.labels, self._last))
        self._last = self._groupings["clusters"] = best.labels
        return best

    def _pseudo_classes(
        self, found: Clustering, vectors: torch.Tensor, request: ClusterRequest, corpus: Corpus
    ) -> Clustering:
        """The classes that the network is trained on: the clusters found, or more of them in the first rounds."""
        parts = self.parts
        over = parts.pseudo_class_rounds is not None and self._clusterings >= parts.pseudo_class_rounds
        known = request.anchors is not None or parts.clusterer.finds_number
        if over or known or parts.n_pseudo in (None, parts.n_clusters):
            return found
        return self._cluster(
            "pseudo", parts.clusterer, vectors, replace(request, n_clusters=parts.n_pseudo), corpus
        )

    def _cluster(
        self, what: str, clusterer: Clusterer, vectors: torch.Tensor, request: ClusterRequest, corpus: Corpus
    ) -> Clustering:
        start = self._last_means(what, vectors, request.n_clusters)
        seed = derive(self.parts.seed, what, self._clusterings)
        found = clusterer.cluster(vectors, replace(request, seed=seed, init_centers=start))
        corpus.compute.broadcast([found.labels, found.centers])
        self._groupings[what] = found.labels
        return found

    def _last_means(self, what: str, vectors: torch.Tensor, n_clusters: int | None) -> torch.Tensor | None:
        """(K, D) means of last round's clusters in this round's vectors; None: there are not as many.

        The centers of the last round cannot be used: PCA gives the vectors a new basis in every round.
        """
        last = self._groupings.get(what) if self.parts.reducer.steady else None
        if last is None or n_clusters is None or int(last.max()) + 1 != n_clusters:
            return None
        return means(vectors, last, n_clusters)

    def _held_out_scores(self, corpus: Corpus) -> dict[str, float]:
        """Held-out accuracy of the last training round."""
        if self.parts.holdout is None or self._split is None:
            return {}
        split, self._split = self._split, None
        return self.parts.holdout.scores(corpus, self._whole.numpy(), split)

    def _confident(self, pseudo: Clustering, anchors: Anchors | None) -> torch.Tensor:
        """Pseudo-labels with -1 for the least confident of each cluster, except for fixed labels."""
        labels = most_confident(pseudo.labels, pseudo.confidence, self.parts.confident_share)
        return labels if anchors is None else torch.where(anchors.fixed, pseudo.labels, labels)


def most_confident(labels: torch.Tensor, confidence: torch.Tensor, share: float) -> torch.Tensor:
    """Labels (N,) with -1 for all but the most confident ``share`` of each cluster.

    Selected in each cluster, since a share of all images together could leave out whole clusters.
    """
    if share >= 1:
        return labels
    kept = labels.clone()
    for cluster in range(int(labels.max()) + 1):
        rows = (labels == cluster).nonzero()[:, 0]
        n_kept = math.ceil(share * len(rows))
        kept[rows[confidence[rows].argsort(descending=True, stable=True)[n_kept:]]] = -1
    return kept
