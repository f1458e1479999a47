"""Every kind of file is decoded to the pixels that a viewer shows."""

from __future__ import annotations

import io
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from fiftyone_deepcluster.errors import ImagesError, UnreadableImageError
from fiftyone_deepcluster.images.decode import Decode, decode_image, describe_image, fit_to, read_image
from fiftyone_deepcluster.images.intensity import recolor, to_uint8
from fiftyone_deepcluster.images.refs import ImageRef

RNG = np.random.default_rng(51)
RGB = RNG.integers(0, 256, (7, 9, 3), dtype=np.uint8)
GRAY = RNG.integers(0, 256, (7, 9), dtype=np.uint8)
DEEP = RNG.integers(0, 4096, (7, 9)).astype(np.uint16)
EXACT = ["png", "bmp", "tiff", "ppm", "webp", "gif"]


def save(pixels, path: Path, **options) -> str:
    Image.fromarray(pixels).save(path, **({"lossless": True} if path.suffix == ".webp" else {}), **options)
    return str(path)


def windowed(values):
    """What 0.5 and 99.5 percentiles as black and white make of values, one by one."""
    low, high = np.percentile(values.astype(float), [0.5, 99.5])
    result = np.zeros(values.shape, np.uint8)
    for place in np.ndindex(values.shape):
        share = (float(values[place]) - low) / (high - low)
        result[place] = round(255 * min(max(share, 0.0), 1.0))
    return result


class TestFormats:
    @pytest.mark.parametrize("suffix", EXACT)
    def test_lossless_rgb_is_exact(self, tmp_path, suffix):
        path = save(RGB, tmp_path / f"a.{suffix}")
        pixels = read_image(ImageRef(path), "rgb")
        assert pixels.dtype == np.uint8
        np.testing.assert_array_equal(pixels, RGB)

    @pytest.mark.parametrize("suffix", EXACT)
    def test_lossless_gray_is_exact(self, tmp_path, suffix):
        path = save(GRAY, tmp_path / f"a.{suffix}")
        np.testing.assert_array_equal(read_image(ImageRef(path), "gray"), GRAY[..., None])
        np.testing.assert_array_equal(read_image(ImageRef(path), "rgb"), np.stack([GRAY] * 3, axis=-1))

    def test_jpeg_is_what_pillow_decodes(self, tmp_path):
        path = save(RGB, tmp_path / "a.jpg")
        with Image.open(path) as image:
            np.testing.assert_array_equal(read_image(ImageRef(path), "rgb"), np.asarray(image))

    def test_color_to_gray_is_luma(self, tmp_path):
        path = save(RGB, tmp_path / "a.png")
        expected = np.asarray(Image.fromarray(RGB).convert("L"))
        np.testing.assert_array_equal(read_image(ImageRef(path), "gray")[..., 0], expected)
        np.testing.assert_array_equal(recolor(RGB, "gray")[..., 0], expected)

    def test_suffix_does_not_matter(self, tmp_path):
        path = Path(save(RGB, tmp_path / "a.png")).rename(tmp_path / "a.jpg")
        np.testing.assert_array_equal(read_image(ImageRef(str(path)), "rgb"), RGB)

    @pytest.mark.parametrize("suffix", ["png", "tif"])
    def test_one_bit_images_become_0_and_255(self, tmp_path, suffix):
        path = save(GRAY > 128, tmp_path / f"a.{suffix}")
        np.testing.assert_array_equal(read_image(ImageRef(path), "gray")[..., 0], (GRAY > 128) * 255)

    def test_palette_images_get_their_colors(self, tmp_path):
        indexed = Image.fromarray(RGB).quantize(16)
        indexed.save(tmp_path / "a.png")
        expected = np.asarray(indexed.convert("RGB"))
        np.testing.assert_array_equal(read_image(ImageRef(str(tmp_path / "a.png")), "rgb"), expected)

    def test_cmyk_images_are_converted_to_rgb(self, tmp_path):
        ink = Image.fromarray(RGB).convert("CMYK")
        ink.save(tmp_path / "a.tif")
        np.testing.assert_array_equal(
            read_image(ImageRef(str(tmp_path / "a.tif")), "rgb"), np.asarray(ink.convert("RGB"))
        )

    def test_frames_of_a_gif_are_read_by_index(self, tmp_path):
        first, second = Image.fromarray(GRAY), Image.fromarray(255 - GRAY)
        path = str(tmp_path / "a.gif")
        first.save(path, save_all=True, append_images=[second])
        np.testing.assert_array_equal(read_image(ImageRef(path), "gray")[..., 0], GRAY)
        np.testing.assert_array_equal(read_image(ImageRef(path, frame=1), "gray")[..., 0], 255 - GRAY)


