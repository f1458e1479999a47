"""Picture tiles of units: the image that maximizes a unit next to its top images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL.Image import Image

_MIN_SIDE, _MAX_SIDE = 40, 96
"""Sides in pixels of the pictures in a tile."""

_GAP = 2
_COLUMNS = 4
_BACKGROUND = 255


def tile(maximized: NDArray[np.float32], top: NDArray[np.uint8]) -> Image:
    """The tile of one unit: its maximizing image, and next to it in three rows the images with the highest activation.

    Args:
        maximized: (H, W, C) float32 image from gradient ascent.
        top: (n, H, W, C) uint8, n at most 9.
    """
    from PIL import Image

    side = _side(maximized.shape[0])
    large = 3 * side + 2 * _GAP
    image = Image.new("RGB", (2 * large + 3 * _GAP, large), (_BACKGROUND,) * 3)
    image.paste(picture(stretched(maximized), large), (0, 0))
    for number, pixels in enumerate(top[:9]):
        row, column = divmod(number, 3)
        image.paste(picture(pixels, side), (large + 3 * _GAP + column * (side + _GAP), row * (side + _GAP)))
    return image


def sheet(tiles: Sequence[Image]) -> Image:
    """All tiles on one sheet, four in a row."""
    from PIL import Image

    width, height = tiles[0].size
    columns, margin = min(_COLUMNS, len(tiles)), 5 * _GAP
    rows = math.ceil(len(tiles) / columns)
    size = (columns * (width + margin) + margin, rows * (height + margin) + margin)
    image = Image.new("RGB", size, (_BACKGROUND,) * 3)
    for number, entry in enumerate(tiles):
        row, column = divmod(number, columns)
        image.paste(entry, (margin + column * (width + margin), margin + row * (height + margin)))
    return image


def stretched(pixels: NDArray[np.float32]) -> NDArray[np.uint8]:
    """(H, W, C) scaled from minimum and maximum to 0 and 255, since images from ascent may have low contrast."""
    low, high = float(pixels.min()), float(pixels.max())
    return ((pixels - low) * (255 / max(high - low, 1e-6))).round().astype(np.uint8)


def picture(pixels: NDArray[np.uint8], side: int | None = None) -> Image:
    """An RGB image of (H, W, C) pixels at ``side`` x ``side``: enlarged by nearest neighbor, shrunk smoothly."""
    from PIL import Image

    flat = pixels[..., 0] if pixels.shape[-1] == 1 else pixels
    found = Image.fromarray(np.ascontiguousarray(flat)).convert("RGB")
    if side is None or side == found.width:
        return found
    how = Image.Resampling.NEAREST if side > found.width else Image.Resampling.BOX
    return found.resize((side, side), how)


def _side(side: int) -> int:
    """Integer factor to enlarge small images, so that all their pixels have the same size."""
    return min(_MAX_SIDE, side * max(1, round(_MIN_SIDE / side)))
