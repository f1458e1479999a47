"""The pixels themselves: options and module."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Literal

from fiftyone_deepcluster.backbones.base import BACKBONES, Backbone, InputNormName
from fiftyone_deepcluster.errors import OptionsError

if TYPE_CHECKING:
    from torch import nn


@BACKBONES.register
class Pixels(Backbone):
    """The pixels themselves as features; nothing to learn."""

    name: Literal["pixels"] = "pixels"

    def build(self, channels: int, size: int, weights: str | None) -> nn.Module:
        """See ``Backbone.build``."""
        if weights is not None:
            raise OptionsError(f"weights={weights!r}: the backbone 'pixels' has none; leave weights empty")
        return module_class()(channels, size)

    @property
    def input_norm(self) -> InputNormName:
        """Pixels in 0..1."""
        return "plain"


@cache
def module_class() -> type[nn.Module]:
    """The class of the module, made when a network is first built: naming backbones needs no torch."""
    import torch
    from torch import nn

    class FlatPixels(nn.Module):
        """Pixels as features."""

        relu_before_head = False

        def __init__(self, channels: int, size: int) -> None:
            super().__init__()
            self.dim = channels * size * size

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            """(B, C, H, W) -> (B, C·H·W)."""
            return images.flatten(1)

    return FlatPixels
