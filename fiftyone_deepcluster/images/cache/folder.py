"""The cache's folder: one entry a set of images, locks, and a bound on the disk space used.

An entry ``key`` (32 hexadecimal digits) is ``key.npy`` the pixels, ``key.json`` what is known of them (its
time of change is the last use), ``key.lock`` locked while the entry is built or deleted, and one
``key.*.use`` for every reader, locked as long as it reads. Pixels are built in ``key.part`` and renamed, so
an entry with a ``key.json`` is complete.

Locks are ``filelock.FileLock``: they end with their process, however it ends, on every system. Its
``ReadWriteLock`` does not serve here: the thread that took it must release it, while images may be closed
by another thread; and its file, a database of SQLite, must never be deleted.

The bound is on what is *kept*: an entry in use is never deleted, and one set of images larger than the
bound is still decoded where the disk has room.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import shutil
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import BaseFileLock, FileLock, Timeout

from fiftyone_deepcluster.errors import ImagesError

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger(__name__)

FOLDER_VARIABLE = "FIFTYONE_DEEPCLUSTER_CACHE"
BOUND_VARIABLE = "FIFTYONE_DEEPCLUSTER_CACHE_GB"
_DEFAULT_BOUND_GB = 20.0
# Left free on the disk: the database and the person's own work need some.
_RESERVE = 2**29
_POLL_SECONDS = 0.1
# Only files named so are the cache's own: the folder may hold others, which it must not touch.
_KEY = "[0-9a-f]" * 32
_NO_LOCKS_HERE = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS)


class CacheLock:
    """A lock that is held until ``release`` or the end of the process.

    Args:
        held: the lock of a file.
        passing: the file has no use after this and is deleted.
    """

    def __init__(self, held: BaseFileLock, *, passing: bool = False) -> None:
        self._held = held
        self._passing = passing

    def release(self) -> None:
        """Let go, from any thread; doing so twice is fine."""
        self._held.release()
        if self._passing:
            _remove(Path(self._held.lock_file))


class Shelf:
    """The cache's folder.

    Args:
        folder: where; by default ``~/.cache/fiftyone-deepcluster/images`` or what
            ``FIFTYONE_DEEPCLUSTER_CACHE`` says.
    """

    def __init__(self, folder: str | Path | None = None) -> None:
        chosen = folder or os.environ.get(FOLDER_VARIABLE) or "~/.cache/fiftyone-deepcluster/images"
        self.folder = Path(chosen).expanduser()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ImagesError(
                f"the image cache {self.folder} cannot be made: {error.strerror}; "
                f"set {FOLDER_VARIABLE} to a folder that can be written"
            ) from error

    def pixels(self, key: str) -> Path:
        """File of an entry's pixels."""
        return self.folder / f"{key}.npy"

    def facts(self, key: str) -> Path:
        """File of what is known of an entry; it exists only where the entry is complete."""
        return self.folder / f"{key}.json"

    def part(self, key: str) -> Path:
        """File that an entry's pixels are built in."""
        return self.folder / f"{key}.part"

    def lock(self, key: str, *, exclusive: bool) -> CacheLock | None:
        """Lock an entry; None where others hold a lock that excludes this one."""
        entry = _try_lock(self.folder / f"{key}.lock")
        if entry is None:
            return None
        if exclusive and not self._in_use(key):
            return CacheLock(entry)
        try:
            # The entry's own lock is held meanwhile: nobody deletes the entry in between.
            return None if exclusive else self._new_use(key)
        finally:
            entry.release()

    def wait(self, key: str, pause: Callable[[], None]) -> CacheLock:
        """Lock an entry to read it, once nobody builds it; ``pause`` is called meanwhile, may raise."""
        while (lock := self.lock(key, exclusive=False)) is None:
            pause()
            time.sleep(_POLL_SECONDS)
        return lock

    def make_room(self, need: int) -> None:
        """Delete leftovers, then least recently used entries until ``need`` more bytes fit.

        Raises:
            ImagesError: the disk has no room, even so.
        """
        self._sweep()
        used = sorted(self._entries())
        kept = sum(size for _, size, _ in used)
        for _, size, key in used:
            if kept + need <= _bound() and self._free() >= need + _RESERVE:
                break
            if self._delete(key):
                kept -= size
        if self._free() < need + _RESERVE:
            raise ImagesError(
                f"decoded images need {need / 1e9:.1f} GB and the disk of {self.folder} has "
                f"{self._free() / 1e9:.1f} GB free; free some, set {FOLDER_VARIABLE} to a folder on a "
                "larger disk, or lower image_size"
            )
        if need > _bound():
            logger.warning(
                "Decoded images take %.1f GB, more than the %.1f GB that the cache keeps (%s)",
                need / 1e9, _bound() / 1e9, BOUND_VARIABLE,
            )  # fmt: skip

    def _new_use(self, key: str) -> CacheLock | None:
        use = _try_lock(self.folder / f"{key}.{uuid.uuid4().hex}.use")
        return None if use is None else CacheLock(use, passing=True)

    def _in_use(self, key: str) -> bool:
        """Whether anyone reads an entry; marks of readers that are dead are deleted."""
        for path in self.folder.glob(f"{key}.*.use"):
            use = _try_lock(path)
            if use is None:
                return True
            CacheLock(use, passing=True).release()
        return False

    def _entries(self) -> list[tuple[float, int, str]]:
        """Last use, bytes and key of every complete entry."""
        found = []
        for path in self.folder.glob(f"{_KEY}.json"):
            # Another process may delete it meanwhile.
            with contextlib.suppress(FileNotFoundError):
                found.append((path.stat().st_mtime, self.pixels(path.stem).stat().st_size, path.stem))
        return found

    def _sweep(self) -> None:
        """Delete what processes left behind that ended while building or deleting."""
        for suffix in ("part", "npy", "lock"):
            for path in self.folder.glob(f"{_KEY}.{suffix}"):
                if not self.facts(path.stem).exists():
                    self._delete(path.stem)

    def _delete(self, key: str) -> bool:
        lock = self.lock(key, exclusive=True)
        if lock is None:
            return False
        # Facts first and the lock last: at no time is there a complete entry without pixels.
        for path in (self.facts(key), self.pixels(key), self.part(key)):
            path.unlink(missing_ok=True)
        _remove(self.folder / f"{key}.lock")
        lock.release()
        return True

    def _free(self) -> int:
        return shutil.disk_usage(self.folder).free


def _bound() -> float:
    """Bytes that the cache may keep."""
    text = os.environ.get(BOUND_VARIABLE)
    try:
        return float(text or _DEFAULT_BOUND_GB) * 1e9
    except ValueError:
        raise ImagesError(f"{BOUND_VARIABLE}={text!r} is no number; give gigabytes, such as 50") from None


def _try_lock(path: Path) -> BaseFileLock | None:
    """Lock a file, made if need be; None where another holds it."""
    # Not bound to a thread: images may be closed by another one than opened them.
    lock = FileLock(path, timeout=0, thread_local=False)
    try:
        lock.acquire()
    except Timeout:
        return None
    except OSError as error:
        # Some network file systems know no locks. Entries are complete all the same, because of the
        # rename, and a deleted file that is open can still be read.
        if error.errno not in _NO_LOCKS_HERE:
            raise
    return lock


def _remove(path: Path) -> None:
    """Delete a lock's file; on Windows that of a held lock stays, and goes with the lock."""
    with contextlib.suppress(FileNotFoundError, PermissionError):
        path.unlink()
