"""DICOM files of every kind that pydicom carries, shown as a viewer would."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.pixels import pixel_array
from pydicom.sequence import Sequence
from pydicom.uid import JPEG2000Lossless, JPEGExtended12Bit

from fiftyone_deepcluster.errors import UnreadableImageError
from fiftyone_deepcluster.images.decode import Decode, decode_image, describe_image, read_image
from fiftyone_deepcluster.images.dicom.pixels import read_dicom
from fiftyone_deepcluster.images.inspect import image_facts
from fiftyone_deepcluster.images.refs import ImageRef
from tests.images.dicom.files import RAMP, carried, made

GRAY = [
    "CT_small.dcm", "MR_small.dcm", "MR_small_RLE.dcm", "MR_small_bigendian.dcm", "MR_small_implicit.dcm",
    "MR_small_jp2klossless.dcm", "MR_small_jpeg_ls_lossless.dcm", "JPEG2000.dcm", "JPGExtended.dcm",
    "693_J2KI.dcm", "JPEGLSNearLossless_08.dcm", "JPEGLSNearLossless_16.dcm", "liver_1frame.dcm",
    "rtdose_1frame.dcm", "rtdose.dcm", "J2K_pixelrep_mismatch.dcm", "examples_overlay.dcm",
]  # fmt: skip
COLOR = [
    "SC_rgb_small_odd.dcm", "SC_rgb_jpeg_dcmtk.dcm", "SC_rgb_jpeg_gdcm.dcm", "SC_rgb_rle.dcm",
    "SC_rgb_rle_16bit.dcm", "SC_rgb_rle_32bit.dcm", "SC_rgb_rle_2frame.dcm", "SC_rgb_dcmtk_+eb+cy+np.dcm",
    "SC_ybr_full_422_uncompressed.dcm", "SC_rgb_gdcm_KY.dcm", "SC_rgb_jls_lossy_line.dcm",
    "examples_palette.dcm", "examples_rgb_color.dcm", "examples_ybr_color.dcm",
]  # fmt: skip


@pytest.mark.parametrize("name", GRAY)
def test_gray(name):
    header = pydicom.dcmread(carried(name), stop_before_pixels=True)
    pixels = read_dicom(carried(name))
    assert pixels.shape == (header.Rows, header.Columns, 1)
    assert pixels.dtype == np.uint8
    # Something is to be seen.
    assert int(pixels.max()) - int(pixels.min()) > 150
    assert describe_image(ImageRef(carried(name))) == (header.Rows, header.Columns, True)


@pytest.mark.parametrize("name", COLOR)
def test_color(name):
    header = pydicom.dcmread(carried(name), stop_before_pixels=True)
    pixels = read_dicom(carried(name))
    assert pixels.shape == (header.Rows, header.Columns, 3)
    assert np.ptp(pixels.astype(int), axis=-1).max() > 50
    assert describe_image(ImageRef(carried(name))) == (header.Rows, header.Columns, False)


def test_compressed_equals_uncompressed():
    plain = read_dicom(carried("MR_small.dcm"))
    for name in ("MR_small_RLE.dcm", "MR_small_jp2klossless.dcm", "MR_small_jpeg_ls_lossless.dcm"):
        np.testing.assert_array_equal(read_dicom(carried(name)), plain)


def test_rgb_is_exact():
    name = carried("examples_rgb_color.dcm")
    np.testing.assert_array_equal(read_dicom(name), pixel_array(name, index=0))


def test_window_by_the_standard():
    """PS3.3 C.11.2.1.2.1: y = ((x - (c - 0.5)) / (w - 1) + 0.5) * 255, clipped."""
    header = pydicom.dcmread(carried("MR_small.dcm"))
    center, width = float(header.WindowCenter), float(header.WindowWidth)
    values = header.pixel_array.astype(float)
    expected = np.clip(((values - (center - 0.5)) / (width - 1) + 0.5) * 255, 0, 255)
    assert abs(read_dicom(carried("MR_small.dcm"))[..., 0] - expected).max() <= 0.51


def test_window_counts_in_rescaled_values(tmp_path):
    path = made(
        tmp_path / "a.dcm", RAMP.astype(np.int16), RescaleSlope=1, RescaleIntercept=-1024,
        WindowCenter=[40, 600], WindowWidth=[400, 1600],
    )  # fmt: skip
    pixels = read_dicom(path)[..., 0]
    units = RAMP.astype(float) - 1024
    assert (pixels[units < -170] == 0).all()
    assert (pixels[units > 250] == 255).all()
    assert abs(int(pixels[units == 32].item()) - 122) <= 2


def test_no_window_means_percentiles(tmp_path):
    pixels = read_dicom(made(tmp_path / "a.dcm", RAMP))[..., 0]
    low, high = np.percentile(RAMP, [0.5, 99.5])
    expected = np.clip((RAMP - low) / (high - low), 0, 1) * 255
    assert abs(pixels - expected).max() <= 0.51


def test_small_values_of_a_deep_image_are_windowed_and_8_bits_are_not(tmp_path):
    dark = (RAMP // 40).astype(np.uint16)  # 0 to 102 of 65535
    assert int(read_dicom(made(tmp_path / "a.dcm", dark)).max()) == 255
    shown = read_dicom(made(tmp_path / "b.dcm", dark.astype(np.uint8)))[..., 0]
    np.testing.assert_array_equal(shown, dark)


@pytest.mark.parametrize(("center", "width"), [(0, 0), (-30000, 10), (None, None), (100, -5)])
def test_useless_window_means_percentiles(tmp_path, center, width):
    path = made(tmp_path / "a.dcm", RAMP, WindowCenter=center, WindowWidth=width)
    np.testing.assert_array_equal(read_dicom(path), read_dicom(made(tmp_path / "b.dcm", RAMP)))


def test_monochrome1_is_inverted(tmp_path):
    dark = read_dicom(made(tmp_path / "a.dcm", RAMP, PhotometricInterpretation="MONOCHROME1"))
    np.testing.assert_array_equal(dark, 255 - read_dicom(made(tmp_path / "b.dcm", RAMP)))


def test_voi_table(tmp_path):
    table = Dataset()
    table.LUTDescriptor = [256, 0, 8]
    table.LUTData = list(range(255, -1, -1))
    for name in ("LUTDescriptor", "LUTData"):
        table[name].VR = "US"
    values = np.arange(256, dtype=np.uint8).reshape(16, 16)
    pixels = read_dicom(made(tmp_path / "a.dcm", values, VOILUTSequence=Sequence([table])))
    np.testing.assert_array_equal(pixels[..., 0], 255 - values)


def test_padding_is_outside_the_window(tmp_path):
    values = RAMP.astype(np.int16)
    padded = values.copy()
    padded[:8] = -2000
    pixels = read_dicom(made(tmp_path / "a.dcm", padded, PixelPaddingValue=-2000))[..., 0]
    assert (pixels[:8] == 0).all()
    assert pixels[8, :4].max() < 10
    assert pixels[15, -4:].min() > 240


def test_frames_and_their_own_windows(tmp_path):
    def group(center):
        window = Dataset()
        window.WindowCenter, window.WindowWidth = center, 100
        item = Dataset()
        item.FrameVOILUTSequence = Sequence([window])
        return item

    frames = np.stack([RAMP, RAMP])
    groups = Sequence([group(500), group(3000)])
    path = made(tmp_path / "a.dcm", frames, PerFrameFunctionalGroupsSequence=groups)
    for frame, center in enumerate((500, 3000)):
        pixels = read_image(ImageRef(path, frame=frame), "gray")[..., 0]
        np.testing.assert_array_equal(pixels > 127, center <= RAMP)
    with pytest.raises(UnreadableImageError, match="has no frame 2, only 0 to 1"):
        read_dicom(path, 2)


def test_a_changed_file_is_read_anew(tmp_path):
    first = made(tmp_path / "a.dcm", RAMP, WindowCenter=500, WindowWidth=100)
    before = read_dicom(first)
    made(tmp_path / "a.dcm", RAMP, WindowCenter=3000, WindowWidth=1000)
    assert (read_dicom(first) > 127).sum() < (before > 127).sum()


def test_frames_differ():
    path = carried("rtdose.dcm")
    assert not np.array_equal(read_dicom(path, 0), read_dicom(path, 7))


def test_mask_of_one_bit():
    assert set(np.unique(read_dicom(carried("liver_1frame.dcm")))) == {0, 255}


def test_by_content_not_by_name(tmp_path):
    nameless = tmp_path / "IM0001"
    nameless.write_bytes(Path(carried("CT_small.dcm")).read_bytes())
    assert decode_image(ImageRef(str(nameless), (0, 0, 0.5, 0.5)), Decode(32, "rgb")).shape == (32, 32, 3)
    assert image_facts([nameless]).side == 128


# pydicom itself warns of what this file does wrong.
@pytest.mark.filterwarnings("ignore:Expected explicit VR:UserWarning")
@pytest.mark.parametrize("name", ["rtplan.dcm", "reportsi.dcm", "waveform_ecg.dcm"])
def test_no_image_in_it(name):
    with pytest.raises(UnreadableImageError, match="without an image"):
        read_image(ImageRef(carried(name)), "gray")


def test_not_dicom_at_all(tmp_path):
    Image.new("L", (300, 300)).save(tmp_path / "a.png")
    path = (tmp_path / "a.png").rename(tmp_path / "a.dcm")
    with pytest.raises(UnreadableImageError):
        read_image(ImageRef(str(path)), "gray")


def test_truncated():
    with pytest.raises(
        UnreadableImageError, match=r"truncated: [\d,]+ bytes of pixels where 8,192 are needed"
    ):
        read_image(ImageRef(carried("MR_truncated.dcm")), "gray")


def test_missing_decoder_names_the_way_out(monkeypatch):
    from pydicom.pixels import get_decoder

    decoder = get_decoder(JPEG2000Lossless)
    monkeypatch.setattr(decoder, "_available", {})
    monkeypatch.setattr(decoder, "_unavailable", {"pylibjpeg": ("pylibjpeg>=2.0",)})
    with pytest.raises(UnreadableImageError, match=r'pip install "fiftyone-deepcluster\[dicom\]"') as caught:
        read_image(ImageRef(carried("MR_small_jp2klossless.dcm")), "gray")
    assert not caught.value.lasting


def test_a_file_that_only_the_extra_can_decode_is_not_called_damaged(monkeypatch):
    from pydicom.pixels import get_decoder

    decoder = get_decoder(JPEGExtended12Bit)
    available = {name: plugin for name, plugin in decoder._available.items() if name == "pillow"}
    monkeypatch.setattr(decoder, "_available", available)
    monkeypatch.setattr(decoder, "_unavailable", {"pylibjpeg": ("pylibjpeg>=2.0",)})
    with pytest.raises(UnreadableImageError, match=r'cannot read it.*pip install "fiftyone-deepcl') as caught:
        read_image(ImageRef(carried("JPGExtended.dcm")), "gray")
    assert "damaged" not in caught.value.reason
    assert not caught.value.lasting
