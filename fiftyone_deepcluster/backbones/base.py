"""The interface of a backbone: it maps an image to a feature vector.

``make_module`` creates the module; ``build`` completes its attributes: ``dim``, the number of features, and
``relu_before_head``, whether the head applies a ReLU to the features. The files here import torch only when a module is
built, so that forms and run records can use backbone names without it.
"""

from __future__ import annotations

import os
import re
from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar, Literal

from typing_extensions import final

from fiftyone_deepcluster.core.contracts import attributed_to, described
from fiftyone_deepcluster.core.registry import Part, Registry, is_built_in
from fiftyone_deepcluster.errors import OptionsError, PartError

if TYPE_CHECKING:
    from torch import nn

SMALL_SIDE = 64
"""Images up to this side in pixels count as small and are not upscaled to 224."""

InputNormName = Literal["plain", "zscore", "imagenet", "sobel", "model"]
"""Names of the fixed first layers; ``model``: the mean and deviation that the backbone's module states."""

PRETRAINED = "pretrained"
"""The value of ``weights`` for the library's own weights of a model of timm or transformers."""

WEIGHTS_ENDINGS = (".pt", ".pth", ".pkl", ".bin", ".ckpt", ".tar", ".th", ".safetensors")
"""Usual endings of files of weights; a file may have any other, or none."""

TORCHVISION_NAME = re.compile(r"[A-Z][A-Z0-9_]*")
"""Names of torchvision's weights, such as ``IMAGENET1K_V1``."""


class Backbone(Part):
    """Base class of networks without a head: callers use ``build``, subclasses implement ``make_module``.

    Attributes:
        input_norm: default input norm of this backbone with random weights.
        pretrained_norm: default input norm with given weights.
    """

    input_norm: ClassVar[InputNormName] = "imagenet"
    pretrained_norm: ClassVar[InputNormName] = "imagenet"

    @final
    def norm_for(self, weights: str | None) -> InputNormName:
        """Default input norm with these weights."""
        return self.pretrained_norm if weights else self.input_norm

    @property
    def model_folder(self) -> str:
        """The folder on this computer, existing or not, with the model's configuration; empty if it has none."""
        return ""

    def in_folder(self, folder: str) -> Backbone:
        """A copy whose model is that of another ``folder``, for a backbone with a ``model_folder``."""
        return self

    @final
    def build(self, channels: int, size: int, weights: str | None) -> nn.Module:
        """The module for ``channels`` input channels and images of ``size`` pixels, with its attributes complete.

        Where the module has no ``dim``, a forward pass of a black image measures it.

        Args:
            channels: channels of the input norm's output.
            size: side of the images in pixels.
            weights: None for random weights, a name of the library's weights (torchvision's, or ``pretrained``), or
                the path of a state dict; ``StoredWeights``: values are not read, as those of a stored network follow.

        Raises:
            OptionsError: this backbone has no such weights, or the file does not fit.
            PartError: ``make_module`` failed, or its module does not return one vector per image.
        """
        from torch import nn

        who = f"the backbone {self.name!r}"
        with attributed_to(who):
            module = self.make_module(channels, size, weights)
        if not isinstance(module, nn.Module):
            raise PartError(f"{who} returned {described(module)} from make_module; return a torch.nn.Module")
        if not isinstance(getattr(module, "dim", None), int):
            module.dim = _features_of(module, (channels, size, size), who)  # type: ignore[assignment]
        if not hasattr(module, "relu_before_head"):
            module.relu_before_head = False  # type: ignore[assignment]
        return module

    @abstractmethod
    def make_module(self, channels: int, size: int, weights: str | None) -> nn.Module:
        """Create a module (B, channels, size, size) -> (B, dim); arguments as for ``build``.

        The module may have the attributes ``dim`` and ``relu_before_head``, and for the input norm ``model``
        ``pixel_mean`` and ``pixel_std``, three numbers each for pixels in 0..1. Draw random weights from torch's global
        generator; load a file with ``backbones.weights.load_file``.
        """


BACKBONES: Registry[Backbone] = Registry("backbones", Backbone, "backbones")  # type: ignore[type-abstract]


def is_weights_path(weights: str, backbone: type[Backbone] | None) -> bool:
    """Whether ``weights`` are the path of a file, existing or not, and no name of a library's weights.

    The names of this package's backbones are known, so that everything else is a path. A backbone of another package
    may have names of its own: there, only what looks like a path is one.

    Args:
        weights: as in the options.
        backbone: class of the backbone; None: the method chooses one of this package.
    """
    if backbone is None or is_built_in(backbone):
        return weights != PRETRAINED and TORCHVISION_NAME.fullmatch(weights) is None
    return weights.startswith((os.sep, ".", "~")) or weights.lower().endswith(WEIGHTS_ENDINGS)


def _features_of(module: nn.Module, shape: tuple[int, int, int], who: str) -> int:
    """Number of features of one image (C, H, W), by a forward pass in evaluation mode.

    Raises:
        PartError: the forward pass failed, or did not return one vector.
    """
    import torch

    training = module.training
    with attributed_to(f"the module of {who}, given one image {shape},"), torch.no_grad():
        found = module.eval()(torch.zeros(1, *shape))
    module.train(training)
    if not isinstance(found, torch.Tensor) or found.ndim != 2 or len(found) != 1:
        raise PartError(
            f"the module of {who} returned {described(found)} for one image; end it with layers that give one vector "
            "(1, D), such as nn.AdaptiveAvgPool2d(1) and nn.Flatten()"
        )
    return found.shape[1]


def check_side(name: str, size: int, needed: int) -> None:
    """Raise OptionsError if images of ``size`` pixels are too small for the backbone ``name``."""
    if size < needed:
        raise OptionsError(
            f"image_size={size} is too small for the backbone {name!r}, which needs {needed} pixels; "
            "raise image_size or choose the backbone 'small'"
        )
