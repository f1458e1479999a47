"""When a run is over: rules asked after every round, and collapse, asked before all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from fiftyone_deepcluster.record import Round, StopReason

COLLAPSED_SHARE = 0.99
"""A cluster with this share of all images holds "everything": the labels say nothing any more."""


class StopRule(Protocol):
    """Looks at the rounds so far."""

    def check(self, rounds: Sequence[Round]) -> StopReason | None:
        """A reason to stop, or None to go on."""
        ...


@dataclass(frozen=True)
class Agreement:
    """Stop when the clusters of adjacent rounds agree.

    Attributes:
        nmi: least normalised mutual information with the round before.
        patience: rounds in a row that must reach it.
        not_before: rounds that must be done first.
    """

    nmi: float
    patience: int = 1
    not_before: int = 0

    def check(self, rounds: Sequence[Round]) -> StopReason | None:
        """CONVERGED when the last ``patience`` rounds all agreed."""
        recent = rounds[-self.patience :]
        if len(recent) < self.patience or len(rounds) < self.not_before:
            return None
        agreed = all(entry.change is not None and entry.change.nmi >= self.nmi for entry in recent)
        return StopReason.CONVERGED if agreed else None


def collapsed(entry: Round, share_before: float) -> bool:
    """Whether training drove (nearly) all images into one cluster.

    Must be asked before any rule on agreement: two labelings with one cluster agree perfectly. A data set of
    which 99 % are alike from the start (``share_before``, the largest cluster of the round before) is no
    collapse, as long as there are two clusters.
    """
    if entry.clusters_in_use < 2:
        return True
    return entry.largest_share >= COLLAPSED_SHARE > share_before
