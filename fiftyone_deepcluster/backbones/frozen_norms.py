"""Batch norm that keeps what it was given, for fine-tuning with few images."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from torch import nn

if TYPE_CHECKING:
    from typing_extensions import Self

M = TypeVar("M", bound=nn.Module)


def freeze_norms(module: M) -> M:
    """The same module with batch norm that keeps its statistics and its scale.

    Fine-tuning with a few thousand images and batch norm in training mode destroys pre-trained features.
    """
    for layer in module.modules():
        for name, child in layer.named_children():
            if isinstance(child, nn.BatchNorm2d):
                setattr(layer, name, _frozen(child))
    return module


class FrozenNorm(nn.BatchNorm2d):
    """Batch norm by the statistics it was given, in training too; nothing of it learns.

    torchvision's has the same formula, but its 32-bit factors turn 16-bit maps into 32-bit ones: a step of
    MobileNetV2 in bfloat16 takes half as long again with it.
    """

    def train(self, mode: bool = True) -> Self:
        """Stays as in evaluation."""
        return super().train(False)


def _frozen(norm: nn.BatchNorm2d) -> nn.Module:
    fixed = FrozenNorm(norm.num_features, norm.eps)
    fixed.load_state_dict(norm.state_dict())
    return fixed.requires_grad_(False).eval()
