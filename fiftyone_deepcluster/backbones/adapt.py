"""Turns torchvision models into backbones: other input channels, no classifier."""

from __future__ import annotations

import torch
from torch import nn

from fiftyone_deepcluster.backbones.weights import initialize
from fiftyone_deepcluster.errors import OptionsError


class Cut(nn.Module):
    """A model without its classifier."""

    pixel_mean: tuple[float, ...] | None = None
    pixel_std: tuple[float, ...] | None = None
    pixel_problem: str = ""

    def __init__(self, model: nn.Module, dim: int, *, relu_before_head: bool) -> None:
        super().__init__()
        self.model = model
        self.dim = dim
        self.relu_before_head = relu_before_head

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) -> (B, D)."""
        return self.model(images).flatten(1)  # type: ignore[no-any-return]


def adapt_first_conv(model: nn.Module, channels: int) -> None:
    """Replace the first convolution where the number of input channels differs."""
    for name, layer in model.named_modules():
        if isinstance(layer, nn.Conv2d):
            if layer.in_channels == channels:
                return
            fresh = nn.Conv2d(
                channels,
                layer.out_channels,
                layer.kernel_size,  # type: ignore[arg-type]
                layer.stride,  # type: ignore[arg-type]
                layer.padding,  # type: ignore[arg-type]
                bias=layer.bias is not None,
            )
            initialize(fresh)
            parent, _, attribute = name.rpartition(".")
            setattr(model.get_submodule(parent), attribute, fresh)
            return


def cut_classifier(model: nn.Module, name: str) -> None:
    """Replace the last linear layer of ``fc``, ``classifier``, ``head`` or ``heads`` by the identity."""
    for attribute in ("fc", "classifier", "head", "heads"):
        layer = getattr(model, attribute, None)
        if isinstance(layer, nn.Linear):
            setattr(model, attribute, nn.Identity())
            return
        if isinstance(layer, nn.Sequential):
            if any(isinstance(step, nn.Conv2d) for step in layer):  # SqueezeNet's classifier
                setattr(model, attribute, nn.AdaptiveAvgPool2d(1))
                return
            last = max((i for i, step in enumerate(layer) if isinstance(step, nn.Linear)), default=None)
            if last is not None:
                setattr(model, attribute, layer[:last])
                return
    raise OptionsError(f"model={name!r}: its classifier was not found; choose another model")
