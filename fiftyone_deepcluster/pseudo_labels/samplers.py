"""The images of an epoch: samplers for pseudo-labels, and whole batches for pairs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Sampler(Protocol):
    """Draws the rows of one epoch."""

    def draw(self, labels: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
        """Rows to train on, in order, from the pseudo-labels (N,); rows with label -1 are never drawn."""
        ...


@dataclass(frozen=True)
class Shuffled:
    """Every image once, in random order."""

    def draw(self, labels: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
        """A permutation of the rows that have a label."""
        return rng.permutation(np.flatnonzero(labels >= 0))


@dataclass(frozen=True)
class UniformOverClusters:
    """As many draws as images, the same number from every cluster.

    Keeps large clusters from dominating the gradient (Caron et al., section 3.2, "trivial
    parametrization"). Images of clusters smaller than the number of draws are repeated; larger clusters are
    drawn without replacement.

    Attributes:
        most_repeats: maximum number of draws per image; 0: no limit. Tiny clusters then get
            fewer draws, so that two images cannot fill a tenth of the epoch.
    """

    most_repeats: int = 0

    def draw(self, labels: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
        """(M,) rows, shuffled; M equals the number of labeled images unless repeats are limited."""
        known = np.flatnonzero(labels >= 0)
        if len(known) == 0:
            return known
        order = known[np.argsort(labels[known], kind="stable")]
        _, starts = np.unique(labels[order], return_index=True)
        clusters = np.split(order, starts[1:])
        each = len(known) // len(clusters) + 1
        drawn = np.concatenate([self._from_one(members, each, rng) for members in clusters])
        return rng.permutation(drawn)[: len(known)]

    def _from_one(self, members: NDArray[np.int64], each: int, rng: np.random.Generator) -> NDArray[np.int64]:
        if self.most_repeats:
            each = min(each, self.most_repeats * len(members))
        if len(members) >= each:
            return rng.choice(members, each, replace=False)
        # Whole passes first, so that every image of a small cluster is drawn.
        passes, rest = divmod(each, len(members))
        return np.concatenate([np.tile(members, passes), rng.choice(members, rest, replace=False)])


def whole_batches(n: int, batch_size: int, *, min_steps: int, draw: np.random.Generator) -> NDArray[np.int64]:
    """(M,) rows of whole epochs: ``min_steps`` batches or more, without the rest of an epoch that fills no batch.

    No batch has an image twice. With fewer than ``batch_size`` images, a batch has all of them.

    Args:
        n: number of images.
        batch_size: images per batch.
        min_steps: minimum number of batches.
        draw: generator of the order.
    """
    each = max(1, n // batch_size)
    passes = math.ceil(max(min_steps, each) / each)
    cut = each * min(batch_size, n)
    return np.concatenate([draw.permutation(n)[:cut] for _ in range(passes)])
