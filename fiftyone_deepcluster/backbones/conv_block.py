"""A block of DAC's network, as numbers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ConvBlock:
    """Unpadded convolutions, each with batch norm and ReLU, and max pooling.

    Attributes:
        convolutions: number of convolutions.
        filters: of each.
        kernel: side of their kernels.
        pool: side of the windows of the max pooling.
    """

    convolutions: int
    filters: int
    kernel: int
    pool: int

    def side(self, size: int) -> int:
        """Side of the maps for an input of ``size`` pixels; 0 or less where it is too small."""
        return (size - self.convolutions * (self.kernel - 1)) // self.pool
