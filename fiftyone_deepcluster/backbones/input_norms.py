"""Fixed first layers that normalize pixels in 0..1 before the backbone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

if TYPE_CHECKING:
    from fiftyone_deepcluster.backbones.base import InputNormName

_MEAN = (0.485, 0.456, 0.406)
_STD = (0.229, 0.224, 0.225)


class Plain(nn.Module):
    """No normalization: pixels in 0..1."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.out_channels = channels

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) -> (B, C, H, W), unchanged."""
        return images


class ZScore(nn.Module):
    """Mean 0 and standard deviation 1 per image (Kart et al., section 2)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.out_channels = channels

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) -> the same shape; a constant image becomes 0."""
        mean = images.mean(dim=(1, 2, 3), keepdim=True)
        centered = images - mean
        deviation = centered.square().mean(dim=(1, 2, 3), keepdim=True).sqrt()
        return centered / deviation.clamp_min(1e-4)


class ImageNet(nn.Module):
    """The normalization of torchvision's ImageNet weights; gray images become three equal channels."""

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.out_channels = 3
        self.channels = channels
        self.register_buffer("mean", torch.tensor(_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(_STD).view(1, 3, 1, 1), persistent=False)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(B, 1 or 3, H, W) -> (B, 3, H, W)."""
        if self.channels == 1:
            images = images.expand(-1, 3, -1, -1)
        return (images - self.mean) / self.std


class Sobel(nn.Module):
    """Sobel gradients of the gray image, the fixed input of DeepCluster (Caron et al., section 3.3).

    ImageNet normalization, the mean over the color channels, then the two 3 x 3 Sobel filters: two channels.
    """

    filters: torch.Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.out_channels = 2
        self.normalize = ImageNet(channels)
        right = torch.tensor([[1.0, 0.0, -1.0], [2.0, 0.0, -2.0], [1.0, 0.0, -1.0]])
        self.register_buffer("filters", torch.stack([right, right.T]).unsqueeze(1), persistent=False)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(B, 1 or 3, H, W) -> (B, 2, H, W)."""
        gray = self.normalize(images).mean(dim=1, keepdim=True)
        return nn.functional.conv2d(gray, self.filters, padding=1)


_INPUT_NORMS: dict[str, type[nn.Module]] = {
    "plain": Plain,
    "zscore": ZScore,
    "imagenet": ImageNet,
    "sobel": Sobel,
}


def make_input_norm(name: InputNormName, channels: int) -> nn.Module:
    """The input norm ``name`` for images of 1 or 3 channels; its ``out_channels`` is the number of output channels."""
    return _INPUT_NORMS[name](channels)
