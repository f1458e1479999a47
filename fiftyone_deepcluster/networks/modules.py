"""The trunks' modules. Each has ``dim`` (size of its features) and ``relu_before_head``."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import nn

from fiftyone_deepcluster.core.option_errors import suggest
from fiftyone_deepcluster.errors import OptionsError
from fiftyone_deepcluster.networks.weights import load_torchvision

if TYPE_CHECKING:
    from typing_extensions import Self

M = TypeVar("M", bound=nn.Module)

SMALL_SIDE = 64
"""Up to this many pixels an image counts as small: nothing is blown up to 224."""


_WITH_SIDE_CLASSIFIERS = ("googlenet", "inception_v3")


class SmallNet(nn.Module):
    """Convolutions of 3 x 3 with batch norm and ReLU, halved twice, then averaged over a grid.

    With a grid of one cell the averages are the features. With more cells a linear layer with batch norm
    follows: the grid keeps where things are, since random convolutions averaged over all of space say too
    little of an image for its first clusters. As in DeepCluster the features then come before the last ReLU.
    """

    def __init__(self, channels: int, size: int, *, width: int, grid: int, dim: int) -> None:
        super().__init__()
        widths = [width, width, 2 * width, 2 * width, 4 * width]
        if size > SMALL_SIDE // 2:
            widths.append(4 * width)  # a wider view for larger images
        layers: list[nn.Module] = []
        for i, (before, after) in enumerate(pairwise([channels, *widths])):
            if i in (2, 4, 5):
                layers.append(nn.MaxPool2d(2))
            convolution = nn.Conv2d(before, after, 3, padding=1, bias=False)
            layers += [convolution, nn.BatchNorm2d(after), nn.ReLU(inplace=True)]
        self.layers = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(grid))
        for layer in self.layers:
            if isinstance(layer, nn.Conv2d):
                nn.init.normal_(layer.weight, 0.0, math.sqrt(2.0 / (9 * layer.out_channels)))
        self.relu_before_head = grid > 1
        self.dim = dim if grid > 1 else widths[-1]
        self.full = nn.Linear(widths[-1] * grid * grid, dim, bias=False) if grid > 1 else nn.Identity()
        self.norm = nn.BatchNorm1d(dim) if grid > 1 else nn.Identity()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) -> (B, dim), signed where the grid has more than one cell."""
        # Batch norm in float32: its differences of near numbers are what the clusters are made of.
        return self.norm(self.full(self.layers(images).flatten(1)).float())  # type: ignore[no-any-return]


class AlexNetBN(nn.Module):
    """AlexNet as DeepCluster trains it: fc7 before its ReLU, 4096 features.

    Caron et al., section 3.3, with the released code's sizes: 96-256-384-384-256 filters, batch norm,
    two fully connected layers with dropout 0.5 before each.
    """

    relu_before_head = True

    def __init__(self, channels: int, size: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *_conv_bn(channels, 96, 11, stride=4, padding=2), nn.MaxPool2d(3, 2),
            *_conv_bn(96, 256, 5, padding=2), nn.MaxPool2d(3, 2),
            *_conv_bn(256, 384, 3, padding=1),
            *_conv_bn(384, 384, 3, padding=1),
            *_conv_bn(384, 256, 3, padding=1), nn.MaxPool2d(3, 2),
        )  # fmt: skip
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
        initialise(self)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) -> (B, 4096), signed."""
        return self.full(self.layers(images).flatten(1))  # type: ignore[no-any-return]


class FlatPixels(nn.Module):
    """Pixels as features."""

    relu_before_head = False

    def __init__(self, channels: int, size: int) -> None:
        super().__init__()
        self.dim = channels * size * size

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) -> (B, C·H·W)."""
        return images.flatten(1)


class Cut(nn.Module):
    """A model whose classifier was taken off."""

    def __init__(self, model: nn.Module, dim: int, *, relu_before_head: bool) -> None:
        super().__init__()
        self.model = model
        self.dim = dim
        self.relu_before_head = relu_before_head

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) -> (B, D)."""
        return self.model(images).flatten(1)  # type: ignore[no-any-return]


def vgg16_bn(channels: int, weights: str | None) -> nn.Module:
    """Torchvision's VGG-16-BN to its second fully connected layer, before the ReLU."""
    from torchvision.models import vgg16_bn as make

    model = make(weights=None)
    load_torchvision(model, "vgg16_bn", weights)
    if weights is None:
        initialise(model)
    _adapt_first_conv(model, channels)
    model.classifier = model.classifier[:4]
    return Cut(model, 4096, relu_before_head=True)


