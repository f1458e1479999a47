"""Files of weights that a network is built from: at the fit, and again when the run is resumed or applied."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from fiftyone_deepcluster.core.disk import is_refused

if TYPE_CHECKING:
    from fiftyone_deepcluster.methods.base import Options

_ENDINGS = (".pt", ".pth", ".pkl", ".bin", ".ckpt", ".tar", ".th", ".safetensors")
"""Of files of weights; names of weights, also those of custom backbones, end otherwise."""

LOCAL_DIR = "local-dir:"
"""How timm's names of models on this computer begin."""


def lost_files(options: Options) -> str:
    """Files and folders that the options name and that are gone, for messages; empty if all are there."""
    weights = getattr(options, "weights", None)
    model = getattr(getattr(options, "backbone", None), "model", None)
    named = {"weights": weights} if isinstance(weights, str) and _is_file_name(weights) else {}
    if isinstance(model, str) and model.startswith((LOCAL_DIR, os.sep, ".", "~")):
        named["model"] = model
    paths = {name: Path(value.removeprefix(LOCAL_DIR)) for name, value in named.items()}
    lost = [name for name, path in paths.items() if not path.exists() and not is_refused(path)]
    text = " and ".join(f"{name}={named[name]!r}" for name in lost)
    relative = any(not paths[name].is_absolute() for name in lost)
    return f"{text} in the folder {str(Path.cwd())!r}" if relative else text


def lost_message(what: str, lost: str, way: str) -> str:
    """Message about a run whose files of weights are gone.

    Args:
        what: the run, such as "run 'dc'".
        lost: from ``lost_files``.
        way: how to do without the files.
    """
    return (
        f"{what} was made with {lost}, which is gone, and from which its network is built before the trained weights "
        f"are loaded; put it back there (a link is enough), or {way}"
    )


def _is_file_name(weights: str) -> bool:
    return weights.startswith((os.sep, ".", "~")) or weights.lower().endswith(_ENDINGS)
