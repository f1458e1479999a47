"""A backbone cut in two at a layer: the part above it takes the layer's maps instead of images."""

from __future__ import annotations

import copy
from collections import OrderedDict
from typing import TYPE_CHECKING

import torch
from torch import nn

from fiftyone_deepcluster.backbones.layers import (
    FEATURES_LAYER,
    capture_outputs,
    choose_layers,
    layers_of,
    modules_until,
)
from fiftyone_deepcluster.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fiftyone_deepcluster.backbones.layers import Layer
    from fiftyone_deepcluster.backbones.network import Network


def upper_part(network: Network, layer: Layer, images: torch.Tensor) -> nn.Module | None:
    """The part of the backbone above ``layer``, which maps the layer's output (B, C, H, W) to features (B, D).

    It shares its modules with the backbone; those up to ``layer`` are replaced by the identity. So it exists only where
    the backbone applies them one after the other. Where it does so only within a list of blocks, as with the tokens of
    a transformer, the steps before the list process a black image, and the block ``layer`` gives the maps instead.

    Args:
        network: in evaluation mode.
        layer: a layer of this network.
        images: (B, C, H, W) float in 0..1, of the network's input size, for a check of the result; not constant.

    Returns:
        None where the backbone's features cannot be computed from the output of ``layer`` alone.
    """
    below = modules_until(network.backbone, layer.path)
    # where layers follow each other
    plain = _replaced(network.backbone, "", dict.fromkeys(below, nn.Identity()))
    with torch.inference_mode():
        (maps,) = capture_outputs(network, images, [layer], torch.Tensor.clone)
        expected = network.features(images)
        black = torch.zeros_like(network.input_norm(images[:1]))
        fed = (_fed(network.backbone, layer, black, channels_last=last) for last in (False, True))
        for upper in (plain, *fed):
            try:
                found = upper(maps)
            except (RuntimeError, ValueError, TypeError, IndexError, AttributeError, AssertionError):
                continue  # maps do not fit, or a step was left out
            if found.shape == expected.shape and torch.allclose(found, expected, rtol=1e-3, atol=1e-4):
                return upper
    return None


def freeze_until(network: Network, layer: Layer) -> None:
    """Exclude the parameters up to and including ``layer`` from training.

    So are those that belong to a module around the layers, such as the position embeddings of a transformer.
    """
    for path in modules_until(network.backbone, layer.path):
        network.backbone.get_submodule(path).requires_grad_(False)
    steps = layer.path.split(".")
    for depth in range(len(steps)):
        for weights in network.backbone.get_submodule(".".join(steps[:depth])).parameters(recurse=False):
            weights.requires_grad_(False)


def cut_layer(network: Network, images: torch.Tensor, name: str | None = None, *, stages: int = 1) -> Layer:
    """The layer below which a backbone is frozen.

    By default the last layer before the last reduction of the maps' height. Above it are the layers that fine-tuning
    changes most, and its maps are small: 38 kB in 16 bits for MobileNetV2 at 224 pixels, where the image has 150 kB.
    Of the blocks of a transformer, whose tokens are not reduced, a quarter is a stage (ours).

    Args:
        network: the network.
        images: (B, C, H, W) float in 0..1, of the network's input size.
        name: name of the layer; None: by the number of stages.
        stages: number of stages above the cut, which are layers with maps of the same height; fewer where the network
            has no layer below them.

    Raises:
        InputError: there is no such layer, or no layer with maps that are reduced later.
    """
    layers = layers_of(network, images[:1])
    if name is not None:
        chosen = choose_layers(layers, [name], "layer")[0]
        if chosen.name == FEATURES_LAYER:
            raise InputError(
                f"layer={name!r} is the output of the backbone, above which nothing is left to train; "
                "choose an earlier layer"
            )
        return chosen
    below = next(
        (
            found
            for n in range(stages, 0, -1)
            if (found := larger_maps(layers, n) or _lower_blocks(layers, n))
        ),
        None,
    )
    if below is None:
        raise InputError(
            "this backbone has no layer whose maps are reduced later, at which it can be cut; name a layer, or choose "
            "a convolutional backbone"
        )
    return below[-1]


def larger_maps(layers: Sequence[Layer], stages: int = 1) -> list[Layer]:
    """The layers with maps that are higher than those of the last ``stages`` stages, by the heights of the maps."""
    maps = [layer for layer in layers if len(layer.shape) == 3 and layer.shape[1] > 1]
    heights = sorted({layer.shape[1] for layer in maps if layer.shape[1] >= maps[-1].shape[1]})
    return [layer for layer in maps if layer.shape[1] > heights[stages - 1]] if len(heights) > stages else []


def _lower_blocks(layers: Sequence[Layer], stages: int) -> list[Layer]:
    """The blocks that give tokens, those of the last list of two or more, without a quarter of them for each stage."""
    tokens = [layer for layer in layers if len(layer.shape) == 2]
    blocks = [layer for layer in tokens if _parent(layer.path) == _parent(tokens[-1].path)]
    return blocks[: max(1, (4 - stages) * len(blocks) // 4)] if len(blocks) > 1 else []


def _parent(path: str) -> str:
    return path.rpartition(".")[0]


def _replaced(module: nn.Module, path: str, new: dict[str, nn.Module]) -> nn.Module:
    """``module`` with the modules at the paths in ``new`` replaced; changed containers are copies."""
    if path in new:
        return new[path]
    prefix = f"{path}." if path else ""
    if not any(one.startswith(prefix) for one in new):
        return module
    changed = copy.copy(module)
    changed.__dict__["_modules"] = {
        name: None if child is None else _replaced(child, prefix + name, new)
        for name, child in module._modules.items()
    }
    return changed


class _Skipped(nn.Module):
    """A block that returns its input; masks and the like are ignored."""

    def forward(self, given: torch.Tensor, *others: object, **named: object) -> torch.Tensor:
        """(B, ...) -> the same."""
        return given


class _Given(nn.Module):
    """A block that returns ``maps`` instead of its output.

    Args:
        channels_last: return (B, H, W, C), as Swin's blocks, of which (B, C, H, W) are kept.
    """

    maps: torch.Tensor

    def __init__(self, *, channels_last: bool) -> None:
        super().__init__()
        self.channels_last = channels_last

    def forward(self, *others: object, **named: object) -> torch.Tensor:
        """Anything -> ``maps``."""
        swap = self.channels_last and self.maps.ndim == 4
        return self.maps.permute(0, 2, 3, 1) if swap else self.maps


def _fed(backbone: nn.Module, layer: Layer, black: torch.Tensor, *, channels_last: bool) -> nn.Module:
    """``backbone`` as a function of the output of a block: the blocks of its list before it are skipped."""
    given = _Given(channels_last=channels_last)
    below = modules_until(backbone, layer.path)[:-1]
    skipped = {path: _Skipped() for path in below if _parent(path) == _parent(layer.path)}
    upper = _replaced(backbone, "", {**skipped, layer.path: given})
    upper.__dict__["_forward_pre_hooks"] = OrderedDict()  # its own, not those of the backbone

    def feed(module: nn.Module, arguments: tuple[torch.Tensor, ...]) -> torch.Tensor:
        given.maps = arguments[0]
        return black.to(given.maps.device).expand(len(given.maps), -1, -1, -1)

    upper.register_forward_pre_hook(feed)
    return upper
