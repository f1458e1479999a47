"""Conversion of DICOM images to 8-bit pixels, as a viewer would first display them.

Stored values -> modality LUT or rescale -> VOI LUT or the first window (percentiles if there is no suitable
one) -> inverted for MONOCHROME1. DICOM PS3.3 C.11.1, C.11.2 and C.7.6.3.1.2.

Only header elements needed for pixels are read: no name, date or id of a patient.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fiftyone_deepcluster.errors import UnreadableImageError
from fiftyone_deepcluster.images.dicom.header import frame_count
from fiftyone_deepcluster.images.intensity import by_percentiles, refuse_bomb, stretch, to_uint8

if TYPE_CHECKING:
    from numpy.typing import NDArray

_INSTALL = 'pip install "fiftyone-deepcluster[dicom]"'
# Sequences of multi-frame objects for elements that single-frame ones have at the top level: PS3.3 C.7.6.16.
_GROUPS = ("PixelValueTransformationSequence", "FrameVOILUTSequence", "PixelIntensityRelationshipLUTSequence")
_NEEDED = (
    "SOPClassUID", "Rows", "Columns", "NumberOfFrames", "SamplesPerPixel", "PhotometricInterpretation",
    "PlanarConfiguration", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation",
    "PixelPaddingValue", "SmallestImagePixelValue", "LargestImagePixelValue",
    "RescaleSlope", "RescaleIntercept", "RescaleType", "ModalityLUTSequence", "VOILUTSequence",
    "WindowCenter", "WindowWidth", "VOILUTFunction", "PaletteColorLookupTableUID",
    *(f"{color}PaletteColorLookupTable{part}" for color in ("Red", "Green", "Blue", "Alpha")
      for part in ("Descriptor", "Data")),
    *(f"Segmented{color}PaletteColorLookupTableData" for color in ("Red", "Green", "Blue", "Alpha")),
    "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence",
)  # fmt: skip
_KEPT_HEADERS = 4
_NO_IMAGE = "it is a DICOM object without an image, or truncated before the image"


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
        UnreadableImageError: not DICOM, no pixels, no such frame, or the package that decodes its
            compression is not installed.
    """
    header = _header(path, frame)
    stored = _stored(header, path, frame)
    kind = header.PhotometricInterpretation
    if kind == "PALETTE COLOR":
        return _palette(stored, header)
    if stored.ndim == 3:
        return _eight_bits(stored[..., :3], int(header.BitsStored))
    if header.get("BitsStored") == 1:
        return stretch(stored, 0.0, 1.0)[..., None]
    pixels = _shown(stored, _settings(header, frame))
    return (255 - pixels if kind == "MONOCHROME1" else pixels)[..., None]


def describe_dicom(path: str, frame: int = 0) -> tuple[int, int, bool]:
    """Height, width and whether the image is monochrome, from the header alone.

    Raises:
        UnreadableImageError: not DICOM, no image, no such frame.
    """
    header = _header(path, frame)
    return header.Rows, header.Columns, str(header.PhotometricInterpretation).startswith("MONOCHROME")


def _header(path: str, frame: int) -> Any:
    """Header elements needed for pixels, as a copy that may be modified."""
    import pydicom

    stat = Path(path).stat()
    read = _read_header(path, stat.st_size, stat.st_mtime_ns)
    if "Rows" not in read or "Columns" not in read:
        reason = _NO_IMAGE if "SOPClassUID" in read else "it is not DICOM"
        raise UnreadableImageError(path, reason)
    count = frame_count(read, path)
    if not 0 <= frame < count:
        raise UnreadableImageError(path, f"has no frame {frame}, only 0 to {count - 1}")
    refuse_bomb(read.Rows, read.Columns)
    header = pydicom.Dataset()
    header.update(read)
    header.file_meta = read.file_meta
    return header


@lru_cache(maxsize=_KEPT_HEADERS)
def _read_header(path: str, size: int, changed: int) -> Any:
    """Header of a file, cached for its other frames while its size and mtime are unchanged."""
    import pydicom

    return pydicom.dcmread(path, stop_before_pixels=True, force=True, specific_tags=list(_NEEDED))


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


