"""Fixed first layers that normalize pixels in 0..1 before the backbone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from fiftyone_deepcluster.errors import OptionsError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fiftyone_deepcluster.backbones.base import InputNormName

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


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


class ColorNorm(nn.Module):
    """A fixed mean and standard deviation of each color; gray images become three equal channels.

    Args:
        channels: channels of the images, 1 or 3.
        mean: of red, green and blue, for pixels in 0..1.
        std: of red, green and blue.
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, channels: int, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.out_channels = 3
        self.channels = channels
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(B, 1 or 3, H, W) -> (B, 3, H, W)."""
        if self.channels == 1:
            images = images.expand(-1, 3, -1, -1)
        return (images - self.mean) / self.std


class ImageNet(ColorNorm):
    """The normalization of torchvision's ImageNet weights."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, IMAGENET_MEAN, IMAGENET_STD)


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


def make_input_norm(name: InputNormName, channels: int, module: nn.Module | None = None) -> nn.Module:
    """The input norm ``name`` for images of 1 or 3 channels; its ``out_channels`` is the number of output channels.

    Args:
        name: name of the input norm.
        channels: channels of the images.
        module: the backbone's module, whose ``pixel_mean`` and ``pixel_std`` are those of ``model``.

    Raises:
        OptionsError: ``model``, but the module states no mean and deviation.
    """
    if name != "model":
        return _INPUT_NORMS[name](channels)
    mean, std = getattr(module, "pixel_mean", None), getattr(module, "pixel_std", None)
    if mean is None or std is None:
        problem = getattr(module, "pixel_problem", "")
        file = ", or give the model a file that states them" if problem else ""
        raise OptionsError(
            "input_norm='model' needs the mean and deviation of the model's pixels, but "
            f"{problem or 'this model states none'}; choose one of {', '.join(map(repr, _INPUT_NORMS))}, as the model "
            f"was trained{file}"
        )
    return ColorNorm(channels, mean, std)


def channels_after(name: InputNormName, channels: int) -> int:
    """Number of output channels of the input norm ``name`` for images of ``channels`` channels."""
    if name == "model":
        return ColorNorm(channels, IMAGENET_MEAN, IMAGENET_STD).out_channels
    return int(_INPUT_NORMS[name](channels).out_channels)  # type: ignore[arg-type]
