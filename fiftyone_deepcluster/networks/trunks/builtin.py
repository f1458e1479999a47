"""The trunks that come with the package."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from fiftyone_deepcluster.errors import OptionsError
from fiftyone_deepcluster.networks.trunks.base import TRUNKS, FrontName, Trunk

if TYPE_CHECKING:
    from torch import nn


@TRUNKS.register
class Small(Trunk):
    """Five 3 x 3 convolutions with batch norm and a linear layer, for images of 64 pixels and less."""

    name: Literal["small"] = "small"
    width: int = Field(
        32, ge=4, le=512, description="Channels of the first convolutions; later ones 2 and 4 times."
    )
    grid: int = Field(
        3, ge=1, le=8, description="Cells per side that the last maps are averaged to; 1: no layer follows."
    )
    dim: int = Field(
        128, ge=8, le=4096, description="Features of an image, where the grid has several cells."
    )

    def build(self, channels: int, size: int, weights: str | None) -> nn.Module:
        """See ``Trunk.build``."""
        from fiftyone_deepcluster.networks.modules import SmallNet
        from fiftyone_deepcluster.networks.weights import load_file

        body = SmallNet(channels, size, width=self.width, grid=self.grid, dim=self.dim)
        return load_file(body, weights, "small")

    @property
    def front(self) -> FrontName:
        """Mean 0 and deviation 1 per image."""
        return "zscore"


@TRUNKS.register
class AlexNet(Trunk):
    """DeepCluster's AlexNet: batch norm after every convolution, no local response normalisation."""

    name: Literal["alexnet"] = "alexnet"

    def build(self, channels: int, size: int, weights: str | None) -> nn.Module:
        """See ``Trunk.build``."""
        from fiftyone_deepcluster.networks.modules import AlexNetBN
        from fiftyone_deepcluster.networks.weights import load_file

        _at_least(self.name, size, 63)
        return load_file(AlexNetBN(channels, size), weights, "alexnet")

    @property
    def front(self) -> FrontName:
        """The Sobel filters of the paper."""
        return "sobel"


@TRUNKS.register
class VGG16(Trunk):
    """VGG-16 with batch norm, to the second fully connected layer."""

    name: Literal["vgg16"] = "vgg16"

    def build(self, channels: int, size: int, weights: str | None) -> nn.Module:
        """See ``Trunk.build``."""
        from fiftyone_deepcluster.networks.modules import vgg16_bn

        _at_least(self.name, size, 32)
        return vgg16_bn(channels, weights)

    @property
    def front(self) -> FrontName:
        """The Sobel filters of the paper."""
        return "sobel"


@TRUNKS.register
class ResNet18(Trunk):
    """torchvision's ResNet-18 to its pooled 512 features; a 3 x 3 stem up to 64 pixels."""

    name: Literal["resnet18"] = "resnet18"

    def build(self, channels: int, size: int, weights: str | None) -> nn.Module:
        """See ``Trunk.build``."""
        from fiftyone_deepcluster.networks.modules import resnet

        return resnet("resnet18", channels, size, weights)


@TRUNKS.register
class ResNet50(Trunk):
    """torchvision's ResNet-50 to its pooled 2048 features; a 3 x 3 stem up to 64 pixels."""

    name: Literal["resnet50"] = "resnet50"

    def build(self, channels: int, size: int, weights: str | None) -> nn.Module:
        """See ``Trunk.build``."""
        from fiftyone_deepcluster.networks.modules import resnet

        return resnet("resnet50", channels, size, weights)


@TRUNKS.register
class Torchvision(Trunk):
    """Any classification model of torchvision, to the features before its classifier."""

    name: Literal["torchvision"] = "torchvision"
    model: str = Field("mobilenet_v2", description="Name as torchvision spells it, e.g. squeezenet1_0.")

    def build(self, channels: int, size: int, weights: str | None) -> nn.Module:
        """See ``Trunk.build``."""
        from fiftyone_deepcluster.networks.modules import torchvision_trunk

        return torchvision_trunk(self.model, channels, size, weights)


@TRUNKS.register
class Pixels(Trunk):
    """The pixels themselves as features; nothing to learn."""

    name: Literal["pixels"] = "pixels"

    def build(self, channels: int, size: int, weights: str | None) -> nn.Module:
        """See ``Trunk.build``."""
        from fiftyone_deepcluster.networks.modules import FlatPixels

        if weights is not None:
            raise OptionsError(f"weights={weights!r}: the trunk 'pixels' has none; leave weights empty")
        return FlatPixels(channels, size)

    @property
    def front(self) -> FrontName:
        """Pixels in 0..1."""
        return "plain"


def _at_least(name: str, size: int, needed: int) -> None:
    if size < needed:
        raise OptionsError(
            f"image_size={size} is too small for the trunk {name!r}, which needs {needed} pixels; "
            "raise image_size or choose the trunk 'small'"
        )
