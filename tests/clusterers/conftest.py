"""Vectors that the clusterers' tests share."""

from __future__ import annotations

import pytest
import torch
from sklearn.datasets import load_digits


@pytest.fixture(scope="session")
def digits() -> torch.Tensor:
    """(1797, 64) float32."""
    return torch.from_numpy(load_digits().data).float()


@pytest.fixture(scope="session")
def blobs() -> torch.Tensor:
    """(240, 6) float32: four groups of 60 far apart, in mixed order, away from the origin."""
    generator = torch.Generator().manual_seed(3)
    middles = 20 * torch.randn(4, 6, generator=generator)
    group = torch.arange(240) % 4
    return 100 + middles[group] + torch.randn(240, 6, generator=generator)
