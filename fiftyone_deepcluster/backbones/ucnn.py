"""The network of UCNN (Hsu and Lin, section 2): AlexNet's convolutions, three more, a maximum, a linear layer."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from fiftyone_deepcluster.backbones.base import BACKBONES, Backbone, InputNormName
from fiftyone_deepcluster.errors import OptionsError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import nn

NormName = Literal["none", "batch"]

SMALL_SIDE = 64
"""Up to this many pixels an image would vanish in AlexNet's strides."""

CONVOLUTIONS = (64, 192, 384, 256, 256)
"""Channels of conv1-5: torchvision's AlexNet, the one that weights are to be had for."""

ADAPTATION = (6144, 2048)
"""Channels of conv6 and conv7 (Hsu and Lin, section 2); conv8 has one a cluster."""

_MIN = 8


@dataclass(frozen=True)
class Layout:
    """Sizes of a UCNN.

    Attributes:
        maps: channels of conv8; the paper has one a cluster.
        dim: outputs of FC9, which are clustered.
        width: share of AlexNet's channels in conv1-5.
        adapted: share of the paper's channels in conv6-7.
        norm: after conv1-7 and FC9; the paper has none.
    """

    maps: int
    dim: int
    width: float = 1.0
    adapted: float = 1.0
    norm: NormName = "none"


@BACKBONES.register
class UCNNBackbone(Backbone):
    """UCNN: AlexNet's convolutions, three more with a global maximum, and a linear layer (Hsu and Lin).

    The defaults are sizes for images up to 64 pixels with random weights. The paper's are ``width`` 1,
    ``adapted`` 1, ``maps`` and ``dim`` as many as clusters, and no norm.
    """

    name: Literal["ucnn"] = "ucnn"
    maps: int = Field(64, ge=2, le=65_536, description="Channels of conv8; the paper: one a cluster.")
    dim: int = Field(128, ge=2, le=65_536, description="Features of an image, the outputs of FC9.")
    width: float = Field(0.25, gt=0, le=4, description="Share of AlexNet's channels in conv1-5.")
    adapted: float = Field(
        1 / 32, gt=0, le=4, description="Share of the paper's 6144 and 2048 channels in conv6 and conv7."
    )
    norm: Literal["none", "batch"] = Field(
        "batch",
        description="After every layer but conv8; the paper has none and starts from trained weights.",
    )

    def build(self, channels: int, size: int, weights: str | None) -> nn.Module:
        """See ``Backbone.build``."""
        layout = Layout(self.maps, self.dim, self.width, self.adapted, self.norm)
        return load_weights(module_class()(channels, size, layout), weights)

    @property
    def input_norm(self) -> InputNormName:
        """Mean 0 and deviation 1 per image."""
        return "zscore"


@cache
def module_class() -> type[nn.Module]:
    """The class of the module, made when a network is first built: naming backbones needs no torch."""
    import torch
    from torch import nn

    class UCNN(nn.Module):
        """Conv1-5 of AlexNet, conv6-8 of 3 x 3, the maximum of every map over all positions, and FC9.

        FC9's outputs come before their ReLU, which the head applies. Up to 64 pixels conv1-5 are 3 x 3 without
        strides, and the maps are halved after conv1 and conv2 (above 32 pixels after conv5 too).

        Args:
            channels: of the images.
            size: their side in pixels.
            layout: sizes of the layers.
        """

        relu_before_head = True

        def __init__(self, channels: int, size: int, layout: Layout) -> None:
            super().__init__()
            wide = [channels, *(_scaled(n, layout.width) for n in CONVOLUTIONS)]
            make = _small if size <= SMALL_SIDE else _large
            self.convolutions = make(wide, size, layout.norm)
            wide = [wide[-1], *(_scaled(n, layout.adapted) for n in ADAPTATION)]
            self.adaptation = nn.Sequential(
                *_block(wide[0], wide[1], layout.norm),
                *_block(wide[1], wide[2], layout.norm),
                *_block(wide[2], layout.maps, "none"),
            )
            batch = layout.norm == "batch"
            self.full = nn.Linear(layout.maps, layout.dim)
            self.norm = nn.BatchNorm1d(layout.dim) if batch else nn.Identity()
            self.dim = layout.dim
            for layer in self.modules():
                if isinstance(layer, nn.Conv2d | nn.Linear) and layer.bias is not None:
                    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                    nn.init.zeros_(layer.bias)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            """(B, C, H, W) -> (B, dim), signed."""
            maps = self.adaptation(self.convolutions(images))
            # Features in float32: centers are made of their small differences.
            return self.norm(self.full(maps.amax(dim=(2, 3))).float())  # type: ignore[no-any-return]

    return UCNN


