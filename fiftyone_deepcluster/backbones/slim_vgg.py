"""VGG-16 with fewer filters, for images up to 64 pixels. Our design, not from a paper."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from fiftyone_deepcluster.backbones.base import BACKBONES, Backbone, InputNormName

if TYPE_CHECKING:
    from torch import nn

_CONVOLUTIONS = (2, 2, 3, 3, 3)
"""Convolutions in each of VGG-16's five blocks (Simonyan and Zisserman, table 1, D)."""

_WIDTHS = (1, 2, 4, 8, 8)
"""Filters of each block, as multiples of the first's (64 there)."""

_MIN_SIDE = 4
"""Smallest side of maps after max pooling."""

_WHOLE_SIDE = 32
"""Above this side the first convolution has stride 2, which takes a quarter of the computation."""


@BACKBONES.register
class SlimVGG(Backbone):
    """VGG-16 with batch norm, an eighth of the filters and adaptive pooling, for small images."""

    name: Literal["slim-vgg"] = "slim-vgg"
    input_norm: ClassVar[InputNormName] = "zscore"
    width: int = Field(8, ge=4, le=64, description="Filters of the first block; VGG-16 has 64.")
    grid: int = Field(2, ge=1, le=7, description="Cells per side of the adaptive average pooling.")
    dim: int = Field(256, ge=8, le=4096, description="Number of features.")

    def make_module(self, channels: int, size: int, weights: str | None) -> nn.Module:
        """See ``Backbone.make_module``."""
        from fiftyone_deepcluster.backbones.weights import load_file

        body = module_class()(channels, size, width=self.width, grid=self.grid, dim=self.dim)
        return load_file(body, weights, "slim-vgg")


@cache
def module_class() -> type[nn.Module]:
    """The module class, created at the first call so that importing this file does not import torch."""
    import torch
    from torch import nn

    from fiftyone_deepcluster.backbones.weights import initialize

    class SlimVGGNet(nn.Module):
        """VGG-16's layout with batch norm, adaptive average pooling, and one linear layer.

        A block ends in max pooling as long as the maps stay 4 x 4 or larger. The linear layer is followed by
        batch norm; as in DeepCluster, the features are the values before its ReLU.
        """

        relu_before_head = True

        def __init__(self, channels: int, size: int, *, width: int, grid: int, dim: int) -> None:
            super().__init__()
            self.layers = nn.Sequential(*_blocks(channels, size, width), nn.AdaptiveAvgPool2d(grid))
            self.full = nn.Linear(width * _WIDTHS[-1] * grid * grid, dim, bias=False)
            self.norm = nn.BatchNorm1d(dim)
            self.dim = dim
            initialize(self.layers)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            """(B, C, H, W) -> (B, dim), signed."""
            # Batch norm in float32: clusters depend on small differences of its outputs.
            return self.norm(self.full(self.layers(images).flatten(1)).float())  # type: ignore[no-any-return]

    return SlimVGGNet


def _blocks(channels: int, size: int, width: int) -> list[nn.Module]:
    """Layers of the five blocks, for images of ``size`` pixels per side."""
    from torch import nn

    layers: list[nn.Module] = []
    before, side = channels, size
    stride = 2 if size > _WHOLE_SIDE else 1
    for count, factor in zip(_CONVOLUTIONS, _WIDTHS, strict=True):
        for _ in range(count):
            after = width * factor
            convolution = nn.Conv2d(before, after, 3, padding=1, stride=stride)
            layers += [convolution, nn.BatchNorm2d(after), nn.ReLU(inplace=True)]
            before, side, stride = after, side // stride, 1
        if side // 2 >= _MIN_SIDE:
            layers.append(nn.MaxPool2d(2))
            side //= 2
    return layers
