"""Decoding of image files of any supported format and bit depth to upright 8-bit gray or RGB images.

* Transparent pixels are composited on white, as in browsers and image viewers, so that clusters are
  based on what users see.
* Images with more than 8 bits are windowed by percentiles (``intensity.to_uint8``), DICOM images by
  their own window (``dicom.pixels``).
* EXIF orientation is applied before a box is cropped, because boxes refer to upright images.
"""

from __future__ import annotations

import math
import stat
import zlib
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from PIL import Image, UnidentifiedImageError

from fiftyone_deepcluster.errors import UnreadableImageError
from fiftyone_deepcluster.images.deep_png import is_deep, read_deep, scale_clear_gray
from fiftyone_deepcluster.images.intensity import (
    CHANNELS,
    Color,
    has_no_color,
    recolor,
    refuse_bomb,
    to_uint8,
)
from fiftyone_deepcluster.images.refs import address_of, not_a_file

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from fiftyone_deepcluster.images.refs import Box, ImageRef

_ORIENTATION = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
Interpolation = Literal["bilinear", "bicubic"]
_TIFF_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_DICOM_SUFFIXES = {".dcm", ".dicom", ".dic", ".ima"}
_DEEP_MODES = ("I", "F", "I;16", "I;16L", "I;16B", "I;16N")
_GRAY_MODES = ("1", "L", "LA", *_DEEP_MODES)
# JPEGs can be decoded at reduced size; twice the target size is kept for the antialiased resize.
_DRAFT_GAP = 2
# Minimum side at which an image is decoded to check for color.
_PREVIEW_SIDE = 32
# Maximum characters of a reason: some decoders list all their attempts.
_LONGEST_REASON = 300