def _stored(header: Any, path: str, frame: int) -> NDArray[Any]:
    """Stored values (H, W) or (H, W, 3); color is converted to RGB by the decoder."""
    from pydicom.pixels import pixel_array

    try:
        # Given a path, only this frame of a long recording is read.
        values: NDArray[Any] = pixel_array(path, index=frame)
    except AttributeError as error:
        if "no 'Pixel Data'" not in str(error):
            raise
        raise UnreadableImageError(path, _NO_IMAGE) from error
    except ValueError as error:
        cut = _cut_short(path)
        if cut is None:
            raise
        raise cut from error
    except RuntimeError as error:
        syntax = header.file_meta.TransferSyntaxUID
        if "missing dependencies" in str(error):
            raise UnreadableImageError(
                path, f"{syntax.name} needs a decoder that is not installed; {_INSTALL}", lasting=False
            ) from error
        if not syntax.is_compressed or not _lacks_codec(syntax):
            raise
        # Pillow is always installed, but supports only some files of a transfer syntax
        raise UnreadableImageError(
            path,
            f"{syntax.name}: the installed decoders cannot read it, others may; {_INSTALL}",
            lasting=False,
        ) from error
    return values


def _lacks_codec(syntax: Any) -> bool:
    """Whether the decoder of a transfer syntax that the ``dicom`` extra provides is not installed."""
    from pydicom.pixels import get_decoder

    return any("pylibjpeg" in missing for missing in get_decoder(syntax).missing_dependencies)


def _cut_short(path: str) -> UnreadableImageError | None:
    """The error to raise if a file has fewer bytes of pixels than its image needs; None otherwise."""
    import pydicom
    from pydicom.pixels.utils import get_expected_length

    whole = pydicom.dcmread(path, force=True)
    there, needed = len(whole.get("PixelData", b"")), get_expected_length(whole)
    if whole.file_meta.TransferSyntaxUID.is_compressed or there >= needed:
        return None
    return UnreadableImageError(path, f"truncated: {there:,} bytes of pixels where {needed:,} are needed")


def _settings(header: Any, frame: int) -> Any:
    """The header with the frame's own rescale and window copied to the top level."""
    groups = [*header.get("SharedFunctionalGroupsSequence", ())]
    groups += [*header.get("PerFrameFunctionalGroupsSequence", ())][frame : frame + 1]
    for group in groups:
        for name in _GROUPS:
            for item in group.get(name, ()):
                header.update(item)
    return header


def _shown(stored: NDArray[Any], header: Any) -> NDArray[np.uint8]:
    """Convert stored values (H, W) to 8 bits by the window of the header, or by percentiles."""
    from pydicom.pixels import apply_modality_lut

    values = np.asarray(apply_modality_lut(stored, header))
    pixels = _windowed(values, header)
    if pixels is None or (pixels.min() == pixels.max() and values.min() < values.max()):
        # No window, or one that maps the whole image to a single value.
        inside = _without_padding(values, stored, header)
        # Viewers show 8-bit images unchanged, but not deeper ones whose values happen to be small.
        return to_uint8(inside) if header.get("BitsAllocated", 16) <= 8 else by_percentiles(inside)
    return pixels


def _windowed(values: NDArray[Any], header: Any) -> NDArray[np.uint8] | None:
    from pydicom.pixels import apply_voi, apply_windowing

    try:
        if header.get("VOILUTSequence"):
            bits = int(header.VOILUTSequence[0].LUTDescriptor[2])
            return stretch(apply_voi(values, header), 0.0, 2.0**bits - 1)
        if "WindowCenter" not in header or "WindowWidth" not in header:
            return None
        center, width = (np.ravel(header[name].value)[0] for name in ("WindowCenter", "WindowWidth"))
        # Outputs of the window for values far below and above it are its black and white.
        ends = np.array([-1.0, 1.0]) * (abs(float(width)) + 1.0) * 100.0 + float(center)
        low, high = apply_windowing(ends, header)
        return stretch(apply_windowing(values, header), float(low), float(high))
    except (ValueError, TypeError, IndexError, AttributeError, NotImplementedError):
        # Windows of width 0, empty values and tables of the wrong length are common in practice.
        return None


def _without_padding(values: NDArray[Any], stored: NDArray[Any], header: Any) -> NDArray[Any]:
    """Values with padding outside the scan set to NaN, so that percentiles ignore it."""
    padding = header.get("PixelPaddingValue")
    if not isinstance(padding, int) or (stored == padding).all():
        return values
    return np.where(stored == padding, np.nan, values)


def _palette(stored: NDArray[Any], header: Any) -> NDArray[np.uint8]:
    from pydicom.pixels import apply_color_lut

    colors = np.asarray(apply_color_lut(stored, header))
    return _eight_bits(colors[..., :3], colors.dtype.itemsize * 8)


def _eight_bits(colors: NDArray[Any], bits: int) -> NDArray[np.uint8]:
    if bits <= 8:
        return colors.astype(np.uint8)
    return stretch(colors, 0.0, 2.0**bits - 1)
