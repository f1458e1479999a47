"""Size and color of a set of images, estimated from a sample."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fiftyone_deepcluster.errors import UnreadableImageError
from fiftyone_deepcluster.images.decode import describe_image
from fiftyone_deepcluster.images.intensity import has_no_color
from fiftyone_deepcluster.images.refs import ImageRef, Images, as_refs, check_array

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

# Used if no sampled file can be opened; decoding reports the failures later.
_UNKNOWN_SIDE = 64


@dataclass(frozen=True)
class ImageFacts:
    """Properties of a set of images, estimated from a sample.

    Attributes:
        n: number of images.
        side: median of the longer side in pixels; of the box, for images with a box.
        gray: whether all sampled images are gray.
        height: median height in pixels.
        width: median width in pixels.
    """

    n: int
    side: int
    gray: bool
    height: int
    width: int


def image_facts(images: Images, sample: int = 64) -> ImageFacts:
    """Inspect an evenly spaced sample of the images, reading only headers where these suffice.

    Args:
        images: paths, refs, or a uint8 array (N, H, W) or (N, H, W, C) with C of 1 or 3.
        sample: maximum number of images to inspect.

    Raises:
        ImagesError: no images, or an array of the wrong dtype or shape. Unreadable files are skipped.
    """
    if isinstance(images, np.ndarray):
        return _array_facts(images, sample)
    refs = as_refs(images)
    sizes, gray = [], True
    for row in _even(len(refs), sample):
        found = _describe(refs[row], look=gray)
        # Once one image has color, the pixels of the others need not be decoded.
        if found is not None:
            sizes.append(found[:2])
            gray = gray and found[2]
    if not sizes:
        return ImageFacts(len(refs), _UNKNOWN_SIDE, False, _UNKNOWN_SIDE, _UNKNOWN_SIDE)
    height, width = (int(value) for value in np.median(sizes, axis=0))
    side = int(np.median(np.max(sizes, axis=1)))
    return ImageFacts(n=len(refs), side=side, gray=gray, height=height, width=width)


def why_no_images(paths: Sequence[str], sample: int = 16) -> str | None:
    """Why none of an evenly spaced sample of files is an image; None if one of them is, or there are no paths."""
    reason = None
    for row in _even(len(paths), sample) if paths else ():
        try:
            describe_image(ImageRef(paths[row]), look=False)
        except UnreadableImageError as error:
            reason = reason or error.reason
        else:
            return None
    return reason


def _array_facts(images: NDArray[np.uint8], sample: int) -> ImageFacts:
    pixels = check_array(images)
    n, height, width, _ = pixels.shape
    gray = all(has_no_color(pixels[row]) for row in _even(n, sample))
    return ImageFacts(n=n, side=max(height, width), gray=gray, height=height, width=width)


def _describe(ref: ImageRef, look: bool) -> tuple[int, int, bool] | None:
    try:
        return describe_image(ref, look)
    except UnreadableImageError:
        return None


def _even(n: int, sample: int) -> NDArray[np.int64]:
    return np.unique(np.linspace(0, n - 1, min(n, max(1, sample))).astype(np.int64))
