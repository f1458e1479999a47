"""PNG files with 16 bits a channel and color or opacity: OpenCV reads them; Pillow keeps the high bytes only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fiftyone_deepcluster.images.intensity import to_uint8

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import Image

# How Pillow would unpack a pixel of such a file.
_GRAY_AND_OPACITY = "LA;16B"
_DEEP = ("RGB;16B", "RGBA;16B", _GRAY_AND_OPACITY)


def is_deep_color(image: Image.Image) -> bool:
    """Whether an image, opened and not yet loaded, is such a PNG."""
    return image.format == "PNG" and _how(image) in _DEEP


def read_deep_color(path: str, image: Image.Image) -> NDArray[np.uint8]:
    """The pixels of such a PNG, windowed over all channels as 16-bit gray is; clear pixels are white.

    Args:
        path: of the file.
        image: it, opened by Pillow and not yet loaded.

    Returns:
        (H, W, 1) uint8 for gray with opacity, (H, W, 3) for color.

    Raises:
        ValueError: it is cut short or damaged.
    """
    values = _values(path)
    # OpenCV gives blue, green, red and opacity, and gray as three equal channels.
    colors = values[..., :1] if _how(image) == _GRAY_AND_OPACITY else values[..., 2::-1]
    pixels = to_uint8(colors)
    key = image.info.get("transparency")
    if key is not None:  # one color stands for clear
        opacity = (colors != np.array(key)).any(axis=-1, keepdims=True).astype(np.float32)
    elif values.shape[-1] == 4:
        opacity = values[..., 3:].astype(np.float32) / 65535
    else:
        return pixels
    blended: NDArray[np.float32] = pixels * opacity + 255 * (1 - opacity)
    return np.rint(blended).astype(np.uint8)


def _values(path: str) -> NDArray[np.uint16]:
    """(H, W, 3 or 4) as they are in the file."""
    import cv2

    # OpenCV's own reading of files knows no names outside the code page of Windows.
    found: NDArray[np.uint16] | None = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED)
    if found is None:
        raise ValueError("it is cut short or damaged")
    return found


def _how(image: Any) -> str:
    return str(image.tile[0][3]) if image.tile else ""