@dataclass(frozen=True)
class Decode:
    """Settings of decoding to a fixed shape.

    Attributes:
        size: side of the square result in pixels.
        color: channels of the result.
        crop: True resizes the shorter side to ``size`` and crops the center, as in DeepCluster's
            evaluation; False resizes both sides to ``size``, ignoring the aspect ratio: nothing is cut off.
        enlarge: interpolation of images with fewer pixels than the result; others are reduced bilinearly with
            antialiasing.
    """

    size: int
    color: Color
    crop: bool = False
    enlarge: Interpolation = "bilinear"

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels of a decoded image."""
        return self.size, self.size, CHANNELS[self.color]


def read_image(ref: ImageRef, color: Color) -> NDArray[np.uint8]:
    """Decode an image at full resolution, upright and cropped to its box.

    Returns:
        (H, W, C) uint8 with C = 1 for gray and 3 for rgb.

    Raises:
        UnreadableImageError: the file is missing, damaged or not an image, or does not contain the box
            or frame.
    """
    with explained(ref.path):
        return _pixels(_load(ref, color))


def decode_image(ref: ImageRef, decode: Decode) -> NDArray[np.uint8]:
    """Decode an image to the requested size and color; large JPEGs are decoded at reduced size.

    Returns:
        (size, size, C) uint8.

    Raises:
        UnreadableImageError: as in ``read_image``.
    """
    with explained(ref.path):
        image = _load(ref, decode.color, at_least=decode.size)
        return _pixels(_fit(image, decode.size, decode.size, decode.crop, decode.enlarge))


def fit_to(
    image: NDArray[np.uint8],
    height: int,
    width: int,
    *,
    crop: bool = False,
    enlarge: Interpolation = "bilinear",
) -> NDArray[np.uint8]:
    """Resize with antialiasing.

    Args:
        image: (H, W, C) uint8, C of 1 or 3.
        height: of the result, in pixels.
        width: of the result, in pixels.
        crop: crop the center to the target's aspect ratio; False changes the aspect ratio instead.
        enlarge: interpolation if the result has more pixels than the image, or its cropped part.

    Returns:
        (height, width, C) uint8.
    """
    return _pixels(_fit(_picture(image), height, width, crop, enlarge))


def describe_image(ref: ImageRef, look: bool = True) -> tuple[int, int, bool]:
    """Height and width (of the box), and whether the image is gray; from the header if possible.

    Args:
        ref: the image.
        look: decode pixels if the header does not rule out color; if False, such an image counts as gray. A TIFF is
            always decoded.

    Raises:
        UnreadableImageError: as in ``read_image``.
    """
    with explained(ref.path):
        kind = _kind(ref.path)
        if kind == "tiff":
            # Either Pillow or tifffile reads the file, and headers vary too much to rely on.
            image = _load(ref, "rgb")
            return image.height, image.width, has_no_color(np.asarray(image))
        if kind == "dicom":
            from fiftyone_deepcluster.images.dicom.pixels import describe_dicom

            height, width, gray = describe_dicom(ref.path, ref.frame)
        else:
            height, width, gray = _describe_picture(ref)
        if look and not gray:
            gray = has_no_color(np.asarray(_load(ref, "rgb", at_least=_PREVIEW_SIDE)))
        left, top, right, bottom = _edges(ref.box, height, width)
        return bottom - top, right - left, gray or not look


def _describe_picture(ref: ImageRef) -> tuple[int, int, bool]:
    """Height, width, and whether the header rules out color."""
    with _opened(ref.path) as image:
        width, height = image.size
        if _orientation(image) >= 5:
            width, height = height, width
        return height, width, image.mode in _GRAY_MODES


def _kind(path: str) -> str:
    from fiftyone_deepcluster.images.dicom.pixels import is_dicom

    with Path(path).open("rb") as file:
        head = file.read(132)
    if not head:
        raise ValueError("the file is empty")
    if Path(path).suffix.lower() in _DICOM_SUFFIXES or is_dicom(path, head):
        return "dicom"
    return "tiff" if head[:4] in _TIFF_MAGIC else "picture"


def _load(ref: ImageRef, color: Color, at_least: int = 0) -> Image.Image:
    """An image in mode L or RGB; reduced decoding keeps both sides of the box at ``at_least`` or more."""
    kind = _kind(ref.path)
    image = None
    if kind == "dicom":
        from fiftyone_deepcluster.images.dicom.pixels import read_dicom

        image = _picture(recolor(read_dicom(ref.path, ref.frame), color))
    elif kind == "tiff":
        image = _load_deep_tiff(ref, color)
    if image is None:
        image = _load_picture(ref, color, at_least)
    if ref.box is None:
        return image
    return image.crop(_edges(ref.box, image.height, image.width))


def _load_picture(ref: ImageRef, color: Color, at_least: int) -> Image.Image:
    with _opened(ref.path) as image:
        if ref.frame:
            _seek(image, ref.frame)
        if not ref.frame and is_deep(image):
            pixels = read_deep(ref.path, image)
            return _upright(_picture(recolor(pixels, color)), _orientation(image))
        if at_least and image.format in ("JPEG", "MPO") and image.mode in ("L", "RGB"):
            _draft(image, ref.box, color, at_least)
        scale_clear_gray(image)
        image.load()
        flat = _flatten(image, color)
        turned = _orientation(image)
    return _upright(flat, turned)


@contextmanager
def _opened(path: str) -> Iterator[Image.Image]:
    # Given a path instead of a file, Pillow memory-maps uncompressed TIFFs, and some versions then swap
    # the sides of rotated ones.
    with Path(path).open("rb") as file, Image.open(file) as image:
        yield image


def _seek(image: Image.Image, frame: int) -> None:
    try:
        image.seek(frame)
    except EOFError:
        count = getattr(image, "n_frames", 1)
        raise ValueError(f"has no frame {frame}, only 0 to {count - 1}") from None


def _draft(image: Image.Image, box: Box | None, color: Color, at_least: int) -> None:
    box_width, box_height = box[2:] if box is not None and len(box) == 4 else (1.0, 1.0)
    # The smaller fraction is used for both axes, so rotation need not be considered.
    part = max(min(box_width, box_height), 1e-3)
    side = math.ceil(at_least * _DRAFT_GAP / part)
    image.draft("L" if color == "gray" else image.mode, (side, side))


def _flatten(image: Image.Image, color: Color) -> Image.Image:
    """Convert an image of any mode to L or RGB."""
    if image.mode in _DEEP_MODES:
        return _picture(recolor(to_uint8(np.asarray(image))[..., None], color))
    if image.mode in ("LA", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        background = Image.new("RGBA", image.size, "white")
        background.alpha_composite(image.convert("RGBA"))
        image = background.convert("RGB")
    return image.convert("L" if color == "gray" else "RGB")


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except Exception:
        # Damaged metadata may raise anything; viewers then show the image as stored.
        return 1


def _upright(image: Image.Image, orientation: int) -> Image.Image:
    turn = _UPRIGHT.get(orientation)
    return image if turn is None else image.transpose(turn)


def _load_deep_tiff(ref: ImageRef, color: Color) -> Image.Image | None:
    """An image with more than 8 bits from a TIFF; None if Pillow should read the file."""
    import tifffile

    try:
        with tifffile.TiffFile(ref.path) as file:
            if ref.frame >= len(file.pages):
                raise ValueError(f"has no frame {ref.frame}, only 0 to {len(file.pages) - 1}")
            page: Any = file.pages[ref.frame]
            if page.dtype is None or page.dtype.itemsize == 1 or page.axes not in ("YX", "YXS", "SYX"):
                return None
            refuse_bomb(page.imagelength, page.imagewidth)
            orientation = page.tags.valueof("Orientation", 1)
            inverted = page.photometric == tifffile.PHOTOMETRIC.MINISWHITE
            axes, values = page.axes, page.asarray()
    except tifffile.TiffFileError:
        return None
    except ValueError as error:
        # A compression that tifffile supports only with the imagecodecs package.
        if "imagecodecs" in str(error):
            return None
        raise
    values = np.moveaxis(values, 0, -1) if axes == "SYX" else values
    values = values[..., None] if values.ndim == 2 else values
    pixels = to_uint8(values if values.shape[-1] > 2 else values[..., :1])
    pixels = 255 - pixels if inverted else pixels
    return _upright(_picture(recolor(pixels, color)), int(orientation))


def _edges(box: Box | None, height: int, width: int) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of a relative box in pixels; at least one pixel wide and high."""
    if box is None:
        return 0, 0, width, height
    if len(box) != 4:
        raise ValueError(f"the box {box} has {len(box)} numbers; give x, y, width, height")
    x, y, box_width, box_height = box
    if not (all(map(math.isfinite, box)) and box_width > 0 and box_height > 0):
        raise ValueError(f"the box {box} has no area; give finite numbers, width and height above 0")
    if x >= 1 or y >= 1 or x + box_width <= 0 or y + box_height <= 0:
        raise ValueError(
            f"the box {box} lies outside the image; give x, y, width, height relative to it, in 0..1"
        )
    left, right = _span(x, box_width, width)
    top, bottom = _span(y, box_height, height)
    return left, top, right, bottom


