"""One frame of the pixel data of a DICOM file, decoded to its stored values."""

from __future__ import annotations

import io
import math
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from fiftyone_deepcluster.errors import UnreadableImageError
from fiftyone_deepcluster.images.dicom import codestream
from fiftyone_deepcluster.images.dicom.elements import data_bytes, first_integer
from fiftyone_deepcluster.images.dicom.header import photometric_interpretation
from fiftyone_deepcluster.images.dicom.open_file import NO_IMAGE

if TYPE_CHECKING:
    from typing import BinaryIO

    from numpy.typing import NDArray
    from pydicom.uid import UID

    from fiftyone_deepcluster.images.dicom.codestream import CodedShape
    from fiftyone_deepcluster.images.dicom.open_file import DicomFile, PixelElement

# How values may leave the range of BitsStored: by bits above it that belong to something else; or, after
# compression with losses, by a small excess of the unsigned codes (JPEG) or of the values (others).
_Excess = Literal["other bits", "codes", "values"]

_INSTALL = 'pip install "fiftyone-deepcluster[dicom]"'
# Retired color spaces, which the decoders do not convert (PS3.3, C.7.6.3.1.2)
_NO_RGB = ("HSV", "ARGB", "CMYK", "YBR_PARTIAL_422", "YBR_PARTIAL_420")
# Columns after which a filled end repeats: the width of a block whose colors have half the resolution
_PERIOD = 16
_FLOATS = {"FloatPixelData": 32, "DoubleFloatPixelData": 64}


@dataclass(frozen=True)
class Frame:
    """Stored values of one frame.

    Attributes:
        values: (H, W) or (H, W, 3): integers of BitsStored bits, signed if the header says so, or floats; color
            is RGB.
        raw: the same as decoded, with all bits.
        bits: BitsStored; None for floats.
    """

    values: NDArray[Any]
    raw: NDArray[Any]
    bits: int | None


def read_frame(file: DicomFile, index: int) -> Frame:
    """Decode one frame.

    Raises:
        UnreadableImageError: no pixels, fewer than the header declares, a color space or compression that is not
            supported, or the package that decodes it is not installed.
    """
    pixels = file.pixels
    if pixels is None:
        raise UnreadableImageError(file.path, NO_IMAGE)
    options = _options(file, pixels)
    excess: _Excess = "other bits"
    with file.open() as source:
        source.seek(pixels.start)
        if pixels.syntax.is_encapsulated:
            data = _compressed(source, file, index, options)
            excess = _check_compressed(data, file, options, pixels.syntax)
            raw = _decoded(_alone(data, options), file.path, 0, options, pixels.syntax)
            if _is_filled(raw, data):
                raise UnreadableImageError(file.path, "truncated: the end of its compressed image is missing")
        else:
            _check_length(file, pixels, index, options)
            if options["bits_allocated"] == 12 and options["samples_per_pixel"] == 1:
                content, index = _unpacked(source, index, options, pixels.syntax.is_little_endian), 0
            else:
                content = source
            raw = _decoded(content, file.path, index, options, pixels.syntax)
    if pixels.keyword in _FLOATS:
        return Frame(raw, raw, None)
    bits = options["bits_stored"]
    return Frame(_in_range(raw, bits, first_integer(file.header, "HighBit", bits - 1), excess), raw, bits)


def _options(file: DicomFile, pixels: PixelElement) -> dict[str, Any]:
    """Options of pydicom's decoders, with the usual value of elements that are missing."""
    header = file.header
    allocated = _FLOATS.get(pixels.keyword) or first_integer(header, "BitsAllocated", 8)
    stored = first_integer(header, "BitsStored")
    options = {
        "rows": file.rows,
        "columns": file.columns,
        "number_of_frames": file.n_frames,
        "samples_per_pixel": first_integer(header, "SamplesPerPixel", 1),
        "planar_configuration": first_integer(header, "PlanarConfiguration"),
        "photometric_interpretation": photometric_interpretation(header),
        "bits_allocated": allocated,
        "bits_stored": stored if 0 < stored <= allocated else allocated,
        "pixel_representation": first_integer(header, "PixelRepresentation"),
        "pixel_keyword": pixels.keyword,
        "pixel_vr": pixels.representation,
        "correct_unused_bits": False,  # see _in_range, for all compressions alike
    }
    offsets = tuple(data_bytes(header, f"ExtendedOffsetTable{part}")[0] for part in ("", "Lengths"))
    return options | ({"extended_offsets": offsets} if all(offsets) else {})


