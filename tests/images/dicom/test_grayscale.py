"""Gray images of headers as hospitals have them: rescale, tables, windows and padding that are odd or useless."""

from __future__ import annotations

import numpy as np
import pytest
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset

from fiftyone_deepcluster.images.dicom.pixels import read_dicom
from tests.images.dicom.files import RAMP, lookup, made

RNG = np.random.default_rng(51)
TWELVE = {"BitsStored": 12, "HighBit": 11}
WINDOW = {"WindowCenter": 2048, "WindowWidth": 4096}


def shown(path, values=RAMP, **elements) -> np.ndarray:
    return read_dicom(made(path / "a.dcm", values, **elements))[..., 0]


def contrast(pixels) -> int:
    return int(pixels.max()) - int(pixels.min())


class TestRescale:
    @pytest.mark.parametrize(
        "elements",
        [
            {"RescaleSlope": "", "RescaleIntercept": ""}, {"RescaleSlope": "1", "RescaleIntercept": ""},
            {"RescaleSlope": ""}, {"RescaleIntercept": ""}, {"RescaleSlope": "0", "RescaleIntercept": "0"},
            {"ModalityLUTSequence": []}, {"ModalityLUTSequence": [Dataset()]},
        ],
    )  # fmt: skip
    @pytest.mark.parametrize("window", [{}, WINDOW])
    def test_without_a_value_it_is_as_if_absent(self, tmp_path, elements, window):
        np.testing.assert_array_equal(shown(tmp_path, **elements, **window), shown(tmp_path, **window))

    def test_an_intercept_alone_counts_for_the_window(self, tmp_path):
        expected = shown(tmp_path, WindowCenter=1064, WindowWidth=400)
        pixels = shown(tmp_path, RescaleIntercept="-1024", WindowCenter=40, WindowWidth=400)
        np.testing.assert_array_equal(pixels, expected)

    def test_a_negative_slope_inverts_the_window_does_not(self, tmp_path):
        rescale = {"RescaleSlope": "-1", "RescaleIntercept": "4096"}
        plain = shown(tmp_path, **WINDOW).astype(int)
        assert abs(shown(tmp_path, **rescale, **WINDOW) - (255 - plain)).max() <= 1
        assert abs(shown(tmp_path, **rescale).astype(int) - (255 - shown(tmp_path).astype(int))).max() <= 1

    def test_eight_bits_are_shown_as_they_are_whatever_their_units(self, tmp_path):
        values = RNG.integers(30, 90, (16, 16)).astype(np.uint8)
        np.testing.assert_array_equal(shown(tmp_path, values), values)
        pixels = shown(tmp_path, values, RescaleSlope="2.5", RescaleIntercept="-7")
        np.testing.assert_array_equal(pixels, values)
        pixels = shown(tmp_path, values, RescaleSlope="-1", RescaleIntercept="0")
        np.testing.assert_array_equal(pixels, 255 - values)
        deep = shown(tmp_path, values.astype(np.uint16), BitsStored=8, HighBit=7)
        np.testing.assert_array_equal(deep, values)

    def test_a_slope_beyond_all_numbers_is_left_out(self, tmp_path):
        np.testing.assert_array_equal(shown(tmp_path, RAMP + 1, RescaleSlope="1e308"), shown(tmp_path))


