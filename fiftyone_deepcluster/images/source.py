"""What the images are: files, boxes within files, or an array; and what they are like."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias, Union

import numpy as np

from fiftyone_deepcluster.errors import ImagesError, UnreadableImageError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

Box: TypeAlias = "tuple[float, float, float, float]"
Images: TypeAlias = Union["Sequence[str | Path | ImageRef]", "NDArray[np.uint8]"]

# Guess for files none of which can be opened: decoding reports every one of them later.
_UNKNOWN_SIDE = 64


@dataclass(frozen=True)
class ImageRef:
    """One image: a file, or a part of one.

    Attributes:
        path: the file.
        box: x, y, width and height relative to the upright image, as FiftyOne's bounding boxes;
            None for all of it.
        frame: which image of a file that holds several.
    """

    path: str
    box: Box | None = None
    frame: int = 0


@dataclass(frozen=True)
class Facts:
    """What a set of images is like, judged by a sample.

    Attributes:
        n: number of images.
        side: median of the longer side in pixels, of the box where there is one.
        grey: whether every sampled image has no colour.
        height: median height in pixels.
        width: median width in pixels.
    """

    n: int
    side: int
    grey: bool
    height: int
    width: int


def probe(images: Images, sample: int = 64) -> Facts:
    """Look at an even sample of the images, at headers where these tell enough.

    Args:
        images: paths, refs, or a uint8 array (N, H, W) or (N, H, W, C) with C of 1 or 3.
        sample: images to look at, at most.

    Raises:
        ImagesError: no images, or an array of the wrong kind. Files that cannot be read are no
            error here.
    """
    if isinstance(images, np.ndarray):
        return _probe_array(images, sample)
    refs = as_refs(images)
    sizes, grey = [], True
    for row in _even(len(refs), sample):
        found = _describe(refs[row], look=grey)
        # One image of colour settles it: pixels of the others need not be looked at.
        if found is not None:
            sizes.append(found[:2])
            grey = grey and found[2]
    if not sizes:
        return Facts(len(refs), _UNKNOWN_SIDE, False, _UNKNOWN_SIDE, _UNKNOWN_SIDE)
    height, width = (int(value) for value in np.median(sizes, axis=0))
    side = int(np.median(np.max(sizes, axis=1)))
    return Facts(n=len(refs), side=side, grey=grey, height=height, width=width)


def as_refs(images: Sequence[str | Path | ImageRef]) -> list[ImageRef]:
    """Every image of a sequence as an ``ImageRef``.

    Raises:
        ImagesError: no images, one path in place of a list of them, or an item of another type.
    """
    if not hasattr(images, "__len__") and not isinstance(images, str | os.PathLike):
        raise ImagesError(f"images={images!r} is no list of images; give paths, or a uint8 array (N, H, W)")
    if isinstance(images, str | os.PathLike):
        raise ImagesError(f"images={str(images)!r} is one path; give a list of paths")
    if len(images) == 0:
        raise ImagesError("there are no images; give at least one path")
    return [_as_ref(item, row) for row, item in enumerate(images)]


def check_array(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A view (N, H, W, C) of an array of images.

    Raises:
        ImagesError: the array is empty, not uint8, or not of shape (N, H, W) or (N, H, W, 1 or 3).
    """
    shape = images.shape
    if images.dtype != np.uint8:
        raise ImagesError(
            f"images is an array of {images.dtype}; give uint8, values 0 to 255 "
            "(for floats in 0..1: (images * 255).astype('uint8'))"
        )
    if images.ndim not in (3, 4) or (images.ndim == 4 and shape[3] not in (1, 3)):
        raise ImagesError(f"images has shape {shape}; give (N, H, W), (N, H, W, 1) or (N, H, W, 3)")
    if images.size == 0:
        raise ImagesError(f"images has shape {shape}, which holds no pixel; give at least one image")
    return images if images.ndim == 4 else images[..., None]


def has_no_color(pixels: NDArray[np.uint8]) -> bool:
    """Whether the channels of (..., C) uint8 pixels agree, but for rounding of a lossy format."""
    if pixels.shape[-1] == 1:
        return True
    spread = pixels.max(axis=-1).astype(np.int16) - pixels.min(axis=-1)
    return bool(spread.max() <= 6)


def _as_ref(item: object, row: int) -> ImageRef:
    if isinstance(item, ImageRef):
        return item
    if isinstance(item, str | os.PathLike):
        return ImageRef(os.fsdecode(item))
    raise ImagesError(f"image {row} is of type {type(item).__name__}; give a path or an ImageRef")


def _even(n: int, sample: int) -> NDArray[np.int64]:
    return np.unique(np.linspace(0, n - 1, min(n, max(1, sample))).astype(np.int64))


def _probe_array(images: NDArray[np.uint8], sample: int) -> Facts:
    pixels = check_array(images)
    n, height, width, _ = pixels.shape
    grey = all(has_no_color(pixels[row]) for row in _even(n, sample))
    return Facts(n=n, side=max(height, width), grey=grey, height=height, width=width)


def _describe(ref: ImageRef, look: bool) -> tuple[int, int, bool] | None:
    # The decoder is written in terms of ImageRef, so it can only be imported from here late.
    from fiftyone_deepcluster.images.decode import describe

    try:
        return describe(ref, look)
    except UnreadableImageError:
        return None