class TestTransparency:
    def test_transparent_pixels_are_white(self, tmp_path):
        alpha = np.zeros((7, 9), np.uint8)
        alpha[2:4] = 255
        path = save(np.dstack([RGB, alpha]), tmp_path / "a.png")
        expected = np.where(alpha[..., None] == 255, RGB, 255)
        np.testing.assert_array_equal(read_image(ImageRef(path), "rgb"), expected)

    def test_half_transparent_gray_is_blended_with_white(self, tmp_path):
        gray_and_alpha = Image.merge("LA", (Image.new("L", (4, 4), 100), Image.new("L", (4, 4), 128)))
        gray_and_alpha.save(tmp_path / "a.png")
        pixels = read_image(ImageRef(str(tmp_path / "a.png")), "gray")
        assert (abs(pixels.astype(int) - (100 * 128 + 255 * 127) / 255) <= 1).all()

    def test_a_transparent_palette_entry_is_white(self, tmp_path):
        image = Image.new("P", (2, 1))
        image.putpalette([10, 20, 30, 40, 50, 60])
        image.putpixel((1, 0), 1)
        image.save(tmp_path / "a.png", transparency=0)
        pixels = read_image(ImageRef(str(tmp_path / "a.png")), "rgb")
        np.testing.assert_array_equal(pixels, [[[255, 255, 255], [40, 50, 60]]])


class TestDepth:
    @pytest.mark.parametrize("suffix", ["png", "tif"])
    def test_sixteen_bits_are_windowed(self, tmp_path, suffix):
        path = save(DEEP, tmp_path / f"a.{suffix}")
        np.testing.assert_array_equal(read_image(ImageRef(path), "gray")[..., 0], windowed(DEEP))

    @pytest.mark.parametrize("kind", ["u2", "i2", "u4", "i4", "f2", "f4", "f8"])
    @pytest.mark.parametrize("form", ["gray", "pixels", "planes"])
    def test_deep_tiffs(self, tmp_path, kind, form):
        shape = {"gray": (7, 9), "pixels": (7, 9, 3), "planes": (3, 7, 9)}[form]
        values = (RNG.integers(0, 2000, shape) - (500 if kind[0] in "if" else 0)).astype(kind)
        options = {"photometric": "minisblack"} if form == "gray" else {"photometric": "rgb"}
        if form == "planes":
            options["planarconfig"] = "separate"
        tifffile.imwrite(tmp_path / "a.tif", values, **options)
        expected = windowed(np.moveaxis(values, 0, -1) if form == "planes" else values)
        expected = expected[..., None].repeat(3, -1) if form == "gray" else expected
        np.testing.assert_array_equal(read_image(ImageRef(str(tmp_path / "a.tif")), "rgb"), expected)

    @pytest.mark.parametrize("values", [GRAY.astype(np.uint16), GRAY.astype(np.float32)])
    def test_sixteen_bit_values_up_to_255_are_unchanged(self, tmp_path, values):
        tifffile.imwrite(tmp_path / "a.tif", values, photometric="minisblack")
        np.testing.assert_array_equal(read_image(ImageRef(str(tmp_path / "a.tif")), "gray")[..., 0], GRAY)

    @pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_deflate"])
    def test_compressed_deep_tiffs_are_read(self, tmp_path, compression):
        path = save(DEEP, tmp_path / "a.tif", compression=compression)
        np.testing.assert_array_equal(read_image(ImageRef(path), "gray")[..., 0], windowed(DEEP))

    def test_white_is_zero_tiffs_are_inverted(self, tmp_path):
        tifffile.imwrite(tmp_path / "a.tif", DEEP, photometric="miniswhite")
        pixels = read_image(ImageRef(str(tmp_path / "a.tif")), "gray")[..., 0]
        np.testing.assert_array_equal(pixels, 255 - windowed(DEEP))

    def test_pages_of_a_tiff_are_read_by_index(self, tmp_path):
        tifffile.imwrite(tmp_path / "a.tif", np.stack([DEEP, DEEP[::-1]]), photometric="minisblack")
        pixels = read_image(ImageRef(str(tmp_path / "a.tif"), frame=1), "gray")[..., 0]
        np.testing.assert_array_equal(pixels, windowed(DEEP)[::-1])
        with pytest.raises(UnreadableImageError, match="has no frame 2, only 0 to 1"):
            read_image(ImageRef(str(tmp_path / "a.tif"), frame=2), "gray")

    def test_nan_and_infinite_values_are_clipped(self):
        values = np.array([[0.0, 1000.0], [np.nan, np.inf], [-np.inf, 500.0]])
        pixels = to_uint8(values)
        assert pixels[1].tolist() == [0, 255]
        assert pixels[2, 0] == 0
        assert 120 < pixels[2, 1] < 135
        with pytest.raises(ValueError, match="no pixel has a finite value"):
            to_uint8(np.full((3, 3), np.nan))

    def test_a_single_bright_pixel_is_white(self):
        values = np.zeros((100, 100), np.float32)
        values[5, 5] = 1e6
        assert to_uint8(values)[5, 5] == 255

    def test_constant_images_are_black(self):
        assert (to_uint8(np.full((4, 4), 5000, np.int32)) == 0).all()

    @given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=50))
    def test_brighter_values_never_become_darker(self, numbers):
        values = np.array(numbers)
        pixels = to_uint8(values)
        order = np.argsort(values, kind="stable")
        assert (np.diff(pixels[order].astype(int)) >= 0).all()


