"""The layers of a backbone by name, and their outputs, for encoders, probes and filters.

A layer is a convolution or linear layer with the norm and activation that follow it, or a whole block (a
residual block, an inverted bottleneck) where the backbone consists of blocks. Layers are numbered in network order as
in the papers: ``conv1`` ... ``conv5``, ``fc6``, ``fc7``; blocks keep their module names.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from fiftyone_deepcluster.core.arguments import some_of
from fiftyone_deepcluster.errors import InputError

if TYPE_CHECKING:
    from fiftyone_deepcluster.backbones.network import Network

FEATURES_LAYER = "features"
"""Name of the backbone's output, where it differs from the last layer's."""

_NORMS = (nn.modules.batchnorm._BatchNorm, nn.GroupNorm, nn.LayerNorm)
_ACTIVATIONS = (nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Hardswish, nn.Tanh, nn.Sigmoid)

_LISTS = (nn.Sequential, nn.ModuleList)

_WRAPPERS = re.compile(r"^((model|backbone)\.)+")  # wrapper modules, left out of layer names


@dataclass(frozen=True)
class Layer:
    """One layer of a backbone.

    Attributes:
        name: name in options and messages.
        path: path of the module whose output is the layer's; empty for the backbone itself.
        raw_path: path of the module before the activation; equal to ``path`` without one, and for blocks.
        units: number of channels of the maps, or of features.
        shape: shape of the output for one image, without the batch dimension.
    """

    name: str
    path: str
    raw_path: str
    units: int
    shape: tuple[int, ...]


class _AllCapturedError(Exception):
    """Stops the forward pass once all requested outputs are captured."""


def layers_of(network: Network, images: torch.Tensor) -> list[Layer]:
    """All layers of the network's backbone, in order.

    Args:
        network: on the device of ``images``; set to evaluation mode.
        images: (B, C, H, W) float in 0..1, of the network's input size; one is enough.
    """
    network.eval()
    drafts = list(_drafts(network.backbone))
    with torch.inference_mode():
        shapes = _capture(
            network.backbone,
            lambda: network.features(images),
            [path for _, path, _ in drafts],
            lambda output: output[:1].clone(),
        )
    layers = [
        Layer(name, path, raw, as_maps(shapes[path]).shape[1], tuple(shapes[path].shape[1:]))
        for name, path, raw in drafts
        if path in shapes  # auxiliary classifiers have layers that do not run
    ]
    return _with_features(network, images, layers)


def choose_layers(layers: Sequence[Layer], names: Sequence[str] | None, option: str = "layer") -> list[Layer]:
    """The layers with these names, in network order; all layers for None.

    Raises:
        InputError: there is no such layer; the message starts with ``option`` and lists the layers.
    """
    known = [layer.name for layer in layers]
    for name in names or ():
        check_layer(known, name, option)
    return [layer for layer in layers if names is None or layer.name in names]


def check_layer(known: Sequence[str], name: str, option: str = "layer") -> None:
    """Raise InputError unless ``name`` is among the names of the known layers, as in ``choose_layers``."""
    if name not in known:
        raise InputError(
            f"{option}={name!r} is not a layer of this network; choose one of: {some_of(known, 30)}"
        )


def capture_outputs(
    network: Network,
    images: torch.Tensor,
    layers: Sequence[Layer],
    how: Callable[[torch.Tensor], torch.Tensor],
    *,
    raw: bool = False,
    upper: nn.Module | None = None,
) -> list[torch.Tensor]:
    """Apply ``how`` to the output of each layer; the forward pass stops after the last of them.

    Args:
        network: in evaluation mode, on the device of ``images``.
        images: (B, C, H, W) float in 0..1.
        layers: layers of this network.
        how: called immediately with each output, since an in-place ReLU may overwrite it.
        raw: take the output before the activation.
        upper: part of the backbone from ``cut.upper_part``; ``images`` are maps of its cut, and ``layers`` above it.
    """
    paths = [layer.raw_path if raw else layer.path for layer in layers]
    if upper is None:
        found = _capture(network.backbone, lambda: network.features(images), paths, how)
    else:
        found = _capture(upper, lambda: upper(images), paths, how)
    return [found[path] for path in paths]


def modules_until(backbone: nn.Module, path: str) -> list[str]:
    """Paths of the modules in order, up to the one at ``path``; as the layers, with blocks as a whole."""
    paths = [found for found, _ in _leaves_and_blocks(*_unwrapped(backbone, ""))]
    return paths[: paths.index(path) + 1]


def channels_first(output: torch.Tensor) -> torch.Tensor:
    """Maps as (B, C, H, W), also from Swin's (B, H, W, C): maps are square, so the odd axis holds the channels."""
    if output.ndim == 4 and output.shape[1] == output.shape[2] != output.shape[3]:
        return output.permute(0, 3, 1, 2)
    return output


