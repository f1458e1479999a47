"""Frames of every encoding: read alike, and nothing missing is silent."""

from __future__ import annotations

import struct
import sys
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom import uid
from pydicom.encaps import encapsulate, encapsulate_extended, get_frame
from pydicom.pixels import get_decoder

from fiftyone_deepcluster.errors import UnreadableImageError
from fiftyone_deepcluster.images.decode import describe_image, read_image
from fiftyone_deepcluster.images.dicom.frame import read_frame
from fiftyone_deepcluster.images.dicom.open_file import open_file
from fiftyone_deepcluster.images.dicom.pixels import is_dicom, read_dicom
from fiftyone_deepcluster.images.refs import ImageRef
from tests.images.dicom.files import RAMP, bare, carried, image, jpeg, jpeg_2000, made, save

RNG = np.random.default_rng(51)
SMOOTH = (np.hypot(*np.mgrid[:64, :48]) * 3 % 200 + RNG.integers(0, 40, (64, 48))).astype(np.uint8)
LARGE = np.kron(RNG.integers(0, 200, (50, 40)), np.ones((4, 4))).astype(np.uint8)
DARK_BELOW = np.where(np.arange(200)[:, None] < 150, LARGE, 0).astype(np.uint8)
TWELVE = {"BitsStored": 12, "HighBit": 11}


def gray(path) -> np.ndarray:
    return read_image(ImageRef(str(path)), "gray")[..., 0]


