"""Augmentation of a batch against a loop over images and pixels."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from fiftyone_deepcluster.images.augment import Augment, plain

EVERYTHING = Augment(
    rotate=25,
    shift=0.1,
    scale=(0.8, 1.3),
    shear=0.2,
    crop=(0.3, 0.9),
    flip=True,
    brightness=0.2,
)
OPTIONS = [
    Augment(rotate=30),
    Augment(shift=0.3),
    Augment(scale=(0.5, 2.0)),
    Augment(shear=0.5),
    Augment(crop=(0.2, 0.8), ratio=(0.5, 2.0)),
    Augment(flip=True),
    Augment(brightness=0.5),
    EVERYTHING,
    EVERYTHING.model_copy(update={"padding": "zeros", "crop": None}),
    EVERYTHING.model_copy(update={"interpolation": "bicubic"}),
    EVERYTHING.model_copy(update={"interpolation": "bicubic", "padding": "zeros"}),
]


def generator(seed=51):
    return torch.Generator().manual_seed(seed)


def pictures(*shape):
    return torch.randint(0, 256, shape, generator=generator(7), dtype=torch.uint8)


def pixel(image, y, x, padding):
    """Bilinear value of a (H, W) array at a place measured from edge to edge, by hand."""
    height, width = image.shape
    total = 0.0
    top, left = math.floor(y - 0.5), math.floor(x - 0.5)
    if padding == "border":
        y, x = min(max(y, 0.5), height - 0.5), min(max(x, 0.5), width - 0.5)
        top, left = math.floor(y - 0.5), math.floor(x - 0.5)
    for row in (top, top + 1):
        for column in (left, left + 1):
            weight = max(0, 1 - abs(y - 0.5 - row)) * max(0, 1 - abs(x - 0.5 - column))
            if 0 <= row < height and 0 <= column < width:
                total += weight * image[row, column]
    return total


def bicubic_pixel(image, y, x, padding):
    """Value of a (H, W) array by cubic convolution of 4 x 4 pixels (Keys 1981, with a of -0.75)."""
    height, width = image.shape
    total = 0.0
    top, left = math.floor(y - 0.5) - 1, math.floor(x - 0.5) - 1
    for row in range(top, top + 4):
        for column in range(left, left + 4):
            weight = cubic(y - 0.5 - row) * cubic(x - 0.5 - column)
            if padding == "border":
                total += weight * image[min(max(row, 0), height - 1), min(max(column, 0), width - 1)]
            elif 0 <= row < height and 0 <= column < width:
                total += weight * image[row, column]
    return min(max(total, 0.0), 1.0)


def cubic(distance, a=-0.75):
    distance = abs(distance)
    if distance <= 1:
        return (a + 2) * distance**3 - (a + 3) * distance**2 + 1
    return a * (distance**3 - 5 * distance**2 + 8 * distance - 4) if distance < 2 else 0.0


VALUE = {"bilinear": pixel, "bicubic": bicubic_pixel}


def slowly(augment, image, size, draws):
    """(C, size, size) of one image, pixel by pixel, each step of the change on its own."""
    flip, angle, shear, zoom, right, down, area, ratio, x, y, bright, _ = draws
    channels, height, width = image.shape
    cut_h, cut_w = min(size, height, width), min(size, height, width)
    center_y, center_x = (height - cut_h) // 2 + cut_h / 2, (width - cut_w) // 2 + cut_w / 2
    if augment.crop:
        pixels = (augment.crop[0] + area * (augment.crop[1] - augment.crop[0])) * height * width
        aspect = math.exp(
            math.log(augment.ratio[0]) + ratio * (math.log(augment.ratio[1]) - math.log(augment.ratio[0]))
        )
        cut_w, cut_h = min(width, math.sqrt(pixels * aspect)), min(height, math.sqrt(pixels / aspect))
        center_x = cut_w / 2 + x * (width - cut_w)
        center_y = cut_h / 2 + y * (height - cut_h)
    center_x += (2 * right - 1) * augment.shift * cut_w
    center_y += (2 * down - 1) * augment.shift * cut_h
    turn = math.radians((2 * angle - 1) * augment.rotate)
    scale = augment.scale[0] + zoom * (augment.scale[1] - augment.scale[0])
    slant = (2 * shear - 1) * augment.shear
    result = np.zeros((channels, size, size))
    for channel, row, column in np.ndindex(channels, size, size):
        u = ((column + 0.5) / size - 0.5) * cut_w / scale
        v = ((row + 0.5) / size - 0.5) * cut_h / scale
        u = -u if augment.flip and flip < 0.5 else u
        u += slant * v
        source_x = center_x + u * math.cos(turn) - v * math.sin(turn)
        source_y = center_y + u * math.sin(turn) + v * math.cos(turn)
        result[channel, row, column] = VALUE[augment.interpolation](
            image[channel], source_y, source_x, augment.padding
        )
    if augment.brightness:
        result = np.clip(result * (1 + (2 * bright - 1) * augment.brightness), 0, 1)
    return result


@pytest.mark.parametrize(
    "augment", OPTIONS, ids=lambda augment: str(augment.model_dump(exclude_defaults=True))
)
@pytest.mark.parametrize(("height", "width", "size"), [(12, 12, 12), (16, 13, 10)])
def test_batch_equals_a_loop_over_pixels(augment, height, width, size):
    images = pictures(4, 2, height, width)
    batched = augment.apply(images, size, generator())
    draws = torch.rand(4, 12, generator=generator()).double().numpy()
    for image, row, result in zip(images.double().numpy() / 255, draws, batched.numpy(), strict=True):
        np.testing.assert_allclose(result, slowly(augment, image, size, row), atol=2e-4)


@pytest.mark.parametrize("augment", OPTIONS)
def test_apply_keeps_its_contract(augment):
    images = pictures(5, 3, 20, 20)
    before = images.clone()
    result = augment.apply(images, 16, generator())
    assert result.shape == (5, 3, 16, 16)
    assert result.dtype == torch.float32
    assert 0 <= result.min() <= result.max() <= 1
    assert torch.equal(images, before)
    assert torch.equal(result, augment.apply(images, 16, generator()))
    assert not torch.equal(result, augment.apply(images, 16, generator(52)))
    as_floats = augment.apply(images.float() / 255, 16, generator())
    torch.testing.assert_close(as_floats, result)


@given(st.integers(1, 3), st.sampled_from([1, 3]), st.integers(1, 40), st.integers(1, 40), st.integers(1, 40))
def test_no_augmentation_equals_plain(batch, channels, height, width, size):
    images = pictures(batch, channels, height, width)
    assert torch.equal(Augment().apply(images, size, generator()), plain(images, size))
    if size > min(height, width) and height != width:
        return  # enlarged: the warp sees what lies beside the center, too
    # The same center through the warp: a shift too small to see.
    warped = Augment(shift=1e-9).apply(images, size, generator())
    torch.testing.assert_close(warped, plain(images, size), atol=1e-4, rtol=0)


def test_plain_cuts_the_center():
    images = pictures(2, 3, 10, 14)
    torch.testing.assert_close(plain(images, 6), images[:, :, 2:8, 4:10].float() / 255)
    assert plain(images[:, :, :4, :4], 8).shape == (2, 3, 8, 8)


def test_every_image_is_augmented_differently():
    images = pictures(1, 1, 16, 16).repeat(8, 1, 1, 1)
    for augment in (Augment(rotate=30), Augment(brightness=0.4), Augment(crop=(0.2, 1))):
        assert len({result.numpy().tobytes() for result in augment.apply(images, 16, generator())}) == 8


def test_flip_mirrors_exactly_half_of_the_time():
    images = pictures(400, 1, 8, 8)
    result = Augment(flip=True).apply(images, 8, generator())
    straight = images.float() / 255
    flipped = (result == straight.flip(-1)).all(dim=(1, 2, 3))
    assert torch.equal(flipped, ~(result == straight).all(dim=(1, 2, 3)))
    assert 160 < flipped.sum() < 240


@pytest.mark.parametrize("quarter_turns", [1, -1])
def test_rotation_by_90_degrees_equals_rot90(quarter_turns):
    images = pictures(1, 1, 9, 9)
    # A draw of 1 is +90 degrees, of 0 is -90.
    draws = torch.full((1, 12), 0.5)
    draws[:, 1] = 1.0 if quarter_turns == 1 else 0.0
    result = Augment(rotate=90)._warp(images.float() / 255, 9, draws)
    expected = torch.rot90(images.float() / 255, quarter_turns, dims=(2, 3))
    torch.testing.assert_close(result, expected, atol=1e-4, rtol=0)


def test_padding():
    white = torch.full((6, 1, 16, 16), 255, dtype=torch.uint8)
    assert Augment(rotate=45, shift=0.5).apply(white, 16, generator()).min() > 0.999
    assert Augment(rotate=45, shift=0.5, padding="zeros").apply(white, 16, generator()).min() == 0


@settings(deadline=None)
@given(st.floats(0.05, 1), st.floats(0.05, 1))
def test_crops_lie_within_the_image(low, high):
    augment = Augment(crop=(min(low, high), max(low, high)), padding="zeros")
    white = torch.full((16, 1, 24, 17), 255, dtype=torch.uint8)
    # Away from the very border, where a pixel is mixed with the black outside, nothing is black.
    assert augment.apply(white, 12, generator())[:, :, 2:-2, 2:-2].min() > 0.999


@pytest.mark.parametrize(
    "values",
    [
        {"scale": (2.0, 1.0)}, {"scale": (0.0, 1.0)}, {"crop": (0.5, 1.5)}, {"ratio": (-1.0, 1.0)},
        {"rotate": 200}, {"padding": "mirror"}, {"unknown": 1},
    ],
)  # fmt: skip
def test_invalid_options_are_refused(values):
    with pytest.raises(ValidationError):
        Augment(**values)


def test_round_trip_through_json():
    assert Augment.model_validate_json(EVERYTHING.model_dump_json()) == EVERYTHING
