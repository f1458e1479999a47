"""Writing to disk: complete files or none, and errors that name the path, the need and the way out."""

from __future__ import annotations

import errno
import glob
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from fiftyone_deepcluster.errors import DiskError

_REMEDIES = {
    errno.ENOSPC: "free some space there",
    errno.EDQUOT: "free some space there, or raise the quota",
    errno.EFBIG: "raise the limit of file sizes (ulimit -f)",
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
    errno.EROFS: "make it writable",
    errno.EACCES: "make it writable",
    errno.EPERM: "make it writable",
    errno.ENOTDIR: "move that file away",
    errno.EEXIST: "move that file away",
    errno.EISDIR: "move that folder away",
    errno.ENOENT: "restore the folder",
    errno.ESTALE: "restore the folder",
    errno.ENAMETOOLONG: "choose a shorter path",
}
_OF_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def disk_errors(
    path: Path, what: str, *, after: str, elsewhere: str = "", need: int | Callable[[], int] | None = None
) -> Iterator[None]:
    """Raise ``DiskError`` for every ``OSError`` of the block.

    Args:
        path: file or folder that the block writes.
        what: what is written there, for the message: ``the checkpoint``.
        after: what to do once there is room: ``call fit again``.
        elsewhere: how to choose another place, if the user can: ``give another run_dir``.
        need: bytes needed; a function is called on failure only.
    """
    try:
        yield
    except DiskError:
        raise
    except OSError as error:
        number = error.errno or errno.ENOSPC  # NumPy and Pillow give none where a write is short
        room = _room(path, need() if callable(need) else need) if number in _OF_SPACE else ""
        remedy = _REMEDIES.get(number, "check the disk")
        problem = f"{what} {path} cannot be written: {_reason(error, path)}{room}; {remedy}"
        raise DiskError(str(path), problem, f"{after}, or {elsewhere}" if elsewhere else after) from error


@contextmanager
def new_file(
    path: Path, what: str, *, after: str, elsewhere: str = "", need: int | Callable[[], int] | None = None
) -> Iterator[IO[bytes]]:
    """Open a temporary file, which replaces ``path`` atomically if the block succeeds and is removed if it fails.

    Readers see the old file or the new one, never a partial one, even if the process is killed. A missing folder is
    created. The arguments are those of ``disk_errors``.

    Raises:
        DiskError: the file cannot be written; an older file at ``path`` is unchanged.
    """
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    created: list[Path] = []
    with disk_errors(path, what, after=after, elsewhere=elsewhere, need=need):
        try:
            created = [folder for folder in path.parents if not folder.exists()]
            path.parent.mkdir(parents=True, exist_ok=True)
            remove_unfinished(path)
            with partial.open("wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
        except BaseException:
            with suppress(OSError):
                partial.unlink(missing_ok=True)
                for folder in created:
                    folder.rmdir()
            raise


def remove_unfinished(path: Path) -> None:
    """Remove temporary files of ``path`` that processes left that were killed."""
    import psutil

    for left in path.parent.glob(f"{glob.escape(path.name)}.*.partial"):
        number = left.name.split(".")[-2]
        if number.isdigit() and not psutil.pid_exists(int(number)):
            with suppress(OSError):  # that of another user
                left.unlink()


def folder_problem(folder: Path) -> str | None:
    """Why files cannot be written to a folder, which need not exist yet; None if they can."""
    try:
        there = _existing(folder)
    except (OSError, ValueError) as error:  # a name that is too long, or holds a NUL character
        return getattr(error, "strerror", None) or str(error)
    if not there.is_dir():
        return f"{there} is a file"
    return None if os.access(there, os.W_OK | os.X_OK) else f"{there} is not writable"


def change_problem(folder: Path) -> str | None:
    """Why a folder cannot be moved or deleted with all that is in it; None if it can be, or does not exist."""
    try:
        folder.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        return f"{folder}: {error.strerror}"
    inside = [Path(place) for place, _, _ in os.walk(folder)]
    return next((found for each in (folder.parent, folder, *inside) if (found := folder_problem(each))), None)


def is_refused(path: Path) -> bool:
    """Whether this user may not read a file, or look into its folder; False if it does not exist."""
    try:
        path.stat()
    except PermissionError:
        return True
    except (OSError, ValueError):  # a name that is too long, or holds a NUL character
        return False
    return not os.access(path, os.R_OK)


def is_readable_file(path: Path) -> bool:
    """Whether a file exists and this user may read it."""
    return os.path.isfile(path) and os.access(path, os.R_OK)  # noqa: PTH113 - Path.is_file raises in a closed folder


def subfolders(folder: Path) -> list[Path]:
    """Folders in a folder, sorted; none if it does not exist, or this user may not read it."""
    try:
        with os.scandir(folder) as found:
            return sorted(Path(entry.path) for entry in found if entry.is_dir())
    except OSError:
        return []


def folder_bytes(folder: Path) -> int:
    """Size of all files in a folder and below, as far as this user may look."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                total += (Path(place) / name).stat().st_size
    return total


def _existing(path: Path) -> Path:
    """The path itself or its nearest parent that exists."""
    return next((place for place in (path, *path.parents) if place.exists()), path)


def _reason(error: OSError, path: Path) -> str:
    there = _existing(path) if error.errno in (errno.ENOTDIR, errno.EEXIST) else None
    if there is not None and there.is_file():
        return f"{there} is a file"
    return error.strerror or str(error) or type(error).__name__


def _room(path: Path, need: int | None) -> str:
    """Bytes needed and free, in parentheses."""
    facts = [] if need is None else [f"{size_text(need)} needed"]
    with suppress(OSError):
        facts.append(f"{size_text(shutil.disk_usage(_existing(path)).free)} free")
    return f" ({', '.join(facts)})" if facts else ""


def size_text(n_bytes: float) -> str:
    """A number of bytes as text: ``3.1 kB``, ``12.0 MB``, ``1.5 GB``."""
    for unit, size in (("GB", 1e9), ("MB", 1e6)):
        if n_bytes >= size:
            return f"{n_bytes / size:.1f} {unit}"
    return f"{n_bytes / 1e3:.1f} kB"
