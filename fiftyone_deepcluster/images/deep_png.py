"""PNG files with 16 bits a channel and color or opacity, of which Pillow keeps the high bytes only.

Pillow can be asked for the low bytes, too: it reads the same stream once more as if its numbers lay the
other way round in memory. Both halves together are the numbers of the file.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from fiftyone_deepcluster.images.intensity import to_uint8

if TYPE_CHECKING:
    from numpy.typing import NDArray

# How Pillow is to unpack a pixel, by how it would: once for the high bytes, once for the low ones.
_HALVES = {"RGB;16B": ("RGB;16B", "RGB;16L"), "RGBA;16B": ("RGBA;16B", "RGBA;16L"), "LA;16B": ("RGBA",)}


def is_deep_color(image: Image.Image) -> bool:
    """Whether an image, opened and not yet loaded, is such a PNG."""
    return image.format == "PNG" and _how(image) in _HALVES


def read_deep_color(path: str) -> NDArray[np.uint8]:
    """The pixels of such a PNG, windowed over all channels as 16-bit gray is; clear pixels are white.

    Returns:
        (H, W, 1) uint8 for gray with opacity, (H, W, 3) for color.
    """
    values, key = _values(path)
    has_opacity = values.shape[-1] in (2, 4)
    colors = values[..., :-1] if has_opacity else values
    pixels = to_uint8(colors)
    if has_opacity:
        opacity = values[..., -1:].astype(np.float32) / 65535
    elif key is not None:  # one color stands for clear
        opacity = (colors != np.array(key)).any(axis=-1, keepdims=True).astype(np.float32)
    else:
        return pixels
    return np.rint(pixels * opacity + 255 * (1 - opacity)).astype(np.uint8)


def _values(path: str) -> tuple[NDArray[np.uint16], tuple[int, ...] | None]:
    """(H, W, C) as they are in the file, and the color that stands for clear, if there is one."""
    with Path(path).open("rb") as file, Image.open(file) as image:
        wanted, key = _HALVES[_how(image)], image.info.get("transparency")
    halves = [_unpacked(path, how) for how in wanted]
    if len(halves) == 1:  # gray and opacity: their four bytes came as one pixel of four channels
        halves = [halves[0][..., ::2], halves[0][..., 1::2]]
    high, low = (half.astype(np.uint16) for half in halves)
    return (high * np.uint16(256) + low).astype(np.uint16), key


def _how(image: Any) -> str:
    """How Pillow would unpack an image that is opened and not yet loaded."""
    return str(image.tile[0][3]) if image.tile else ""


def _unpacked(path: str, how: str) -> NDArray[np.uint8]:
    with Path(path).open("rb") as file, Image.open(file) as image:
        opened: Any = image
        tile = opened.tile[0]
        # a plain tuple before Pillow 11
        opened.tile = [tile._replace(args=how) if hasattr(tile, "_replace") else (*tile[:3], how)]
        image.load()
        return np.asarray(image)
