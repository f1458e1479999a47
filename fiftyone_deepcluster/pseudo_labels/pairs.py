"""Pairs of a batch as targets, selected by the network's own label features.

Deep adaptive clustering (Chang et al., "Deep Adaptive Image Clustering", 2017). Pairs that are confidently similar
or dissimilar are trained on; the thresholds converge from round to round until every pair is selected.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from fiftyone_deepcluster.clusterers.distances import confidence_of
from fiftyone_deepcluster.core.devices import send
from fiftyone_deepcluster.core.seeds import rng
from fiftyone_deepcluster.core.types import Assignment, Batch, Outputs, PairTargets, RoundPlan
from fiftyone_deepcluster.pseudo_labels.samplers import whole_batches

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fiftyone_deepcluster.backbones.network import Network
    from fiftyone_deepcluster.features.corpus import Corpus

INTERVALS = (0.0, 0.1, 0.5, 0.9)
"""Lower bounds of the intervals of the label features' histogram (figure 4)."""

STATISTICS = 1000
"""Approximate number of images for the batch norm statistics used in ``assign``."""

_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)


@dataclass(frozen=True)
class Thresholds:
    """u(λ) and l(λ): linear functions of the adaptive parameter λ, which grows by ``step`` per round.

    Attributes:
        upper: u at λ = 0, and its slope; pairs with similarity >= u are positive.
        lower: l likewise; pairs with similarity < l are negative.
        step: added to λ after every round: -η ∂E/∂λ = η (l' - u') of equation 12.
        rounds: number of rounds; None: until l(λ) > u(λ), as in algorithm 1.
    """

    upper: tuple[float, float]
    lower: tuple[float, float]
    step: float
    rounds: int | None = None

    def at(self, lam: float) -> tuple[float, float]:
        """(u, l) at λ = ``lam``."""
        return self.upper[0] + self.upper[1] * lam, self.lower[0] + self.lower[1] * lam

    def over(self, lam: float, round_index: int) -> bool:
        """Whether training is finished before round ``round_index`` (from 0)."""
        if self.rounds is not None:
            return round_index >= self.rounds
        upper, lower = self.at(lam)
        return lower > upper


@dataclass(frozen=True)
class FrozenTargets:
    """Targets that are fixed for several epochs, as in the authors' code; not in the paper.

    Attributes:
        images: size of a macro-batch, whose label features are computed once, without augmentation.
        epochs: epochs over a macro-batch with these targets.
        views: consecutive steps per mini-batch, each with new augmentation.
    """

    images: int = 1000
    epochs: int = 10
    views: int = 2


@dataclass(frozen=True)
class PairSelectionParts:
    """The parts of a round.

    Attributes:
        thresholds: select the pairs.
        batch_size: images per batch, m of algorithm 1, or per mini-batch with ``frozen``; all pairs are compared.
        min_steps: minimum number of batches per round; adds epochs when there are few images.
        frozen: None: targets come from the outputs for the same batch.
        batch_statistics: use the batch norm statistics of one random batch in ``assign``, too.
        seed: random seed.
    """

    thresholds: Thresholds
    batch_size: int
    min_steps: int = 0
    frozen: FrozenTargets | None = None
    batch_statistics: bool = True
    seed: int = 0


