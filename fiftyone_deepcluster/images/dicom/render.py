"""Rendering of DICOM files to PNG files for the browser, with their headers, as jobs of a worker pool."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from PIL import Image

from fiftyone_deepcluster.core.disk import remove_unfinished
from fiftyone_deepcluster.errors import UnreadableImageError
from fiftyone_deepcluster.images.cache.worker_pool import PoolJob
from fiftyone_deepcluster.images.decode import explained, fit_to, read_image
from fiftyone_deepcluster.images.dicom.header import DicomHeader, read_header
from fiftyone_deepcluster.images.refs import ImageRef

if TYPE_CHECKING:
    from numpy.typing import NDArray

Frames = Literal["all", "first"]

# zlib level: half the time of the default 6, a few percent more bytes
_COMPRESSION = 3
# A damaged header may state two billion frames, each of which takes milliseconds to fail.
_MAX_FAILED = 20


@dataclass(frozen=True)
class Render:
    """Settings of rendering.

    Attributes:
        frames: render all frames of a multi-frame file, or only the first.
        keywords: header elements to read.
        key: secret key of the hashes, in hexadecimal.
        folder: folder of the PNG files.
        side: maximum of the longer side of a PNG in pixels.
    """

    frames: Frames
    keywords: tuple[str, ...]
    key: str
    folder: str
    side: int


@dataclass(frozen=True)
class Rendition:
    """A PNG file rendered from one frame of a DICOM file.

    Attributes:
        frame: index of the frame in its file, from 0.
        png: path of the PNG file.
        width: width of the PNG in pixels.
        height: height of the PNG in pixels.
        channels: 1 or 3.
        size_bytes: size of the PNG file in bytes.
    """

    frame: int
    png: str
    width: int
    height: int
    channels: int
    size_bytes: int


@dataclass(frozen=True)
class Rendered:
    """Result of rendering one file.

    Attributes:
        path: path of the DICOM file.
        header: its header, or None if it could not be read.
        images: the rendered frames.
        known: number of requested frames that were skipped because they are known already.
        failed: frame that could not be rendered, or -1 for the whole file -> reason.
    """

    path: str
    header: DicomHeader | None
    images: tuple[Rendition, ...]
    known: int
    failed: dict[int, str]


@dataclass(frozen=True)
class RenderJob(PoolJob):
    """Job that renders files.

    Attributes:
        paths: paths of DICOM files.
        known: for each file, the frames to skip.
        render: settings.
    """

    paths: tuple[str, ...]
    known: tuple[tuple[int, ...], ...]
    render: Render

    def __len__(self) -> int:
        return len(self.paths)

    def halves(self) -> tuple[RenderJob, RenderJob]:
        """See ``PoolJob.halves``."""
        half = len(self.paths) // 2
        rest = replace(self, paths=self.paths[half:], known=self.known[half:])
        return replace(self, paths=self.paths[:half], known=self.known[:half]), rest

    def work(self) -> list[Rendered]:
        """Render every readable file; one result per file."""
        return [
            _render(path, set(known), self.render) for path, known in zip(self.paths, self.known, strict=True)
        ]

    def crashed(self) -> Rendered:
        """See ``PoolJob.crashed``."""
        return _unreadable(self.paths[0], "the decoder process crashed")


def _render(path: str, known: set[int], render: Render) -> Rendered:
    try:
        with explained(path):
            header = read_header(path, render.keywords, bytes.fromhex(render.key))
        if not header.frames:
            raise UnreadableImageError(
                path, "it is a DICOM object without an image, or truncated before the image"
            )
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
                f"the remaining frames, up to {wanted[-1]}, were skipped after {_MAX_FAILED} failures in a row"
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
    """Whether so many frames in a row failed that the frame count of the header cannot be trusted."""
    return frame >= _MAX_FAILED and all(before in failed for before in range(frame - _MAX_FAILED, frame))


def _write(pixels: NDArray[Any], path: str, frame: int, render: Render) -> Rendition:
    """Write the PNG under a hashed name, since the name of the DICOM file may contain a patient's name."""
    height, width, channels = pixels.shape
    zoom = render.side / max(height, width)
    if zoom < 1:
        pixels = fit_to(pixels, max(1, round(height * zoom)), max(1, round(width * zoom)), crop=False)
    name = hashlib.sha256(f"{render.key}\0{path}\0{frame}".encode("utf-8", "surrogateescape")).hexdigest()
    png = Path(render.folder) / name[:2] / f"{name[2:32]}.png"
    png.parent.mkdir(parents=True, exist_ok=True)
    partial = png.with_name(f"{png.name}.{os.getpid()}.partial")
    remove_unfinished(png)
    try:
        Image.fromarray(pixels[..., 0] if channels == 1 else pixels).save(
            partial, format="PNG", compress_level=_COMPRESSION
        )
        partial.replace(png)
    finally:
        partial.unlink(missing_ok=True)
    return Rendition(frame, str(png), pixels.shape[1], pixels.shape[0], channels, png.stat().st_size)