def _check_length(file: DicomFile, pixels: PixelElement, index: int, options: dict[str, Any]) -> None:
    """Raise UnreadableImageError if an uncompressed frame ends beyond the end of the file."""
    size = file.rows * file.columns * options["samples_per_pixel"] * options["bits_allocated"] / 8
    if options["photometric_interpretation"] == "YBR_FULL_422":
        if pixels.length >= size * file.n_frames:  # in spite of its name not subsampled
            options["photometric_interpretation"] = "YBR_FULL"
        else:
            size = size // 3 * 2
    if pixels.length < math.ceil(size * (index + 1)):
        needed = math.ceil(size * file.n_frames)
        raise UnreadableImageError(
            file.path, f"truncated: {pixels.length:,} bytes of pixels where {needed:,} are needed"
        )


def _compressed(source: BinaryIO, file: DicomFile, index: int, options: dict[str, Any]) -> bytes:
    """The compressed data of a frame."""
    from pydicom.encaps import get_frame

    offsets = options.get("extended_offsets")
    try:
        return bytes(get_frame(source, index, number_of_frames=file.n_frames, extended_offsets=offsets))
    except (ValueError, struct.error) as error:
        raise UnreadableImageError(
            file.path, f"truncated or damaged: frame {index} is not found in its compressed pixels ({error})"
        ) from error


def _alone(data: bytes, options: dict[str, Any]) -> BinaryIO:
    """A compressed frame as the only one of its pixel data, in the colors that it states itself.

    The header often states the colors before compression. So what a JPEG with losses states wins over the header
    (``codestream.is_rgb``): names of its components and a JFIF segment, as in pydicom, and an Adobe segment, as in
    libjpeg. If it states nothing, the header counts. Some decoders convert the colors of a JPEG with an Adobe segment
    themselves, so the frame keeps one only for RGB, which nothing converts.
    """
    from pydicom.encaps import encapsulate

    options["planar_configuration"] = 0  # of decoded values, whatever it was before compression
    options["number_of_frames"] = 1
    options.pop("extended_offsets", None)
    rgb = codestream.is_rgb(data)
    if rgb is not None:
        options["photometric_interpretation"] = "RGB" if rgb else "YBR_FULL"
        data = codestream.with_colors(data, rgb)
    return io.BytesIO(encapsulate([data]))


