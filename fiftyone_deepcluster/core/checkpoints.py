"""Checkpoint of a run: one file, replaced atomically after every round."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fiftyone_deepcluster.core.disk import new_file
from fiftyone_deepcluster.errors import CheckpointError

FORMAT = 2
"""Version of the file format; increment when older files can no longer be read."""

CHECKPOINT = "checkpoint.pt"
MODEL = "model.pt"

_NAMES = {CHECKPOINT: "the checkpoint", MODEL: "the model"}


def save(path: Path, state: dict[str, Any]) -> None:
    """Write ``state`` (tensors, numbers, strings, lists, dicts) to ``path`` atomically.

    Readers see the old file or the new one, never a partial one, even if the process is killed.

    Raises:
        DiskError: the file cannot be written.
    """
    import torch

    what = _NAMES.get(path.name, "the file")
    with new_file(path, what, **retry_advice(path.parent), need=lambda: _size(state)) as file:
        try:
            torch.save({"format": FORMAT, **state}, file)
        except RuntimeError as error:
            cause = _disk_cause(error)
            if cause is None:
                raise
            raise cause from error


def retry_advice(folder: Path) -> dict[str, str]:
    """The arguments ``after`` and ``elsewhere`` of ``disk_errors``, for files of a run in ``folder``."""
    earlier = (folder / CHECKPOINT).exists()
    after = "call fit again" + (", which resumes from the last checkpoint" if earlier else "")
    return {"after": after, "elsewhere": "give another run_dir"}


def load(path: Path, *, mmap: bool = False) -> dict[str, Any]:
    """Read a file written by ``save``, with ``weights_only=True`` so that it cannot run code.

    Args:
        path: the file.
        mmap: map the tensors to the file, so that only those used are read.

    Raises:
        CheckpointError: not a checkpoint of this package, truncated, of another version, or of another user.
    """
    import torch

    way_out = "restore it, or repeat the run" if path.name == MODEL else "delete it to start over"
    try:
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
    except PermissionError as error:
        raise CheckpointError(
            f"{path} cannot be read by this user: {error.strerror}; make it readable"
        ) from error
    except Exception as error:  # a damaged file can make the unpickler raise any exception
        raise CheckpointError(f"{path} cannot be read: {error}; {way_out}") from error
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise CheckpointError(f"{path} is not a file of this version; {way_out}")
    return state


def _disk_cause(error: BaseException | None) -> OSError | None:
    """The OSError behind a RuntimeError of torch's writer, by its context; None if there is none."""
    while error is not None and not isinstance(error, OSError):
        error = error.__context__
    return error


def _size(value: Any) -> int:
    """Bytes of all tensors in a state."""
    import torch

    if isinstance(value, torch.Tensor):
        return value.numel() * value.element_size()
    if isinstance(value, dict):
        return sum(_size(item) for item in value.values())
    if isinstance(value, list | tuple):
        return sum(_size(item) for item in value)
    return 0
