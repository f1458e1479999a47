"""Headers as scanners, archives and anonymizers write them: each file shows what the plain one shows."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from pydicom import uid
from pydicom.dataelem import DataElement

from fiftyone_deepcluster.images.dicom.pixels import describe_dicom, is_dicom, read_dicom
from tests.images.dicom.files import RAMP, image, jpeg, jpeg_2000, made, save

WINDOW = {"WindowCenter": "2000", "WindowWidth": "3000"}
ACROSS, DOWN = np.meshgrid(np.arange(0, 256, 4), np.arange(0, 256, 4))
COLORS = np.stack([ACROSS, DOWN, np.full_like(ACROSS, 60)], axis=-1).astype(np.uint8)
GRAY = COLORS[..., 0].copy()


def edited(path, old: bytes, new: bytes, data=None, syntax=uid.ExplicitVRLittleEndian) -> str:
    """A file in which some bytes are replaced."""
    save(path, data or image(RAMP, **WINDOW), syntax)
    content = Path(path).read_bytes()
    assert content.count(old) == 1
    Path(path).write_bytes(content.replace(old, new))
    return str(path)


def check(path, plain):
    """The same picture, and a description that suits it."""
    pixels = read_dicom(path)
    np.testing.assert_array_equal(pixels, plain)
    assert describe_dicom(path) == (*pixels.shape[:2], pixels.shape[2] == 1)
    assert is_dicom(path)


@pytest.fixture
def plain(tmp_path):
    return read_dicom(made(tmp_path / "plain.dcm", RAMP, **WINDOW))


@pytest.mark.parametrize("stated", ["MONOCHROME 2", "GRAYSCALE", "MONOCHROME", "RGB", "YBR_FULL_422"])
def test_names_of_gray(tmp_path, plain, stated):
    check(made(tmp_path / "a.dcm", RAMP, **WINDOW, PhotometricInterpretation=stated), plain)


def test_monochrome_1_with_a_space(tmp_path, plain):
    path = made(tmp_path / "a.dcm", RAMP, **WINDOW, PhotometricInterpretation="MONOCHROME 1")
    check(path, 255 - plain)


def test_color_that_is_called_gray(tmp_path):
    path = made(tmp_path / "a.dcm", COLORS, PhotometricInterpretation="MONOCHROME2")
    check(path, COLORS)
    packed = image(COLORS, PhotometricInterpretation="MONOCHROME2")
    path = save(tmp_path / "b.dcm", packed, uid.JPEGBaseline8Bit, [jpeg(COLORS, quality=95)])
    assert np.abs(read_dicom(path).astype(int) - COLORS).mean() < 4
    assert not describe_dicom(path)[2]


@pytest.mark.parametrize(
    ("center", "width"),
    [
        ("2000,0", "3000,0"),
        ("2000,000", "3000,000"),
        ("+2000", "3000."),
        ("2.0E+03", "3e3"),
        ("2000\0", " 3000"),
        # lists as programs print them
        ("[2000, 40]", "[3000, 400]"),
        ("[2000,40]", "(3000,400)"),
        ("2000;40", "3000; 400"),
        ("[2000\\40]", "[3000\\400]"),
        ("['2000', '40']", "['3000', '400']"),
        ("2000, 40", "[3000]"),
        ("[2000,0;40,5]", "3000,0;400,5"),
    ],
)
def test_decimals(tmp_path, plain, center, width):
    data = image(RAMP, WindowCenter="11111111", WindowWidth="22222222")
    path = Path(save(tmp_path / "a.dcm", data))
    content = path.read_bytes()
    for old, new in ((b"11111111", center.encode()), (b"22222222", width.encode())):
        padded = new + b" " * (len(new) % 2)
        content = content.replace(b"DS\x08\0" + old, b"DS" + struct.pack("<H", len(padded)) + padded)
    path.write_bytes(content)
    check(str(path), plain)


def test_a_binary_number_of_frames_that_would_be_a_space_as_text(tmp_path):
    frames = np.stack([RAMP] * 32)
    path = made(tmp_path / "a.dcm", frames, **WINDOW, NumberOfFrames=DataElement("NumberOfFrames", "US", 32))
    assert describe_dicom(path, 31)[:2] == RAMP.shape
    assert np.array_equal(read_dicom(path, 31), read_dicom(path, 0))


@pytest.mark.parametrize("kind", ["US", "UN", "IS"])
def test_a_number_of_frames_in_other_representations(tmp_path, plain, kind):
    value = {"US": 1, "UN": b"1 ", "IS": "1"}[kind]
    frames = DataElement("NumberOfFrames", kind, value)
    check(made(tmp_path / "a.dcm", RAMP, **WINDOW, NumberOfFrames=frames), plain)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.1 "),
        (b"\xe0\x7f\x10\0OW", b"\xe0\x7f\x10\0UN"),
        (b"\xe0\x7f\x10\0OW", b"\xe0\x7f\0\0UL\4\0\x0c\2\0\0\xe0\x7f\x10\0OW"),
        (b"OW\0\0\0\2\0\0", b"OW\0\0\0\x14\0\0"),
        (
            b"\x28\0\x10\0US\2\0\x10\0\x28\0\x11\0US\2\0\x10\0",
            b"\x28\0\x10\0UN\0\0\2\0\0\0\x10\0\x28\0\x11\0UN\0\0\2\0\0\0\x10\0",
        ),
    ],
    ids=["padded syntax", "unknown representation", "group length", "too long", "rows of unknown kind"],
)
def test_bytes(tmp_path, plain, old, new):
    check(edited(tmp_path / "a.dcm", old, new), plain)


def test_planes_before_compression(tmp_path):
    frames = [jpeg(COLORS, quality=95)]
    elements = {"PhotometricInterpretation": "YBR_FULL_422"}
    plain = save(tmp_path / "a.dcm", image(COLORS, **elements), uid.JPEGBaseline8Bit, frames)
    planes = image(COLORS, **elements, PlanarConfiguration=1)
    check(save(tmp_path / "b.dcm", planes, uid.JPEGBaseline8Bit, frames), read_dicom(plain))


def test_eight_bits_in_sixteen_compressed(tmp_path):
    frames = [jpeg(GRAY, quality=95)]
    plain = save(tmp_path / "a.dcm", image(GRAY), uid.JPEGBaseline8Bit, frames)
    for elements in ({}, {"BitsStored": 12, "HighBit": 11}, {"BitsStored": 16, "HighBit": 15}):
        wide = image(GRAY, BitsAllocated=16, **elements)
        check(save(tmp_path / "b.dcm", wide, uid.JPEGBaseline8Bit, frames), read_dicom(plain))


@pytest.mark.parametrize(
    "stated",
    [uid.JPEGLosslessSV1, uid.JPEGLSLossless, uid.RLELossless, uid.JPEG2000Lossless, uid.JPEGBaseline8Bit],
)
def test_another_compression_than_stated(tmp_path, stated):
    for frame, syntax in ((jpeg(GRAY), uid.JPEGBaseline8Bit), (jpeg_2000(GRAY), uid.JPEG2000Lossless)):
        plain = save(tmp_path / "a.dcm", image(GRAY), syntax, [frame])
        check(save(tmp_path / "b.dcm", image(GRAY), stated, [frame]), read_dicom(plain))
