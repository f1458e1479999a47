"""Checkpoint of a run: one file, replaced atomically after every round."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from fiftyone_deepcluster.errors import CheckpointError

FORMAT = 2
"""Version of the file format; increment when older files can no longer be read."""

CHECKPOINT = "checkpoint.pt"
MODEL = "model.pt"


def save(path: Path, state: dict[str, Any]) -> None:
    """Write ``state`` (tensors, numbers, strings, lists, dicts) to ``path`` atomically.

    Readers see the old file or the new one, never a partial one, even if the process is killed.

    Raises:
        CheckpointError: the file cannot be written.
    """
    import torch

    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            torch.save({"format": FORMAT, **state}, file)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise CheckpointError(
            f"{path} cannot be written: {error}; free space or choose another run_dir"
        ) from error


def load(path: Path) -> dict[str, Any]:
    """Read a file written by ``save``, with ``weights_only=True`` so that it cannot run code.

    Raises:
        CheckpointError: not a checkpoint of this package, truncated, or of another version.
    """
    import torch

    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file can make the unpickler raise any exception
        raise CheckpointError(f"{path} cannot be read: {error}; delete it to start over") from error
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise CheckpointError(f"{path} is not a checkpoint of this version; delete it to start over")
    return state