class TestModalityTable:
    @pytest.mark.parametrize("bits", [8, 10, 12, 16])
    @pytest.mark.parametrize("kind", ["US", "OW"])
    def test_bits(self, tmp_path, bits, kind):
        entries = np.linspace(0, 2**bits - 1, 4096).astype(int)[::-1]
        pixels = shown(tmp_path, **TWELVE, ModalityLUTSequence=[lookup(entries, bits=bits, kind=kind)])
        assert abs(pixels - (255.0 - shown(tmp_path))).max() <= 1.5

    @pytest.mark.parametrize("first", [-2048, 65536 - 2048])
    def test_a_negative_first_value(self, tmp_path, first):
        values = RAMP.astype(np.int16) - 2048
        item = lookup(np.arange(4096)[::-1], first=first)
        pixels = shown(tmp_path, values, ModalityLUTSequence=[item])
        assert abs(pixels - (255.0 - shown(tmp_path))).max() <= 1

    def test_it_goes_before_the_rescale_and_its_units_are_the_windows(self, tmp_path):
        item = lookup(np.arange(4096) // 2)
        table = {"ModalityLUTSequence": [item], "RescaleSlope": "100", "RescaleIntercept": "5"}
        pixels = shown(tmp_path, **table, WindowCenter=1024, WindowWidth=2048)
        assert abs(pixels.astype(int) - shown(tmp_path, **WINDOW)).max() <= 1

    def test_one_that_is_too_short_is_left_out(self, tmp_path):
        item = lookup(np.arange(1000), length=4096)
        np.testing.assert_array_equal(shown(tmp_path, ModalityLUTSequence=[item]), shown(tmp_path))


class TestPadding:
    @pytest.mark.parametrize("kind", ["MONOCHROME1", "MONOCHROME2"])
    @pytest.mark.parametrize("window", [{}, {"WindowCenter": 1500, "WindowWidth": 1000}])
    @pytest.mark.parametrize("padding", [0, 4095])
    def test_it_is_black_and_the_rest_as_if_it_were_not_there(self, tmp_path, kind, window, padding):
        inside = np.zeros((16, 16), bool)
        inside[4:12] = True
        values = np.where(inside, 1000 + RAMP // 4, padding).astype(np.uint16)
        pixels = shown(
            tmp_path, values, PhotometricInterpretation=kind, PixelPaddingValue=padding, **TWELVE, **window
        )
        assert (pixels[~inside] == 0).all()
        alone = shown(
            tmp_path, values[inside].reshape(8, 16), PhotometricInterpretation=kind, **TWELVE, **window
        )
        np.testing.assert_array_equal(pixels[inside], alone.ravel())

    def test_a_range(self, tmp_path):
        values = RAMP.astype(np.int16)
        padded = values.copy()
        padded[0], padded[1], padded[2] = -3000, -2500, -2001
        one = {"PixelPaddingValue": -3000, "PixelPaddingRangeLimit": -2000}
        other = {"PixelPaddingValue": -2000, "PixelPaddingRangeLimit": -3000}
        for ends in (one, other):
            pixels = shown(tmp_path, padded, **ends)
            assert (pixels[:3] == 0).all()
            np.testing.assert_array_equal(pixels[3:], shown(tmp_path, values[3:]))
        np.testing.assert_array_equal(
            shown(tmp_path, padded, PixelPaddingRangeLimit=-2000), shown(tmp_path, padded)
        )

    @pytest.mark.parametrize(
        ("signed", "stated"), [(True, 63536), (True, -2000), (False, -2000), (False, 63536)]
    )
    def test_either_sign(self, tmp_path, signed, stated):
        padded = RAMP.astype(np.int16)
        padded[:8] = -2000
        element = DataElement("PixelPaddingValue", "US" if stated > 0 else "SS", stated)
        values = padded if signed else padded.view(np.uint16)
        pixels = shown(tmp_path, values, PixelPaddingValue=element)
        assert (pixels[:8] == 0).all()
        np.testing.assert_array_equal(pixels[8:], shown(tmp_path, RAMP[8:]))

    def test_bits_that_are_not_stored(self, tmp_path):
        padded = RAMP.copy()
        padded[:8] = 63536
        pixels = shown(tmp_path, padded, PixelPaddingValue=63536, **TWELVE)
        assert (pixels[:8] == 0).all()
        np.testing.assert_array_equal(pixels[8:], shown(tmp_path, RAMP[8:], **TWELVE))

    def test_an_image_of_padding_only_and_a_mask(self, tmp_path):
        flat = np.full((16, 16), 7, np.uint16)
        np.testing.assert_array_equal(shown(tmp_path, flat, PixelPaddingValue=7), shown(tmp_path, flat))
        mask = (RAMP > 2000).astype(np.uint16)
        np.testing.assert_array_equal(shown(tmp_path, mask, PixelPaddingValue=0), 255 * mask)

    def test_a_value_that_no_pixel_has(self, tmp_path):
        np.testing.assert_array_equal(shown(tmp_path, PixelPaddingValue=5), shown(tmp_path))


class TestVoiTable:
    CURVE = (4095 * (np.arange(4096) / 4095) ** 0.7).astype(int)

    def expected(self):
        return np.rint(self.CURVE[RAMP] / 4095 * 255)

    @pytest.mark.parametrize("bits", [12, 14, 16])
    def test_wider_than_its_entries(self, tmp_path, bits):
        pixels = shown(tmp_path, **TWELVE, VOILUTSequence=[lookup(self.CURVE, bits=bits)])
        np.testing.assert_array_equal(pixels, self.expected())

    def test_narrower_than_its_entries(self, tmp_path):
        pixels = shown(tmp_path, **TWELVE, VOILUTSequence=[lookup(self.CURVE, bits=8)])
        np.testing.assert_array_equal(pixels, self.expected())

    @pytest.mark.parametrize("bits", [8, 16])
    def test_one_byte_an_entry(self, tmp_path, bits):
        entries = (self.CURVE // 16).astype(np.uint8)
        item = lookup(entries.tobytes(), bits=bits, length=4096)
        pixels = shown(tmp_path, **TWELVE, VOILUTSequence=[item])
        np.testing.assert_array_equal(pixels, entries[RAMP])

    def test_eight_bits_in_words(self, tmp_path):
        entries = self.CURVE // 16
        pixels = shown(tmp_path, **TWELVE, VOILUTSequence=[lookup(entries, bits=8)])
        np.testing.assert_array_equal(pixels, entries[RAMP])

    @pytest.mark.parametrize(
        "item",
        [
            lookup(CURVE[:2048], length=4096), lookup(CURVE[:100], length=4096), lookup(b"", length=4096),
            lookup([0] * 4096), Dataset(),
        ],
        ids=["half", "short", "empty", "zeros", "nothing"],
    )  # fmt: skip
    def test_useless_ones_give_way_to_the_window(self, tmp_path, item):
        np.testing.assert_array_equal(shown(tmp_path, VOILUTSequence=[item]), shown(tmp_path))
        np.testing.assert_array_equal(
            shown(tmp_path, VOILUTSequence=[item], **WINDOW), shown(tmp_path, **WINDOW)
        )
        second = shown(tmp_path, VOILUTSequence=[item, lookup(self.CURVE, bits=12)], **WINDOW)
        np.testing.assert_array_equal(second, self.expected())

    def test_one_entry_too_few_does_no_harm(self, tmp_path):
        pixels = shown(tmp_path, RAMP + 15, VOILUTSequence=[lookup(self.CURVE[:-1], bits=12, length=4096)])
        np.testing.assert_array_equal(pixels, np.rint(self.CURVE[RAMP + 15].clip(0, 4094) / 4095 * 255))

    def test_it_goes_before_the_window(self, tmp_path):
        pixels = shown(tmp_path, **TWELVE, VOILUTSequence=[lookup(self.CURVE, bits=12)], **WINDOW)
        np.testing.assert_array_equal(pixels, self.expected())

    def test_values_with_fractions_and_a_negative_first_one(self, tmp_path):
        item = lookup(self.CURVE, first=-1024, bits=12)
        pixels = shown(
            tmp_path, **TWELVE, VOILUTSequence=[item], RescaleSlope="1", RescaleIntercept="-1024.2"
        )
        np.testing.assert_array_equal(pixels, self.expected())


class TestWindow:
    def test_functions(self, tmp_path):
        units = RAMP.astype(float)
        linear = shown(tmp_path, WindowCenter=2000, WindowWidth=1000)
        assert abs(linear - np.clip((units - 1999.5) / 999 + 0.5, 0, 1) * 255).max() <= 0.51
        exact = shown(tmp_path, WindowCenter=2000, WindowWidth=1000, VOILUTFunction="LINEAR_EXACT")
        assert abs(exact - np.clip((units - 2000) / 1000 + 0.5, 0, 1) * 255).max() <= 0.51
        sigmoid = shown(tmp_path, WindowCenter=2000, WindowWidth=1000, VOILUTFunction="SIGMOID")
        assert abs(sigmoid - 255 / (1 + np.exp(-4 * (units - 2000) / 1000))).max() <= 0.51
        for name in ("", "LINEAR", "NONE"):
            pixels = shown(tmp_path, WindowCenter=2000, WindowWidth=1000, VOILUTFunction=name)
            np.testing.assert_array_equal(pixels, linear)

    @pytest.mark.parametrize(
        ("center", "width"),
        [
            ("", ""),
            ("2048", ""),
            ("0", "0"),
            ("100", "-5"),
            ("-30000", "10"),
            ("30000", "10"),
            ("0", "1e9"),
            ("40", "80"),
        ],
    )
    def test_one_that_shows_nothing(self, tmp_path, center, width):
        pixels = shown(tmp_path, 500 + RAMP, WindowCenter=center, WindowWidth=width)
        np.testing.assert_array_equal(pixels, shown(tmp_path, 500 + RAMP))

    def test_a_marker_within_it(self, tmp_path):
        """A label of a few pixels in values that are all outside the window."""
        values = np.tile(RAMP, (4, 4))
        values[:4, :4] = 30_000
        pixels = shown(tmp_path, values, WindowCenter=30_000, WindowWidth=2000)
        np.testing.assert_array_equal(pixels, shown(tmp_path, values))
        assert contrast(pixels[4:]) > 200

    def test_other_units_than_the_values(self, tmp_path):
        rescale = {"RescaleSlope": "0.000244", "RescaleIntercept": "0"}
        assert contrast(shown(tmp_path, **rescale, **WINDOW)) > 240
        assert contrast(shown(tmp_path, RescaleIntercept="-9000", **WINDOW)) > 240

    def test_the_next_one_is_taken(self, tmp_path):
        pixels = shown(tmp_path, WindowCenter=[-9000, 2048], WindowWidth=[10, 4096])
        np.testing.assert_array_equal(pixels, shown(tmp_path, **WINDOW))

    def test_a_sparse_image_of_two_values_keeps_its_window(self, tmp_path):
        values = np.zeros((16, 16), np.uint16)
        values[0, 0] = 1
        pixels = shown(tmp_path, values, WindowCenter=2, WindowWidth=4)
        assert contrast(pixels) == 85


def test_bits_above_those_stored_do_not_count(tmp_path):
    overlaid = RAMP.copy()
    overlaid[3:9, 2:12] |= 1 << 12
    np.testing.assert_array_equal(shown(tmp_path, overlaid, **TWELVE), shown(tmp_path, **TWELVE))
    signed = RAMP.astype(np.int16) - 2048
    dirty = (signed & 0xFFF).astype(np.int16)
    np.testing.assert_array_equal(shown(tmp_path, dirty, **TWELVE), shown(tmp_path, signed, **TWELVE))


def test_values_in_the_upper_bits(tmp_path):
    """HighBit 15 with 12 bits stored: old files."""
    upper = {"BitsStored": 12, "HighBit": 15}
    np.testing.assert_array_equal(
        shown(tmp_path, RAMP << 4, **upper, **WINDOW), shown(tmp_path, **TWELVE, **WINDOW)
    )
    signed = RAMP.astype(np.int16) - 2048
    np.testing.assert_array_equal(shown(tmp_path, signed << 4, **upper), shown(tmp_path, signed, **TWELVE))
    np.testing.assert_array_equal(shown(tmp_path, **upper), shown(tmp_path, **TWELVE))


@pytest.mark.parametrize(
    "missing",
    ["BitsStored", "HighBit", "PixelRepresentation", "SamplesPerPixel", "PhotometricInterpretation"],
)
def test_elements_that_are_required_but_missing(tmp_path, missing):
    np.testing.assert_array_equal(shown(tmp_path, **{missing: ...}), shown(tmp_path))


@pytest.mark.parametrize("bits", [0, 99])
def test_impossible_bits(tmp_path, bits):
    np.testing.assert_array_equal(shown(tmp_path, BitsStored=bits), shown(tmp_path))


def test_masks_of_one_bit_are_inverted_too(tmp_path):
    mask = (RAMP > 2000).astype(np.uint8)
    one = {"BitsStored": 1, "HighBit": 0}
    np.testing.assert_array_equal(shown(tmp_path, mask, **one), 255 * mask)
    inverted = shown(tmp_path, mask, **one, PhotometricInterpretation="MONOCHROME1")
    np.testing.assert_array_equal(inverted, 255 * (1 - mask))
