"""Color distortion and blur of batches, with random parameters per image, as in SwAV and DeepCluster-v2."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

_LUMA = (0.299, 0.587, 0.114)
_OPERATIONS = 4  # brightness, contrast, saturation, hue


def jitter(
    images: torch.Tensor,
    strength: tuple[float, float, float, float],
    share: float,
    generator: torch.Generator,
) -> torch.Tensor:
    """Change brightness, contrast, saturation and hue of a share of the images, in random order for each image.

    Args:
        images: (B, C, H, W) float in 0..1; gray images have no saturation and hue.
        strength: factors are uniform in 1 - s .. 1 + s, at least 0; the hue is turned by -s .. s of a circle.
        share: probability that an image is changed.
        generator: random generator on the CPU.

    Returns:
        The same shape, in 0..1.
    """
    import torch

    draws = torch.rand(len(images), _OPERATIONS + 1, generator=generator)
    order = torch.rand(len(images), _OPERATIONS, generator=generator).argsort(dim=1)
    chosen = draws[:, 0] < share
    low = torch.tensor([max(0.0, 1 - s) for s in strength[:3]] + [-strength[3]])
    high = torch.tensor([1 + s for s in strength[:3]] + [strength[3]])
    amounts = (low + draws[:, 1:] * (high - low)).to(images.device)
    operations = (_brightness, _contrast, _saturation, _hue)[: 2 if images.shape[1] == 1 else _OPERATIONS]
    result = images.clone()
    for place in range(_OPERATIONS):
        for index, operation in enumerate(operations):
            rows = (chosen & (order[:, place] == index)).nonzero()[:, 0].to(images.device)
            if strength[index] and len(rows):
                result[rows] = operation(result[rows], amounts[rows, index].view(-1, 1, 1, 1)).clamp(0, 1)
    return result


def shift_channels(images: torch.Tensor, most: float, generator: torch.Generator) -> torch.Tensor:
    """Add a number from -most .. most to each channel of each image, within the range of its values."""
    import torch

    added = (torch.rand(images.shape[:2], generator=generator) * 2 - 1) * most
    low, high = images.amin(dim=(1, 2, 3), keepdim=True), images.amax(dim=(1, 2, 3), keepdim=True)
    return torch.minimum(torch.maximum(images + added.to(images.device)[:, :, None, None], low), high)


def grayscale(images: torch.Tensor, share: float, generator: torch.Generator) -> torch.Tensor:
    """A share of the images without color; the same shape (B, C, H, W)."""
    import torch

    rows = (torch.rand(len(images), generator=generator) < share).nonzero()[:, 0].to(images.device)
    result = images.clone()
    result[rows] = gray_of(images[rows]).expand(-1, images.shape[1], -1, -1)
    return result


def blur(
    images: torch.Tensor, share: float, sigma: tuple[float, float], generator: torch.Generator
) -> torch.Tensor:
    """Gaussian blur of a share of the images, its standard deviation in pixels uniform in ``sigma``."""
    import torch
    from torch.nn import functional

    draws = torch.rand(len(images), 2, generator=generator)
    rows = (draws[:, 0] < share).nonzero()[:, 0]
    if not len(rows):
        return images
    side = min(images.shape[2], images.shape[3])
    reach = min(math.ceil(3 * sigma[1]), side - 1)  # reflection needs a margin below the side
    places = torch.arange(-reach, reach + 1, dtype=torch.float32)
    width = sigma[0] + draws[rows, 1] * (sigma[1] - sigma[0])
    kernel = torch.exp(-0.5 * (places / width[:, None]) ** 2)
    kernel = (kernel / kernel.sum(dim=1, keepdim=True)).to(images.device)
    rows = rows.to(images.device)
    result, part = images.clone(), images[rows]
    weights = kernel.repeat_interleave(part.shape[1], dim=0)[:, None, None]
    # Along the rows, then along the columns; every channel of every image has its own kernel.
    for _ in range(2):
        flat = functional.pad(part, (reach, reach, 0, 0), mode="reflect").flatten(0, 1)[None]
        part = functional.conv2d(flat, weights, groups=flat.shape[1])[0].unflatten(0, part.shape[:2]).mT
    result[rows] = part
    return result


def gray_of(images: torch.Tensor) -> torch.Tensor:
    """Luma (B, 1, H, W) of images (B, 1 or 3, H, W)."""
    if images.shape[1] == 1:
        return images
    return (images * images.new_tensor(_LUMA).view(1, 3, 1, 1)).sum(dim=1, keepdim=True)


def _brightness(images: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
    return images * factor


def _contrast(images: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
    mean = gray_of(images).mean(dim=(1, 2, 3), keepdim=True)
    return mean + (images - mean) * factor


def _saturation(images: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
    gray = gray_of(images)
    return gray + (images - gray) * factor


def _hue(images: torch.Tensor, turn: torch.Tensor) -> torch.Tensor:
    """Turn the hue by ``turn`` of a circle, in HSV."""
    import torch

    value, lowest = images.amax(dim=1), images.amin(dim=1)
    spread = value - lowest
    safe = spread.clamp_min(1e-8)
    red, green, blue = images.unbind(dim=1)
    sector = torch.where(
        value == red,
        (green - blue) / safe,
        torch.where(value == green, 2 + (blue - red) / safe, 4 + (red - green) / safe),
    )
    hue = 6 * ((sector / 6 + turn[:, 0]) % 1)
    # Smith's formula: each channel is the value less a share of the spread that depends on the hue only.
    parts = []
    for start in (5.0, 3.0, 1.0):
        at = (start + hue) % 6
        parts.append(value - spread * torch.minimum(at, 4 - at).clamp(0, 1))
    return torch.stack(parts, dim=1)
