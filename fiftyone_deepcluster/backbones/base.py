"""Backbones: from an image to one feature vector.

Each backbone is a part; ``build`` makes the module, whose attribute ``dim`` gives its features' size and
``relu_before_head`` whether its features come before a ReLU that the head applies. The files here import
torch only while they build, so that forms and records can name backbones at no cost.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Literal

from fiftyone_deepcluster.core.registry import Part, Registry
from fiftyone_deepcluster.errors import OptionsError

if TYPE_CHECKING:
    from torch import nn

SMALL_SIDE = 64
"""Up to this many pixels an image counts as small: nothing is blown up to 224."""

InputNormName = Literal["plain", "zscore", "imagenet", "sobel"]


class Backbone(Part):
    """A network without its head."""

    @abstractmethod
    def build(self, channels: int, size: int, weights: str | None) -> nn.Module:
        """The module for ``channels`` input channels and images of ``size`` pixels.

        Args:
            channels: of the input norm's output.
            size: side of the images.
            weights: None for random, a torchvision weights name, or the path of a state dict.

        Raises:
            OptionsError: this backbone has no such weights, or the file does not fit.
        """

    @property
    def input_norm(self) -> InputNormName:
        """The input norm this backbone wants where the options leave it open."""
        return "imagenet"


BACKBONES: Registry[Backbone] = Registry("backbones", Backbone, "backbones")  # type: ignore[type-abstract]


def check_side(name: str, size: int, needed: int) -> None:
    """Raise OptionsError where images of ``size`` pixels are too small for the backbone called ``name``."""
    if size < needed:
        raise OptionsError(
            f"image_size={size} is too small for the backbone {name!r}, which needs {needed} pixels; "
            "raise image_size or choose the backbone 'small'"
        )
