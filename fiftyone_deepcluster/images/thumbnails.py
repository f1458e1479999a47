"""Pixels as vectors: what clusters are made of where no network knows anything yet."""

from __future__ import annotations

import torch

SIDE = 32


def thumbnail_vectors(pixels: torch.Tensor) -> torch.Tensor:
    """Images at 32 x 32 at most, mean 0 and deviation 1 within each.

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