def as_maps(output: torch.Tensor) -> torch.Tensor:
    """(B, C, H, W), (B, T, C) tokens or (B, C) -> (B, C, P): P positions per unit."""
    if output.ndim == 3:
        return output.transpose(1, 2)
    return output.flatten(2) if output.ndim > 2 else output.unsqueeze(2)


def _tensor_of(output: Any) -> torch.Tensor | None:
    """The output of a module, of several outputs the first; None where it is no tensor."""
    first = output if isinstance(output, torch.Tensor) or not output else next(iter(_values(output)), None)
    return first if isinstance(first, torch.Tensor) else None


def _values(output: Any) -> Any:
    return (
        output.values() if hasattr(output, "values") else output if isinstance(output, tuple | list) else ()
    )


def _capture(
    root: nn.Module,
    forward: Callable[[], torch.Tensor],
    paths: Sequence[str],
    how: Callable[[torch.Tensor], torch.Tensor],
) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = {}
    wanted = set(paths)

    def note(path: str) -> Callable[[nn.Module, object, torch.Tensor], None]:
        def hook(module: nn.Module, given: object, output: Any) -> None:
            values = _tensor_of(output)
            # of a module that runs several times, the first output
            if path not in found and values is not None:
                found[path] = how(channels_first(values))
                if len(found) == len(wanted):
                    raise _AllCapturedError

        return hook

    handles = [root.get_submodule(path).register_forward_hook(note(path)) for path in wanted]
    try:
        forward()
    except _AllCapturedError:
        pass
    finally:
        for handle in handles:
            handle.remove()
    return found


def _with_features(network: Network, images: torch.Tensor, layers: list[Layer]) -> list[Layer]:
    """The layers, and the backbone's output where more, such as pooling, follows the last layer."""
    if layers and len(layers[-1].shape) == 1:
        return layers
    with torch.inference_mode():
        dim = network.features(images[:1]).shape[1]
    return [*layers, Layer(FEATURES_LAYER, "", "", dim, (dim,))]


def _drafts(backbone: nn.Module) -> Iterator[tuple[str, str, str]]:
    """Name, path and raw path of every layer, in module order."""
    groups: list[tuple[str, str, str]] = []
    growing = False  # whether a norm or activation may follow in the last layer
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
    """The module that holds the layers, below modules that only wrap another, and its path prefix."""
    children = list(module.named_children())
    while len(children) == 1 and any(True for _ in children[0][1].children()):
        prefix, module = f"{prefix}{children[0][0]}.", children[0][1]
        children = list(module.named_children())
    return module, prefix


def _leaves_and_blocks(module: nn.Module, prefix: str) -> Iterator[tuple[str, nn.Module]]:
    """Modules in order, with lists of modules, the parent of a single list, and nested backbones expanded."""
    for name, child in module.named_children():
        if isinstance(child, _LISTS) or (_holds_a_list(child) and not isinstance(module, _LISTS)):
            yield from _leaves_and_blocks(child, f"{prefix}{name}.")
        elif hasattr(child, "relu_before_head"):
            yield from _leaves_and_blocks(*_unwrapped(child, f"{prefix}{name}."))
        else:
            yield f"{prefix}{name}", child


def _holds_a_list(module: nn.Module) -> bool:
    """Whether a list of modules is the only child, as of the encoders of transformers."""
    children = list(module.children())
    return len(children) == 1 and isinstance(children[0], nn.ModuleList)
