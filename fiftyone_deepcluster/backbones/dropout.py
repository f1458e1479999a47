"""Dropout with its own random generator, so that training does not use torch's global one."""

from __future__ import annotations

import sys
from typing import Literal

import torch
from torch import nn

Unit = Literal["element", "channel", "row", "batch"]
"""Unit that is dropped as a whole: an element, a channel, an image, or the batch."""


class SeededDropout(nn.Module):
    """Zeroes units with probability ``p`` in training mode, and scales the rest by 1 / (1 - p).

    Equivalent to ``nn.Dropout`` (element), ``nn.Dropout2d`` (channel), torchvision's ``StochasticDepth`` (row,
    batch) and the ``DropPath`` of timm and transformers (row), which use torch's global generator.

    Args:
        p: dropout probability in 0..1.
        unit: what is dropped as a whole.
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
        """Arguments shown by ``repr``."""
        return f"p={self.p}, unit={self.unit!r}"


def replace_dropout(module: nn.Module) -> nn.Module:
    """Replace the dropout layers of ``module`` by ``SeededDropout``, under the same names."""
    own = _seeded(module)
    if own is not None:
        return own
    for name, child in module.named_children():
        setattr(module, name, replace_dropout(child))
    return module


def seed_dropout(module: nn.Module, seed: int, device: torch.device) -> None:
    """Reset the generator that all dropout layers of ``module`` share."""
    generator = torch.Generator(device).manual_seed(seed)
    for part in module.modules():
        if isinstance(part, SeededDropout):
            part.generator = generator


def _seeded(module: nn.Module) -> SeededDropout | None:
    if isinstance(module, nn.Dropout):
        return SeededDropout(module.p)
    if type(module).__name__.endswith("DropPath"):  # of timm, and of every model of transformers
        return SeededDropout(float(getattr(module, "drop_prob", None) or 0.0), "row")
    if isinstance(module, nn.Dropout1d | nn.Dropout2d | nn.Dropout3d):
        return SeededDropout(module.p, "channel")
    # importing it takes seconds; if nothing has, no layer is one of its
    torchvision = sys.modules.get("torchvision.ops")
    if torchvision is not None and isinstance(module, torchvision.StochasticDepth):
        return SeededDropout(module.p, "row" if module.mode == "row" else "batch")
    return None
