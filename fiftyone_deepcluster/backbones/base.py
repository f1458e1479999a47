"""Backbones: from an image to one feature vector.

Each backbone is a part; ``make_module`` makes its module, and ``build`` sees that the module has what others need: an
attribute ``dim`` with the size of its features, and ``relu_before_head``, whether its features come before a ReLU that
the head applies. The files here import torch only while they build, so that forms and records can name backbones at no
cost.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar, Literal

from typing_extensions import final

from fiftyone_deepcluster.core.contracts import blamed, described
from fiftyone_deepcluster.core.registry import Part, Registry
from fiftyone_deepcluster.errors import OptionsError, PartError

if TYPE_CHECKING:
    from torch import nn

SMALL_SIDE = 64
"""Up to this many pixels an image counts as small: nothing is blown up to 224."""

InputNormName = Literal["plain", "zscore", "imagenet", "sobel"]


class Backbone(Part):
    """A network without its head: others call ``build``, a backbone is written by ``make_module``.

    Attributes:
        input_norm: the input norm this backbone wants where the options leave it open.
    """

    input_norm: ClassVar[InputNormName] = "imagenet"

    @final
    def build(self, channels: int, size: int, weights: str | None) -> nn.Module:
        """The module for ``channels`` input channels and images of ``size`` pixels, with its attributes complete.

        Where the module has no ``dim``, a black image is passed through it to find out.

        Args:
            channels: of the input norm's output.
            size: side of the images.
            weights: None for random, a torchvision weights name, or the path of a state dict.

        Raises:
            OptionsError: this backbone has no such weights, or the file does not fit.
            PartError: ``make_module`` failed, or made no module that gives one vector an image.
        """
        from torch import nn

        who = f"the backbone {self.name!r}"
        with blamed(who):
            module = self.make_module(channels, size, weights)
        if not isinstance(module, nn.Module):
            raise PartError(f"{who} made {described(module)}; return a torch.nn.Module")
        if not isinstance(getattr(module, "dim", None), int):
            module.dim = _features_of(module, (channels, size, size), who)  # type: ignore[assignment]
        if not hasattr(module, "relu_before_head"):
            module.relu_before_head = False  # type: ignore[assignment]
        return module

    @abstractmethod
    def make_module(self, channels: int, size: int, weights: str | None) -> nn.Module:
        """A module (B, channels, size, size) -> (B, dim); the arguments are those of ``build``.

        The module may have the attributes ``dim`` and ``relu_before_head``; random weights come from torch's generator.
        ``backbones.weights.load_file`` fills a module from a file.
        """


BACKBONES: Registry[Backbone] = Registry("backbones", Backbone, "backbones")  # type: ignore[type-abstract]


def _features_of(module: nn.Module, shape: tuple[int, int, int], who: str) -> int:
    """Features of one image (C, H, W), by a forward pass in evaluation mode.

    Raises:
        PartError: the module takes no such image, or gives something else than one vector.
    """
    import torch

    training = module.training
    with blamed(f"the module of {who}, given one image {shape},"), torch.no_grad():
        found = module.eval()(torch.zeros(1, *shape))
    module.train(training)
    if not isinstance(found, torch.Tensor) or found.ndim != 2 or len(found) != 1:
        raise PartError(
            f"the module of {who} gave {described(found)} for one image; end it with what makes one vector (1, D) of "
            "that, such as nn.AdaptiveAvgPool2d(1) and nn.Flatten()"
        )
    return found.shape[1]


def check_side(name: str, size: int, needed: int) -> None:
    """Raise OptionsError where images of ``size`` pixels are too small for the backbone called ``name``."""
    if size < needed:
        raise OptionsError(
            f"image_size={size} is too small for the backbone {name!r}, which needs {needed} pixels; "
            "raise image_size or choose the backbone 'small'"
        )