def _unpacked(source: BinaryIO, index: int, options: dict[str, Any], little: bool) -> BinaryIO:
    """An uncompressed gray frame of 12 bits a pixel, a retired encoding, as one of 16 bits.

    Of three bytes, the first and the lower half of the second are one pixel, the rest is the next (PS3.5 before
    2003, annex D). Big-endian files have every two bytes swapped. A frame may begin within a byte.
    """
    n_pixels = options["rows"] * options["columns"]
    skipped = index * n_pixels % 4
    source.seek((index * n_pixels - skipped) // 4 * 6, io.SEEK_CUR)
    size = math.ceil((skipped + n_pixels) / 4) * 6
    words = np.frombuffer(source.read(size).ljust(size, b"\0"), "<u2" if little else ">u2")
    first, second, third = words.astype("<u2").view(np.uint8).reshape(-1, 3).T.astype(np.uint16)
    pixels = np.stack([first | (second & 15) << 8, second >> 4 | third << 4], -1).ravel()[skipped:]
    options["bits_allocated"], options["number_of_frames"] = 16, 1
    return io.BytesIO(pixels[:n_pixels].astype(words.dtype).tobytes())


def _check_compressed(data: bytes, file: DicomFile, options: dict[str, Any], syntax: UID) -> _Excess:
    """Raise UnreadableImageError if a compressed frame is cut; return how its values may leave their range."""
    from pydicom import uid

    if codestream.is_cut(data):
        raise UnreadableImageError(
            file.path, f"truncated: its compressed image is incomplete, with {len(data):,} bytes"
        )
    _fit_to(codestream.coded_shape(data), file, options)
    if syntax in (uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit):
        return "codes"
    if syntax == uid.JPEGLSNearLossless or codestream.is_irreversible(data):
        return "values"
    return "other bits"


def _fit_to(shape: CodedShape | None, file: DicomFile, options: dict[str, Any]) -> None:
    """Allocate the bits of a compressed frame.

    Raises:
        UnreadableImageError: its size or channels are not those of the header.
    """
    if shape is None:
        return
    # a height of 0 is stated after the image
    coded = shape.height or file.rows, shape.width, shape.channels
    stated = (file.rows, file.columns, options["samples_per_pixel"])
    if coded != stated:
        raise UnreadableImageError(
            file.path,
            f"its compressed image has (rows, columns, channels) {coded} where the header states {stated}",
        )
    allocated = options["bits_allocated"]
    options["bits_allocated"] = next(size for size in (8, 16, 32, 64) if shape.bits <= size)
    if shape.bits > allocated:
        options["bits_stored"] = shape.bits
    options["bits_stored"] = min(options["bits_stored"], options["bits_allocated"])


def _decoded(source: BinaryIO, path: str, index: int, options: dict[str, Any], syntax: UID) -> NDArray[Any]:
    """Values as decoded by pydicom, in native byte order; color is converted to RGB."""
    from pydicom.pixels import get_decoder
    from pydicom.uid import RLELossless

    try:
        decoder = get_decoder(syntax)
    except NotImplementedError as error:
        raise UnreadableImageError(path, f"its transfer syntax, {syntax.name}, is not supported") from error
    try:
        values, facts = decoder.as_array(source, index=index, **options)
    except RuntimeError as error:
        if "missing dependencies" in str(error):
            raise UnreadableImageError(
                path, f"{syntax.name} needs a decoder that is not installed; {_INSTALL}", lasting=False
            ) from error
        # The extra has no decoder of RLE, which pydicom's own decodes completely.
        missing = [] if syntax == RLELossless else decoder.missing_dependencies
        if not any("pylibjpeg" in name for name in missing):
            raise
        # Pillow is always installed, but supports only some files of a transfer syntax.
        raise UnreadableImageError(
            path,
            f"{syntax.name}: the installed decoders cannot read it, others may; {_INSTALL}",
            lasting=False,
        ) from error
    space = facts["photometric_interpretation"]
    if values.ndim == 3 and space in _NO_RGB:
        raise UnreadableImageError(path, f"its color space, {space}, is not supported")
    return np.ascontiguousarray(values, values.dtype.newbyteorder("="))


def _is_filled(raw: NDArray[Any], data: bytes) -> bool:
    """Whether a decoder filled the end of a JPEG that was cut and given an end marker again.

    Decoders do not report it. They repeat one value or one block, so the last row is periodic, as is that of a dark
    border. Without its last few bytes, a whole image differs in its last rows only, and a cut one where it was cut.
    """
    last = raw[-1]
    if len(last) > _PERIOD and (last[_PERIOD:] != last[:-_PERIOD]).any():
        return False
    shorter = codestream.without_end(data)
    if shorter is None or shorter[1] >= len(raw):
        return False
    try:
        one, other = _decode_jpeg(data), _decode_jpeg(shorter[0])
    except Exception:
        # decoders raise anything, and the shorter data is no image that must be read
        return False
    return one.shape == other.shape and bool((one != other)[: -shorter[1]].any())


def _decode_jpeg(data: bytes) -> NDArray[Any]:
    """(H, W) or (H, W, 3) values of a JPEG, by one decoder and without conversion of colors."""
    try:
        import libjpeg
    except ImportError:
        from io import BytesIO

        from PIL import Image

        return np.asarray(Image.open(BytesIO(data)))
    values: NDArray[Any] = libjpeg.decode(data)  # type: ignore[attr-defined]
    return values


def _in_range(raw: NDArray[Any], bits: int, high_bit: int, excess: _Excess) -> NDArray[Any]:
    """Values of ``bits`` bits, from values that may have others above, which in old files are overlays.

    Args:
        raw: values as decoded, signed or unsigned.
        bits: BitsStored.
        high_bit: HighBit: above ``bits - 1`` in old files whose values are in the upper bits.
        excess: see ``_Excess``.
    """
    size = raw.dtype.itemsize * 8
    if bits >= size or (_extended(raw, bits) == raw).all():
        return raw
    if excess == "values":
        low = -(2 ** (bits - 1)) if raw.dtype.kind == "i" else 0
        clipped: NDArray[Any] = np.clip(raw, low, low + 2**bits - 1)
        return clipped
    codes = raw.view(f"u{raw.dtype.itemsize}")
    if excess == "codes":
        codes = np.minimum(codes, 2**bits - 1)
    elif bits <= high_bit < size:
        codes = codes >> (high_bit + 1 - bits)
    return _extended(codes.view(raw.dtype), bits)


def _extended(values: NDArray[Any], bits: int) -> NDArray[Any]:
    """The lower ``bits`` bits; for a signed type, with the highest of them as sign."""
    shift = values.dtype.itemsize * 8 - bits
    found: NDArray[Any] = np.right_shift(np.left_shift(values, shift), shift)
    return found
