"""A backbone cut in two at a layer: the part above it takes the layer's maps instead of images."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import torch
from torch import nn

from fiftyone_deepcluster.backbones.layers import capture_outputs, choose_layers, layers_of, modules_until
from fiftyone_deepcluster.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fiftyone_deepcluster.backbones.layers import Layer
    from fiftyone_deepcluster.backbones.network import Network


def upper_part(network: Network, layer: Layer, images: torch.Tensor) -> nn.Module | None:
    """The part of the backbone above ``layer``, which maps the layer's output (B, C, H, W) to features (B, D).

    It shares its modules with the backbone; those up to ``layer`` are replaced by the identity. So it exists only where
    the backbone applies them one after the other.

    Args:
        network: in evaluation mode.
        layer: a layer of this network.
        images: (B, C, H, W) float in 0..1, of the network's input size, for a check of the result; not constant.

    Returns:
        None where the backbone's features cannot be computed from the output of ``layer`` alone.
    """
    upper = _without(network.backbone, "", set(modules_until(network.backbone, layer.path)))
    with torch.inference_mode():
        (maps,) = capture_outputs(network, images, [layer], torch.Tensor.clone)
        expected = network.features(images)
        try:
            found = upper(maps)
        except (RuntimeError, ValueError, TypeError, IndexError):  # maps do not fit, or a step was left out
            return None
    fits = found.shape == expected.shape and torch.allclose(found, expected, rtol=1e-3, atol=1e-4)
    return upper if fits else None


def freeze_until(network: Network, layer: Layer) -> None:
    """Exclude the parameters up to and including ``layer`` from training."""
    for path in modules_until(network.backbone, layer.path):
        network.backbone.get_submodule(path).requires_grad_(False)


def cut_layer(network: Network, images: torch.Tensor, name: str | None = None) -> Layer:
    """The layer below which a backbone is frozen.

    By default the last layer before the last reduction of the maps' height. Above it are the layers that fine-tuning
    changes most, and its maps are small: 38 kB in 16 bits for MobileNetV2 at 224 pixels, where the image has 150 kB.

    Args:
        network: the network.
        images: (B, C, H, W) float in 0..1, of the network's input size.
        name: name of the layer; None: the default.

    Raises:
        InputError: there is no such layer, or no layer with maps that are reduced later.
    """
    layers = layers_of(network, images[:1])
    if name is not None:
        return choose_layers(layers, [name], "layer")[0]
    larger = larger_maps(layers)
    if not larger:
        raise InputError(
            "this backbone has no layer whose maps are reduced later, at which it can be cut; name a layer, or choose "
            "a convolutional backbone"
        )
    return larger[-1]


def larger_maps(layers: Sequence[Layer]) -> list[Layer]:
    """The layers with maps that are higher than those of the last layer with maps."""
    maps = [layer for layer in layers if len(layer.shape) == 3 and layer.shape[1] > 1]
    return [layer for layer in maps if layer.shape[1] > maps[-1].shape[1]]


def _without(module: nn.Module, path: str, below: set[str]) -> nn.Module:
    """``module`` with the modules at the paths ``below`` replaced by the identity; changed containers are copies."""
    if path in below:
        return nn.Identity()
    prefix = f"{path}." if path else ""
    if not any(one.startswith(prefix) for one in below):
        return module
    changed = copy.copy(module)
    changed.__dict__["_modules"] = {
        name: None if child is None else _without(child, prefix + name, below)
        for name, child in module._modules.items()
    }
    return changed
