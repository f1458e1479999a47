"""DICOM images as 8-bit pixels: gray as a viewer would first display it (``grayscale``), color and palettes as RGB."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fiftyone_deepcluster.errors import UnreadableImageError
from fiftyone_deepcluster.images.dicom.elements import items
from fiftyone_deepcluster.images.dicom.frame import read_frame
from fiftyone_deepcluster.images.dicom.grayscale import to_gray
from fiftyone_deepcluster.images.dicom.header import photometric_interpretation
from fiftyone_deepcluster.images.dicom.open_file import open_file
from fiftyone_deepcluster.images.dicom.table import read_table
from fiftyone_deepcluster.images.intensity import stretch

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fiftyone_deepcluster.images.dicom.frame import Frame

# Sequences of multi-frame objects for elements that single-frame ones have at the top level: PS3.3 C.7.6.16.
_GROUPS = ("PixelValueTransformationSequence", "FrameVOILUTSequence")
_COLORS = ("Red", "Green", "Blue")


def is_dicom(path: str, head: bytes | None = None) -> bool:
    """Whether a file is DICOM, by its content.

    A file without the usual preamble is accepted if its first element is one that DICOM files begin with
    and pydicom finds a SOP class or an image in it.

    Args:
        path: path of the file.
        head: its first 132 bytes or more, if they were read already.
    """
    if head is None:
        with Path(path).open("rb") as file:
            head = file.read(132)
    return head[128:132] == b"DICM" or (_begins_bare(head) and _has_object(path))


def read_dicom(path: str, frame: int = 0) -> NDArray[np.uint8]:
    """One frame of a DICOM file.

    Returns:
        (H, W, C) uint8: C = 1 for monochrome and 3 for palette and color images.

    Raises:
        UnreadableImageError: not DICOM, no pixels, no such frame, damaged, or a transfer syntax that is not
            supported, or only by a package that is not installed.
    """
    file = open_file(path, frame)
    found = read_frame(file, frame)
    kind = photometric_interpretation(file.header)
    if found.values.ndim == 3:
        return _color(found)
    if kind == "PALETTE COLOR":
        return _palette(found, file.header, path)
    return to_gray(found, _of_frame(file.header, frame), inverted=kind == "MONOCHROME1")[..., None]


def describe_dicom(path: str, frame: int = 0) -> tuple[int, int, bool]:
    """Height, width and whether the image is monochrome, from the header alone.

    Raises:
        UnreadableImageError: not DICOM, no image, no such frame.
    """
    file = open_file(path, frame)
    return file.rows, file.columns, photometric_interpretation(file.header).startswith("MONOCHROME")


def _begins_bare(head: bytes) -> bool:
    """Whether the first element has a low number in group 2 or 8, in little or big endian."""
    return (head[:2] in (b"\2\0", b"\x08\0") and head[3:4] == b"\0") or (
        head[:2] in (b"\0\2", b"\0\x08") and head[2:3] == b"\0"
    )


def _has_object(path: str) -> bool:
    import pydicom

    try:
        found = pydicom.dcmread(
            path, stop_before_pixels=True, force=True, specific_tags=["SOPClassUID", "Rows", "Columns"]
        )
    except Exception:
        # Bytes that only look like DICOM may raise anything.
        return False
    return "SOPClassUID" in found or ("Rows" in found and "Columns" in found)


def _of_frame(header: Any, frame: int) -> Any:
    """A copy of the header with the frame's own rescale and window at the top level."""
    import pydicom

    settings = pydicom.Dataset()
    settings.update(header)
    shared = items(header, "SharedFunctionalGroupsSequence")
    own = items(header, "PerFrameFunctionalGroupsSequence")[frame : frame + 1]
    for group in shared + own:
        for name in _GROUPS:
            for item in items(group, name):
                settings.update(item)
    return settings


def _color(frame: Frame) -> NDArray[np.uint8]:
    values = frame.values[..., :3]
    bits = frame.bits or 0
    # 8-bit values in more bits are common.
    if bits <= 8 or (values.max() <= 255 and values.min() >= 0):
        return values.astype(np.uint8)
    return stretch(values, 0.0, 2.0**bits - 1)


def _palette(frame: Frame, header: Any, path: str) -> NDArray[np.uint8]:
    """Colors of a palette image (PS3.3, C.7.6.3.1.5 and C.7.9.2)."""
    if "SegmentedRedPaletteColorLookupTableData" in header:
        from pydicom.pixels import apply_color_lut

        colors = np.asarray(apply_color_lut(frame.values, header))
        return stretch(colors[..., :3], 0.0, np.iinfo(colors.dtype).max)
    tables = [
        table
        for color in _COLORS
        if (table := read_table(header, f"{color}PaletteColorLookupTable")) is not None
    ]
    everything = np.ones(frame.values.shape, bool)
    channels = [found for table in tables if (found := table.look_up(frame.values, everything)) is not None]
    if len(channels) < len(_COLORS):
        raise UnreadableImageError(path, "its palette is missing or incomplete")
    largest = max(int(table.entries.max()) for table in tables)
    # 8-bit colors whose palette claims 16 bits are common, too.
    white = 255 if largest <= 255 else max(2 ** max(table.bits for table in tables) - 1, largest)
    return stretch(np.stack(channels, axis=-1), 0.0, white)
