"""Facts about compressed frames that header elements do not state, or state wrongly.

JPEG and JPEG-LS: ITU-T T.81, annex B, and T.87, annex C. JPEG 2000: ITU-T T.800, annex A. RLE: DICOM PS3.5,
annex G.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydicom.uid import UID

_JPEG, _JPEG_2000, _JP2 = b"\xff\xd8", b"\xff\x4f\xff\x51", b"\0\0\0\x0cjP  "
_BOX = b"jp2c"
_END, _SCAN = b"\xff\xd9", b"\xff\xda"
_TILE_PART, _CODING = 0x90, 0x52
_JPEG_LS = 0xF7
# Start-of-frame markers; 0xC4, 0xC8 and 0xCC are others
_FRAMES = {*range(0xC0, 0xD0), _JPEG_LS} - {0xC4, 0xC8, 0xCC}
# Frames coded value by value, or block by block, with Huffman codes
_SEQUENTIAL = {0xC0, 0xC1, 0xC3}
_LEFT_OUT = 4
# Frames of blocks, compressed with losses, whose colors may have been converted to YCbCr before
_LOSSY = {0xC0, 0xC1, 0xC2}
_RGB_NAMES = (b"RGB", b"rgb")
# Segments of applications that state colors
_JFIF, _ADOBE = 0xE0, 0xEE
_COLOR_SEGMENTS = {_JFIF: b"JFIF", _ADOBE: b"Adobe"}
_TRANSFORM = 15
_ADOBE_RGB = b"\xff\xee\0\x0eAdobe\0\x64" + bytes(5)
_BLOCK, _LARGEST_BLOCK = 8, 16
_RLE_HEADER = 64


def syntax_of(data: bytes) -> UID | None:
    """Transfer syntax of a compressed frame, by its content; None if it is not recognized."""
    from pydicom import uid

    if data.startswith((_JPEG_2000, _JP2)):
        return uid.JPEG2000
    if data.startswith(_JPEG):
        kinds = {0xC0: uid.JPEGBaseline8Bit, 0xC1: uid.JPEGExtended12Bit, 0xC2: uid.JPEGBaseline8Bit,
                 0xC3: uid.JPEGLossless, _JPEG_LS: uid.JPEGLSLossless}  # fmt: skip
        return kinds.get(_jpeg_frame(data)[0])
    first = [int.from_bytes(data[at : at + 4], "little") for at in (0, 4)]
    return uid.RLELossless if 1 <= first[0] <= 15 and first[1] == _RLE_HEADER else None


def is_cut(data: bytes) -> bool:
    """Whether a JPEG, JPEG-LS or JPEG 2000 frame ends before its image does; False for other data.

    Decoders differ: some fail, others fill the rest with gray or with a coarse image.
    """
    if data.startswith(_JPEG):
        # Neither marker can occur within compressed data.
        return data.rfind(_END) < data.rfind(_SCAN) or _SCAN not in data
    start = _main_header(data)
    return start is not None and _tiles_cut(data, start)


def without_end(data: bytes) -> tuple[bytes, int] | None:
    """A JPEG without the last bytes of its compressed values.

    Returns:
        The shorter JPEG, and the number of rows of the image that these bytes can hold, at most: a block of 8 x 8 takes
        2 bits or more, a value of a lossless JPEG 1 bit. None for data in which few bits can hold any number of blocks
        (progressive JPEG, JPEG-LS, JPEG 2000) or that is not JPEG.
    """
    marker, at = _jpeg_frame(data) if data.startswith(_JPEG) else (0, None)
    height, width = (0, 0) if at is None else (_number(data, at + 5, 2), _number(data, at + 7, 2))
    if marker not in _SEQUENTIAL or not height or not width:
        return None
    values = data[: max(0, data.rfind(_END) - _LEFT_OUT)].rstrip(b"\xff")
    return values + _END, _LARGEST_BLOCK * (1 + math.ceil(_LEFT_OUT * 8 // 2 * _BLOCK / width))


@dataclass(frozen=True)
class CodedShape:
    """Shape of a compressed frame, as its own header states it."""

    bits: int
    height: int
    width: int
    channels: int


def coded_shape(data: bytes) -> CodedShape | None:
    """Shape of a JPEG, JPEG-LS or JPEG 2000 frame; None for other data."""
    start = _main_header(data)
    if start is not None and len(data) > start + 42:
        right, bottom, left, top = (_number(data, start + at, 4) for at in (8, 12, 16, 20))
        bits = (data[start + 42] & 0x7F) + 1
        return CodedShape(bits, bottom - top, right - left, _number(data, start + 40, 2))
    at = _jpeg_frame(data)[1] if data.startswith(_JPEG) else None
    if at is None or len(data) < at + 10:
        return None
    return CodedShape(data[at + 4], _number(data, at + 5, 2), _number(data, at + 7, 2), data[at + 9])


def is_irreversible(data: bytes) -> bool:
    """Whether a JPEG 2000 frame was compressed with losses, by its wavelet."""
    start = _main_header(data)
    if start is None:
        return False
    return any(
        marker == _CODING and data[at + 13 : at + 14] == b"\0" for marker, at in _segments(data, start)
    )


def is_rgb(data: bytes) -> bool | None:
    """Whether the colors of a JPEG with losses are RGB (True) or YCbCr (False), as it states itself.

    In this order: components named R, G and B are RGB; a JFIF segment means YCbCr; then the transform of an
    Adobe segment counts (ITU-T T.872, 6.5.3), where 0 is RGB. None if it states nothing, does not have three
    channels, or is not a JPEG with losses.
    """
    marker, at = _jpeg_frame(data) if data.startswith(_JPEG) else (0, None)
    if at is None or marker not in _LOSSY or data[at + 9 : at + 10] != b"\3":
        return None
    if data[at + 10 : at + 19 : 3] in _RGB_NAMES:
        return True
    stated = {marker: start for marker, start, _ in _color_segments(data)}
    if _JFIF in stated or _ADOBE not in stated:
        return False if stated else None
    start = stated[_ADOBE] + _TRANSFORM
    return data[start : start + 1] == b"\0"


def with_colors(data: bytes, rgb: bool) -> bytes:
    """A JPEG that states these colors and no others, for decoders that convert as it states."""
    for _, start, end in reversed(list(_color_segments(data))):
        data = data[:start] + data[end:]
    return _JPEG + (_ADOBE_RGB if rgb else b"") + data[len(_JPEG) :]


def _color_segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Marker, start and end of each segment of a JPEG that states colors."""
    for marker, at in _segments(data, 0):
        if marker in _COLOR_SEGMENTS and data.startswith(_COLOR_SEGMENTS[marker], at + 4):
            yield marker, at, at + 2 + _number(data, at + 2, 2)


