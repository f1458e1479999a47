"""The small batch-norm network: options and module."""

from __future__ import annotations

import math
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from fiftyone_deepcluster.backbones.base import BACKBONES, SMALL_SIDE, Backbone, InputNormName

if TYPE_CHECKING:
    from torch import nn


@BACKBONES.register
class Small(Backbone):
    """Five 3 x 3 convolutions with batch norm and a linear layer, for images up to 64 pixels."""

    name: Literal["small"] = "small"
    input_norm: ClassVar[InputNormName] = "zscore"
    width: int = Field(
        32,
        ge=4,
        le=512,
        description="Channels of the first convolutions; later ones have 2 and 4 times as many.",
    )
    grid: int = Field(
        3,
        ge=1,
        le=8,
        description="Cells per side of the adaptive average pooling; 1: no linear layer follows.",
    )
    dim: int = Field(128, ge=8, le=4096, description="Number of features, if grid is above 1.")

    def make_module(self, channels: int, size: int, weights: str | None) -> nn.Module:
        """See ``Backbone.make_module``."""
        from fiftyone_deepcluster.backbones.weights import load_file

        body = module_class()(channels, size, width=self.width, grid=self.grid, dim=self.dim)
        return load_file(body, weights, "small")


@cache
def module_class() -> type[nn.Module]:
    """The module class, created at the first call so that importing this file does not import torch."""
    import torch
    from torch import nn

    class SmallNet(nn.Module):
        """3 x 3 convolutions with batch norm and ReLU, max pooling, and adaptive average pooling to a grid.

        With a grid of one cell the averages are the features. With more cells a linear layer with batch norm
        follows: the grid keeps positions, since globally averaged random convolutions are too uninformative for
        the first clusters. As in DeepCluster the features are then the values before the last ReLU.
        """

        def __init__(self, channels: int, size: int, *, width: int, grid: int, dim: int) -> None:
            super().__init__()
            widths = [width, width, 2 * width, 2 * width, 4 * width]
            if size > SMALL_SIDE // 2:
                widths.append(4 * width)  # a larger receptive field for larger images
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
            # Batch norm in float32: clusters depend on small differences of its outputs.
            return self.norm(self.full(self.layers(images).flatten(1)).float())  # type: ignore[no-any-return]

    return SmallNet