def load_weights(network: nn.Module, weights: str | None) -> nn.Module:
    """Fill conv1-5 from torchvision's AlexNet, or everything from a file of a whole UCNN.

    Args:
        network: changed in place.
        weights: None for none, a torchvision name such as ``IMAGENET1K_V1``, or a state dict's file: of
            torchvision's AlexNet, of a UCNN, or of one of our checkpoints.

    Raises:
        OptionsError: unknown weights, or some that do not fit.
    """
    if weights is None:
        return network
    from torchvision.models import AlexNet_Weights, alexnet

    from fiftyone_deepcluster.backbones.weights import load_file, load_torchvision, read_state

    named = weights in (*AlexNet_Weights.__members__, "DEFAULT")
    if not named and "classifier.6.weight" not in read_state(weights):
        load_file(network, weights, "ucnn")
        return network
    theirs = alexnet(weights=None)
    load_torchvision(theirs, "alexnet", weights)
    ours, source = (_convolutions(part) for part in (network.get_submodule("convolutions"), theirs.features))
    for layer, other in zip(ours, source, strict=True):
        if layer.weight.shape != other.weight.shape:
            raise OptionsError(
                f"weights={weights!r}: AlexNet's {tuple(other.weight.shape)} does not fit conv1-5's "
                f"{tuple(layer.weight.shape)}; take width=1, color images above {SMALL_SIDE} pixels, or no weights"
            )
        layer.load_state_dict(other.state_dict())
    return network


def _small(wide: Sequence[int], size: int, norm: NormName) -> nn.Sequential:
    from torch import nn

    blocks = [_block(wide[i], wide[i + 1], norm) for i in range(len(CONVOLUTIONS))]
    for i in (0, 1, 4) if size > SMALL_SIDE // 2 else (0, 1):
        blocks[i].append(nn.MaxPool2d(2))
    return nn.Sequential(*(layer for block in blocks for layer in block))


def _large(wide: Sequence[int], size: int, norm: NormName) -> nn.Sequential:
    from torch import nn

    shapes = ((11, 4, 2), (5, 1, 2), (3, 1, 1), (3, 1, 1), (3, 1, 1))
    blocks = [_block(wide[i], wide[i + 1], norm, shape) for i, shape in enumerate(shapes)]
    for i in (0, 1, 4):
        blocks[i].append(nn.MaxPool2d(3, 2))
    return nn.Sequential(*(layer for block in blocks for layer in block))


def _block(
    before: int, after: int, norm: NormName, shape: tuple[int, int, int] = (3, 1, 1)
) -> list[nn.Module]:
    """Convolution of (kernel, stride, padding), norm and ReLU."""
    from torch import nn

    kernel, stride, padding = shape
    between = [nn.BatchNorm2d(after)] if norm == "batch" else []
    return [nn.Conv2d(before, after, kernel, stride, padding), *between, nn.ReLU(inplace=True)]


def _convolutions(module: nn.Module) -> list[nn.Conv2d]:
    from torch import nn

    return [layer for layer in module.modules() if isinstance(layer, nn.Conv2d)]


def _scaled(channels: int, share: float) -> int:
    return max(_MIN, round(channels * share))
