"""When a run is over: rules asked after every round, and collapse, asked before all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

from fiftyone_deepcluster.core.record import Round, StopReason

COLLAPSED_SHARE = 0.99
"""A cluster with this share of all images holds "everything": the labels say nothing any more."""


class StopRule(Protocol):
    """Looks at the rounds so far."""

    def check(self, rounds: Sequence[Round]) -> StopReason | None:
        """A reason to stop, or None to go on."""
        ...


@dataclass(frozen=True)
class StopOnAgreement:
    """Stop when the clusters of adjacent rounds agree.

    Attributes:
        nmi: least normalized mutual information with the round before.
        patience: rounds in a row that must reach it.
        not_before: rounds that must be done first.
        purity: least purity against the round before.
        settled: the number of clusters in use may differ by this share of the round before; None: by any.
    """

    nmi: float
    patience: int = 1
    not_before: int = 0
    purity: float = 0.0
    settled: float | None = None

    def check(self, rounds: Sequence[Round]) -> StopReason | None:
        """CONVERGED when the last ``patience`` rounds all agreed."""
        recent = rounds[-self.patience :]
        if len(recent) < self.patience or len(rounds) < self.not_before:
            return None
        agreed = all(
            entry.change is not None and entry.change.nmi >= self.nmi and entry.change.purity >= self.purity
            for entry in recent
        )
        return StopReason.CONVERGED if agreed and self._settled(rounds) else None

    def _settled(self, rounds: Sequence[Round]) -> bool:
        if self.settled is None:
            return True
        counts = [entry.clusters_in_use for entry in rounds[-self.patience - 1 :]]
        if len(counts) < self.patience + 1:
            return False
        return all(abs(now - last) <= self.settled * last for last, now in pairwise(counts))


def collapsed(entry: Round, share_before: float) -> bool:
    """Whether training drove (nearly) all images into one cluster.

    Must be asked before any rule on agreement: two labelings with one cluster agree perfectly. A data set of
    which 99 % are alike from the start (``share_before``, the largest cluster of the round before) is no
    collapse, as long as there are two clusters.
    """
    if entry.clusters_in_use < 2:
        return True
    return entry.largest_share >= COLLAPSED_SHARE > share_before
