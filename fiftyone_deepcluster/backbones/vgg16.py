"""VGG-16 with batch norm: options and module."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from fiftyone_deepcluster.backbones.base import BACKBONES, Backbone, InputNormName, check_side

if TYPE_CHECKING:
    from torch import nn


@BACKBONES.register
class VGG16(Backbone):
    """VGG-16 with batch norm, up to its second fully connected layer."""

    name: Literal["vgg16"] = "vgg16"
    input_norm: ClassVar[InputNormName] = "sobel"

    def make_module(self, channels: int, size: int, weights: str | None) -> nn.Module:
        """See ``Backbone.make_module``."""
        check_side(self.name, size, 32)
        return build_vgg16_bn(channels, weights)


def build_vgg16_bn(channels: int, weights: str | None) -> nn.Module:
    """Torchvision's VGG-16-BN up to its second fully connected layer, before the ReLU.

    ``weights``: a torchvision name, or a file with the state dict of torchvision's model, of this backbone, or of
    DeepCluster's released code.
    """
    from torchvision.models import vgg16_bn

    from fiftyone_deepcluster.backbones.adapt import Cut, adapt_first_conv
    from fiftyone_deepcluster.backbones.stored_weights import values_of
    from fiftyone_deepcluster.backbones.weights import (
        initialize,
        is_file,
        load_file,
        load_torchvision,
        read_state,
    )

    model = vgg16_bn(weights=None)
    path = values_of(weights)
    own = path is not None and is_file(path) and "classifier.6.weight" not in read_state(path)
    if weights is None:
        initialize(model)
    elif not own:
        load_torchvision(model, "vgg16_bn", weights)
    adapt_first_conv(model, channels)
    model.classifier = model.classifier[:4]
    network = Cut(model, 4096, relu_before_head=True)
    return (
        load_file(network, weights, "vgg16", released=("model.features.", "model.classifier."))
        if own
        else network
    )
