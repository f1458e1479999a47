"""Stopping rules, checked after every round, and collapse, checked before all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

from fiftyone_deepcluster.core.record import Round, StopReason

COLLAPSED_SHARE = 0.99
"""Collapsed if one cluster has this share of all images: its labels carry no information."""


class StopRule(Protocol):
    """Decides from the rounds so far whether to stop."""

    def check(self, rounds: Sequence[Round]) -> StopReason | None:
        """A reason to stop, or None to continue."""
        ...


@dataclass(frozen=True)
class StopOnAgreement:
    """Stop when the clusters of adjacent rounds agree.

    Attributes:
        nmi: minimum normalized mutual information with the previous round.
        patience: consecutive rounds that must reach it.
        not_before: minimum number of rounds.
        purity: minimum purity against the previous round.
        settled: maximum change of the number of clusters in use, as a share of the previous round's; None: any.
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

    Must be checked before any rule on agreement: two labelings with one cluster agree perfectly. If the largest
    cluster of the previous round (``share_before``) already had 99 % of the images, this is no collapse as long
    as there are two clusters.
    """
    if entry.clusters_in_use < 2:
        return True
    return entry.largest_share >= COLLAPSED_SHARE > share_before
