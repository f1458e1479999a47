"""Pairs of a batch as targets: which images belong together is read from the network's own label features.

Deep adaptive clustering (Chang et al., "Deep Adaptive Image Clustering", 2017). Pairs that are surely alike
or surely not are taught; from round to round the thresholds close in until every pair is taught.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from fiftyone_deepcluster.clusterers.distances import confidence_of
from fiftyone_deepcluster.core.seeds import rng
from fiftyone_deepcluster.core.types import Assignment, Batch, Outputs, PairTargets, RoundPlan
from fiftyone_deepcluster.pseudo_labels.pixel_warmup import whole_batches

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fiftyone_deepcluster.backbones.network import Network
    from fiftyone_deepcluster.features.corpus import Corpus

INTERVALS = (0.0, 0.1, 0.5, 0.9)
"""Lower ends of the intervals in which label features are counted (figure 4)."""

STATISTICS = 1000
"""Images, about, from which batch norm takes its statistics before clusters are read."""

_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)


@dataclass(frozen=True)
class Thresholds:
    """u(λ) and l(λ): straight lines in the adaptive parameter λ, which grows by ``step`` a round.

    Attributes:
        upper: u at λ = 0, and its change as λ grows by 1; pairs at least this similar are taught as alike.
        lower: l likewise; pairs less similar are taught as different.
        step: added to λ after every round: -η ∂E/∂λ = η (l' - u') of equation 12.
        rounds: the task is finished after so many; None: when l(λ) > u(λ), as algorithm 1 says.
    """

    upper: tuple[float, float]
    lower: tuple[float, float]
    step: float
    rounds: int | None = None

    def at(self, lam: float) -> tuple[float, float]:
        """(u, l) at λ = ``lam``."""
        return self.upper[0] + self.upper[1] * lam, self.lower[0] + self.lower[1] * lam

    def over(self, lam: float, round_index: int) -> bool:
        """Whether nothing is left to teach in this round (from 0)."""
        if self.rounds is not None:
            return round_index >= self.rounds
        upper, lower = self.at(lam)
        return lower > upper


@dataclass(frozen=True)
class FrozenTargets:
    """Targets that hold for a while, as in the authors' code; the paper has none of this.

    Attributes:
        images: of a macro-batch, whose label features are computed once, not augmented.
        epochs: passes over a macro-batch on those targets.
        views: times that a mini-batch is taught in a row, each time augmented anew.
    """

    images: int = 1000
    epochs: int = 10
    views: int = 2


@dataclass(frozen=True)
class PairSelectionParts:
    """What a round is made of.

    Attributes:
        thresholds: which pairs are taught.
        batch_size: images whose pairs are compared: m of algorithm 1, or of a mini-batch with ``frozen``.
        min_steps: batches in a round at least; few images are passed over several times.
        frozen: None: a batch is taught by what the network says of that very batch.
        batch_statistics: batch norm judges by the statistics of one batch also where clusters are read.
        seed: of the draws.
    """

    thresholds: Thresholds
    batch_size: int
    min_steps: int = 0
    frozen: FrozenTargets | None = None
    batch_statistics: bool = True
    seed: int = 0


class PairSelection:
    """Teaches which pairs of a batch belong together, as far as the network is sure of it."""

    def __init__(self, parts: PairSelectionParts) -> None:
        self.parts = parts
        self._lambda = 0.0
        self._bounds = parts.thresholds.at(0.0)
        self._round: int | None = None
        self._selected: list[torch.Tensor] = []
        self._turn: _MacroBatches | None = None

    def begin_round(self, round_index: int, corpus: Corpus) -> RoundPlan | None:
        """Whole batches in random order; None when l(λ) > u(λ)."""
        if self.parts.thresholds.over(self._lambda, round_index):
            return None
        self._bounds = self.parts.thresholds.at(self._lambda)
        self._round, self._selected = round_index, []
        draw = rng(self.parts.seed, "pairs", round_index)
        if self.parts.frozen is None:
            return RoundPlan(whole_batches(len(corpus), self.parts.batch_size, self.parts.min_steps, draw))
        self._turn = _MacroBatches(self.parts, self.parts.frozen, corpus, draw)
        return RoundPlan(self._turn.order())

    def targets(self, batch: Batch, outputs: Outputs) -> PairTargets:
        """The pairs that are similar or dissimilar enough (equations 6 and 8)."""
        frozen = None if self._turn is None else self._turn.label_features(batch)
        found = select(outputs.features.detach() if frozen is None else frozen, *self._bounds)
        self._selected.append(found.chosen.mean())
        return PairTargets(found.same, found.chosen, frozen)

    def after_step(self, batch: Batch, before: Outputs, network: Network) -> None:
        """A macro-batch may be over; the next one gets its targets from the network as it is now."""
        if self._turn is not None:
            self._turn.step()

    def assign(self, corpus: Corpus) -> Assignment:
        """The largest label feature of every image (equation 13); after a round, λ moves on (equation 12)."""
        if self.parts.batch_statistics:
            self._settle_norms(corpus)
        features = corpus.features()
        scores = self._scores(features)
        if self._round is not None:
            self._lambda += self.parts.thresholds.step
            self._round, self._turn = None, None
        return _assignment(features.cpu(), scores)

    def state_dict(self) -> dict[str, Any]:
        """λ: everything else follows from it and from the round."""
        return {"lambda": self._lambda}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from ``state_dict``."""
        self._lambda = float(state["lambda"])
        self._round, self._turn = None, None

    def _settle_norms(self, corpus: Corpus) -> None:
        """Batch norm gets the statistics of images drawn at random, not augmented.

        Taken batch by batch in the order of the files they would differ between folders; so every image,
        also a new one, is judged by the same.
        """
        turn = 0 if self._round is None else self._round + 1
        draw = rng(self.parts.seed, "statistics", turn)
        norms = [layer for layer in corpus.network.modules() if isinstance(layer, _NORMS)]
        momenta = [layer.momentum for layer in norms]
        for layer in norms:
            layer.reset_running_stats()
            layer.momentum = None  # the plain mean over the batches of this pass
        corpus.network.train()
        rows = whole_batches(len(corpus), self.parts.batch_size, 1, draw)
        features_of(corpus, rows[: max(1, STATISTICS // self.parts.batch_size) * self.parts.batch_size])
        for layer, momentum in zip(norms, momenta, strict=True):
            layer.momentum = momentum

    def _scores(self, features: torch.Tensor) -> dict[str, float]:
        upper, lower = self._bounds
        edges = [*INTERVALS[1:], math.inf]
        below = [float((features < edge).float().mean()) for edge in edges]
        shares = np.diff([0.0, *below])
        found = {f"features_from_{low:g}": float(share) for low, share in zip(INTERVALS, shares, strict=True)}
        if self._selected:
            found |= {"lambda": self._lambda, "upper": upper, "lower": lower}
            found["pairs_selected"] = float(torch.stack(self._selected).mean())
        return found


def features_of(corpus: Corpus, rows: NDArray[np.int64]) -> torch.Tensor:
    """(R, K) float32 of some images, not augmented, by the network in the mode it is in."""
    with torch.no_grad(), corpus.compute.autocast():
        return torch.cat(
            [corpus.network.features(batch.images).float() for batch in corpus.plain_batches(rows)]
        )


def select(features: torch.Tensor, upper: float, lower: float) -> PairTargets:
    """Pairs taught as alike (l_i · l_j >= u) and as different (l_i · l_j < l); equations 6 and 8.

    Args:
        features: (B, K) label features of length 1.
        upper: u(λ).
        lower: l(λ), at most ``upper``; at l = u every pair is chosen.
    """
    similar = features @ features.T
    same = similar >= upper
    return PairTargets(same.float(), (same | (similar < lower)).float())


class _MacroBatches:
    """The rows of one round, macro-batch by macro-batch, and the targets of the present one."""

    def __init__(
        self, parts: PairSelectionParts, frozen: FrozenTargets, corpus: Corpus, draw: np.random.Generator
    ) -> None:
        self._frozen = frozen
        self._mini = min(parts.batch_size, len(corpus))
        self._statistics = parts.batch_statistics
        self._corpus = corpus
        self._draw = draw
        # Whole mini-batches only: batch norm cannot judge a single image that is left over.
        batches = max(1, min(frozen.images, len(corpus)) // self._mini)
        self._steps = batches * frozen.epochs * frozen.views
        rows = whole_batches(
            len(corpus), batches * self._mini, math.ceil(parts.min_steps / self._steps), draw
        )
        self._macros = rows.reshape(-1, batches * self._mini)
        self._step = 0
        self._place = torch.zeros(len(corpus), dtype=torch.int64)
        self._freeze(0)

    def order(self) -> NDArray[np.int64]:
        """(M,) rows: every macro-batch shuffled ``epochs`` times, each of its mini-batches ``views`` times."""
        return np.concatenate([self._rows_of(macro) for macro in self._macros])

    def label_features(self, batch: Batch) -> torch.Tensor:
        """(B, K) of a mini-batch, as they were when its macro-batch began."""
        return self._targets[self._place[batch.rows].to(self._targets.device)]

    def step(self) -> None:
        """One mini-batch is done."""
        self._step += 1
        index, rest = divmod(self._step, self._steps)
        if rest == 0 and index < len(self._macros):
            self._freeze(index)

    def _rows_of(self, macro: NDArray[np.int64]) -> NDArray[np.int64]:
        shuffled = [self._draw.permutation(macro) for _ in range(self._frozen.epochs)]
        minis = np.concatenate(shuffled).reshape(-1, self._mini)
        return np.repeat(minis, self._frozen.views, axis=0).reshape(-1)

    def _freeze(self, index: int) -> None:
        macro = self._macros[index]
        network = self._corpus.network
        mode = network.training
        network.train(self._statistics)
        self._targets = features_of(self._corpus, macro)
        network.train(mode)
        self._place[torch.from_numpy(macro)] = torch.arange(len(macro))


def _assignment(features: torch.Tensor, scores: dict[str, float]) -> Assignment:
    """Clusters by argmax: the centers are one-hot, so the nearest center is the largest label feature."""
    own, other = (2 - 2 * features.topk(2, dim=1).values.clamp(max=1)).sqrt().unbind(1)
    return Assignment(
        labels=features.argmax(1).numpy(),
        confidence=confidence_of(own, other).numpy(),
        distance=own.numpy(),
        margin=(other - own).numpy(),
        embeddings=features.numpy(),
        centers=np.eye(features.shape[1], dtype=np.float32),
        scores=scores,
    )
