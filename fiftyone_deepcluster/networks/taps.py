"""What a layer inside a trunk gives, caught while the network runs.

Layers go by PyTorch's names (``dict(trunk.named_modules())``), e.g. ``features.10`` of torchvision's AlexNet
(conv5) or ``inception5b`` of GoogLeNet; the prefix ``model.`` of trunks that wrap a model may be left out.
"""

from __future__ import annotations

import difflib
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from fiftyone_deepcluster.errors import OptionsError

if TYPE_CHECKING:
    from collections.abc import Iterator

_POOLS = (
    nn.MaxPool2d,
    nn.AvgPool2d,
    nn.AdaptiveAvgPool2d,
    nn.AdaptiveMaxPool2d,
)


class Tap:
    """The last output of one layer; see ``tapped``."""

    def __init__(self) -> None:
        self._value: torch.Tensor | None = None

    @property
    def value(self) -> torch.Tensor:
        """What the layer gave in the last forward pass.

        Raises:
            OptionsError: the layer did not run, or gave no tensor.
        """
        if self._value is None:
            raise OptionsError(
                "the tapped layer gave no tensor in a forward pass; choose a layer that images go through"
            )
        return self._value

    def keep(self, _layer: nn.Module, _inputs: Any, output: Any) -> None:
        """A forward hook. A copy, since a ReLU that works in place would change the output afterwards."""
        self._value = output.clone() if isinstance(output, torch.Tensor) else None


@contextmanager
def tapped(trunk: nn.Module, name: str) -> Iterator[Tap]:
    """Catch the output of the layer ``name`` of ``trunk`` while the block runs.

    Raises:
        OptionsError: there is no such layer.
    """
    tap = Tap()
    handle = layer(trunk, name).register_forward_hook(tap.keep)
    try:
        yield tap
    finally:
        handle.remove()


def layer(trunk: nn.Module, name: str) -> nn.Module:
    """The layer ``name`` of ``trunk``.

    Raises:
        OptionsError: there is none; the message names near ones.
    """
    known = dict(trunk.named_modules())
    for spelling in (name, f"model.{name}"):
        if spelling and spelling in known:
            return known[spelling]
    names = [key.removeprefix("model.") for key in known if key and key != "model"]
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5) or names[-5:]
    raise OptionsError(f"tap={name!r} is no layer of this trunk; choose one such as {', '.join(near)}")


def last_maps(trunk: nn.Module, images: torch.Tensor) -> str:
    """Name of the last layer that gives maps (B, C, H, W) of more than one cell, before any pooling of them.

    Conv5 after its ReLU of AlexNet, Inception5b of GoogLeNet, ``layer4`` of a ResNet.

    Args:
        trunk: in evaluation mode.
        images: (B, C, H, W), what the front gives; one image is enough.

    Raises:
        OptionsError: no layer gives maps.
    """
    found: list[str] = []
    pooled: set[int] = set()
    alive: list[torch.Tensor] = []  # no address may be used twice while outputs are compared by it

    def look(name: str, module: nn.Module, output: Any) -> None:
        if not isinstance(output, torch.Tensor):
            return
        alive.append(output)
        if isinstance(module, _POOLS):
            pooled.add(id(output))
        elif output.ndim == 4 and output.shape[-2:].numel() > 1 and id(output) not in pooled:
            found.append(name)

    with ExitStack() as stack, torch.inference_mode():
        for name, module in trunk.named_modules():
            hook = module.register_forward_hook(lambda m, _i, out, name=name: look(name, m, out))
            stack.callback(hook.remove)
        trunk(images)
    if not found:
        raise OptionsError("this trunk has no layer with maps; choose a trunk of convolutions, or a tap")
    return found[-1].removeprefix("model.")
