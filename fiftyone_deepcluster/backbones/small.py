"""The small batch-norm network: options and module."""

from __future__ import annotations

import math
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from fiftyone_deepcluster.backbones.base import BACKBONES, SMALL_SIDE, Backbone, InputNormName

if TYPE_CHECKING:
    from torch import nn


@BACKBONES.register
class Small(Backbone):
    """Five 3 x 3 convolutions with batch norm and a linear layer, for images of 64 pixels and less."""

    name: Literal["small"] = "small"
    width: int = Field(
        32, ge=4, le=512, description="Channels of the first convolutions; later ones 2 and 4 times."
    )
    grid: int = Field(
        3, ge=1, le=8, description="Cells per side that the last maps are averaged to; 1: no layer follows."
    )
    dim: int = Field(
        128, ge=8, le=4096, description="Features of an image, where the grid has several cells."
    )

    def build(self, channels: int, size: int, weights: str | None) -> nn.Module:
        """See ``Backbone.build``."""
        from fiftyone_deepcluster.backbones.weights import load_file

        body = module_class()(channels, size, width=self.width, grid=self.grid, dim=self.dim)
        return load_file(body, weights, "small")

    @property
    def input_norm(self) -> InputNormName:
        """Mean 0 and deviation 1 per image."""
        return "zscore"


@cache
def module_class() -> type[nn.Module]:
    """The class of the module, made when a network is first built: naming backbones needs no torch."""
    import torch
    from torch import nn

    class SmallNet(nn.Module):
        """Convolutions of 3 x 3 with batch norm and ReLU, halved twice, then averaged over a grid.

        With a grid of one cell the averages are the features. With more cells a linear layer with batch norm
        follows: the grid keeps where things are, since random convolutions averaged over all of space say too
        little of an image for its first clusters. As in DeepCluster the features then come before the last ReLU.
        """

        def __init__(self, channels: int, size: int, *, width: int, grid: int, dim: int) -> None:
            super().__init__()
            widths = [width, width, 2 * width, 2 * width, 4 * width]
            if size > SMALL_SIDE // 2:
                widths.append(4 * width)  # a wider view for larger images
            layers: list[nn.Module] = []
            for i, (before, after) in enumerate(pairwise([channels, *widths])):
                if i in (2, 4, 5):
                    layers.append(nn.MaxPool2d(2))
                convolution = nn.Conv2d(before, after, 3, padding=1, bias=False)
                layers += [convolution, nn.BatchNorm2d(after), nn.ReLU(inplace=True)]
            self.layers = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(grid))
            for layer in self.layers:
                if isinstance(layer, nn.Conv2d):
                    nn.init.normal_(layer.weight, 0.0, math.sqrt(2.0 / (9 * layer.out_channels)))
            self.relu_before_head = grid > 1
            self.dim = dim if grid > 1 else widths[-1]
            self.full = nn.Linear(widths[-1] * grid * grid, dim, bias=False) if grid > 1 else nn.Identity()
            self.norm = nn.BatchNorm1d(dim) if grid > 1 else nn.Identity()

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            """(B, C, H, W) -> (B, dim), signed where the grid has more than one cell."""
            # Batch norm in float32: its differences of near numbers are what the clusters are made of.
            return self.norm(self.full(self.layers(images).flatten(1)).float())  # type: ignore[no-any-return]

    return SmallNet
