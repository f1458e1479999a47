"""``open_images``: decode every image once into a file of the cache, and reuse that file.

The key of a cache entry is a hash of the images (path, size and mtime of every file, box, frame), the
``Decode`` settings and the format version, so a changed file gives a new key. Where images failed for a
temporary reason (a missing package, no permission), the next call decodes again.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from fiftyone_deepcluster.core.words import none_of
from fiftyone_deepcluster.errors import CancelledError, ImagesError
from fiftyone_deepcluster.images.cache.decode_jobs import Block, Failures, decode_blocks
from fiftyone_deepcluster.images.cache.folder import CacheFolder
from fiftyone_deepcluster.images.decode import Decode, fit_to
from fiftyone_deepcluster.images.intensity import recolor
from fiftyone_deepcluster.images.refs import ImageRef, as_refs, check_array
from fiftyone_deepcluster.images.store import ArrayStore, FileStore, ImageStore

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from fiftyone_deepcluster.core.progress import Observer
    from fiftyone_deepcluster.images.cache.folder import CacheLock
    from fiftyone_deepcluster.images.refs import Images

__all__ = ["Decode", "ImageStore", "open_images"]

# Increment when decoding gives different pixels, or the format of the cache files changes.
_FORMAT = 3
# Images per job: small enough to stop quickly and to balance the load, large enough for low overhead.
_BLOCK_IMAGES = 64
_HASH_BYTES = 2**26

# Fills the given file; yields the number of images done and their failures.
_Fill = Callable[["Path", int], "Iterator[tuple[int, Failures]]"]


def open_images(
    images: Images,
    decode: Decode,
    *,
    observer: Observer,
    workers: int | None = None,
    cache_dir: str | Path | None = None,
) -> ImageStore:
    """All readable images at one size and color, decoded by this call or taken from the cache.

    Args:
        images: paths, refs, or a uint8 array (N, H, W) or (N, H, W, C) with C of 1 or 3. An array that
            already has the right size is not copied.
        decode: size and color.
        observer: receives the phase ``decode``; may cancel.
        workers: number of decoding processes; by default one per core, at most 16.
        cache_dir: folder of the cache; see ``folder.CacheFolder``.

    Raises:
        ImagesError: no image can be read, or an array of the wrong dtype or shape.
        DiskError: the cache cannot be written.
        CancelledError: the observer requested cancellation.
    """
    if isinstance(images, np.ndarray):
        pixels = check_array(images)
        n, height, width, _ = pixels.shape
        if height == width == decode.size:
            return ArrayStore(pixels, decode.color)
        key, fill = _array_key(pixels, decode), _array_filler(pixels, decode)
    else:
        refs = as_refs(images)
        n, key, fill = len(refs), _files_key(refs, decode), _files_filler(refs, decode, workers)
    store = _Entry(CacheFolder(cache_dir), key, (n, *decode.shape)).open(fill, observer)
    if len(store.kept) == 0:
        store.close()
        raise ImagesError(_none_readable(images, store.errors))
    return store


class _Entry:
    """One entry of the cache: opened if it exists, otherwise built."""

    def __init__(self, cache: CacheFolder, key: str, shape: tuple[int, int, int, int]) -> None:
        self._cache = cache
        self._key = key
        self._shape = shape

    def open(self, fill: _Fill, observer: Observer) -> FileStore:
        """Images of the entry, built first if necessary."""

        def pause() -> None:
            _stop_if_cancelled(observer)

        tried = False
        while True:
            shared = self._cache.wait(self._key, pause)
            store = self._opened(shared, again=tried)
            if store is not None:
                return store
            shared.release()
            exclusive = self._cache.lock(self._key, exclusive=True)
            if exclusive is None:
                # Either another process builds it, which the next iteration waits for; or it is in use and
                # has temporary failures: then it is used as it is instead of waiting for those readers.
                tried = self._facts(again=True) is not None
                pause()
                continue
            try:
                # Another process may have built it between the two locks.
                if self._facts(again=tried) is None:
                    self._build(fill, observer)
                    tried = True
            finally:
                exclusive.release()

    def _opened(self, lock: CacheLock, again: bool) -> FileStore | None:
        facts = self._facts(again)
        if facts is None:
            return None
        errors = {int(row): str(reason) for row, reason in facts["errors"].items()}
        with self._cache.disk_errors():
            os.utime(self._cache.facts(self._key))
            return FileStore(self._cache.pixels(self._key), self._shape, int(facts["offset"]), errors, lock)

    def _facts(self, again: bool) -> dict[str, Any] | None:
        """Metadata of a complete entry; None if there is no usable entry.

        Args:
            again: accept temporary failures, because decoding was already retried.
        """
        try:
            facts = json.loads(self._cache.facts(self._key).read_text())
            size = self._cache.pixels(self._key).stat().st_size
            whole = facts["shape"] == list(self._shape) and size == facts["offset"] + math.prod(self._shape)
            serves = whole and (again or facts["lasting"])
        except (OSError, ValueError, KeyError, TypeError):
            # Missing or damaged.
            return None
        return facts if serves else None

    def _build(self, fill: _Fill, observer: Observer) -> None:
        part, need = self._cache.part(self._key), math.prod(self._shape)
        self._cache.make_room(need)
        try:
            with self._cache.disk_errors(need):
                offset = _allocate(part, self._shape)
            failures = _filled(self._watched(fill(part, offset)), self._shape[0], observer)
            facts = {
                "shape": self._shape,
                "offset": offset,
                "lasting": all(lasting for _, lasting in failures.values()),
                "errors": {row: reason for row, (reason, _) in sorted(failures.items())},
            }
            with self._cache.disk_errors(need):
                self._cache.facts(self._key).unlink(missing_ok=True)
                part.replace(self._cache.pixels(self._key))
                part.write_text(json.dumps(facts))
                part.replace(self._cache.facts(self._key))
        finally:
            self._cache.discard(self._key)

    def _watched(self, progress: Iterator[tuple[int, Failures]]) -> Iterator[tuple[int, Failures]]:
        """The same progress, with DiskError where pixels cannot be written; errors of the observer pass."""
        with closing(progress), self._cache.disk_errors(math.prod(self._shape)):  # type: ignore[type-var]
            yield from progress


def _filled(progress: Iterator[tuple[int, Failures]], n: int, observer: Observer) -> Failures:
    failures: Failures = {}
    observer.phase("decode", n)
    _stop_if_cancelled(observer)
    with closing(progress):  # type: ignore[type-var]
        for done, failed in progress:
            failures |= failed
            if done:
                observer.advance(done)
            _stop_if_cancelled(observer)
    return failures


def _stop_if_cancelled(observer: Observer) -> None:
    if observer.cancelled():
        raise CancelledError("cancelled while images were decoded")


def _allocate(path: Path, shape: tuple[int, int, int, int]) -> int:
    """Create an .npy file of its full size; return the byte offset of its pixels.

    Disk blocks are reserved now, so that a disk that fills up later cannot leave holes.

    Raises:
        OSError: there is not enough room.
    """
    header = {"descr": "|u1", "fortran_order": False, "shape": shape}
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        offset = file.tell()
        file.flush()
        try:
            os.posix_fallocate(file.fileno(), 0, offset + math.prod(shape))
        except AttributeError:
            file.truncate(offset + math.prod(shape))
    return offset


def _files_filler(refs: Sequence[ImageRef], decode: Decode, workers: int | None) -> _Fill:
    def fill(path: Path, offset: int) -> Iterator[tuple[int, Failures]]:
        each = math.prod(decode.shape)
        blocks = [
            Block(str(path), offset + row * each, row, tuple(refs[row : row + _BLOCK_IMAGES]), decode)
            for row in range(0, len(refs), _BLOCK_IMAGES)
        ]
        return decode_blocks(blocks, workers)

    return fill


def _array_filler(pixels: NDArray[np.uint8], decode: Decode) -> _Fill:
    def fill(path: Path, offset: int) -> Iterator[tuple[int, Failures]]:
        with path.open("r+b") as file:
            file.seek(offset)
            for row in range(0, len(pixels), _BLOCK_IMAGES):
                block = pixels[row : row + _BLOCK_IMAGES]
                for image in recolor(block, decode.color):
                    fitted = fit_to(image, decode.size, decode.size, crop=decode.crop, enlarge=decode.enlarge)
                    file.write(fitted.tobytes())
                yield len(block), {}

    return fill


def _files_key(refs: Sequence[ImageRef], decode: Decode) -> str:
    digest = _digest(decode)
    for ref in refs:
        path = os.path.abspath(ref.path)  # noqa: PTH100 - ten times faster than Path
        try:
            stat = os.stat(path)  # noqa: PTH116
            identity = (path, stat.st_size, stat.st_mtime_ns, ref.box, ref.frame)
        except (OSError, ValueError):
            identity = (path, -1, -1, ref.box, ref.frame)
        digest.update(repr(identity).encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def _array_key(pixels: NDArray[np.uint8], decode: Decode) -> str:
    digest = _digest(decode)
    digest.update(repr(pixels.shape).encode())
    step = max(1, _HASH_BYTES // max(1, math.prod(pixels.shape[1:])))
    for row in range(0, len(pixels), step):
        digest.update(np.ascontiguousarray(pixels[row : row + step]).data)
    return digest.hexdigest()


def _digest(decode: Decode) -> hashlib.blake2b:
    return hashlib.blake2b(repr((_FORMAT, asdict(decode))).encode(), digest_size=16)


def _none_readable(images: Images, errors: dict[int, str]) -> str:
    first = "; ".join(
        f"{item.path if isinstance(item, ImageRef) else item}: {reason}"
        for item, reason in ((images[row], reason) for row, reason in list(errors.items())[:3])
    )
    return f"{none_of(len(errors), 'image')} can be read; {first}"
