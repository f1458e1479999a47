"""Pseudo-labels from centers updated with every batch: UCNN (Hsu and Lin, section 2).

Every batch is assigned to its nearest centers, the network is trained on these clusters in one step, and the centers
move towards the batch's features. Training needs no pass over all images. The clusters of a round are those that its
batches were assigned to; with ``vectors`` the last features of each image are kept, too, and all images are embedded at
the start and at the end.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch.func import functional_call

from fiftyone_deepcluster.clusterers.distances import confidence_of, nearest_two
from fiftyone_deepcluster.clusterers.kmeans.streams import Centroids
from fiftyone_deepcluster.core.seeds import rng
from fiftyone_deepcluster.core.types import Assignment, Batch, ClassTargets, Outputs, RoundPlan
from fiftyone_deepcluster.pseudo_labels.assignments import nearest_assignment
from fiftyone_deepcluster.pseudo_labels.first_centers import InitName, first_features

if TYPE_CHECKING:
    from fiftyone_deepcluster.backbones.network import Network
    from fiftyone_deepcluster.features.corpus import Corpus

DriftName = Literal["compensated", "older", "ignored"]
"""Which features update the centers after a step from weights W(t-1) to W(t).

``compensated``: f(W(t) + eta dW(t-1)) of equations 4 and 5, which is f(W(t-1)): the features before the step, already
computed. ``older``: the other reading, one step earlier, f(W(t-2)). ``ignored``: f(W(t)), Baseline-I.
"""


@dataclass(frozen=True)
class StreamingParts:
    """Options of the center updates.

    Attributes:
        n_clusters: K.
        seed: of initial centers and order.
        drift: which features update the centers.
        init: initial centers.
        recount: reset the counts in every round, so that step sizes stay large; else counts grow for the whole run.
        patience: a center with no image among this many images per cluster is re-initialized.
        augmented: apply the training spec's augmentation; the paper uses none.
        vectors: keep the last vector of each image, (N, D), and embed all images at the start and at the end. Without,
            a cluster and two distances per image are kept, there are no clusters before the first round, and
            assignments have embeddings without columns.
    """

    n_clusters: int
    seed: int
    drift: DriftName = "compensated"
    init: InitName = "sample"
    recount: bool = False
    patience: int = 100
    augmented: bool = False
    vectors: bool = True


class StreamingCentroids:
    """Pseudo-task whose targets are the nearest centers of each batch, which are then updated."""

    def __init__(self, parts: StreamingParts) -> None:
        self.parts = parts
        self._centroids: Centroids | None = None
        self._seen = torch.zeros(0)  # (N, D) last vectors; without ``vectors`` (N, 3): cluster, two distances
        self._updated = torch.zeros(0, dtype=torch.bool)
        self._labels = torch.zeros(0, dtype=torch.int64)
        self._weights: deque[dict[str, torch.Tensor]] = deque(maxlen=2)
        self._corpus: Corpus | None = None
        self._near = torch.zeros(0, 3)
        self._revived = 0
        self._drift = torch.zeros(2)  # sum and count of the values of ``_note_drift``

    def begin_round(self, round_index: int, corpus: Corpus) -> RoundPlan | None:
        """Every image once; the head is created in the first round and kept, since cluster ids do not change."""
        centroids = self._on_device(corpus)
        self._revived = 0
        self._drift = torch.zeros(2, device=corpus.compute.device)
        self._seen = self._seen.clone()  # the last assignment and the saved state keep the old values
        self._updated = torch.zeros(len(corpus), dtype=torch.bool)
        self._weights.clear()  # so that a resumed run equals an uninterrupted one
        if self.parts.recount:
            centroids.forget()
        order = rng(self.parts.seed, "order", round_index).permutation(len(corpus))
        new = len(centroids) if round_index == 0 else None
        return RoundPlan(order, n_outputs=new, augmented=self.parts.augmented)

    def targets(self, batch: Batch, outputs: Outputs) -> ClassTargets:
        """The nearest center of each image's features."""
        features = outputs.features.detach().float()
        if self.parts.vectors:
            self._labels = self._initialized().nearest(features)
        else:
            self._labels, self._near = self._placed(features)
        return ClassTargets(self._labels)

    def after_step(self, batch: Batch, before: Outputs, network: Network) -> None:
        """Equations 2 and 5: centers move towards the features of ``drift``."""
        seen = before.features.detach().float()
        features = self._tracked(seen, batch, network)
        centroids = self._initialized()
        compute = None if self._corpus is None else self._corpus.compute
        centroids.update(features, self._labels, compute)
        patience = self.parts.patience * len(centroids)
        self._revived += centroids.revive(features, self._labels, patience=patience, compute=compute)
        self._seen[batch.rows] = (seen if self.parts.vectors else self._near).cpu()
        self._updated[batch.rows] = True

    def assign(self, corpus: Corpus) -> Assignment:
        """The nearest center of the last features of every image; the first call computes them.

        Without ``vectors``: the centers that the images were assigned to in training; none in the first call.
        """
        parts = self.parts
        if self._centroids is None:
            self._centroids = Centroids(first_features(corpus, parts.n_clusters, parts.init, seed=parts.seed))
            unknown = torch.tensor([-1.0, torch.nan, torch.nan]).repeat(len(corpus), 1)
            self._seen = corpus.features().cpu() if parts.vectors else unknown
        else:
            self._gather(corpus)
        if not parts.vectors:
            return self._streamed(corpus)
        where = corpus.compute.device_for(self._seen.numel())
        return self._assignment(self._seen.to(where), corpus)

    def finish(self, corpus: Corpus, last: Assignment) -> Assignment:
        """The nearest center of every image by the final network; state that a resumed run needs is unchanged."""
        return self._assignment(corpus.features(), corpus)

    def state_dict(self) -> dict[str, Any]:
        """Centers with their counts, and what is kept of every image."""
        centroids = None if self._centroids is None else self._centroids.state_dict()
        return {"centroids": centroids, "seen": self._seen}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Resume from ``state_dict``."""
        known = state["centroids"]
        self._centroids = None if known is None else Centroids.from_state(known)
        self._seen = state["seen"]

    def _initialized(self) -> Centroids:
        if self._centroids is None:
            raise RuntimeError("there are no centers yet: call assign first")
        return self._centroids

    def _on_device(self, corpus: Corpus) -> Centroids:
        self._corpus = corpus
        return self._initialized().to(corpus.compute.device)

    def _tracked(self, seen: torch.Tensor, batch: Batch, network: Network) -> torch.Tensor:
        """(B, D) features that update the centers; ``seen`` are those before the step."""
        if self.parts.drift == "compensated":
            return seen
        if self.parts.drift == "ignored":
            features = self._features(batch, network, _weights(network))
        else:
            older = self._weights[0] if len(self._weights) == 2 else None
            features = seen if older is None else self._features(batch, network, older)
            self._weights.append({name: value.clone() for name, value in _weights(network).items()})
        self._note_drift(seen, features)
        return features

    def _features(self, batch: Batch, network: Network, weights: dict[str, torch.Tensor]) -> torch.Tensor:
        """Features of a batch from the backbone with other weights; running statistics stay unchanged."""
        statistics = {name: value.clone() for name, value in network.backbone.named_buffers()}
        corpus = self._corpus
        if corpus is None:
            raise RuntimeError("call begin_round first")
        with torch.no_grad(), corpus.compute.autocast():
            found = functional_call(
                network.backbone, {**weights, **statistics}, (network.input_norm(batch.images),)
            )
        return found.float()  # type: ignore[no-any-return]

    def _note_drift(self, seen: torch.Tensor, features: torch.Tensor) -> None:
        """Mean distance between the two features, relative to the mean distance to the own center."""
        own = (seen - self._initialized().centers[self._labels]).norm(dim=1).mean()
        share = (features - seen).norm(dim=1).mean() / own.clamp_min(1e-12)
        self._drift += torch.stack([share, torch.ones_like(share)])

    def _gather(self, corpus: Corpus) -> None:
        """Exchange the features seen by each process, so that all have the same."""
        compute = corpus.compute
        if compute.world == 1:
            return
        updated = self._updated.to(compute.device)[:, None]
        seen = self._seen.to(compute.device)
        times = compute.all_reduce_sum(updated.float())
        values = compute.all_reduce_sum(torch.where(updated, seen, 0.0)) / times.clamp_min(1.0)
        self._seen = torch.where(times > 0, values, seen).cpu()

    def _assignment(self, vectors: torch.Tensor, corpus: Corpus) -> Assignment:
        centers = self._initialized().to(corpus.compute.device).centers
        return nearest_assignment(vectors, centers.clone(), self._scores())  # the centers change in training

    def _scores(self) -> dict[str, float]:
        scores = {"revived": float(self._revived)}
        if self._drift[1] > 0:
            scores["drift"] = float(self._drift[0] / self._drift[1])
        return scores

    def _placed(self, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Nearest centers (B,) of a batch, and (B, 3): these, the distances to them and to the second nearest."""
        labels, own, other = nearest_two(features, self._initialized().centers)
        return labels, torch.stack([labels.float(), own.sqrt(), other.sqrt()], dim=1)

    def _streamed(self, corpus: Corpus) -> Assignment:
        """The assignment of the training pass."""
        labels, own, other = self._seen.unbind(dim=1)
        return Assignment(
            labels=labels.long().numpy(),
            confidence=confidence_of(own, other).numpy(),
            distance=own.clone().numpy(),
            margin=torch.where(other.isinf(), 0.0, other - own).numpy(),
            embeddings=np.zeros((len(labels), 0), dtype=np.float32),
            centers=self._initialized().to(corpus.compute.device).centers.cpu().clone().numpy(),
            scores=self._scores(),
        )


def _weights(network: Network) -> dict[str, torch.Tensor]:
    return {name: value.detach() for name, value in network.backbone.named_parameters()}
