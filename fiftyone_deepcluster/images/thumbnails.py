"""Pixel features for clustering before a network is trained."""

from __future__ import annotations

import torch

SIDE = 32


def thumbnail_vectors(pixels: torch.Tensor) -> torch.Tensor:
    """Flattened images, downscaled to at most 32 x 32 and standardized per image.

    Args:
        pixels: (B, C, H, W) uint8.

    Returns:
        (B, D) float32.
    """
    pixels = pixels.float()
    if pixels.shape[-1] > SIDE:
        pixels = torch.nn.functional.adaptive_avg_pool2d(pixels, SIDE)
    flat = pixels.flatten(1)
    return (flat - flat.mean(1, keepdim=True)) / flat.std(1, keepdim=True).clamp_min(1.0)