def _main_header(data: bytes) -> int | None:
    """Position of a JPEG 2000 codestream, which may be in a JP2 file."""
    start = data.find(_BOX) + len(_BOX) if data.startswith(_JP2) else 0
    return start if data[start : start + 4] == _JPEG_2000 else None


def _segments(data: bytes, start: int) -> Iterator[tuple[int, int]]:
    """Marker and position of each segment after the first marker, up to the first that has no length."""
    at = start + 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        if data[at + 1] == 0xFF:  # fill byte
            at += 1
            continue
        yield data[at + 1], at
        at += 2 + _number(data, at + 2, 2)


def _jpeg_frame(data: bytes) -> tuple[int, int | None]:
    """Start-of-frame marker of a JPEG and its position; (0, None) if there is none."""
    for marker, at in _segments(data, 0):
        if marker in _FRAMES:
            return marker, at
        if marker == _SCAN[1]:
            break
    return 0, None


def _number(data: bytes, at: int, size: int) -> int:
    return int.from_bytes(data[at : at + size], "big")


def _tiles_cut(data: bytes, start: int) -> bool:
    """Whether the tile-parts of a JPEG 2000 codestream extend beyond its end, or some tiles have none."""
    at = next((at for marker, at in _segments(data, start) if marker == _TILE_PART), len(data))
    seen = set()
    while data[at : at + 2] == bytes([0xFF, _TILE_PART]):
        tile, length = _number(data, at + 4, 2), _number(data, at + 6, 4)
        if not length:  # up to the end marker
            return _END not in data[at:]
        seen.add(tile)
        at += length
    # Some encoders omit the end marker, so it is not required.
    return at > len(data) or len(seen) < _n_tiles(data[start:])


def _n_tiles(data: bytes) -> int:
    right, bottom, _, _, width, height, left, top = (_number(data, at, 4) for at in range(8, 40, 4))
    return math.ceil((right - left) / max(1, width)) * math.ceil((bottom - top) / max(1, height))
