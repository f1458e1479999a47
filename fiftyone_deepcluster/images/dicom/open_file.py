"""Opening of DICOM files for reading pixels: header, transfer syntax, and position of the pixel data.

The header is read by ``pydicom.dcmread``, which inflates deflated files, and guesses the encoding of files that
do not state it. It stops before the pixel data, of which frames are then read one at a time.
"""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from fiftyone_deepcluster.core.arguments import short
from fiftyone_deepcluster.errors import UnreadableImageError
from fiftyone_deepcluster.images.dicom.codestream import syntax_of
from fiftyone_deepcluster.images.dicom.elements import first_integer
from fiftyone_deepcluster.images.dicom.header import frame_count
from fiftyone_deepcluster.images.intensity import refuse_bomb

if TYPE_CHECKING:
    from pydicom.uid import UID

NO_IMAGE = "it is a DICOM object without an image, or truncated before the image"
"""Reason why a file without pixel data cannot be read."""

_COLORS = ("Red", "Green", "Blue", "Alpha")
# Only what pixels need: no name, date or id of a patient.
_NEEDED = (
    "SOPClassUID", "Rows", "Columns", "NumberOfFrames", "SamplesPerPixel", "PhotometricInterpretation",
    "PlanarConfiguration", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation",
    *(f"{kind}PixelPadding{part}" for kind in ("", "Float", "DoubleFloat") for part in ("Value", "RangeLimit")),
    "RescaleSlope", "RescaleIntercept", "ModalityLUTSequence", "VOILUTSequence",
    "WindowCenter", "WindowWidth", "VOILUTFunction",
    *(f"{color}PaletteColorLookupTable{part}" for color in _COLORS for part in ("Descriptor", "Data")),
    *(f"Segmented{color}PaletteColorLookupTableData" for color in _COLORS),
    "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence",
    "ExtendedOffsetTable", "ExtendedOffsetTableLengths",
)  # fmt: skip
_KEYWORDS = {
    (0x7FE0, 0x0008): "FloatPixelData",
    (0x7FE0, 0x0009): "DoubleFloatPixelData",
    (0x7FE0, 0x0010): "PixelData",
}
# Value representations of pixel data; their lengths have 4 bytes. None is an even number in implicit encoding.
_REPRESENTATIONS = (b"OB", b"OW", b"OF", b"OD", b"UN")
# GE's own: the header is implicit little endian, the pixels are big endian
_GE_BIG_ENDIAN = "1.2.840.113619.5.2"
_ITEM = b"\xfe\xff\x00\xe0"
_UNDEFINED = 0xFFFFFFFF
# Bytes of the first frame that are enough to recognize its compression
_GLANCE = 65_536
_KEPT = 4


@dataclass(frozen=True)
class PixelElement:
    """The pixel data element of a file.

    Attributes:
        keyword: PixelData, FloatPixelData or DoubleFloatPixelData.
        representation: its value representation, such as OW; empty if the file states none.
        start: position of its value in the file, or in the inflated data set.
        length: number of bytes there are from its start, at most those of its value.
        syntax: transfer syntax of the pixels.
    """

    keyword: str
    representation: str
    start: int
    length: int
    syntax: UID


@dataclass(frozen=True)
class DicomFile:
    """A DICOM file with at least a header.

    Attributes:
        path: path of the file.
        header: the elements needed for pixels, as read by pydicom.
        rows: height of the image in pixels.
        columns: width of the image in pixels.
        n_frames: number of frames according to the header.
        pixels: its pixel data, or None without an image.
        inflated: the data set of a deflated file; None otherwise.
    """

    path: str
    header: Any
    rows: int
    columns: int
    n_frames: int
    pixels: PixelElement | None
    inflated: bytes | None

    def open(self) -> BinaryIO:
        """The file, or its inflated data set."""
        return Path(self.path).open("rb") if self.inflated is None else io.BytesIO(self.inflated)


def open_file(path: str, frame: int = 0) -> DicomFile:
    """Read the header of a DICOM file.

    Args:
        path: path of the file.
        frame: index of the frame that is to be read.

    Raises:
        UnreadableImageError: not DICOM, no image, no such frame, or a transfer syntax that is not known.
    """
    stat = Path(path).stat()
    file = _open(path, stat.st_size, stat.st_mtime_ns)
    if not 0 <= frame < file.n_frames:
        raise UnreadableImageError(path, f"has no frame {frame}, only 0 to {file.n_frames - 1}")
    return file


