"""Storage of decoded images, read by the corpus: an array in memory, or a file of the cache.

Both return uint8 (B, H, W, C) by row. Files are read rather than memory-mapped: mapped pages count as
resident memory, so after one pass over a large data set memory limits would see all of it as loaded.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Protocol

import numpy as np

from fiftyone_deepcluster.errors import DiskError, ImagesError
from fiftyone_deepcluster.images.intensity import CHANNELS, Color, recolor

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from numpy.typing import NDArray

    from fiftyone_deepcluster.images.cache.folder import CacheLock


class ImageStore(Protocol):
    """Decoded images of one size, by row.

    Attributes:
        shape: (M, H, W, C) of the readable images.
        kept: (M,) int64, the row of each readable image in the input list.
        errors: row in the input list -> why that image cannot be read.
    """

    @property
    def shape(self) -> tuple[int, int, int, int]: ...  # noqa: D102 - see Attributes
    @property
    def kept(self) -> NDArray[np.int64]: ...  # noqa: D102
    @property
    def errors(self) -> dict[int, str]: ...  # noqa: D102

    def read(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Images (B, H, W, C) uint8 of rows in 0..M-1, in the given order; repeats are allowed."""
        ...

    def close(self) -> None:
        """Release the images; may be called repeatedly."""
        ...

    def __enter__(self) -> ImageStore: ...
    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


class ArrayStore:
    """Store of an array that already has the right size; color is converted when a batch is read."""

    def __init__(self, images: NDArray[np.uint8], color: Color) -> None:
        self._images = images
        self._color = color
        self.shape: tuple[int, int, int, int] = (*images.shape[:3], CHANNELS[color])
        self.kept = np.arange(len(images), dtype=np.int64)
        self.errors: dict[int, str] = {}

    def read(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Images (B, H, W, C) uint8 of these rows."""
        return recolor(self._images[rows], self._color)

    def close(self) -> None:
        """Do nothing: there is nothing to release."""

    def __enter__(self) -> ArrayStore:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


class FileStore:
    """Store of a file in the cache, which is not evicted while this is open. Reading is thread-safe.

    Args:
        path: file of N images, row after row.
        shape: (N, H, W, C) of the file.
        offset: byte offset of the first image.
        errors: row -> why that image cannot be read; its pixels in the file are undefined.
        lock: lock on the cache entry, held until ``close``.
    """

    def __init__(
        self,
        path: Path,
        shape: tuple[int, int, int, int],
        offset: int,
        errors: dict[int, str],
        lock: CacheLock,
    ) -> None:
        self._file = path.open("rb", buffering=0)
        self._file_lock = threading.Lock()
        self._offset = offset
        self._lock = lock
        self.errors = errors
        self.kept = np.setdiff1d(
            np.arange(shape[0], dtype=np.int64),
            np.fromiter(errors, np.int64, len(errors)),
            assume_unique=True,
        )
        self.shape: tuple[int, int, int, int] = (len(self.kept), *shape[1:])

    def read(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Images (B, H, W, C) uint8 of these rows; read in file order, adjacent rows in one call."""
        rows = self.kept[rows]
        pixels = np.empty((len(rows), *self.shape[1:]), np.uint8)
        self._read_sorted(rows, np.argsort(rows, kind="stable"), pixels)
        return pixels

    def close(self) -> None:
        """Close the file and release its lock; the cache may then delete it."""
        self._file.close()
        self._lock.release()

    def _read_sorted(
        self, rows: NDArray[np.int64], order: NDArray[np.int64], pixels: NDArray[np.uint8]
    ) -> None:
        """Read every image to its place in ``pixels``, in the order of the file."""
        if self._file.closed:
            raise ImagesError("the image store is closed; call open_images again")
        each = int(np.prod(self.shape[1:]))
        flat = memoryview(pixels.reshape(-1))  # type: ignore[arg-type]
        # A run ends where the next image is not adjacent in the file, or not in the result.
        apart = (np.diff(rows[order], prepend=-2) != 1) | (np.diff(order, prepend=-2) != 1)
        starts = np.flatnonzero(apart)
        lengths = np.diff(starts, append=len(rows)).tolist()
        places = order[starts]
        for place, row, length in zip(places.tolist(), rows[places].tolist(), lengths, strict=True):
            self._read_at(self._offset + row * each, flat[place * each : (place + length) * each])

    def _read_at(self, position: int, target: memoryview) -> None:
        # Seek and read under a lock: a positioned read (preadv) exists on POSIX only.
        with self._file_lock:
            try:
                self._file.seek(position)
                # A single call reads at most 2 GiB.
                while len(target):
                    done = self._file.readinto(target)
                    if not done:
                        raise self._unreadable("it was truncated; delete it")
                    target = target[done:]
            except DiskError:
                raise
            except OSError as error:
                raise self._unreadable(f"{error.strerror}; check its disk") from error

    def _unreadable(self, why: str) -> DiskError:
        # no ImagesError, which the training loop takes for embeddings that diverged
        path = self._file.name
        return DiskError(path, f"the cache file {path} cannot be read: {why}", "call again")

    def __enter__(self) -> FileStore:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
