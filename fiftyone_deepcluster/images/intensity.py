"""Conversion of pixel values of any bit depth and channel count to 8-bit gray or RGB."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

Color = Literal["gray", "rgb"]
CHANNELS: dict[str, int] = {"gray": 1, "rgb": 3}

# Percentiles of the values mapped to black and white: robust against outlier pixels.
_LOW, _HIGH = 0.5, 99.5
# For larger images, percentiles are computed on an evenly spaced sample of about this many values.
_SAMPLE = 500_000


def to_uint8(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Convert pixel values of any bit depth to 8 bits.

    Whole numbers in 0..255 are unchanged. All other images are windowed: the 0.5 and 99.5 percentiles of
    the finite values are mapped to 0 and 255, NaN to 0.

    Args:
        values: pixel values of one image, of any shape and real dtype.

    Returns:
        uint8 of the same shape; all zeros for a constant image that does not fit 8 bits.

    Raises:
        ValueError: no value is finite.
    """
    if values.dtype == np.bool_:
        values = values * 255
    if _fits(values):
        whole: NDArray[np.uint8] = values.astype(np.uint8, copy=False)
        return whole
    return by_percentiles(values)


def by_percentiles(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Map the 0.5 and 99.5 percentiles of the finite values to 0 and 255, NaN to 0.

    Args:
        values: pixel values of one image, of any shape and real dtype.

    Raises:
        ValueError: no value is finite.
    """
    finite = values[np.isfinite(values)] if values.dtype.kind == "f" else values.ravel()
    if finite.size == 0:
        raise ValueError("no pixel has a finite value")
    low, high = _window(finite)
    return stretch(values, low, high)


def stretch(values: NDArray[Any], low: float, high: float) -> NDArray[np.uint8]:
    """Map ``low``..``high`` linearly to 0..255, clipped, and NaN to 0."""
    if not high > low:
        return np.zeros(values.shape, np.uint8)
    scaled = (values.astype(np.float64) - low) / (high - low) * 255.0  # 255 / (high - low) may overflow
    scaled = np.nan_to_num(scaled, nan=0.0, posinf=255.0, neginf=0.0)
    return np.rint(np.clip(scaled, 0.0, 255.0)).astype(np.uint8)


def recolor(pixels: NDArray[np.uint8], color: Color) -> NDArray[np.uint8]:
    """Convert between gray and RGB.

    Args:
        pixels: (..., C) uint8: gray for C = 1, gray and alpha for C = 2, otherwise red, green, blue first.
        color: color of the result.

    Returns:
        (..., 1) or (..., 3) uint8. Gray is ITU-R 601 luma in Pillow's fixed-point form, so that images
        decoded with and without Pillow agree.
    """
    if pixels.shape[-1] <= 2:
        gray = pixels[..., :1]
        return gray if color == "gray" else np.repeat(gray, 3, axis=-1)
    if color == "rgb":
        return pixels[..., :3]
    wide = pixels[..., :3].astype(np.uint32)
    luma = wide[..., 0] * 19595 + wide[..., 1] * 38470 + wide[..., 2] * 7471 + 0x8000
    return (luma >> 16).astype(np.uint8)[..., None]


def refuse_bomb(height: int, width: int) -> None:
    """Reject decompression bombs, by the limit that Pillow applies to its own formats.

    Raises:
        ValueError: more pixels than twice ``PIL.Image.MAX_IMAGE_PIXELS``.
    """
    from PIL import Image

    limit = Image.MAX_IMAGE_PIXELS
    if limit is not None and height * width > 2 * limit:
        raise ValueError(
            f"declares {height} x {width} pixels, more than the limit of {2 * limit} pixels; "
            "raise PIL.Image.MAX_IMAGE_PIXELS if you trust the file"
        )


def _fits(values: NDArray[Any]) -> bool:
    if values.dtype == np.uint8 or values.size == 0:
        return True
    # NaN fails both comparisons.
    if not (values.min() >= 0 and values.max() <= 255):
        return False
    return values.dtype.kind in "iu" or bool(np.array_equal(values, np.rint(values)))


def _window(finite: NDArray[Any]) -> tuple[float, float]:
    sample = finite[:: max(1, finite.size // _SAMPLE)].astype(np.float64)
    low, high = np.percentile(sample, [_LOW, _HIGH])
    if high > low:
        return float(low), float(high)
    # Nearly all values are equal, so percentiles would hide the few others.
    return float(finite.min()), float(finite.max())


def has_no_color(pixels: NDArray[np.uint8]) -> bool:
    """Whether the channels of (..., C) uint8 pixels are equal, up to rounding errors of lossy formats."""
    if pixels.shape[-1] == 1:
        return True
    spread = pixels.max(axis=-1).astype(np.int16) - pixels.min(axis=-1)
    return bool(spread.max() <= 6)
