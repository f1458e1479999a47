"""Colors of frames: of JPEGs, which may contradict the header, of palettes and of other color spaces."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from PIL import Image
from pydicom import uid
from pydicom.pixels import get_decoder

from fiftyone_deepcluster.errors import UnreadableImageError
from fiftyone_deepcluster.images.decode import read_image
from fiftyone_deepcluster.images.dicom.pixels import read_dicom
from fiftyone_deepcluster.images.refs import ImageRef
from tests.images.dicom.files import image, jpeg, made, save
from tests.images.dicom.test_frame import RNG, SMOOTH, gray


def app14(transform: int) -> bytes:
    """An Adobe segment, by which a JPEG states its colors: transform 0 is RGB, 1 is YCbCr."""
    return b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00" + bytes([transform])


def without_segment(data: bytes, marker: int) -> bytes:
    at = data.index(bytes([0xFF, marker]))
    return data[:at] + data[at + 2 + int.from_bytes(data[at + 2 : at + 4], "big") :]


def color_jpegs(values: np.ndarray) -> dict[str, bytes]:
    """JPEGs of an RGB image, which state their colors in different ways."""
    as_jfif = jpeg(values, quality=95, subsampling=0)
    as_rgb = jpeg(values, quality=95, subsampling=0, keep_rgb=True)
    converted = without_segment(as_jfif, 0xE0)
    not_converted = Image.merge("YCbCr", Image.fromarray(values).split())
    file = BytesIO()
    not_converted.save(file, "JPEG", quality=95, subsampling=0)
    plain = without_segment(file.getvalue(), 0xE0)
    return {
        "JFIF": as_jfif,
        "Adobe YCbCr": converted[:2] + app14(1) + converted[2:],
        "JFIF, Adobe YCbCr": as_jfif[:20] + app14(1) + as_jfif[20:],
        "Adobe RGB": plain[:2] + app14(0) + plain[2:],
        "Adobe RGB, named RGB": as_rgb,
        "named RGB": without_segment(as_rgb, 0xEE),
    }


class TestColorsOfJpegs:
    """What a JPEG states of its colors wins over the header, with either decoder."""

    values = np.stack(np.broadcast_arrays(np.arange(48) * 5, np.arange(64)[:, None] * 3, 90), -1).astype(
        np.uint8
    )
    kinds = tuple(color_jpegs(values))

    @pytest.mark.parametrize("plugin", ["pylibjpeg", "pillow"])
    @pytest.mark.parametrize("space", ["RGB", "YBR_FULL", "YBR_FULL_422", "YBR_PARTIAL_422"])
    @pytest.mark.parametrize("kind", kinds)
    def test_one_frame_and_many(self, tmp_path, monkeypatch, plugin, space, kind):
        decoder = get_decoder(uid.JPEGBaseline8Bit)
        monkeypatch.setattr(decoder, "_available", {plugin: decoder._available[plugin]})
        frames = [self.values, self.values[::-1].copy(), 255 - self.values]
        data = [color_jpegs(frame)[kind] for frame in frames]
        header = image(self.values, PhotometricInterpretation=space)
        one = save(tmp_path / "a.dcm", header, uid.JPEGBaseline8Bit, data[:1])
        assert abs(read_dicom(one).astype(int) - self.values).max() <= 6
        header.NumberOfFrames = 3
        many = save(tmp_path / "b.dcm", header, uid.JPEGBaseline8Bit, data)
        for number, frame in enumerate(frames):
            assert abs(read_dicom(many, number).astype(int) - frame).max() <= 6

    @pytest.mark.parametrize("plugin", ["pylibjpeg", "pillow"])
    def test_the_header_counts_if_the_jpeg_states_nothing(self, tmp_path, monkeypatch, plugin):
        decoder = get_decoder(uid.JPEGBaseline8Bit)
        monkeypatch.setattr(decoder, "_available", {plugin: decoder._available[plugin]})
        jpegs = color_jpegs(self.values)
        for space, frame, segment in (
            ("RGB", jpegs["Adobe RGB"], 0xEE),
            ("YBR_FULL_422", jpegs["JFIF"], 0xE0),
        ):
            header = image(self.values, PhotometricInterpretation=space)
            path = save(tmp_path / "a.dcm", header, uid.JPEGBaseline8Bit, [without_segment(frame, segment)])
            assert abs(read_dicom(path).astype(int) - self.values).max() <= 6

    def test_a_gray_jpeg_with_an_adobe_segment(self, tmp_path):
        frame = jpeg(SMOOTH, quality=95)
        frame = frame[:2] + app14(0) + frame[2:]
        path = save(tmp_path / "a.dcm", image(SMOOTH), uid.JPEGBaseline8Bit, [frame])
        np.testing.assert_allclose(gray(path).astype(int), SMOOTH, atol=16)


class TestColor:
    def test_eight_bits_in_sixteen(self, tmp_path):
        colors = RNG.integers(0, 256, (12, 10, 3)).astype(np.uint16)
        pixels = read_image(ImageRef(made(tmp_path / "a.dcm", colors)), "rgb")
        np.testing.assert_array_equal(pixels, colors)

    @pytest.mark.parametrize("space", ["HSV", "YBR_PARTIAL_422"])
    def test_color_spaces_that_are_not_converted(self, tmp_path, space):
        path = made(
            tmp_path / "a.dcm",
            RNG.integers(0, 256, (12, 10, 3)).astype(np.uint8),
            PhotometricInterpretation=space,
        )
        with pytest.raises(UnreadableImageError, match=f"its color space, {space}, is not supported"):
            read_image(ImageRef(path), "rgb")

    def test_subsampled_in_name_only(self, tmp_path):
        values = RNG.integers(0, 256, (12, 10, 3)).astype(np.uint8)
        full = made(tmp_path / "a.dcm", values, PhotometricInterpretation="YBR_FULL")
        named = made(tmp_path / "b.dcm", values, PhotometricInterpretation="YBR_FULL_422")
        np.testing.assert_array_equal(*(read_image(ImageRef(path), "rgb") for path in (full, named)))

    @pytest.mark.parametrize(("bits", "wide"), [(8, False), (8, True), (16, True)])
    def test_palettes(self, tmp_path, bits, wide):
        """Entries of 8 bits, in bytes or words, even where 16 bits are claimed."""
        index = RNG.integers(0, 256, (12, 10)).astype(np.uint8)
        palette = RNG.integers(0, 256, (256, 3))
        palette[0] = 255
        data = image(index, PhotometricInterpretation="PALETTE COLOR")
        for channel, color in enumerate(("Red", "Green", "Blue")):
            setattr(data, f"{color}PaletteColorLookupTableDescriptor", [256, 0, bits])
            entries = palette[:, channel].astype("<u2" if wide else "u1").tobytes()
            setattr(data, f"{color}PaletteColorLookupTableData", entries)
        pixels = read_image(ImageRef(save(tmp_path / "a.dcm", data)), "rgb")
        np.testing.assert_array_equal(pixels, palette[index])

    def test_a_palette_that_is_missing(self, tmp_path):
        path = made(tmp_path / "a.dcm", SMOOTH, PhotometricInterpretation="PALETTE COLOR")
        with pytest.raises(UnreadableImageError, match="palette is missing or incomplete"):
            read_image(ImageRef(path), "rgb")
