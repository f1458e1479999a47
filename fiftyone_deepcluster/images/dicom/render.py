"""DICOM files to PNG files that a browser can show, and what their headers say: a job for many."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from PIL import Image

from fiftyone_deepcluster.errors import UnreadableImageError
from fiftyone_deepcluster.images.cache.worker_pool import PoolJob
from fiftyone_deepcluster.images.decode import explained, fit_to, read_image
from fiftyone_deepcluster.images.dicom.header import DicomHeader, read_header
from fiftyone_deepcluster.images.refs import ImageRef

if TYPE_CHECKING:
    from numpy.typing import NDArray

Frames = Literal["all", "first"]

# zlib's: half the time of the usual 6, a few percent more bytes
_COMPRESSION = 3
# A header may say two thousand million frames; each takes milliseconds to fail.
_MAX_FAILED = 20


@dataclass(frozen=True)
class Render:
    """How files are rendered.

    Attributes:
        frames: of a file with several, all or only the first.
        keywords: elements to read.
        key: of the hashes, in hexadecimal.
        folder: where the PNG files go.
        side: the longer side of a PNG in pixels, at most.
    """

    frames: Frames
    keywords: tuple[str, ...]
    key: str
    folder: str
    side: int


@dataclass(frozen=True)
class Rendition:
    """One image of a DICOM file, shown by a PNG file.

    Attributes:
        frame: number of the image in its file, from 0.
        png: path of the PNG file.
        width: of it in pixels.
        height: of it in pixels.
        channels: 1 or 3.
        size_bytes: of it.
    """

    frame: int
    png: str
    width: int
    height: int
    channels: int
    size_bytes: int


@dataclass(frozen=True)
class Rendered:
    """What became of one file.

    Attributes:
        path: of the DICOM file.
        header: what it says, or None where it could not be read.
        images: those that were rendered.
        known: images that were there already.
        failed: what could not be read -> why: a frame's number, or -1 for all of the file.
    """

    path: str
    header: DicomHeader | None
    images: tuple[Rendition, ...]
    known: int
    failed: dict[int, str]


@dataclass(frozen=True)
class RenderJob(PoolJob):
    """Some files to render.

    Attributes:
        paths: of DICOM files.
        known: for each the frames to leave out.
        render: how.
    """

    paths: tuple[str, ...]
    known: tuple[tuple[int, ...], ...]
    render: Render

    def __len__(self) -> int:
        return len(self.paths)

    def halves(self) -> tuple[RenderJob, RenderJob]:
        """See ``Job.halves``."""
        half = len(self.paths) // 2
        rest = replace(self, paths=self.paths[half:], known=self.known[half:])
        return replace(self, paths=self.paths[:half], known=self.known[:half]), rest

    def work(self) -> list[Rendered]:
        """Render every file that can be read."""
        return [
            _render(path, set(known), self.render) for path, known in zip(self.paths, self.known, strict=True)
        ]

    def crashed(self) -> Rendered:
        """See ``Job.crashed``."""
        return _unreadable(self.paths[0], "its decoder crashed")


def _render(path: str, known: set[int], render: Render) -> Rendered:
    try:
        with explained(path):
            header = read_header(path, render.keywords, bytes.fromhex(render.key))
        if not header.frames:
            raise UnreadableImageError(path, "it is a DICOM object without an image, or cut short before it")
    except UnreadableImageError as error:
        return _unreadable(path, error.reason)
    wanted = range(header.frames if render.frames == "all" else 1)
    images: list[Rendition] = []
    failed: dict[int, str] = {}
    for frame in wanted:
        if frame in known:
            continue
        if _given_up(failed, frame):
            failed[frame] = (
                f"the others, up to {wanted[-1]}, were not tried after {_MAX_FAILED} failures in a row"
            )
            break
        try:
            pixels = read_image(ImageRef(path, frame=frame), "gray" if header.gray else "rgb")
        except UnreadableImageError as error:
            failed[frame if header.frames > 1 else -1] = error.reason
            continue
        try:
            images.append(_write(pixels, path, frame, render))
        except IsADirectoryError as error:
            place = error.filename2 or error.filename
            failed[frame if header.frames > 1 else -1] = (
                f"its PNG cannot be written: {place} is in the way ({error.strerror}); remove it and import again"
            )
    return Rendered(path, header, tuple(images), sum(frame in wanted for frame in known), failed)


def _unreadable(path: str, reason: str) -> Rendered:
    return Rendered(path, None, (), 0, {-1: reason})


def _given_up(failed: dict[int, str], frame: int) -> bool:
    """Whether so many frames before this one could not be read that a header's number of frames means nothing."""
    return frame >= _MAX_FAILED and all(before in failed for before in range(frame - _MAX_FAILED, frame))


def _write(pixels: NDArray[Any], path: str, frame: int, render: Render) -> Rendition:
    """Write the PNG under a name that says nothing of the file's own, which may hold a patient's."""
    height, width, channels = pixels.shape
    zoom = render.side / max(height, width)
    if zoom < 1:
        pixels = fit_to(pixels, max(1, round(height * zoom)), max(1, round(width * zoom)), crop=False)
    name = hashlib.sha256(f"{render.key}\0{path}\0{frame}".encode("utf-8", "surrogateescape")).hexdigest()
    png = Path(render.folder) / name[:2] / f"{name[2:32]}.png"
    png.parent.mkdir(parents=True, exist_ok=True)
    partial = png.with_suffix(f".{os.getpid()}")
    try:
        Image.fromarray(pixels[..., 0] if channels == 1 else pixels).save(
            partial, format="PNG", compress_level=_COMPRESSION
        )
        partial.replace(png)
    finally:
        partial.unlink(missing_ok=True)
    return Rendition(frame, str(png), pixels.shape[1], pixels.shape[0], channels, png.stat().st_size)
