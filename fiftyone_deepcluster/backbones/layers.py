"""The layers of a backbone by name, and what each of them says: for probes and filters.

A layer is a convolution or linear layer with the norm and activation that follow it, or a whole block (a
residual block, an inverted bottleneck) where the backbone is built of blocks. Names count along the network as
in the papers: ``conv1`` ... ``conv5``, ``fc6``, ``fc7``; blocks keep the name their module has.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn

from fiftyone_deepcluster.errors import InputError

if TYPE_CHECKING:
    from fiftyone_deepcluster.backbones.network import Network

FEATURES_LAYER = "features"
"""Name of the backbone's own output, where it is more than the last layer's."""

_NORMS = (nn.modules.batchnorm._BatchNorm, nn.GroupNorm, nn.LayerNorm)
_ACTIVATIONS = (nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Hardswish, nn.Tanh, nn.Sigmoid)

_WRAPPERS = re.compile(r"^((model|backbone)\.)+")  # modules that only hold another say nothing of a layer


@dataclass(frozen=True)
class Layer:
    """One layer of a backbone.

    Attributes:
        name: as users say it.
        path: module within the backbone whose output is the layer's; empty for the backbone itself.
        raw_path: the module before the activation; the same where none follows, or inside a block.
        units: channels of its maps, or numbers of its vector.
        shape: of its output for one image, without the batch.
    """

    name: str
    path: str
    raw_path: str
    units: int
    shape: tuple[int, ...]


class _AllCapturedError(Exception):
    """Every layer asked for has spoken: the rest of the forward pass is not needed."""


def layers_of(network: Network, images: torch.Tensor) -> list[Layer]:
    """All layers of the network's backbone, in order.

    Args:
        network: on the device of ``images``; it is put into evaluation mode.
        images: (B, C, H, W) float in 0..1, such as the network sees; one is enough.
    """
    network.eval()
    drafts = list(_drafts(network.backbone))
    with torch.inference_mode():
        shapes = _capture(network, images, [path for _, path, _ in drafts], lambda output: output[:1].clone())
    layers = [
        Layer(name, path, raw, as_maps(shapes[path]).shape[1], tuple(shapes[path].shape[1:]))
        for name, path, raw in drafts
        if path in shapes  # auxiliary classifiers have layers that are not run
    ]
    return _with_features(network, images, layers)


def choose_layers(layers: Sequence[Layer], names: Sequence[str] | None, option: str = "layer") -> list[Layer]:
    """The layers of these names in the network's order; all of them for None; ``option`` asks.

    Raises:
        InputError: there is no such layer; those there are follow.
    """
    known = {layer.name: layer for layer in layers}
    for name in names or ():
        if name not in known:
            raise InputError(
                f"{option}={name!r} is none of this network's; choose one of: {', '.join(known)}"
            )
    return [layer for layer in layers if names is None or layer.name in names]


def capture_outputs(
    network: Network,
    images: torch.Tensor,
    layers: Sequence[Layer],
    how: Callable[[torch.Tensor], torch.Tensor],
    *,
    raw: bool = False,
) -> list[torch.Tensor]:
    """What ``how`` makes of each layer's output; the forward pass ends with the last of them.

    Args:
        network: in evaluation mode, on the device of ``images``.
        images: (B, C, H, W) float in 0..1.
        layers: of this network.
        how: called with the output at once, since a ReLU may write over it.
        raw: the output before the activation.
    """
    paths = [layer.raw_path if raw else layer.path for layer in layers]
    found = _capture(network, images, paths, how)
    return [found[path] for path in paths]


def channels_first(output: torch.Tensor) -> torch.Tensor:
    """Maps (B, C, H, W), also of (B, H, W, C) as Swin has them: images are square, so what is not is the channels."""
    if output.ndim == 4 and output.shape[1] == output.shape[2] != output.shape[3]:
        return output.permute(0, 3, 1, 2)
    return output


def as_maps(output: torch.Tensor) -> torch.Tensor:
    """(B, C, H, W), (B, T, C) tokens or (B, C) -> (B, C, P): P places a unit."""
    if output.ndim == 3:
        return output.transpose(1, 2)
    return output.flatten(2) if output.ndim > 2 else output.unsqueeze(2)


def _capture(
    network: Network, images: torch.Tensor, paths: Sequence[str], how: Callable[[torch.Tensor], torch.Tensor]
) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = {}
    wanted = set(paths)

    def note(path: str) -> Callable[[nn.Module, object, torch.Tensor], None]:
        def hook(module: nn.Module, given: object, output: torch.Tensor) -> None:
            if path not in found:  # a module that is used again is heard the first time
                found[path] = how(channels_first(output))
                if len(found) == len(wanted):
                    raise _AllCapturedError

        return hook

    handles = [network.backbone.get_submodule(path).register_forward_hook(note(path)) for path in wanted]
    try:
        network.features(images)
    except _AllCapturedError:
        pass
    finally:
        for handle in handles:
            handle.remove()
    return found


def _with_features(network: Network, images: torch.Tensor, layers: list[Layer]) -> list[Layer]:
    """The layers, and the backbone's output where pooling or the like follows the last of them."""
    if layers and len(layers[-1].shape) == 1:
        return layers
    with torch.inference_mode():
        dim = network.features(images[:1]).shape[1]
    return [*layers, Layer(FEATURES_LAYER, "", "", dim, (dim,))]


def _drafts(backbone: nn.Module) -> Iterator[tuple[str, str, str]]:
    """Name, path and raw path of every layer, by the order of the modules."""
    groups: list[tuple[str, str, str]] = []
    growing = False  # whether a norm or activation may still join the last layer
    for path, module in _leaves_and_blocks(*_unwrapped(backbone, "")):
        if isinstance(module, nn.Conv2d | nn.Linear):
            kind = "conv" if isinstance(module, nn.Conv2d) else "fc"
            groups.append((f"{kind}{len(groups) + 1}", path, path))
            growing = True
        elif isinstance(module, _NORMS) and growing:
            groups[-1] = (groups[-1][0], path, path)
        elif isinstance(module, _ACTIVATIONS) and growing:
            groups[-1] = (groups[-1][0], path, groups[-1][1])
            growing = False
        elif any(True for _ in module.children()) and any(True for _ in module.parameters()):
            groups.append((_WRAPPERS.sub("", path), path, path))
            growing = False
        elif not isinstance(module, nn.Identity):
            growing = False
    return iter(groups)


def _unwrapped(module: nn.Module, prefix: str) -> tuple[nn.Module, str]:
    """The module that holds the layers, with what comes before their paths: a backbone may only wrap another model."""
    children = list(module.named_children())
    while len(children) == 1 and any(True for _ in children[0][1].children()):
        prefix, module = f"{prefix}{children[0][0]}.", children[0][1]
        children = list(module.named_children())
    return module, prefix


def _leaves_and_blocks(module: nn.Module, prefix: str) -> Iterator[tuple[str, nn.Module]]:
    """Modules in order, sequences unfolded, and backbones within backbones."""
    for name, child in module.named_children():
        if isinstance(child, nn.Sequential):
            yield from _leaves_and_blocks(child, f"{prefix}{name}.")
        elif hasattr(child, "relu_before_head"):
            yield from _leaves_and_blocks(*_unwrapped(child, f"{prefix}{name}."))
        else:
            yield f"{prefix}{name}", child