class TestSyntax:
    @pytest.mark.parametrize(
        "syntax",
        [
            uid.ImplicitVRLittleEndian, uid.ExplicitVRBigEndian, uid.DeflatedExplicitVRLittleEndian,
        ],
    )  # fmt: skip
    @pytest.mark.parametrize("values", [RAMP, SMOOTH, np.stack([RAMP, RAMP // 2, RAMP[::-1]])])
    def test_all_read_alike(self, tmp_path, syntax, values):
        elements = {"WindowCenter": "2000", "WindowWidth": "3000", "PixelPaddingValue": 16}
        plain = made(tmp_path / "a.dcm", values, **elements)
        other = save(tmp_path / "b.dcm", image(values, **elements), syntax)
        for frame in range(len(values) if values.ndim == 3 else 1):
            np.testing.assert_array_equal(read_dicom(other, frame), read_dicom(plain, frame))

    def test_deflated_file_of_pydicom(self):
        path = carried("image_dfl.dcm")
        assert describe_image(ImageRef(path)) == (512, 512, True)
        np.testing.assert_array_equal(gray(path), pydicom.dcmread(path).pixel_array)

    @pytest.mark.parametrize(
        ("implicit", "little"),
        [(True, True), (False, True), (False, False)],
        ids=["implicit", "explicit", "big"],
    )
    def test_bare_data_sets(self, tmp_path, implicit, little):
        source = save(
            tmp_path / "a.dcm", image(RAMP), uid.ExplicitVRLittleEndian if little else uid.ExplicitVRBigEndian
        )
        path = bare(source, tmp_path / "IM1", implicit, little)
        assert is_dicom(path)
        np.testing.assert_array_equal(gray(path), gray(source))

    @pytest.mark.parametrize(
        "syntax", [uid.ExplicitVRLittleEndian, uid.ImplicitVRLittleEndian, uid.ExplicitVRBigEndian]
    )
    def test_meta_information_without_the_syntax(self, tmp_path, syntax):
        path = Path(save(tmp_path / "a.dcm", image(RAMP), syntax))
        expected = gray(path)
        without_syntax(path)
        np.testing.assert_array_equal(gray(path), expected)

    def test_compressed_pixels_without_the_syntax(self, tmp_path):
        data = image(SMOOTH)
        for frame, syntax in (
            (jpeg(SMOOTH), uid.JPEGBaseline8Bit),
            (jpeg_2000(SMOOTH), uid.JPEG2000Lossless),
        ):
            path = Path(save(tmp_path / "a.dcm", data, syntax, [frame]))
            expected = gray(path)
            without_syntax(path)
            np.testing.assert_array_equal(gray(path), expected)

    def test_a_syntax_that_the_pixels_contradict(self, tmp_path):
        path = Path(save(tmp_path / "a.dcm", image(SMOOTH), uid.ExplicitVRLittleEndian))
        wrong = path.read_bytes().replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.5\0")
        (tmp_path / "b.dcm").write_bytes(wrong)
        np.testing.assert_array_equal(gray(tmp_path / "b.dcm"), SMOOTH)
        packed = Path(save(tmp_path / "c.dcm", image(SMOOTH), uid.RLELossless, [b"".join(rle(SMOOTH))]))
        assert (gray(packed) == SMOOTH).all()
        packed.write_bytes(packed.read_bytes().replace(b"1.2.840.10008.1.2.5\0", b"1.2.840.10008.1.2.1\0"))
        np.testing.assert_array_equal(gray(packed), SMOOTH)

    @pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.4.110", "1.2.840.10008.1.2.4.100", "1.2.3.4.5"])
    def test_one_that_nobody_decodes(self, tmp_path, syntax):
        path = save(tmp_path / "a.dcm", image(SMOOTH), uid.JPEG2000, [jpeg_2000(SMOOTH)])
        data, old = Path(path).read_bytes(), b"1.2.840.10008.1.2.4.91"
        new = syntax.encode() + b"\0" * (len(syntax) % 2)
        stated = b"UI" + struct.pack("<H", len(old)) + old
        assert data.count(stated) == 1
        Path(path).write_bytes(data.replace(stated, b"UI" + struct.pack("<H", len(new)) + new))
        with pytest.raises(UnreadableImageError, match="transfer syntax") as caught:
            gray(path)
        assert "damaged" not in str(caught.value)


# pydicom warns that the header is not in explicit encoding.
@pytest.mark.filterwarnings("ignore:Expected explicit VR:UserWarning")
@pytest.mark.parametrize("values", [RAMP, SMOOTH, np.stack([RAMP, RAMP // 2])])
def test_pixels_of_ge_in_another_byte_order_than_the_header(tmp_path, values):
    expected = made(tmp_path / "a.dcm", values, WindowCenter=2000, WindowWidth=4000)
    data = image(values, WindowCenter=2000, WindowWidth=4000)
    if values.itemsize == 2:
        data.PixelData = values.astype(">u2").tobytes()
    path = Path(save(tmp_path / "b.dcm", data, uid.ImplicitVRLittleEndian))
    stated, ge = b"1.2.840.10008.1.2\0", b"1.2.840.113619.5.2"
    assert path.read_bytes().count(b"\x02\0\x10\0UI\x12\0" + stated) == 1
    path.write_bytes(path.read_bytes().replace(stated, ge, 1))
    for frame in range(len(values) if values.ndim == 3 else 1):
        np.testing.assert_array_equal(read_dicom(str(path), frame), read_dicom(expected, frame))


def rle(values: np.ndarray) -> list[bytes]:
    """One segment of literal runs (PS3.5, annex G)."""
    runs = [bytes([len(row) - 1]) + row.tobytes() for row in values]
    return [struct.pack("<16L", 1, 64, *[0] * 14), *runs]


def without_syntax(path: Path) -> None:
    """Remove the transfer syntax from the file meta information."""
    data = path.read_bytes()
    at = data.index(b"\x02\0\x10\0UI")
    size = struct.unpack("<H", data[at + 6 : at + 8])[0] + 8
    (length,) = struct.unpack("<L", data[140:144])
    path.write_bytes(data[:140] + struct.pack("<L", length - size) + data[144:at] + data[at + size :])


COMPRESSED = {
    "jpeg": (uid.JPEGBaseline8Bit, jpeg(SMOOTH)),
    "jpeg 2000": (uid.JPEG2000Lossless, jpeg_2000(SMOOTH)),
    "jpeg 2000 with losses": (uid.JPEG2000, jpeg_2000(SMOOTH, irreversible=True)),
    "rle": (uid.RLELossless, b"".join(rle(SMOOTH))),
}


class TestTruncated:
    @pytest.mark.parametrize("plugin", [None, "pillow"])
    @pytest.mark.parametrize("name", COMPRESSED)
    @pytest.mark.parametrize("share", [0.5, 0.9])
    def test_half_a_compressed_image(self, tmp_path, monkeypatch, name, plugin, share):
        syntax, frame = COMPRESSED[name]
        if plugin is not None:
            decoder = get_decoder(syntax)
            only = {key: value for key, value in decoder._available.items() if key in (plugin, "pydicom")}
            monkeypatch.setattr(decoder, "_available", only)
        whole = save(tmp_path / "a.dcm", image(SMOOTH), syntax, [frame])
        assert abs(gray(whole).astype(int) - SMOOTH).mean() < 10
        half = frame[: int(len(frame) * share) // 2 * 2]
        with pytest.raises(UnreadableImageError):
            gray(save(tmp_path / "b.dcm", image(SMOOTH), syntax, [half]))
        data = Path(whole).read_bytes()
        (tmp_path / "c.dcm").write_bytes(data[: int(len(data) - len(frame) * (1 - share))])
        with pytest.raises(UnreadableImageError):
            gray(tmp_path / "c.dcm")

    @pytest.mark.parametrize("plugin", [None, "pillow"])
    @pytest.mark.parametrize("values", [LARGE, DARK_BELOW, np.stack([LARGE, LARGE // 2, DARK_BELOW], -1)])
    @pytest.mark.parametrize("share", [0.3, 0.6])
    def test_half_a_jpeg_that_was_given_an_end(self, tmp_path, monkeypatch, plugin, values, share):
        frame = jpeg(values, quality=90)
        kind = "MONOCHROME2" if values.ndim == 2 else "YBR_FULL_422"
        header = image(values, PhotometricInterpretation=kind)
        if plugin is not None:
            decoder = get_decoder(uid.JPEGBaseline8Bit)
            monkeypatch.setattr(decoder, "_available", {plugin: decoder._available[plugin]})
            monkeypatch.setitem(sys.modules, "libjpeg", None)
        whole = save(tmp_path / "a.dcm", header, uid.JPEGBaseline8Bit, [frame])
        assert gray(whole).shape == values.shape[:2]
        half = frame[: int(len(frame) * share)] + b"\xff\xd9"
        with pytest.raises(
            UnreadableImageError, match="truncated: the end of its compressed image is missing"
        ):
            gray(save(tmp_path / "b.dcm", header, uid.JPEGBaseline8Bit, [half]))

    @pytest.mark.parametrize("name", ["SC_rgb_jpeg_dcmtk.dcm", "JPGExtended.dcm"])
    def test_half_a_jpeg_of_other_encoders_that_was_given_an_end(self, tmp_path, name):
        data = pydicom.dcmread(carried(name))
        frame = get_frame(data.PixelData, 0, number_of_frames=1)
        data.PixelData = encapsulate([frame[: len(frame) * 3 // 5] + b"\xff\xd9"])
        data.save_as(tmp_path / "half.dcm")
        read_dicom(carried(name))
        with pytest.raises(UnreadableImageError, match="the end of its compressed image is missing"):
            read_dicom(str(tmp_path / "half.dcm"))

    @pytest.mark.parametrize(
        "values",
        [np.zeros_like(LARGE), np.full_like(LARGE, 128), DARK_BELOW],
        ids=["black", "gray", "dark below"],
    )
    @pytest.mark.parametrize(
        "options", [{}, {"progressive": True}, {"optimize": True}, {"restart_marker_blocks": 1}]
    )
    def test_a_whole_jpeg_whose_last_rows_are_alike(self, tmp_path, values, options):
        frame = jpeg(values, quality=90, **options)
        path = save(tmp_path / "a.dcm", image(values), uid.JPEGBaseline8Bit, [frame])
        np.testing.assert_allclose(gray(path).astype(int), values, atol=24)

    def test_a_damaged_run_length_is_not_blamed_on_a_missing_decoder(self, tmp_path):
        syntax, frame = COMPRESSED["rle"]
        path = save(tmp_path / "a.dcm", image(SMOOTH), syntax, [frame[: len(frame) // 4 * 2]])
        with pytest.raises(UnreadableImageError) as caught:
            gray(path)
        assert "pip install" not in caught.value.reason
        assert caught.value.lasting

    @pytest.mark.parametrize("compress", [jpeg, jpeg_2000])
    @pytest.mark.parametrize("other", [SMOOTH[:30], SMOOTH.T.copy(), np.stack([SMOOTH] * 3, -1)])
    def test_a_compressed_image_of_another_shape(self, tmp_path, compress, other):
        """Rows and columns swapped have as many pixels."""
        syntax = uid.JPEGBaseline8Bit if compress is jpeg else uid.JPEG2000Lossless
        path = save(tmp_path / "a.dcm", image(SMOOTH), syntax, [compress(other)])
        with pytest.raises(UnreadableImageError, match=r"where the header states \(64, 48, 1\)"):
            gray(path)

    def test_frames_before_the_end_are_read(self, tmp_path):
        frames = np.stack([RAMP, RAMP, RAMP])
        path = made(tmp_path / "a.dcm", frames)
        expected = read_dicom(path, 1)
        data = Path(path).read_bytes()
        (tmp_path / "b.dcm").write_bytes(data[:-100])
        np.testing.assert_array_equal(read_dicom(str(tmp_path / "b.dcm"), 1), expected)
        with pytest.raises(
            UnreadableImageError, match=r"truncated: 1,436 bytes of pixels where 1,536 are needed"
        ):
            read_dicom(str(tmp_path / "b.dcm"), 2)

    def test_a_deflated_file(self, tmp_path):
        path = Path(save(tmp_path / "a.dcm", image(RAMP), uid.DeflatedExplicitVRLittleEndian))
        path.write_bytes(path.read_bytes()[:-50])
        with pytest.raises(UnreadableImageError, match="truncated or damaged: it cannot be inflated"):
            gray(path)

    @pytest.mark.parametrize("syntax", [uid.ExplicitVRLittleEndian, uid.DeflatedExplicitVRLittleEndian])
    @pytest.mark.parametrize("content", [..., b""])
    def test_no_pixels(self, tmp_path, syntax, content):
        path = save(tmp_path / "a.dcm", image(RAMP, PixelData=content), syntax)
        with pytest.raises(UnreadableImageError, match="without an image"):
            gray(path)


class TestBits:
    @pytest.mark.parametrize("syntax", [uid.ExplicitVRLittleEndian, uid.JPEG2000Lossless, uid.JPEG2000])
    def test_overlays_in_unused_bits(self, tmp_path, syntax):
        values = np.tile(np.linspace(0, 4000, 64).astype(np.uint16), (64, 1))
        overlaid = values.copy()
        overlaid[20:30, 20:40] |= 1 << 12
        frames = None if syntax == uid.ExplicitVRLittleEndian else [jpeg_2000(overlaid)]
        clean = made(tmp_path / "a.dcm", values, **TWELVE)
        path = save(tmp_path / "b.dcm", image(overlaid, **TWELVE), syntax, frames)
        np.testing.assert_array_equal(gray(path), gray(clean))

    def test_overshoot_of_lossy_compression_is_no_overlay(self, tmp_path):
        """Edges at white exceed 12 bits a little; they must not become black."""
        values = np.full((64, 64), 4095, np.uint16)
        values[::7], values[:, ::5] = 0, 1500
        frame = jpeg(values, "JPEG2000", no_jp2=True, irreversible=True, quality_layers=[20])
        path = save(tmp_path / "a.dcm", image(values, **TWELVE), uid.JPEG2000, [frame])
        raw = pydicom.dcmread(path).pixel_array
        assert raw.max() > 4095
        pixels = gray(path)
        assert (pixels[raw > 4095] == 255).all()

    def test_more_bits_than_allocated(self, tmp_path):
        data = image(SMOOTH)
        deep = (SMOOTH.astype(np.uint16) * 16).clip(0, 4095)
        path = save(tmp_path / "a.dcm", data, uid.JPEG2000Lossless, [jpeg_2000(deep)])
        expected = gray(made(tmp_path / "b.dcm", deep))
        np.testing.assert_array_equal(gray(path), expected)


def packed(values: np.ndarray) -> bytes:
    """Values of 12 bits as a stream of bits, lowest first, in whole words."""
    bits = (values.ravel()[:, None] >> np.arange(12) & 1).astype(np.uint8)
    data = np.packbits(bits.ravel(), bitorder="little").tobytes()
    return data + b"\0" * (len(data) % 2)


PACKED = {"BitsAllocated": 12, "BitsStored": 12, "HighBit": 11}


class TestPacked:
    """Two pixels of 12 bits in three bytes."""

    def test_pixels_known_by_hand(self, tmp_path):
        path = made(
            tmp_path / "a.dcm",
            np.array([[0x123, 0xABC], [0x000, 0xFFF]], np.uint16),
            PixelData=bytes([0x23, 0xC1, 0xAB, 0x00, 0xF0, 0xFF]),
            **PACKED,
        )
        frame = read_frame(open_file(path), 0)
        assert frame.values.tolist() == [[0x123, 0xABC], [0x000, 0xFFF]]
        assert frame.bits == 12

    @pytest.mark.parametrize("signed", [False, True])
    @pytest.mark.parametrize("syntax", [uid.ExplicitVRLittleEndian, uid.ExplicitVRBigEndian])
    def test_frames_that_begin_within_a_byte(self, tmp_path, signed, syntax):
        values = RNG.integers(0, 4096, (6, 5, 7)).astype(np.uint16)
        expected = (values.astype(np.int16) << 4 >> 4) if signed else values
        content = packed(values)
        if syntax == uid.ExplicitVRBigEndian:
            content = np.frombuffer(content, "<u2").astype(">u2").tobytes()
        data = image(values, PixelData=content, PixelRepresentation=int(signed), **PACKED)
        path = save(tmp_path / "a.dcm", data, syntax)
        for number in range(6):
            frame = read_frame(open_file(path, number), number)
            np.testing.assert_array_equal(frame.values, expected[number])

    def test_it_is_shown_as_with_16_bits(self, tmp_path):
        window = {"WindowCenter": 2048, "WindowWidth": 4096}
        path = made(tmp_path / "a.dcm", RAMP, PixelData=packed(RAMP), **PACKED, **window)
        np.testing.assert_array_equal(gray(path), gray(made(tmp_path / "b.dcm", RAMP, **TWELVE, **window)))

    def test_truncated(self, tmp_path):
        path = made(tmp_path / "a.dcm", RAMP, PixelData=packed(RAMP)[:-2], **PACKED)
        with pytest.raises(UnreadableImageError, match="truncated: 382 bytes of pixels where 384 are needed"):
            gray(path)


def test_floats(tmp_path):
    """Parametric maps: floats, which may be missing (NaN), with a padding value of their own."""
    values = np.linspace(-1.0, 1.0, 256, dtype=np.float32).reshape(16, 16)
    values[0, :4], values[1, :4] = np.nan, -1e30
    data = image(RAMP, PixelData=..., BitsStored=..., HighBit=..., PixelRepresentation=..., BitsAllocated=32)
    data.FloatPixelData, data.FloatPixelPaddingValue = values.tobytes(), float(np.float32(-1e30))
    pixels = gray(save(tmp_path / "a.dcm", data))
    assert (pixels[:2, :4] == 0).all()
    assert pixels[2, 0] < 60
    assert pixels[15, 15] == 255


def test_frames_by_an_extended_offset_table(tmp_path):
    frames = [SMOOTH, 255 - SMOOTH, SMOOTH[::-1]]
    data = image(np.stack(frames))
    packed, data.ExtendedOffsetTable, data.ExtendedOffsetTableLengths = encapsulate_extended(
        [jpeg_2000(frame) for frame in frames]
    )
    path = save(tmp_path / "a.dcm", data, uid.JPEG2000Lossless, packed)
    for number, frame in enumerate(frames):
        np.testing.assert_array_equal(read_dicom(path, number)[..., 0], frame)


def test_a_header_is_parsed_once_for_all_frames(tmp_path, monkeypatch):
    path, count = made(tmp_path / "a.dcm", np.stack([RAMP] * 5)), []
    real = pydicom.dcmread
    monkeypatch.setattr(pydicom, "dcmread", lambda *args, **kwargs: count.append(1) or real(*args, **kwargs))
    for frame in range(5):
        read_dicom(path, frame)
    assert len(count) == 1
