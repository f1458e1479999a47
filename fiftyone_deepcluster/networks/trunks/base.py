"""Trunks: from an image to one feature vector.

Each trunk is a part; ``build`` makes the module, whose attribute ``dim`` gives its features' size and
``relu_before_head`` whether its features come before a ReLU that the head applies. The files here import
torch only while they build, so that forms and records can name trunks at no cost.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Literal

from fiftyone_deepcluster.core.registry import Part, Registry

if TYPE_CHECKING:
    from torch import nn

FrontName = Literal["plain", "zscore", "imagenet", "sobel"]


class Trunk(Part):
    """A network without its head."""

    @abstractmethod
    def build(self, channels: int, size: int, weights: str | None) -> nn.Module:
        """The module for ``channels`` input channels and images of ``size`` pixels.

        Args:
            channels: of the front's output.
            size: side of the images.
            weights: None for random, a torchvision weights name, or the path of a state dict.

        Raises:
            OptionsError: this trunk has no such weights, or the file does not fit.
        """

    @property
    def front(self) -> FrontName:
        """The front this trunk wants where the options leave it open."""
        return "imagenet"


TRUNKS: Registry[Trunk] = Registry("trunks", Trunk, "networks.trunks")  # type: ignore[type-abstract]
