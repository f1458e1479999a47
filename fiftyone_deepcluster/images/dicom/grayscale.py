"""From the stored values of a monochrome image to 8 bits, as a viewer would first display them.

The steps, in the order of DICOM's grayscale pipeline (PS3.3, C.11.1 and C.11.2; PS3.4, N.2). A step whose elements
are missing, empty or unusable is left out:

1. padding is found among the stored values, and left out of all statistics;
2. modality LUT, or else rescale slope and intercept;
3. the first VOI LUT, or else the first window, that shows the image; or else unsigned images of up to 8 bits with
   the full range of their bits, others from their 0.5 to their 99.5 percentile;
4. inversion of MONOCHROME1;
5. padding becomes black, which after the inversion is the background of both interpretations.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from fiftyone_deepcluster.images.dicom.elements import first_number, items, raw_numbers, raw_texts
from fiftyone_deepcluster.images.dicom.table import Table, read_table
from fiftyone_deepcluster.images.intensity import by_percentiles, stretch

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fiftyone_deepcluster.images.dicom.frame import Frame

_PADDINGS = ("PixelPadding", "FloatPixelPadding", "DoubleFloatPixelPadding")
# A window or LUT is skipped if this share of the image looks like one gray although its values differ.
_FLAT = 0.97
# Gray levels above and below a gray that look like it
_ALIKE = 2
# Values differ if these percentiles of them do: single ones do not count.
_MOST = (2.5, 97.5)
# Larger images are checked on a sample of about this many pixels.
_SAMPLE = 500_000


def to_gray(frame: Frame, header: Any, inverted: bool) -> NDArray[np.uint8]:
    """8-bit pixels of a monochrome frame.

    Args:
        frame: stored values (H, W).
        header: elements of the frame.
        inverted: whether the smallest value is white, as in MONOCHROME1.

    Returns:
        (H, W) uint8.
    """
    inside = ~_padding(frame, header)
    values = _looked_up(frame.values, header, "ModalityLUTSequence", inside)
    bits = frame.bits if values is None and frame.values.dtype.kind == "u" else None
    if values is None:
        values = _rescaled(frame.values, header)
    shown = next(_displays(values, header, inside), None)
    if shown is None and bits is not None and bits <= 8:
        shown = stretch(values, *sorted(_rescaled(np.array([0, 2**bits - 1]), header)))
    if shown is None:
        # An image of one value besides the padding, such as a mask, has its contrast to the padding only.
        apart = not inside.all() and np.ptp(values[inside]) != 0
        shown = by_percentiles(np.where(inside, values, np.nan) if apart else values)
    return np.where(inside, 255 - shown if inverted else shown, np.uint8(0))


def _padding(frame: Frame, header: Any) -> NDArray[np.bool_]:
    """Pixels outside the image: of the padding value, or between it and the range limit (PS3.3, C.7.5.1.1.2)."""
    found = np.zeros(frame.values.shape, bool)
    for name in _PADDINGS:
        first, last = (first_number(header, name + part) for part in ("Value", "RangeLimit"))
        if first is None:
            continue
        low, high = sorted(_as_stored(end, frame) for end in (first, first if last is None else last))
        found |= (frame.values >= low) & (frame.values <= high)
        if frame.bits is not None and high >= 2**frame.bits:
            # It has bits above BitsStored, as the values in the file then have.
            found |= (frame.raw >= low) & (frame.raw <= high)
    return np.zeros_like(found) if found.all() else found


def _as_stored(end: float, frame: Frame) -> float:
    """A padding value with the sign that stored values have: files state either form."""
    if frame.bits is None:
        return end
    if frame.values.dtype.kind == "u":
        return end + 0x10000 if end < 0 else end
    for bits in (16, frame.bits):
        if 2 ** (bits - 1) <= end < 2**bits:
            end -= 2**bits
    return end


def _rescaled(stored: NDArray[Any], header: Any) -> NDArray[Any]:
    """Values in the units of the window: slope * stored + intercept; a missing, empty or zero slope is 1."""
    slope, intercept = (
        first_number(header, "RescaleSlope") or 1.0,
        first_number(header, "RescaleIntercept") or 0.0,
    )
    if (slope, intercept) == (1.0, 0.0):
        return stored
    with np.errstate(over="ignore", invalid="ignore"):
        values: NDArray[Any] = stored * slope + intercept
    return values if (np.isfinite(values) | ~np.isfinite(stored)).all() else stored


def _looked_up(
    values: NDArray[Any], header: Any, keyword: str, inside: NDArray[np.bool_]
) -> NDArray[Any] | None:
    """Entries of the first usable table of a sequence; None if there is none."""
    tables = _tables(header, keyword)
    return next((found for table in tables if (found := table.look_up(values, inside)) is not None), None)


def _tables(header: Any, keyword: str) -> list[Table]:
    """Tables of a sequence, without those that have no data or one entry for all values."""
    tables = filter(None, map(read_table, items(header, keyword)))
    return [table for table in tables if table.entries.min() < table.entries.max()]


def _displays(values: NDArray[Any], header: Any, inside: NDArray[np.bool_]) -> Iterator[NDArray[np.uint8]]:
    """8-bit pixels by every VOI LUT and window of the header that shows the image, in order of preference."""
    for table in _tables(header, "VOILUTSequence"):
        found = table.look_up(values, inside)
        if found is not None:
            shown = stretch(found, 0.0, table.white)
            if _shows(shown, values, inside):
                yield shown
    function = "".join(raw_texts(header, "VOILUTFunction")).upper()
    for center, width in zip(
        raw_numbers(header, "WindowCenter"), raw_numbers(header, "WindowWidth"), strict=False
    ):
        if np.isfinite(center) and width > 0:
            shown = _windowed(values, center, width, function)
            if _shows(shown, values, inside):
                yield shown


def _windowed(values: NDArray[Any], center: float, width: float, function: str) -> NDArray[np.uint8]:
    """Pixels by a window (PS3.3, C.11.2.1.2 and C.11.2.1.3); unknown functions are LINEAR."""
    if function == "SIGMOID":
        power = np.clip(-4.0 * (values - center) / width, -700.0, 700.0)
        return stretch(1.0 / (1.0 + np.exp(power)), 0.0, 1.0)
    if function != "LINEAR_EXACT" and width >= 1.0:
        center, width = center - 0.5, width - 1.0
    if width == 0.0:
        return np.where(values > center, np.uint8(255), np.uint8(0))
    return stretch(values, center - width / 2, center + width / 2)


def _shows(shown: NDArray[np.uint8], values: NDArray[Any], inside: NDArray[np.bool_]) -> bool:
    """Whether 8-bit pixels show the image: nearly all of them look like one gray only if the values are equal, too."""
    step = max(1, shown.size // _SAMPLE)
    pixels, held = shown[inside][::step], values[inside][::step]
    alike = np.abs(pixels.astype(np.int16) - int(np.median(pixels))) <= _ALIKE
    if alike.mean() <= _FLAT:
        return True
    low, high = np.nanpercentile(held[alike], _MOST)
    return bool(low == high)
