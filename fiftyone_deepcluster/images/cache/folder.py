"""Folder of the image cache: one entry per set of images, file locks, and a size limit with LRU eviction.

The files of an entry ``key`` (32 hexadecimal digits) are ``key.npy``, the pixels; ``key.json``, their metadata
(its mtime is the time of the last use); ``key.lock``, locked while the entry is built or deleted; and one
``key.*.use`` per reader, locked while it reads. Pixels are written to ``key.part`` and renamed, so an entry
with a ``key.json`` is complete.

Locks are ``filelock.FileLock``, which on every system are released when their process ends, however it ends.
filelock's ``ReadWriteLock`` is not suitable: it must be released by the thread that acquired it, while images
may be closed by another thread, and its SQLite file must never be deleted.

The limit applies to *kept* entries: an entry in use is never deleted, and a set of images larger than the
limit is still decoded if the disk has room.
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

from fiftyone_deepcluster.core.disk import disk_errors, size_text
from fiftyone_deepcluster.errors import DiskError, ImagesError

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

logger = logging.getLogger(__name__)

FOLDER_VARIABLE = "FIFTYONE_DEEPCLUSTER_CACHE"
BOUND_VARIABLE = "FIFTYONE_DEEPCLUSTER_CACHE_GB"
_ELSEWHERE = f"set {FOLDER_VARIABLE} to a folder on another disk"
_DEFAULT_BOUND_GB = 20.0
# Bytes left free on the disk for the database and other programs.
_RESERVE = 2**29
_POLL_SECONDS = 0.1
# Only files named like this belong to the cache: other files in the folder must not be touched.
_KEY = "[0-9a-f]" * 32
_NO_LOCKS_HERE = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS)


class CacheLock:
    """A lock that is held until ``release`` or the end of the process.

    Args:
        lock: acquired file lock.
        delete_on_release: delete the lock file on release.
    """

    def __init__(self, lock: BaseFileLock, *, delete_on_release: bool = False) -> None:
        self._lock = lock
        self._delete_on_release = delete_on_release

    def release(self) -> None:
        """Release the lock, from any thread; may be called repeatedly."""
        self._lock.release()
        if self._delete_on_release:
            _remove(Path(self._lock.lock_file))


class CacheFolder:
    """Folder of the image cache.

    Args:
        folder: path; by default the environment variable ``FIFTYONE_DEEPCLUSTER_CACHE`` or, if it is
            not set, ``~/.cache/fiftyone-deepcluster/images``.

    Raises:
        DiskError: the folder cannot be created.
    """

    def __init__(self, folder: str | Path | None = None) -> None:
        chosen = folder or os.environ.get(FOLDER_VARIABLE) or "~/.cache/fiftyone-deepcluster/images"
        try:
            self.folder = Path(chosen).expanduser()
        except RuntimeError as error:
            problem = f"the image cache {chosen} cannot be written: this user has no home folder"
            raise DiskError(str(chosen), problem, f"the way out is to {_ELSEWHERE}") from error
        with self.disk_errors():
            self.folder.mkdir(parents=True, exist_ok=True)

    def disk_errors(self, need: int | None = None) -> AbstractContextManager[None]:
        """Context that raises DiskError where the folder cannot be written; ``need`` is in bytes."""
        return disk_errors(
            self.folder, "the image cache", after="call again", elsewhere=_ELSEWHERE, need=need
        )

    def pixels(self, key: str) -> Path:
        """File with the pixels of an entry."""
        return self.folder / f"{key}.npy"

    def facts(self, key: str) -> Path:
        """File with the metadata of an entry; exists only if the entry is complete."""
        return self.folder / f"{key}.json"

    def part(self, key: str) -> Path:
        """Temporary file in which an entry is built."""
        return self.folder / f"{key}.part"

    def lock(self, key: str, *, exclusive: bool) -> CacheLock | None:
        """Lock an entry without waiting; None if a conflicting lock is held.

        Raises:
            DiskError: the lock file cannot be written.
        """
        with self.disk_errors():
            entry = _try_lock(self.folder / f"{key}.lock")
            if entry is None:
                return None
            if exclusive and not self._in_use(key):
                return CacheLock(entry)
            try:
                # key.lock is still held here, so the entry cannot be deleted in between.
                return None if exclusive else self._new_use(key)
            finally:
                entry.release()

    def wait(self, key: str, pause: Callable[[], None]) -> CacheLock:
        """Lock an entry for reading, after waiting for its build; polls ``pause``, which may raise to stop."""
        while (lock := self.lock(key, exclusive=False)) is None:
            pause()
            time.sleep(_POLL_SECONDS)
        return lock

    def make_room(self, need: int) -> None:
        """Delete leftover files, then least recently used entries, until ``need`` more bytes fit.

        Raises:
            DiskError: the disk does not have enough free space even then, or is read-only.
        """
        with self.disk_errors(need):
            self._make_room(need)
        if need > _bound():
            logger.warning(
                "Decoded images take %.1f GB, more than the cache limit of %.1f GB (%s)",
                need / 1e9, _bound() / 1e9, BOUND_VARIABLE,
            )  # fmt: skip

    def discard(self, key: str) -> None:
        """Remove the files of an entry that could not be completed; a complete older one is kept."""
        with contextlib.suppress(OSError):
            self.part(key).unlink(missing_ok=True)
            if not self.facts(key).exists():
                self.pixels(key).unlink(missing_ok=True)

    def _make_room(self, need: int) -> None:
        self._delete_leftovers()
        used = sorted(self._entries())
        kept = sum(size for _, size, _ in used)
        for _, size, key in used:
            if kept + need <= _bound() and self._free() >= need + _RESERVE:
                break
            if self._delete(key):
                kept -= size
        free = self._free()
        if free < need + _RESERVE:
            raise DiskError(
                str(self.folder),
                f"the image cache {self.folder} cannot be written: decoded images need {size_text(need)}, and its "
                f"disk has {size_text(free)} free, of which {size_text(_RESERVE)} are left to other programs; "
                "free some space there",
                f"call again, {_ELSEWHERE}, or lower image_size",
            )

    def _new_use(self, key: str) -> CacheLock | None:
        use = _try_lock(self.folder / f"{key}.{uuid.uuid4().hex}.use")
        return None if use is None else CacheLock(use, delete_on_release=True)

    def _in_use(self, key: str) -> bool:
        """Whether an entry has readers; ``.use`` files of ended processes are deleted."""
        for path in self.folder.glob(f"{key}.*.use"):
            use = _try_lock(path)
            if use is None:
                return True
            CacheLock(use, delete_on_release=True).release()
        return False

    def _entries(self) -> list[tuple[float, int, str]]:
        """Time of last use, bytes and key of every complete entry."""
        found = []
        for path in self.folder.glob(f"{_KEY}.json"):
            # Another process may delete the entry concurrently.
            with contextlib.suppress(FileNotFoundError):
                found.append((path.stat().st_mtime, self.pixels(path.stem).stat().st_size, path.stem))
        return found

    def _delete_leftovers(self) -> None:
        """Delete files left by processes that ended while building or deleting an entry."""
        for suffix in ("part", "npy", "lock"):
            for path in self.folder.glob(f"{_KEY}.{suffix}"):
                if not self.facts(path.stem).exists():
                    self._delete(path.stem)

    def _delete(self, key: str) -> bool:
        """Delete an entry unless it is in use, or another user's; returns whether it was deleted."""
        try:
            lock = self.lock(key, exclusive=True)
        except DiskError:
            return False
        if lock is None:
            return False
        try:
            # Metadata first and the lock file last, so no entry ever looks complete without pixels.
            for path in (self.facts(key), self.pixels(key), self.part(key)):
                path.unlink(missing_ok=True)
        except PermissionError:
            return False
        else:
            _remove(self.folder / f"{key}.lock")
            return True
        finally:
            lock.release()

    def _free(self) -> int:
        return shutil.disk_usage(self.folder).free


def _bound() -> float:
    """Size limit of the cache in bytes."""
    text = os.environ.get(BOUND_VARIABLE)
    try:
        return float(text or _DEFAULT_BOUND_GB) * 1e9
    except ValueError:
        raise ImagesError(f"{BOUND_VARIABLE}={text!r} is not a number; give gigabytes, such as 50") from None


def _try_lock(path: Path) -> BaseFileLock | None:
    """Lock a file, creating it if necessary; None if it is locked already."""
    # Not thread-local: images may be closed by a different thread than the one that opened them.
    lock = FileLock(path, timeout=0, thread_local=False)
    try:
        lock.acquire()
    except Timeout:
        return None
    except OSError as error:
        # Some network file systems do not support locks. Entries are still complete, because of the
        # rename, and a deleted file that is open can still be read.
        if error.errno not in _NO_LOCKS_HERE:
            raise
    return lock


def _remove(path: Path) -> None:
    """Delete a lock file; on Windows that of a held lock remains until the lock is released.

    One that cannot be deleted, as on a disk that became read-only, does no harm: its lock is free.
    """
    with contextlib.suppress(OSError):
        path.unlink()
