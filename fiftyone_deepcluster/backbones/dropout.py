"""Dropout that draws from a generator of its own, so that training neither uses nor disturbs torch's."""

from __future__ import annotations

from typing import Literal

import torch
from torch import nn

Unit = Literal["element", "channel", "row", "batch"]
"""What is kept or dropped together: single values, whole channels, whole images, or the whole batch."""


class SeededDropout(nn.Module):
    """Zero a share ``p`` at random while training, and scale the rest by 1 / (1 - p).

    As ``nn.Dropout`` (elements), ``nn.Dropout2d`` (channels) and torchvision's ``StochasticDepth`` (images, batch),
    which take their numbers from torch's global generator.

    Args:
        p: share to drop, in 0..1.
        unit: what is dropped together.
    """

    def __init__(self, p: float, unit: Unit = "element") -> None:
        super().__init__()
        self.p = p
        self.unit: Unit = unit
        self.generator: torch.Generator | None = None

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """(B, ...) -> the same shape."""
        if not self.training or self.p == 0:
            return values
        if self.p == 1:
            return torch.zeros_like(values)
        n = {"element": values.ndim, "channel": 2, "row": 1, "batch": 0}[self.unit]
        shape = [size if axis < n else 1 for axis, size in enumerate(values.shape)]
        kept = values.new_empty(shape).bernoulli_(1 - self.p, generator=self.generator)
        return values * kept.div_(1 - self.p)

    def extra_repr(self) -> str:
        """What ``print`` shows of it."""
        return f"p={self.p}, unit={self.unit!r}"


def replace_dropout(module: nn.Module) -> nn.Module:
    """Put ``SeededDropout`` in place of the dropout layers of ``module``, under their names."""
    own = _seeded(module)
    if own is not None:
        return own
    for name, child in module.named_children():
        setattr(module, name, replace_dropout(child))
    return module


def seed_dropout(module: nn.Module, seed: int, device: torch.device) -> None:
    """Start the numbers of all dropout layers of ``module`` anew; they share one generator."""
    generator = torch.Generator(device).manual_seed(seed)
    for part in module.modules():
        if isinstance(part, SeededDropout):
            part.generator = generator


def _seeded(module: nn.Module) -> SeededDropout | None:
    from torchvision.ops import StochasticDepth

    if isinstance(module, nn.Dropout):
        return SeededDropout(module.p)
    if isinstance(module, nn.Dropout1d | nn.Dropout2d | nn.Dropout3d):
        return SeededDropout(module.p, "channel")
    if isinstance(module, StochasticDepth):
        return SeededDropout(module.p, "row" if module.mode == "row" else "batch")
    return None
