"""torchvision's ResNets: options and module."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from fiftyone_deepcluster.backbones.base import BACKBONES, SMALL_SIDE, Backbone

if TYPE_CHECKING:
    from torch import nn


@BACKBONES.register
class ResNet18(Backbone):
    """torchvision's ResNet-18 with 512 pooled features; a 3 x 3 stem up to 64 pixels."""

    name: Literal["resnet18"] = "resnet18"

    def make_module(self, channels: int, size: int, weights: str | None) -> nn.Module:
        """See ``Backbone.make_module``."""
        return resnet("resnet18", channels, size, weights)


@BACKBONES.register
class ResNet50(Backbone):
    """torchvision's ResNet-50 with 2048 pooled features; a 3 x 3 stem up to 64 pixels."""

    name: Literal["resnet50"] = "resnet50"

    def make_module(self, channels: int, size: int, weights: str | None) -> nn.Module:
        """See ``Backbone.make_module``."""
        return resnet("resnet50", channels, size, weights)


def resnet(name: str, channels: int, size: int, weights: str | None) -> nn.Module:
    """A torchvision ResNet without its classifier.

    Up to 64 pixels, and only with random weights, the stem is 3 x 3 without stride or pooling, as usual for
    small images: the 7 x 7 stem would discard 15 of 16 positions.
    """
    from torch import nn
    from torchvision.models import get_model

    from fiftyone_deepcluster.backbones.adapt import Cut, adapt_first_conv
    from fiftyone_deepcluster.backbones.weights import load_torchvision

    model = get_model(name, weights=None)
    load_torchvision(model, name, weights)
    if size <= SMALL_SIDE and weights is None:
        model.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
        model.maxpool = nn.Identity()
    adapt_first_conv(model, channels)
    dim = model.fc.in_features
    model.fc = nn.Identity()
    return Cut(model, dim, relu_before_head=False)
