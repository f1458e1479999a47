"""PNG files whose depth or transparent value Pillow reads in part.

Of 16 bits per channel it keeps only the high bytes of color and of gray with alpha; OpenCV keeps all. It drops the
transparent value of 16-bit gray, and does not scale that of gray with 2 or 4 bits as it scales the values.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fiftyone_deepcluster.images.intensity import to_uint8

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import Image

# Pillow's raw modes of such files.
_GRAY, _GRAY_AND_OPACITY = "I;16B", "LA;16B"
_DEEP = ("RGB;16B", "RGBA;16B", _GRAY_AND_OPACITY)
_CLEAR = "transparency"
# Raw modes of gray with fewer than 8 bits, and the factor by which Pillow scales the values.
_SHALLOW = {"L;2": 85, "L;4": 17}


def is_deep(image: Image.Image) -> bool:
    """Whether an image, opened by Pillow and not yet loaded, is a 16-bit PNG of one of these kinds."""
    if image.format != "PNG":
        return False
    return _how(image) in _DEEP or (_how(image) == _GRAY and _CLEAR in image.info)


def scale_clear_gray(image: Image.Image) -> None:
    """Scale the transparent value of an image, opened by Pillow and not yet loaded, as its values will be scaled."""
    clear, factor = image.info.get(_CLEAR), _SHALLOW.get(_how(image))
    if isinstance(clear, int) and factor is not None:
        image.info[_CLEAR] = clear * factor


def read_deep(path: str, image: Image.Image) -> NDArray[np.uint8]:
    """Pixels of such a PNG, windowed over all channels like 16-bit gray and composited on white.

    Args:
        path: path of the file.
        image: the same file, opened by Pillow and not yet loaded.

    Returns:
        (H, W, 1) uint8 for gray, (H, W, 3) for color.

    Raises:
        ValueError: the file is truncated or damaged.
    """
    how = _how(image)
    values = np.asarray(image)[..., None] if how == _GRAY else _values(path)
    # OpenCV returns BGR or BGRA, and gray as three equal channels.
    colors = values[..., :1] if how in (_GRAY, _GRAY_AND_OPACITY) else values[..., 2::-1]
    pixels = to_uint8(colors)
    key = image.info.get(_CLEAR)
    if key is not None:  # tRNS chunk: one color, or one gray, is transparent
        opacity = (colors != np.array(key)).any(axis=-1, keepdims=True).astype(np.float32)
    elif values.shape[-1] == 4:
        opacity = values[..., 3:].astype(np.float32) / 65535
    else:
        return pixels
    blended: NDArray[np.float32] = pixels * opacity + 255 * (1 - opacity)
    return np.rint(blended).astype(np.uint8)


def _values(path: str) -> NDArray[np.uint16]:
    """Values as stored in the file, (H, W, 3 or 4)."""
    import cv2

    # cv2.imread cannot open file names outside the code page of Windows.
    found: NDArray[np.uint16] | None = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED)
    if found is None:
        raise ValueError("it is truncated or damaged")
    return found


def _how(image: Any) -> str:
    return str(image.tile[0][3]) if image.tile else ""
