"""ResNets of torchvision: options and module."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from fiftyone_deepcluster.backbones.base import BACKBONES, SMALL_SIDE, Backbone

if TYPE_CHECKING:
    from torch import nn


@BACKBONES.register
class ResNet18(Backbone):
    """torchvision's ResNet-18 to its pooled 512 features; a 3 x 3 stem up to 64 pixels."""

    name: Literal["resnet18"] = "resnet18"

    def build(self, channels: int, size: int, weights: str | None) -> nn.Module:
        """See ``Backbone.build``."""
        return resnet("resnet18", channels, size, weights)


@BACKBONES.register
class ResNet50(Backbone):
    """torchvision's ResNet-50 to its pooled 2048 features; a 3 x 3 stem up to 64 pixels."""

    name: Literal["resnet50"] = "resnet50"

    def build(self, channels: int, size: int, weights: str | None) -> nn.Module:
        """See ``Backbone.build``."""
        return resnet("resnet50", channels, size, weights)


def resnet(name: str, channels: int, size: int, weights: str | None) -> nn.Module:
    """A torchvision ResNet to its pooled features.

    Up to 64 pixels, and only where the weights are random, the stem is 3 x 3 without stride or pooling:
    the usual form for small images, where the 7 x 7 stem would throw away 15 of 16 positions.
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
