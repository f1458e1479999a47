"""Save and resume one run: one file, replaced as a whole after every round."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from fiftyone_deepcluster.errors import CheckpointError

FORMAT = 1
"""Raised when a file of an older version can no longer be read."""

CHECKPOINT = "checkpoint.pt"
MODEL = "model.pt"


def save(path: Path, state: dict[str, Any]) -> None:
    """Write ``state`` (tensors, numbers, strings, lists, dicts) to ``path`` in one step.

    A reader sees the old file or the new one, never half of one, even when the process is killed.

    Raises:
        CheckpointError: the folder cannot be written.
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
    """Read a file written by ``save``; nothing in it can run code.

    Raises:
        CheckpointError: not a file of ours, cut short, or of a newer version.
    """
    import torch

    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # the unpickler raises whatever a broken file makes it trip over
        raise CheckpointError(f"{path} cannot be read: {error}; delete it to start anew") from error
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise CheckpointError(f"{path} is no checkpoint of this version; delete it to start anew")
    return state
