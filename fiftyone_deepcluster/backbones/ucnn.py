"""The network of UCNN (Hsu and Lin, section 2): conv1-5 of AlexNet, conv6-8, global max pooling, a linear layer."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from fiftyone_deepcluster.backbones.base import BACKBONES, SMALL_SIDE, Backbone, InputNormName
from fiftyone_deepcluster.errors import OptionsError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import nn

NormName = Literal["none", "batch"]

CONVOLUTIONS = (64, 192, 384, 256, 256)
"""Channels of conv1-5: those of torchvision's AlexNet, for which trained weights exist."""

ADAPTATION = (6144, 2048)
"""Channels of conv6 and conv7 (Hsu and Lin, section 2); conv8 has one per cluster."""

_MIN = 8


@dataclass(frozen=True)
class Layout:
    """Sizes of a UCNN.

    Attributes:
        maps: channels of conv8; the paper has one per cluster.
        dim: outputs of FC9, the features.
        width: channels of conv1-5 as a fraction of AlexNet's.
        adapted: channels of conv6-7 as a fraction of the paper's.
        norm: normalization after conv1-7 and FC9; the paper has none.
    """

    maps: int
    dim: int
    width: float = 1.0
    adapted: float = 1.0
    norm: NormName = "none"


@BACKBONES.register
class UCNNBackbone(Backbone):
    """UCNN: AlexNet's convolutions, three more, global max pooling and a linear layer (Hsu and Lin).

    The defaults suit images up to 64 pixels with random weights. The paper has ``width`` 1, ``adapted`` 1,
    ``maps`` and ``dim`` equal to the number of clusters, and no norm.
    """

    name: Literal["ucnn"] = "ucnn"
    input_norm: ClassVar[InputNormName] = "zscore"
    maps: int = Field(64, ge=2, le=65_536, description="Channels of conv8; the paper: one per cluster.")
    dim: int = Field(128, ge=2, le=65_536, description="Number of features, the outputs of FC9.")
    width: float = Field(0.25, gt=0, le=4, description="Channels of conv1-5 as a fraction of AlexNet's.")
    adapted: float = Field(
        1 / 32,
        gt=0,
        le=4,
        description="Channels of conv6 and conv7 as a fraction of the paper's 6144 and 2048.",
    )
    norm: Literal["none", "batch"] = Field(
        "batch",
        description="Normalization after every layer but conv8; the paper has none and starts from trained weights.",
    )

    def make_module(self, channels: int, size: int, weights: str | None) -> nn.Module:
        """See ``Backbone.make_module``."""
        layout = Layout(self.maps, self.dim, self.width, self.adapted, self.norm)
        return load_weights(module_class()(channels, size, layout), weights)


@cache
def module_class() -> type[nn.Module]:
    """The module class, created at the first call so that importing this file does not import torch."""
    import torch
    from torch import nn

    class UCNN(nn.Module):
        """Conv1-5 of AlexNet, 3 x 3 conv6-8, global max pooling, and FC9.

        The features are FC9's outputs before its ReLU. Up to 64 pixels conv1-5 are 3 x 3 with stride 1, with max
        pooling after conv1 and conv2 (above 32 pixels after conv5, too).

        Args:
            channels: channels of the images.
            size: side of the images in pixels.
            layout: sizes of the layers.
        """

        relu_before_head = True

        def __init__(self, channels: int, size: int, layout: Layout) -> None:
            super().__init__()
            wide = [channels, *(_scaled(n, layout.width) for n in CONVOLUTIONS)]
            make = _small if size <= SMALL_SIDE else _large
            self.convolutions = make(wide, size, layout.norm)
            self.adaptation = _adaptation(wide[-1], layout)
            batch = layout.norm == "batch"
            self.full = nn.Linear(layout.maps, layout.dim)
            self.norm = nn.BatchNorm1d(layout.dim) if batch else nn.Identity()
            self.dim = layout.dim
            _initialize(self)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            """(B, C, H, W) -> (B, dim), signed."""
            maps = self.adaptation(self.convolutions(images))
            # Features in float32: centers depend on their small differences.
            return self.norm(self.full(maps.amax(dim=(2, 3))).float())  # type: ignore[no-any-return]

    return UCNN


def last_layer(backbone: nn.Module) -> nn.Module:
    """FC9 of a UCNN with its batch norm, or the last linear or convolutional layer of another backbone."""
    from torch import nn

    if isinstance(backbone, module_class()):
        return nn.ModuleList([backbone.full, backbone.norm])  # type: ignore[list-item]
    layers = [layer for layer in backbone.modules() if isinstance(layer, nn.Linear | nn.Conv2d)]
    return layers[-1] if layers else backbone


def load_weights(network: nn.Module, weights: str | None) -> nn.Module:
    """Load conv1-5 from torchvision's AlexNet, or all layers from a file of a UCNN.

    Args:
        network: modified in place.
        weights: None to keep the random weights, a torchvision name such as ``IMAGENET1K_V1``, or the path of a
            state dict of torchvision's AlexNet, of a UCNN, or of one of our checkpoints.

    Raises:
        OptionsError: unknown weights, or weights that do not fit.
    """
    from fiftyone_deepcluster.backbones.stored_weights import values_of

    if weights is None or values_of(weights) is None:
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
                f"weights={weights!r}: AlexNet's weight {tuple(other.weight.shape)} does not fit conv1-5's "
                f"{tuple(layer.weight.shape)}; use width=1 and color images above {SMALL_SIDE} pixels, or no weights"
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


def _adaptation(channels: int, layout: Layout) -> nn.Sequential:
    """Conv6-8 on ``channels`` maps of conv5."""
    from torch import nn

    wide = [channels, *(_scaled(n, layout.adapted) for n in ADAPTATION)]
    return nn.Sequential(
        *_block(wide[0], wide[1], layout.norm),
        *_block(wide[1], wide[2], layout.norm),
        *_block(wide[2], layout.maps, "none"),
    )


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


def _initialize(module: nn.Module) -> None:
    """He initialization (fan-in), biases 0."""
    from torch import nn

    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear) and layer.bias is not None:
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)


def _scaled(channels: int, share: float) -> int:
    return max(_MIN, round(channels * share))