class PairSelection:
    """Pseudo-task whose targets are the confident positive and negative pairs of a batch."""

    def __init__(self, parts: PairSelectionParts) -> None:
        self.parts = parts
        self._lambda = 0.0
        self._bounds = parts.thresholds.at(0.0)
        self._round: int | None = None
        self._selected: list[torch.Tensor] = []
        self._macro_batches: _MacroBatches | None = None

    def begin_round(self, round_index: int, corpus: Corpus) -> RoundPlan | None:
        """Whole batches in random order; None when training is finished."""
        if self.parts.thresholds.over(self._lambda, round_index):
            return None
        self._bounds = self.parts.thresholds.at(self._lambda)
        self._round, self._selected = round_index, []
        draw = rng(self.parts.seed, "pairs", round_index)
        if self.parts.frozen is None:
            return RoundPlan(
                whole_batches(len(corpus), self.parts.batch_size, min_steps=self.parts.min_steps, draw=draw)
            )
        self._macro_batches = _MacroBatches(self.parts, self.parts.frozen, corpus, draw)
        return RoundPlan(self._macro_batches.order())

    def targets(self, batch: Batch, outputs: Outputs) -> PairTargets:
        """The pairs that are similar or dissimilar enough (equations 6 and 8)."""
        frozen = None if self._macro_batches is None else self._macro_batches.label_features(batch)
        found = select(outputs.features.detach() if frozen is None else frozen, *self._bounds)
        self._selected.append(found.chosen.mean())
        return PairTargets(found.same, found.chosen, frozen)

    def after_step(self, batch: Batch, before: Outputs, network: Network) -> None:
        """Count the step; the next macro-batch gets its targets from the current network."""
        if self._macro_batches is not None:
            self._macro_batches.step()

    def assign(self, corpus: Corpus) -> Assignment:
        """The largest label feature of every image (equation 13); after a round λ is increased (equation 12)."""
        if self.parts.batch_statistics:
            self._settle_norms(corpus)
        features = corpus.features()
        scores = self._scores(features)
        if self._round is not None:
            self._lambda += self.parts.thresholds.step
            self._round, self._macro_batches = None, None
        return _assignment(features.cpu(), scores)

    def state_dict(self) -> dict[str, Any]:
        """λ; the rest of the state follows from λ and the round."""
        return {"lambda": self._lambda}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Resume from ``state_dict``."""
        self._lambda = float(state["lambda"])
        self._round, self._macro_batches = None, None

    def _settle_norms(self, corpus: Corpus) -> None:
        """Compute batch norm statistics from random images without augmentation.

        Statistics per batch in file order would differ between folders; with these, every image, also a new one,
        is normalized in the same way.
        """
        round_index = 0 if self._round is None else self._round + 1
        draw = rng(self.parts.seed, "statistics", round_index)
        norms = [layer for layer in corpus.network.modules() if isinstance(layer, _NORMS)]
        momenta = [layer.momentum for layer in norms]
        for layer in norms:
            layer.reset_running_stats()
            layer.momentum = None  # the plain mean over the batches of this pass
        corpus.network.train()
        rows = whole_batches(len(corpus), self.parts.batch_size, min_steps=1, draw=draw)
        rows = rows[: max(1, STATISTICS // self.parts.batch_size) * self.parts.batch_size]
        corpus.observer.phase("batch norm", len(rows))
        features_of(corpus, rows)
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
    """(R, K) float32 features of some images without augmentation, in the network's current mode."""
    with torch.no_grad(), corpus.compute.autocast():
        return torch.cat(
            [corpus.network.features(batch.images).float() for batch in corpus.plain_batches(rows)]
        )


def select(features: torch.Tensor, upper: float, lower: float) -> PairTargets:
    """Positive pairs (l_i · l_j >= u) and negative pairs (l_i · l_j < l); equations 6 and 8.

    Args:
        features: (B, K) label features of length 1.
        upper: u(λ).
        lower: l(λ), at most ``upper``; at l = u every pair is selected.
    """
    similar = features @ features.T
    same = similar >= upper
    return PairTargets(same.float(), (same | (similar < lower)).float())


class _MacroBatches:
    """The rows of one round, macro-batch by macro-batch, and the targets of the current one."""

    def __init__(
        self, parts: PairSelectionParts, frozen: FrozenTargets, corpus: Corpus, draw: np.random.Generator
    ) -> None:
        self._frozen = frozen
        self._mini = min(parts.batch_size, len(corpus))
        self._statistics = parts.batch_statistics
        self._corpus = corpus
        self._draw = draw
        size = min(frozen.images, len(corpus))
        # Whole mini-batches only: batch norm cannot normalize a single remaining image.
        self._batches = max(1, size // self._mini)
        self._steps = self._batches * frozen.epochs * frozen.views
        rows = whole_batches(len(corpus), size, min_steps=math.ceil(parts.min_steps / self._steps), draw=draw)
        self._macros = rows.reshape(-1, size)
        self._step = 0
        self._place = torch.zeros(len(corpus), dtype=torch.int64)
        self._freeze(0)

    def order(self) -> NDArray[np.int64]:
        """(M,) rows: whole mini-batches of every macro-batch, shuffled ``epochs`` times, each ``views`` times."""
        return np.concatenate([self._rows_of(macro) for macro in self._macros])

    def label_features(self, batch: Batch) -> torch.Tensor:
        """(B, K) label features of a mini-batch, computed when its macro-batch started."""
        return self._targets[send(self._place[batch.rows], self._targets.device)]

    def step(self) -> None:
        """Count one mini-batch."""
        self._step += 1
        index, rest = divmod(self._step, self._steps)
        if rest == 0 and index < len(self._macros):
            self._freeze(index)

    def _rows_of(self, macro: NDArray[np.int64]) -> NDArray[np.int64]:
        used = self._batches * self._mini
        shuffled = [self._draw.permutation(macro)[:used] for _ in range(self._frozen.epochs)]
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
