"""Raw pixels as features: options and module."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, ClassVar, Literal

from fiftyone_deepcluster.backbones.base import BACKBONES, Backbone, InputNormName
from fiftyone_deepcluster.errors import OptionsError

if TYPE_CHECKING:
    from torch import nn


@BACKBONES.register
class Pixels(Backbone):
    """Raw pixels as features; no weights."""

    name: Literal["pixels"] = "pixels"
    input_norm: ClassVar[InputNormName] = "plain"

    def make_module(self, channels: int, size: int, weights: str | None) -> nn.Module:
        """See ``Backbone.make_module``."""
        if weights is not None:
            raise OptionsError(
                f"weights={weights!r}: the backbone 'pixels' has no weights; leave weights empty"
            )
        return module_class()(channels, size)


@cache
def module_class() -> type[nn.Module]:
    """The module class, created at the first call so that importing this file does not import torch."""
    import torch
    from torch import nn

    class FlatPixels(nn.Module):
        """Flattens images."""

        relu_before_head = False

        def __init__(self, channels: int, size: int) -> None:
            super().__init__()
            self.dim = channels * size * size

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            """(B, C, H, W) -> (B, C·H·W)."""
            return images.flatten(1)

    return FlatPixels
