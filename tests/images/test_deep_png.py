"""PNG files of 16 bits per channel with color or opacity: no bit is lost before windowing."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from fiftyone_deepcluster.errors import UnreadableImageError
from fiftyone_deepcluster.images.decode import Decode, decode_image, describe_image, read_image
from fiftyone_deepcluster.images.intensity import recolor, to_uint8
from fiftyone_deepcluster.images.refs import ImageRef

RNG = np.random.default_rng(51)
GRAY, COLOR, GRAY_OPACITY, COLOR_OPACITY = 0, 2, 4, 6  # color types of the PNG specification, 11.2.2
ADAM7 = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]


def chunk(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def write(path, values, kind, clear=None, interlaced=False):
    """A PNG written from its specification: Pillow cannot write these."""

    def rows(part):
        # filter 1 of every second row: differences to the pixel on the left, byte by byte
        lines, width = [], part.shape[-1] * 2
        for number, row in enumerate(part):
            data = np.frombuffer(row.astype(">u2").tobytes(), np.uint8)
            left = np.concatenate([np.zeros(width, np.uint8), data])[: len(data)]
            lines.append(b"\x01" + (data - left).tobytes() if number % 2 else b"\x00" + data.tobytes())
        return b"".join(lines)

    height, width = values.shape[:2]
    parts = [values[top::down, left::right] for top, left, down, right in ADAM7] if interlaced else [values]
    head = struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, interlaced)
    body = chunk(b"tRNS", struct.pack(f">{len(clear)}H", *clear)) if clear is not None else b""
    body += chunk(b"IDAT", zlib.compress(b"".join(rows(part) for part in parts if part.size)))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + body + chunk(b"IEND", b""))
    return ImageRef(str(path))


@pytest.mark.parametrize("interlaced", [False, True])
def test_low_bytes_of_16_bit_colors_are_used(tmp_path, interlaced):
    """Values that differ in their low bytes only: Pillow alone sees one flat color."""
    values = (0x1200 + RNG.integers(0, 256, (11, 13, 3))).astype(np.uint16)
    ref = write(tmp_path / "a.png", values, COLOR, interlaced=interlaced)
    with Image.open(ref.path) as image:
        assert image.getextrema() == ((0x12, 0x12),) * 3
    np.testing.assert_array_equal(read_image(ref, "rgb"), to_uint8(values))
    np.testing.assert_array_equal(read_image(ref, "gray"), recolor(to_uint8(values), "gray"))


def test_twelve_bits_fill_the_range(tmp_path):
    values = RNG.integers(0, 4096, (20, 20, 3)).astype(np.uint16)
    pixels = read_image(write(tmp_path / "a.png", values, COLOR), "rgb")
    assert pixels.min() == 0
    assert pixels.max() == 255
    np.testing.assert_array_equal(pixels, to_uint8(values))


def test_values_that_fit_eight_bits_stay(tmp_path):
    values = RNG.integers(0, 256, (5, 6, 3)).astype(np.uint16)
    np.testing.assert_array_equal(read_image(write(tmp_path / "a.png", values, COLOR), "rgb"), values)


@pytest.mark.parametrize(("kind", "channels"), [(COLOR_OPACITY, 3), (GRAY_OPACITY, 1)])
def test_clear_pixels_are_white_and_half_clear_ones_between(tmp_path, kind, channels):
    colors = RNG.integers(0, 65536, (6, 8, channels)).astype(np.uint16)
    opacity = np.full((6, 8, 1), 65535, np.uint16)
    opacity[2], opacity[3] = 0, 0x8000
    pixels = read_image(write(tmp_path / "a.png", np.dstack([colors, opacity]), kind), "rgb")
    plain = to_uint8(colors).repeat(3 // channels, axis=-1)
    np.testing.assert_array_equal(pixels[[0, 1, 4, 5]], plain[[0, 1, 4, 5]])
    assert (pixels[2] == 255).all()
    assert (abs(pixels[3].astype(float) - (plain[3] / 2 + 127.5)) <= 1).all()


def test_a_color_that_stands_for_clear(tmp_path):
    values = RNG.integers(256, 65536, (4, 5, 3)).astype(np.uint16)
    near = values.copy()
    near[0, 0] = near[1, 1] ^ 1  # the same high bytes: another color all the same
    pixels = read_image(write(tmp_path / "a.png", near, COLOR, clear=tuple(near[1, 1])), "rgb")
    assert (pixels[1, 1] == 255).all()
    np.testing.assert_array_equal(pixels[0], to_uint8(near)[0])


@pytest.mark.parametrize("color", ["gray", "rgb"])
def test_a_gray_that_stands_for_clear(tmp_path, color):
    values = RNG.integers(256, 65536, (4, 5, 1)).astype(np.uint16)
    values[0, 0] = values[1, 1] ^ 1
    ref = write(tmp_path / "a.png", values, GRAY, clear=(int(values[1, 1, 0]),))
    expected = to_uint8(values)
    expected[1, 1] = 255
    np.testing.assert_array_equal(read_image(ref, color), recolor(expected, color))
    assert describe_image(ref) == (4, 5, True)
    plain = write(tmp_path / "b.png", values, GRAY)
    np.testing.assert_array_equal(read_image(plain, "gray"), to_uint8(values))


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_a_clear_gray_of_few_bits(tmp_path, bits):
    values = np.arange(16).reshape(2, 8) % 2**bits
    lines = [np.unpackbits(row.astype(np.uint8)[:, None], axis=1)[:, 8 - bits :].ravel() for row in values]
    rows = b"".join(b"\0" + np.packbits(line).tobytes() for line in lines)
    head = struct.pack(">IIBBBBB", 8, 2, bits, GRAY, 0, 0, 0)
    body = chunk(b"IHDR", head) + chunk(b"tRNS", struct.pack(">H", 1)) + chunk(b"IDAT", zlib.compress(rows))
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + body + chunk(b"IEND", b""))
    expected = np.where(values == 1, 255, values * (255 // (2**bits - 1)))
    np.testing.assert_array_equal(read_image(ImageRef(str(tmp_path / "a.png")), "gray")[..., 0], expected)


def test_described_cut_and_resized_like_any_other(tmp_path):
    values = RNG.integers(0, 65536, (40, 30, 3)).astype(np.uint16)
    ref = write(tmp_path / "a.png", values, COLOR)
    assert describe_image(ref) == (40, 30, False)
    assert decode_image(ref, Decode(16, "rgb")).shape == (16, 16, 3)
    part = read_image(ImageRef(ref.path, (0.5, 0.25, 0.5, 0.5)), "rgb")
    np.testing.assert_array_equal(part, to_uint8(values)[10:30, 15:])


def test_a_file_that_is_cut_short_is_named(tmp_path):
    ref = write(tmp_path / "a.png", RNG.integers(0, 65536, (40, 30, 3)).astype(np.uint16), COLOR)
    whole = (tmp_path / "a.png").read_bytes()
    (tmp_path / "a.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UnreadableImageError, match="truncated or damaged"):
        read_image(ref, "rgb")