@lru_cache(maxsize=_KEPT)
def _open(path: str, size: int, changed: int) -> DicomFile:
    """Open a file, or return it for its other frames while its size and mtime are unchanged."""
    import pydicom

    with Path(path).open("rb") as file:
        header = pydicom.dcmread(file, stop_before_pixels=True, force=True, specific_tags=list(_NEEDED))
        rows, columns = first_integer(header, "Rows"), first_integer(header, "Columns")
        if rows < 1 or columns < 1:
            raise UnreadableImageError(path, NO_IMAGE if "SOPClassUID" in header else "it is not DICOM")
        refuse_bomb(rows, columns)
        inflated = header.buffer.getvalue() if header.buffer is not None else None
        source = file if inflated is None else header.buffer
        pixels = _pixels_at(source, header, path)
    return DicomFile(path, header, rows, columns, frame_count(header, path), pixels, inflated)


def _pixels_at(source: BinaryIO, header: Any, path: str) -> PixelElement | None:
    """The pixel data element that begins at the current position; None if there is another, or the end."""
    order = "<" if header.original_encoding[1] else ">"
    head = source.read(12)
    if len(head) < 8 or struct.unpack(order + "HH", head[:4]) not in _KEYWORDS:
        return None
    explicit = head[4:6] in _REPRESENTATIONS and len(head) == 12
    (length,) = struct.unpack(order + "L", head[8:] if explicit else head[4:8])
    if not length:
        return None
    start = source.tell() - len(head) + (12 if explicit else 8)
    there = source.seek(0, io.SEEK_END) - start
    source.seek(start)
    return PixelElement(
        keyword=_KEYWORDS[struct.unpack(order + "HH", head[:4])],
        representation=head[4:6].decode() if explicit else "",
        start=start,
        length=there if length == _UNDEFINED else min(length, there),
        syntax=_syntax(header, source.read(_GLANCE), length == _UNDEFINED, path),
    )


def _syntax(header: Any, first: bytes, undefined: bool, path: str) -> UID:
    """Transfer syntax of the pixels; guessed if the file states none, or one that its pixels contradict.

    Args:
        header: header of the file.
        first: the first bytes of the pixel data.
        undefined: whether the length of the pixel data is undefined, as that of compressed images is.
        path: path of the file.

    Raises:
        UnreadableImageError: the transfer syntax is not known, or the compression is not recognized.
    """
    from pydicom import uid

    implicit, little = header.original_encoding
    plain = uid.ImplicitVRLittleEndian if implicit else uid.ExplicitVRLittleEndian
    stated = header.file_meta.get("TransferSyntaxUID") or (plain if little else uid.ExplicitVRBigEndian)
    if stated == _GE_BIG_ENDIAN:
        return uid.ExplicitVRBigEndian
    if not stated.is_transfer_syntax:
        raise UnreadableImageError(path, f"its transfer syntax is {short(str(stated))}, which is not known")
    packed = undefined or first.startswith(_ITEM)
    if not packed:
        return plain if stated.is_encapsulated else stated
    found = syntax_of(_after_offsets(first))
    if stated.is_encapsulated and (found is None or _alike(found, stated)):
        return stated
    if found is None:
        raise UnreadableImageError(
            path, f"its transfer syntax is {stated.name}, but its pixels are compressed in an unknown way"
        )
    return found


def _alike(found: UID, stated: UID) -> bool:
    """Whether decoders of one transfer syntax read the other; also if nothing is known about the stated one."""
    from pydicom import uid

    kinds = (
        uid.JPEGTransferSyntaxes,
        uid.JPEGLSTransferSyntaxes,
        uid.JPEG2000TransferSyntaxes,
        [uid.RLELossless],
    )
    kind = next((kind for kind in kinds if stated in kind), None)
    return kind is None or found in kind


def _after_offsets(first: bytes) -> bytes:
    """The first fragment, after the items of the offset table and of the fragment itself."""
    table = int.from_bytes(first[4:8], "little")
    return first[8 + table + 8 :]