class TestOrientation:
    @pytest.mark.parametrize("suffix", ["png", "tif", "webp", "jpg"])
    @pytest.mark.parametrize("orientation", range(1, 9))
    def test_exif_orientation_is_applied(self, tmp_path, suffix, orientation):
        # One flat color a quarter, so that the lossy format keeps it.
        quarters = np.kron(np.array([[0, 80], [160, 250]], np.uint8), np.ones((16, 32), np.uint8))
        exif = Image.Exif()
        exif[0x0112] = orientation
        plain = Image.fromarray(quarters)
        plain.getexif()[0x0112] = orientation
        expected = np.asarray(ImageOps.exif_transpose(plain))
        path = save(quarters, tmp_path / f"a.{suffix}", exif=exif)
        pixels = read_image(ImageRef(path), "gray")[..., 0]
        assert pixels.shape == expected.shape
        assert abs(pixels.astype(int) - expected).max() <= 3
        assert describe_image(ImageRef(path)) == (*expected.shape, True)

    @pytest.mark.parametrize("orientation", range(1, 9))
    def test_orientation_of_a_deep_tiff_is_applied(self, tmp_path, orientation):
        path = str(tmp_path / "a.tif")
        tifffile.imwrite(path, DEEP, photometric="minisblack", extratags=[(274, "H", 1, orientation, True)])
        plain = Image.fromarray(windowed(DEEP))
        plain.getexif()[0x0112] = orientation
        expected = np.asarray(ImageOps.exif_transpose(plain))
        np.testing.assert_array_equal(read_image(ImageRef(path), "gray")[..., 0], expected)

    def test_boxes_refer_to_the_upright_image(self, tmp_path):
        exif = Image.Exif()
        exif[0x0112] = 6
        path = save(GRAY, tmp_path / "a.png", exif=exif)
        upright = np.rot90(GRAY, -1)
        pixels = read_image(ImageRef(path, box=(0, 0, 3 / 7, 2 / 9)), "gray")[..., 0]
        np.testing.assert_array_equal(pixels, upright[:2, :3])

    def test_images_with_damaged_metadata_are_read(self, tmp_path):
        path = save(RGB, tmp_path / "a.png", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff")
        np.testing.assert_array_equal(read_image(ImageRef(path), "rgb"), RGB)


class TestBox:
    @given(st.data())
    def test_boxes_at_pixel_edges_give_these_pixels(self, tmp_path_factory, data):
        height, width = data.draw(st.integers(1, 40)), data.draw(st.integers(1, 40))
        left, top = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
        right, bottom = data.draw(st.integers(left + 1, width)), data.draw(st.integers(top + 1, height))
        pixels = np.arange(height * width, dtype=np.uint32).reshape(height, width).astype(np.uint8)
        path = save(pixels, tmp_path_factory.mktemp("box") / "a.bmp")
        box = (left / width, top / height, (right - left) / width, (bottom - top) / height)
        cut = read_image(ImageRef(path, box), "gray")[..., 0]
        np.testing.assert_array_equal(cut, pixels[top:bottom, left:right])

    def test_boxes_are_clipped_to_the_image(self, tmp_path):
        path = save(RGB, tmp_path / "a.png")
        np.testing.assert_array_equal(read_image(ImageRef(path, (-0.5, -0.5, 9, 9)), "rgb"), RGB)

    def test_a_very_thin_box_has_one_pixel(self, tmp_path):
        path = save(RGB, tmp_path / "a.png")
        assert read_image(ImageRef(path, (0.999, 0.999, 1e-6, 1e-6)), "rgb").shape == (1, 1, 3)

    @pytest.mark.parametrize(
        ("box", "reason"),
        [((0, 0, 0, 1), "no area"), ((0, 0, float("nan"), 1), "no area"), ((1.5, 0, 1, 1), "outside")],
    )
    def test_boxes_without_area_or_outside_are_refused(self, tmp_path, box, reason):
        path = save(RGB, tmp_path / "a.png")
        with pytest.raises(UnreadableImageError, match=reason):
            read_image(ImageRef(path, box), "rgb")


class TestDamage:
    def test_missing_files_are_refused(self, tmp_path):
        with pytest.raises(UnreadableImageError, match="there is no such file") as caught:
            read_image(ImageRef(str(tmp_path / "no.png")), "rgb")
        assert caught.value.lasting
        assert caught.value.path.endswith("no.png")
        assert isinstance(caught.value, ImagesError)

    @pytest.mark.parametrize(
        ("path", "address"),
        [
            ("s3://bucket/a.png", "s3://bucket/a.png"), ("https://example.org/a.png", "https://example.org/a.png"),
            ("/home/anna/s3:/bucket/a.png", "s3://bucket/a.png"), ("file:///a.png", "file://a.png"),
        ],
    )  # fmt: skip
    def test_addresses_are_named_as_such(self, path, address):
        with pytest.raises(
            UnreadableImageError, match="is an address, and only files are read; download"
        ) as caught:
            read_image(ImageRef(path), "rgb")
        assert caught.value.reason.startswith(address)

    def test_a_folder_with_a_colon_is_no_address(self, tmp_path):
        (tmp_path / "s3:").mkdir()
        assert read_image(ImageRef(save(RGB, tmp_path / "s3:" / "a.png")), "rgb").shape == RGB.shape

    @pytest.mark.parametrize(
        ("content", "reason"), [(b"", "the file is empty"), (b"hello" * 100, "it is not an image")]
    )
    @pytest.mark.parametrize("suffix", ["png", "jpg"])
    def test_files_without_an_image_are_refused(self, tmp_path, content, reason, suffix):
        path = tmp_path / f"a.{suffix}"
        path.write_bytes(content)
        with pytest.raises(UnreadableImageError, match=reason):
            read_image(ImageRef(str(path)), "rgb")

    def test_a_folder_is_refused(self, tmp_path):
        with pytest.raises(UnreadableImageError, match="Is a directory") as caught:
            read_image(ImageRef(str(tmp_path)), "rgb")
        assert not caught.value.lasting

    @pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes")
    def test_pipes_and_devices_are_not_waited_for(self, tmp_path):
        os.mkfifo(tmp_path / "pipe.png")
        for path in (str(tmp_path / "pipe.png"), "/dev/zero"):
            with pytest.raises(UnreadableImageError, match="a pipe or a device, not a file"):
                read_image(ImageRef(path), "rgb")

    @pytest.mark.parametrize("suffix", ["jpeg", "png", "tiff", "webp", "gif", "bmp"])
    def test_truncated_files_are_refused(self, tmp_path, suffix):
        buffer = io.BytesIO()
        Image.fromarray(RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(buffer, suffix)
        path = tmp_path / f"a.{suffix}"
        path.write_bytes(buffer.getvalue()[: len(buffer.getvalue()) // 2])
        with pytest.raises(UnreadableImageError):
            read_image(ImageRef(str(path)), "rgb")

    def test_truncated_deep_tiff(self, tmp_path):
        tifffile.imwrite(tmp_path / "a.tif", np.full((64, 64), 3000, np.uint16))
        whole = (tmp_path / "a.tif").read_bytes()
        (tmp_path / "a.tif").write_bytes(whole[: len(whole) // 2])
        with pytest.raises(UnreadableImageError):
            read_image(ImageRef(str(tmp_path / "a.tif")), "rgb")

    @pytest.mark.parametrize("suffix", ["png", "tif"])
    def test_too_many_pixels_are_refused(self, tmp_path, monkeypatch, suffix):
        path = save(DEEP, tmp_path / f"a.{suffix}")
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 20)
        with pytest.raises(UnreadableImageError, match=r"63 pixels|7 x 9 pixels"):
            read_image(ImageRef(path), "gray")

    @given(
        st.binary(max_size=300),
        st.sampled_from([b"", b"II*\0", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"GIF89a"]),
    )
    def test_any_bytes_give_pixels_or_unreadable_image_error(self, tmp_path_factory, content, magic):
        path = tmp_path_factory.mktemp("bytes") / "a"
        path.write_bytes(magic + content)
        try:
            pixels = read_image(ImageRef(str(path)), "rgb")
        except UnreadableImageError:
            return
        assert pixels.dtype == np.uint8


class TestSize:
    def test_crop_keeps_the_center(self):
        image = np.zeros((10, 20, 1), np.uint8)
        image[:, 5:15] = 200
        np.testing.assert_array_equal(fit_to(image, 10, 10, crop=True), np.full((10, 10, 1), 200))

    def test_without_crop_the_whole_image_is_stretched(self):
        image = np.zeros((10, 20, 1), np.uint8)
        image[:, 10:] = 200
        stretched = fit_to(image, 10, 10)[..., 0]
        np.testing.assert_array_equal(stretched[:, [0, 1, 2, 3, 6, 7, 8, 9]], [[0] * 4 + [200] * 4] * 10)

    def test_shrinking_averages(self):
        checks = np.indices((64, 64)).sum(0) % 2 * 255
        small = fit_to(checks.astype(np.uint8)[..., None], 8, 8)
        assert abs(small.astype(int) - 127).max() <= 2

    @pytest.mark.parametrize(
        ("side", "enlarge", "how"),
        [
            (32, "bilinear", "BILINEAR"),
            (32, "bicubic", "BICUBIC"),
            (8, "bilinear", "BILINEAR"),
            (8, "bicubic", "BILINEAR"),
        ],
    )
    def test_only_enlarged_images_are_interpolated_as_asked(self, tmp_path, side, enlarge, how):
        pixels = np.random.default_rng(0).integers(0, 256, (16, 16), dtype=np.uint8)
        expected = np.asarray(Image.fromarray(pixels).resize((side, side), Image.Resampling[how]))
        np.testing.assert_array_equal(
            fit_to(pixels[..., None], side, side, enlarge=enlarge)[..., 0], expected
        )
        ref = ImageRef(save(pixels, tmp_path / "a.png"))
        decoded = decode_image(ref, Decode(side, "gray", enlarge=enlarge))
        np.testing.assert_array_equal(decoded[..., 0], expected)

    @pytest.mark.parametrize("shape", [(5, 40, 3), (40, 5, 1), (1, 1, 3)])
    def test_resized_images_have_the_requested_shape(self, shape):
        assert fit_to(np.zeros(shape, np.uint8), 16, 12).shape == (16, 12, shape[2])

    @pytest.mark.parametrize("color", ["gray", "rgb"])
    @pytest.mark.parametrize("box", [None, (0.25, 0.1, 0.5, 0.8)])
    @pytest.mark.parametrize("stored", ["RGB", "L"])
    def test_reduced_jpeg_decoding_is_close_to_full_decoding(self, tmp_path, color, box, stored):
        ramp = np.linspace(0, 255, 1200).astype(np.uint8)
        picture = np.stack(np.broadcast_arrays(ramp[:, None], ramp[None, :], 255 - ramp[:, None]), axis=-1)
        picture = np.asarray(Image.fromarray(picture).convert(stored))
        ref = ImageRef(save(picture, tmp_path / "a.jpg", quality=95), box)
        fast = decode_image(ref, Decode(48, color))
        slow = fit_to(read_image(ref, color), 48, 48)
        assert fast.shape == slow.shape == (48, 48, 1 if color == "gray" else 3)
        assert abs(fast.astype(int) - slow).max() <= 4


def test_the_error_of_an_image_survives_pickle():
    for lasting in (True, False):
        error = pickle.loads(pickle.dumps(UnreadableImageError("a.png", "it is empty", lasting=lasting)))
        assert (str(error), error.path, error.reason) == ("a.png: it is empty", "a.png", "it is empty")
        assert error.lasting is lasting
