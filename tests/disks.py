"""Where tests write: in memory where there is room, and on real small disks that fill up and become read-only."""

from __future__ import annotations

import shutil
import subprocess
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

_SHARED_MEMORY = Path("/dev/shm")
_NEEDED = 8 << 30
"""Free bytes of memory: the database of each process of the tests takes 0.3 GB and more."""


def folder_in_memory() -> Path | None:
    """Folder whose files lie in memory; None where there is none, or too little room.

    A database there need not wait for a disk whenever a dataset is made or deleted, and whenever a write must be kept.
    A database that is killed has lost as much as on a disk, as the system keeps the files of killed processes.
    """
    if not _SHARED_MEMORY.is_dir():
        return None
    room = min(shutil.disk_usage(_SHARED_MEMORY).free, psutil.virtual_memory().available)
    return _SHARED_MEMORY if room >= _NEEDED else None


class SmallDisk:
    """A disk in memory, mounted on a folder; only the administrator may mount one.

    Args:
        folder: empty folder to mount it on.
        n_bytes: its size.
    """

    def __init__(self, folder: Path, n_bytes: int) -> None:
        self.folder = folder
        folder.mkdir()
        try:
            self._mount("-t", "tmpfs", "-o", f"size={n_bytes}", "tmpfs")
        except (OSError, subprocess.CalledProcessError):
            pytest.skip("a disk can be mounted by the administrator only")

    def fill(self) -> None:
        """Leave no free byte."""
        with suppress(OSError), (self.folder / "ballast").open("wb", buffering=0) as file:
            while file.write(bytes(4096)):
                pass

    def free(self) -> None:
        """Undo ``fill``."""
        (self.folder / "ballast").unlink()

    def read_only(self) -> None:
        """Refuse writes, also by the administrator."""
        self._mount("-o", "remount,ro")

    def writable(self) -> None:
        """Undo ``read_only``."""
        self._mount("-o", "remount,rw")

    def close(self) -> None:
        """Unmount."""
        subprocess.run(["umount", "-l", str(self.folder)], check=True, capture_output=True)

    def _mount(self, *options: str) -> None:
        subprocess.run(["mount", *options, str(self.folder)], check=True, capture_output=True)
