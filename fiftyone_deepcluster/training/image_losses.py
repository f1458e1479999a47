"""The training loss of every image of a round, over all epochs and processes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from fiftyone_deepcluster.core.devices import Compute


class ImageLosses:
    """Collects the losses of the batches of a round.

    Args:
        n: number of images.
        compute: sums over processes.
    """

    def __init__(self, n: int, compute: Compute) -> None:
        self._compute = compute
        self._sums = torch.zeros(2, n)
        self._rows: list[torch.Tensor] = []
        self._losses: list[torch.Tensor] = []

    def add(self, rows: torch.Tensor, losses: torch.Tensor) -> None:
        """Losses (B,) of the images ``rows`` (B,), which are on the CPU."""
        self._rows.append(rows)
        self._losses.append(losses.detach().float())

    def end_epoch(self) -> float:
        """Mean of the losses since the last call over all processes, the same in each; NaN if there are none."""
        values = self._take().double()
        total = self._compute.all_reduce_sum(torch.tensor([float(values.sum()), float(len(values))]).double())
        self._compute.broadcast([total])  # the processes must decide alike when to stop
        return float(total[0] / total[1])

    def means(self) -> NDArray[np.float32]:
        """(N,) mean loss of every image over all processes, NaN if not sampled."""
        self._take()
        totals = self._compute.all_reduce_sum(self._sums)
        return (totals[0] / totals[1]).numpy()  # type: ignore[no-any-return]

    def _take(self) -> torch.Tensor:
        """Add what was collected to the sums of the images, and return it (M,), on the CPU."""
        if not self._rows:
            return torch.zeros(0)
        # Summed on the CPU, and after the last step: a GPU adds in arbitrary order, and nothing waits for it before.
        drawn, values = torch.cat(self._rows), torch.cat(self._losses).cpu()
        self._sums[0].index_add_(0, drawn, values)
        self._sums[1].index_add_(0, drawn, torch.ones_like(values))
        self._rows, self._losses = [], []
        return values
