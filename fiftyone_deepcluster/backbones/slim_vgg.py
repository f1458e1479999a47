"""VGG-16 with fewer filters, for images of 64 pixels and less. Ours: no paper fixes a network for these."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from fiftyone_deepcluster.backbones.base import BACKBONES, Backbone, InputNormName

if TYPE_CHECKING:
    from torch import nn

_CONVOLUTIONS = (2, 2, 3, 3, 3)
"""Convolutions in each of VGG-16's five blocks (Simonyan and Zisserman, table 1, D)."""

_WIDTHS = (1, 2, 4, 8, 8)
"""Filters of each block, as multiples of the first's (64 there)."""

_MIN_SIDE = 4
"""Maps are not halved below this side: there is nothing to average then."""

_WHOLE_SIDE = 32
"""Above this side the first convolution has a stride of 2: it costs a quarter, and edges are seen all the same."""


@BACKBONES.register
class SlimVGG(Backbone):
    """VGG-16 with batch norm and an eighth of the filters, pooled adaptively: for small images."""

    name: Literal["slim-vgg"] = "slim-vgg"
    width: int = Field(8, ge=4, le=64, description="Filters of the first block; VGG-16 has 64.")
    grid: int = Field(2, ge=1, le=7, description="Cells per side of the adaptive average pooling.")
    dim: int = Field(256, ge=8, le=4096, description="Features of an image.")

    def build(self, channels: int, size: int, weights: str | None) -> nn.Module:
        """See ``Backbone.build``."""
        from fiftyone_deepcluster.backbones.weights import load_file

        body = module_class()(channels, size, width=self.width, grid=self.grid, dim=self.dim)
        return load_file(body, weights, "slim-vgg")

    @property
    def input_norm(self) -> InputNormName:
        """Mean 0 and deviation 1 per image."""
        return "zscore"


@cache
def module_class() -> type[nn.Module]:
    """The class of the module, made when a network is first built: naming backbones needs no torch."""
    import torch
    from torch import nn

    from fiftyone_deepcluster.backbones.weights import initialize

    class SlimVGGNet(nn.Module):
        """VGG-16's layout with batch norm, adaptive average pooling, and one linear layer.

        A block ends in max-pooling as long as the maps stay 4 x 4 or larger. The linear layer is followed by
        batch norm and, as in DeepCluster, the features come before its ReLU.
        """

        relu_before_head = True

        def __init__(self, channels: int, size: int, *, width: int, grid: int, dim: int) -> None:
            super().__init__()
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
            self.layers = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(grid))
            self.full = nn.Linear(before * grid * grid, dim, bias=False)
            self.norm = nn.BatchNorm1d(dim)
            self.dim = dim
            initialize(self.layers)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            """(B, C, H, W) -> (B, dim), signed."""
            # Batch norm in float32: its differences of near numbers are what the clusters are made of.
            return self.norm(self.full(self.layers(images).flatten(1)).float())  # type: ignore[no-any-return]

    return SlimVGGNet
