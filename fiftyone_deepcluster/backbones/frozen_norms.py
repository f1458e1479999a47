"""Frozen batch norm, for fine-tuning with few images."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from torch import nn

if TYPE_CHECKING:
    from typing_extensions import Self

M = TypeVar("M", bound=nn.Module)


def freeze_norms(module: M) -> M:
    """Replace batch norm in ``module`` by frozen batch norm, in place.

    Fine-tuning with a few thousand images and batch norm in training mode destroys pre-trained features.
    """
    for layer in module.modules():
        for name, child in layer.named_children():
            if type(child) is nn.BatchNorm2d:
                setattr(layer, name, _frozen(child))
            elif isinstance(child, nn.BatchNorm2d) and not isinstance(child, FrozenNorm):
                _freeze_in_place(child)
    return module


class FrozenNorm(nn.BatchNorm2d):
    """Batch norm with fixed statistics and parameters, in training mode too.

    torchvision's ``FrozenBatchNorm2d`` has the same formula, but its float32 factors convert 16-bit maps to float32:
    a training step of MobileNetV2 in bfloat16 takes 1.5 times as long with it.
    """

    def train(self, mode: bool = True) -> Self:
        """Stays in evaluation mode."""
        return super().train(False)


def _freeze_in_place(norm: nn.BatchNorm2d) -> None:
    """Freeze a class of its own, such as timm's batch norm with activation: it keeps its other steps."""
    kind = type(norm)
    norm.__class__ = type(
        f"Frozen{kind.__name__}", (kind,), {"train": lambda self, mode=True: kind.train(self, False)}
    )
    norm.requires_grad_(False).eval()


def _frozen(norm: nn.BatchNorm2d) -> nn.Module:
    fixed = FrozenNorm(norm.num_features, norm.eps)
    fixed.load_state_dict(norm.state_dict())
    return fixed.requires_grad_(False).eval()
