"""A backbone with a projection head, for methods that compare features by cosine similarity."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional

from fiftyone_deepcluster.errors import OptionsError

if TYPE_CHECKING:
    from fiftyone_deepcluster.backbones.network import Network


class Projected(nn.Module):
    """Backbone, linear layer, batch norm, ReLU, linear layer, L2 normalization (SwAV and DeepCluster-v2).

    Args:
        backbone: module with ``dim`` and ``relu_before_head``.
        hidden: width of the hidden layer.
        dim: number of outputs.
    """

    relu_before_head = False

    def __init__(self, backbone: nn.Module, hidden: int, dim: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.dim = dim
        before = nn.ReLU() if backbone.relu_before_head else nn.Identity()
        self.projection = nn.Sequential(
            before,
            nn.Linear(int(backbone.dim), hidden),  # type: ignore[arg-type]
            nn.BatchNorm1d(hidden),
            nn.ReLU(),
            nn.Linear(hidden, dim),
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) -> (B, dim) float32 of length 1."""
        return functional.normalize(self.projection(self.backbone(images)).float(), dim=1)


def check_sizes(network: Network, channels: int, sizes: tuple[int, ...]) -> None:
    """Check that the network accepts images of all ``sizes``.

    Raises:
        OptionsError: it accepts one size only.
    """
    network.eval()
    for size in sizes:
        try:
            with torch.no_grad():
                network(torch.zeros(1, channels, size, size))
        except RuntimeError as error:
            raise OptionsError(
                f"small_size={size}: the backbone accepts images of {sizes[0]} pixels only; choose a backbone with "
                "global pooling, such as small or resnet18, or set small_crops=0"
            ) from error
    network.train()
