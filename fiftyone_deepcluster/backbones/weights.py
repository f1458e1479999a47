"""Initial weights: random, torchvision's by name, or from a file."""

from __future__ import annotations

import math
from pathlib import Path
from pickle import UnpicklingError  # nosec B403
from typing import Any

import torch
from torch import nn

from fiftyone_deepcluster.backbones.downloads import check_download, download_problem, not_downloaded
from fiftyone_deepcluster.backbones.fitting import load_completely
from fiftyone_deepcluster.backbones.stored_weights import values_of
from fiftyone_deepcluster.core.arguments import reason_of
from fiftyone_deepcluster.core.disk import is_refused
from fiftyone_deepcluster.errors import OptionsError


def is_file(path: str) -> bool:
    """Whether weights are a file and no name.

    Raises:
        OptionsError: a file that this user may not read.
    """
    if is_refused(Path(path)):
        raise OptionsError(f"weights={path!r} belongs to another user; make it readable, and its folders")
    return Path(path).is_file()


def read_state(path: str) -> dict[str, torch.Tensor]:
    """The state dict in a file: at top level, or under ``state_dict`` / ``model`` / ``network``.

    A file of the format safetensors ends in ``.safetensors``. Others are loaded with ``weights_only=True``, so that a
    file cannot run code.

    Raises:
        OptionsError: no such file, or it holds no state dict.
    """
    if not is_file(path):
        raise OptionsError(
            f"weights={path!r} is neither a file nor a name of weights for this backbone; give the path of a state "
            "dict, a name such as 'IMAGENET1K_V1' (torchvision) or 'pretrained' (timm, transformers), or leave it empty"
        )
    try:
        content: Any = _content(path)
    except Exception as error:  # the unpickler may raise any exception
        raise OptionsError(
            f"weights={path!r} cannot be read as a state dict ({type(error).__name__}); save one with "
            "torch.save(model.state_dict(), path)"
        ) from error
    for key in ("state_dict", "model", "network"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict) or not all(isinstance(v, torch.Tensor) for v in content.values()):
        raise OptionsError(f"weights={path!r} holds no state dict; save model.state_dict()")
    return {key.removeprefix("module."): value for key, value in content.items()}


def _content(path: str) -> Any:
    if path.endswith(".safetensors"):
        from safetensors.torch import load_file as load_safetensors

        return load_safetensors(path)
    return torch.load(path, map_location="cpu", weights_only=True)


def load_file(
    module: nn.Module, weights: str | None, what: str, released: tuple[str, str] | None = None
) -> nn.Module:
    """Load a state dict of the same architecture, or the backbone of one of our checkpoints.

    Args:
        module: modified in place.
        weights: path of the file; None, or ``StoredWeights``: nothing is loaded.
        what: name of the backbone, for messages.
        released: prefixes of convolutions and fully connected layers, for checkpoints of DeepCluster's released code.

    Raises:
        OptionsError: the file does not fit.
    """
    if values_of(weights) is None:
        return module
    state = read_state(str(weights))
    if released is not None:
        state = released_layers(state, *released)
    backbone = {
        key.removeprefix("backbone."): value for key, value in state.items() if key.startswith("backbone.")
    }
    load_completely(module, backbone or state, f"weights={weights!r} does not fit the backbone {what!r}")
    return module


def released_layers(
    state: dict[str, torch.Tensor], features: str, classifier: str
) -> dict[str, torch.Tensor]:
    """The layers of a checkpoint of DeepCluster's released code under our names; other states unchanged.

    Its keys are ``features.module.0.weight`` (``features`` was parallel) and ``classifier.1.weight``; the fixed Sobel
    filters and the top layer, which is new in every round, are left out.

    Args:
        state: state dict of a file.
        features: our prefix of the convolutions.
        classifier: our prefix of the fully connected layers.
    """
    if not any(key.startswith("features.module.") for key in state) and "top_layer.weight" not in state:
        return state
    ours = {"features.module.": features, "features.": features, "classifier.": classifier}
    found = {}
    for key, value in state.items():
        prefix = next((prefix for prefix in ours if key.startswith(prefix)), None)
        if prefix is not None:
            found[ours[prefix] + key.removeprefix(prefix)] = value
    return found


def load_torchvision(model: nn.Module, name: str, weights: str | None) -> None:
    """Load a complete torchvision model from a weights name, or from a file with its state dict.

    Raises:
        OptionsError: unknown weights, failed download, or a file that does not fit.
    """
    if weights is None or values_of(weights) is None:
        return
    from torchvision.models import get_model_weights

    known = get_model_weights(name)
    if weights in (*known.__members__, "DEFAULT"):
        entry = known.DEFAULT if weights == "DEFAULT" else known[weights]
        state = _downloaded(entry, f"weights={weights!r} of torchvision's {name}")
    else:
        state = read_state(weights)
    load_completely(model, state, f"weights={weights!r} does not fit torchvision's {name}")


def _downloaded(entry: Any, what: str) -> Any:
    """State dict of one of torchvision's weights, from torch's cache or the internet; ``what`` names them.

    Raises:
        OptionsError: it could not be downloaded, or the file in the cache is broken.
    """
    cached = check_download(entry.url, what)
    try:
        return entry.get_state_dict(progress=False, check_hash=True)
    except (OSError, RuntimeError, EOFError, UnpicklingError) as error:
        if cached.exists():  # a download that fails, also by its hash, leaves no file
            raise OptionsError(
                f"{what}: the file {str(cached)!r} cannot be read ({reason_of(error)}); delete it, so that it is "
                "downloaded again"
            ) from error
        raise OptionsError(not_downloaded(entry.url, what, download_problem(error))) from error


def initialize(module: nn.Module) -> None:
    """Initialize as DeepCluster does: He (fan-out) for convolutions, N(0, 0.01) for linear layers."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            fan_out = layer.kernel_size[0] * layer.kernel_size[1] * layer.out_channels
            nn.init.normal_(layer.weight, 0.0, math.sqrt(2.0 / fan_out))
        elif isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, 0.0, 0.01)
        if isinstance(layer, nn.Conv2d | nn.Linear) and layer.bias is not None:
            nn.init.zeros_(layer.bias)
