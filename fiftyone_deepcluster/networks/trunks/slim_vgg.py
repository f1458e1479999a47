"""VGG-16 with fewer filters as a trunk."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from fiftyone_deepcluster.networks.trunks.base import TRUNKS, FrontName, Trunk

if TYPE_CHECKING:
    from torch import nn


@TRUNKS.register
class SlimVGG(Trunk):
    """VGG-16 with batch norm and an eighth of the filters, pooled adaptively: for small images."""

    name: Literal["slim-vgg"] = "slim-vgg"
    width: int = Field(8, ge=4, le=64, description="Filters of the first block; VGG-16 has 64.")
    grid: int = Field(2, ge=1, le=7, description="Cells per side of the adaptive average pooling.")
    dim: int = Field(256, ge=8, le=4096, description="Features of an image.")

    def build(self, channels: int, size: int, weights: str | None) -> nn.Module:
        """See ``Trunk.build``."""
        from fiftyone_deepcluster.networks.slim_vgg import SlimVGG as Module
        from fiftyone_deepcluster.networks.weights import load_file

        body = Module(channels, size, width=self.width, grid=self.grid, dim=self.dim)
        return load_file(body, weights, "slim-vgg")

    @property
    def front(self) -> FrontName:
        """Mean 0 and deviation 1 per image."""
        return "zscore"
