"""What compressed frames say of themselves, and whether they are complete."""

from __future__ import annotations

import numpy as np
import pydicom
import pytest
from pydicom import uid
from pydicom.encaps import get_frame

from fiftyone_deepcluster.images.dicom import codestream
from tests.images.dicom.files import carried, jpeg, jpeg_2000

NOISE = np.random.default_rng(51).integers(0, 256, (40, 56), np.uint8)
CARRIED = {
    "JPEGLSNearLossless_08.dcm": (uid.JPEGLSLossless, 8),
    "MR_small_jpeg_ls_lossless.dcm": (uid.JPEGLSLossless, 16),
    "JPGExtended.dcm": (uid.JPEGExtended12Bit, 12),
    "JPEG2000.dcm": (uid.JPEG2000, 16),
    "MR_small_jp2klossless.dcm": (uid.JPEG2000, 16),
    "SC_rgb_jpeg_dcmtk.dcm": (uid.JPEGBaseline8Bit, 8),
}


def first_frame(name: str) -> bytes:
    data = pydicom.dcmread(carried(name))
    return get_frame(data.PixelData, 0, number_of_frames=1)


@pytest.mark.parametrize("name", CARRIED)
def test_kind_and_bits(name):
    syntax, bits = CARRIED[name]
    data = first_frame(name)
    assert codestream.syntax_of(data) == syntax
    header = pydicom.dcmread(carried(name), stop_before_pixels=True)
    shape = codestream.coded_shape(data)
    assert shape == codestream.CodedShape(bits, header.Rows, header.Columns, header.SamplesPerPixel)
    assert not codestream.is_cut(data)


def test_other_data():
    assert codestream.syntax_of(first_frame("MR_small_RLE.dcm")) == uid.RLELossless
    for data in (b"", b"\0" * 100, b"\xff\xd8", b"\xff\x4f\xff\x51"):
        assert codestream.syntax_of(data) in (None, uid.JPEG2000)
        assert codestream.coded_shape(data) is None
    assert not codestream.is_cut(first_frame("MR_small_RLE.dcm"))


WHOLE = {
    "jpeg": jpeg(NOISE, quality=90),
    "progressive": jpeg(NOISE, quality=90, progressive=True),
    "with a preview": jpeg(NOISE, exif=b"Exif\0\0" + jpeg(NOISE[:16, :16])),
    "jpeg 2000": jpeg_2000(NOISE),
    "jpeg 2000 in tiles": jpeg(NOISE, "JPEG2000", no_jp2=True, tile_size=(16, 16)),
    "jp2": jpeg(NOISE, "JPEG2000"),
    "jpeg-ls": first_frame("MR_small_jpeg_ls_lossless.dcm"),
}


@pytest.mark.parametrize("data", WHOLE.values(), ids=WHOLE)
def test_cut_anywhere(data):
    assert not codestream.is_cut(data)
    assert not codestream.is_cut(data + b"\0")
    for share in (0.99, 0.8, 0.5, 0.2):
        assert codestream.is_cut(data[: int(len(data) * share)])


@pytest.mark.parametrize("name", ["jpeg 2000", "jpeg 2000 in tiles", "jp2"])
def test_half_a_jpeg_2000_with_an_end_is_cut_and_a_whole_one_without_is_not(name):
    data = WHOLE[name]
    assert codestream.is_cut(data[: len(data) // 2] + b"\xff\xd9")
    assert not codestream.is_cut(data[:-2])


def test_losses():
    assert codestream.is_irreversible(jpeg_2000(NOISE, irreversible=True))
    assert not codestream.is_irreversible(jpeg_2000(NOISE))
    assert not codestream.is_irreversible(WHOLE["jpeg"])
