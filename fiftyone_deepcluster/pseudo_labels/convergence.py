"""How long a network is trained on given labels: until its training loss has converged."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

PATIENCE = 5
"""Epochs in a row without a lower loss after which training has converged."""


@dataclass(frozen=True)
class LossConvergence:
    """Ends training when the mean loss of an epoch no longer falls. Ours: LDPO's paper gives no rule.

    A loss counts as lower if it is below the last one that counted by more than ``tolerance`` times the loss of the
    first epoch: small falls add up, but one that takes more than ``patience`` epochs does not count. It is relative to
    the first epoch because a loss that goes to zero always falls relative to itself.

    Attributes:
        tolerance: minimum fall of the loss, as a share of the first epoch's.
        most: maximum number of epochs.
        least: minimum number of epochs, at most ``most``.
        patience: epochs in a row without a lower loss.
    """

    tolerance: float
    most: int
    least: int = 1
    patience: int = PATIENCE

    def converged(self, losses: Sequence[float]) -> bool:
        """Whether the last ``patience`` of these mean losses, one for each epoch, were not lower than before."""
        if len(losses) < self.least or not math.isfinite(losses[-1]):
            return False
        lowest, at = losses[0], 0
        for epoch, loss in enumerate(losses):
            if lowest - loss > self.tolerance * losses[0]:
                lowest, at = loss, epoch
        return len(losses) - 1 - at >= self.patience

    def ended(self, losses: Sequence[float]) -> bool:
        """Whether to train no further: converged, the maximum number of epochs, or a loss that is no finite number."""
        return len(losses) >= self.most or not math.isfinite(losses[-1]) or self.converged(losses)