def _span(start: float, length: float, side: int) -> tuple[int, int]:
    first = min(max(round(start * side), 0), side - 1)
    last = min(max(round((start + length) * side), first + 1), side)
    return first, last


def _fit(image: Image.Image, height: int, width: int, crop: bool, enlarge: Interpolation) -> Image.Image:
    if image.size == (width, height):
        return image
    part_width, part_height = float(image.width), float(image.height)
    if crop:
        zoom = min(image.width / width, image.height / height)
        part_width, part_height = width * zoom, height * zoom
    left, top = (image.width - part_width) / 2, (image.height - part_height) / 2
    part = (left, top, min(left + part_width, image.width), min(top + part_height, image.height))
    larger = width * height > (part[2] - left) * (part[3] - top)
    how = Image.Resampling.BICUBIC if larger and enlarge == "bicubic" else Image.Resampling.BILINEAR
    return image.resize((width, height), how, box=part)


def _picture(pixels: NDArray[np.uint8]) -> Image.Image:
    return Image.fromarray(np.ascontiguousarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels))


def _pixels(image: Image.Image) -> NDArray[np.uint8]:
    pixels = np.asarray(image)
    return pixels[..., None] if pixels.ndim == 2 else pixels


@contextmanager
def explained(path: str) -> Iterator[None]:
    """Convert any exception of a decoder to an ``UnreadableImageError`` with path and reason.

    Pipes and devices are refused first: opening them could wait forever.
    """
    try:
        kind = Path(path).stat().st_mode
        if not stat.S_ISREG(kind) and not stat.S_ISDIR(kind):
            raise UnreadableImageError(path, "it is a pipe or a device, not a file")
        yield
    except UnreadableImageError:
        raise
    except Exception as error:
        # On damaged files decoders may raise anything: struct.error, SyntaxError, KeyError, zlib.error, ...
        reason, lasting = _explain(error, path)
        raise UnreadableImageError(path, reason, lasting=lasting) from error


def _explain(error: Exception, path: str) -> tuple[str, bool]:
    """Why an image cannot be read, and whether the failure is permanent."""
    if isinstance(error, FileNotFoundError):
        address = address_of(path)
        return "there is no such file" if address is None else not_a_file(address), True
    if isinstance(error, UnidentifiedImageError):
        return "it is not an image, or its format is not supported", True
    if isinstance(error, MemoryError):
        return "there is not enough memory to decode it", False
    if isinstance(error, OSError) and error.errno is not None:
        return f"the file cannot be read: {error.strerror}", False
    text = " ".join(str(error).split())[:_LONGEST_REASON] or type(error).__name__
    if isinstance(error, zlib.error):
        return f"truncated or damaged: it cannot be inflated ({text})", True
    known = isinstance(error, ValueError | OSError | Image.DecompressionBombError)
    return (text if known else f"damaged ({type(error).__name__}: {text})"), True
