"""DeepCluster's AlexNet: options and module."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, ClassVar, Literal

from fiftyone_deepcluster.backbones.base import BACKBONES, Backbone, InputNormName, check_side

if TYPE_CHECKING:
    from torch import nn


@BACKBONES.register
class AlexNet(Backbone):
    """DeepCluster's AlexNet: batch norm after every convolution, no local response normalization."""

    name: Literal["alexnet"] = "alexnet"
    input_norm: ClassVar[InputNormName] = "sobel"

    def make_module(self, channels: int, size: int, weights: str | None) -> nn.Module:
        """See ``Backbone.make_module``."""
        from fiftyone_deepcluster.backbones.weights import load_file

        check_side(self.name, size, 63)
        return load_file(module_class()(channels, size), weights, "alexnet", released=("layers.", "full."))


@cache
def module_class() -> type[nn.Module]:
    """The module class, created at the first call so that importing this file does not import torch."""
    import torch
    from torch import nn

    from fiftyone_deepcluster.backbones.weights import initialize

    class AlexNetBN(nn.Module):
        """AlexNet as trained by DeepCluster; its features are the 4096 outputs of fc7 before the ReLU.

        Caron et al., section 3.3, with the sizes of the released code: 96-256-384-384-256 filters, batch norm,
        two fully connected layers, each after dropout 0.5.
        """

        relu_before_head = True

        def __init__(self, channels: int, size: int) -> None:
            super().__init__()
            self.layers = _convolutions(channels)
            with torch.no_grad():
                flat = self.layers.eval()(torch.zeros(1, channels, size, size)).numel()
            self.layers.train()
            self.full = nn.Sequential(
                nn.Dropout(0.5),
                nn.Linear(flat, 4096),
                nn.ReLU(inplace=True),
                nn.Dropout(0.5),
                nn.Linear(4096, 4096),
            )
            self.dim = 4096
            initialize(self)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            """(B, C, H, W) -> (B, 4096), signed."""
            return self.full(self.layers(images).flatten(1))  # type: ignore[no-any-return]

    return AlexNetBN


def _convolutions(channels: int) -> nn.Sequential:
    from torch import nn

    return nn.Sequential(
        *_conv_bn(channels, 96, 11, stride=4, padding=2), nn.MaxPool2d(3, 2),
        *_conv_bn(96, 256, 5, padding=2), nn.MaxPool2d(3, 2),
        *_conv_bn(256, 384, 3, padding=1),
        *_conv_bn(384, 384, 3, padding=1),
        *_conv_bn(384, 256, 3, padding=1), nn.MaxPool2d(3, 2),
    )  # fmt: skip


def _conv_bn(before: int, after: int, kernel: int, *, stride: int = 1, padding: int = 0) -> list[nn.Module]:
    from torch import nn

    conv = nn.Conv2d(before, after, kernel, stride=stride, padding=padding)
    return [conv, nn.BatchNorm2d(after), nn.ReLU(inplace=True)]