def resnet(name: str, channels: int, size: int, weights: str | None) -> nn.Module:
    """A torchvision ResNet to its pooled features.

    Up to 64 pixels, and only where the weights are random, the stem is 3 x 3 without stride or pooling:
    the usual form for small images, where the 7 x 7 stem would throw away 15 of 16 positions.
    """
    from torchvision.models import get_model

    model = get_model(name, weights=None)
    load_torchvision(model, name, weights)
    if size <= SMALL_SIDE and weights is None:
        model.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
        model.maxpool = nn.Identity()
    _adapt_first_conv(model, channels)
    dim = model.fc.in_features
    model.fc = nn.Identity()
    return Cut(model, dim, relu_before_head=False)


def torchvision_trunk(name: str, channels: int, size: int, weights: str | None) -> nn.Module:
    """Any torchvision classifier without its last layer.

    Features are AlexNet's and VGG's fc7 after its ReLU (4096), GoogLeNet's pool5 (1024), a ResNet's average.

    Raises:
        OptionsError: torchvision has no such classifier, its last layer is not found, or it takes no images of
            this size.
    """
    import torchvision
    from torchvision.models import get_model, list_models

    known = list_models(module=torchvision.models)  # others detect, segment or look at videos
    if name not in known:
        raise OptionsError(
            f"model={name!r} is no classifier of images in torchvision; {suggest(name, known)}"
        )
    if name in _WITH_SIDE_CLASSIFIERS:
        model: nn.Module = _without_side_classifiers(name, channels, weights)
    else:
        model = get_model(name, weights=None)
        load_torchvision(model, name, weights)
    _adapt_first_conv(model, channels)
    _cut_classifier(model, name)
    try:
        with torch.no_grad():
            dim = model.eval()(torch.zeros(1, channels, size, size)).flatten(1).shape[1]
    except (RuntimeError, AssertionError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise OptionsError(
            f"model={name!r} takes no images of {size} pixels ({reason}); give image_size=224, which most were made "
            "for, or choose another model"
        ) from error
    return Cut(model.train(), dim, relu_before_head=False)


def _without_side_classifiers(name: str, channels: int, weights: str | None) -> nn.Module:
    """GoogLeNet or Inception v3, which answer with several classifiers in training: only the trunk's way is kept.

    torchvision's weights of both were learnt on pixels in -1..1, which the model makes of the usual ones.
    """
    from torchvision.models import get_model

    usual = weights is not None and channels == 3
    model = get_model(name, weights=None, init_weights=False, transform_input=usual)
    if weights is None:
        initialise(model)
    load_torchvision(model, name, weights)
    model.aux_logits = False
    for side in ("aux1", "aux2", "AuxLogits"):
        if hasattr(model, side):
            setattr(model, side, None)
    return model  # type: ignore[no-any-return]


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


def initialise(module: nn.Module) -> None:
    """DeepCluster's random weights: He for convolutions by fan-out, N(0, 0.01) for linear layers."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            fan_out = layer.kernel_size[0] * layer.kernel_size[1] * layer.out_channels
            nn.init.normal_(layer.weight, 0.0, math.sqrt(2.0 / fan_out))
        elif isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, 0.0, 0.01)
        if isinstance(layer, nn.Conv2d | nn.Linear) and layer.bias is not None:
            nn.init.zeros_(layer.bias)


def _conv_bn(before: int, after: int, kernel: int, *, stride: int = 1, padding: int = 0) -> list[nn.Module]:
    conv = nn.Conv2d(before, after, kernel, stride=stride, padding=padding)
    return [conv, nn.BatchNorm2d(after), nn.ReLU(inplace=True)]


def _adapt_first_conv(model: nn.Module, channels: int) -> None:
    """A fresh first convolution where the front gives another number of channels."""
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
            initialise(fresh)
            parent, _, attribute = name.rpartition(".")
            setattr(model.get_submodule(parent), attribute, fresh)
            return


def _cut_classifier(model: nn.Module, name: str) -> None:
    """Replace the last linear layer of ``fc``, ``classifier``, ``head`` or ``heads`` by the identity."""
    for attribute in ("fc", "classifier", "head", "heads"):
        layer = getattr(model, attribute, None)
        if isinstance(layer, nn.Linear):
            setattr(model, attribute, nn.Identity())
            return
        if isinstance(layer, nn.Sequential):
            if any(isinstance(step, nn.Conv2d) for step in layer):  # SqueezeNet classifies by a convolution
                setattr(model, attribute, nn.AdaptiveAvgPool2d(1))
                return
            last = max((i for i, step in enumerate(layer) if isinstance(step, nn.Linear)), default=None)
            if last is not None:
                setattr(model, attribute, layer[:last])
                return
    raise OptionsError(f"model={name!r}: its classifier is not where other models have it; choose another")
