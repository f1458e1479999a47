"""Color distortion and blur against torchvision, image by image."""

from __future__ import annotations

import pytest
import torch
from torchvision.transforms import functional

from fiftyone_deepcluster.images import colors


def generator(seed=51):
    return torch.Generator().manual_seed(seed)


def pictures(n=6, channels=3):
    return torch.rand(n, channels, 12, 10, generator=generator(7))


@pytest.mark.parametrize(
    ("place", "theirs"),
    [
        (0, functional.adjust_brightness),
        (1, functional.adjust_contrast),
        (2, functional.adjust_saturation),
        (3, functional.adjust_hue),
    ],
)
def test_one_change_equals_torchvisions(place, theirs):
    images, strength = pictures(), tuple(0.4 * (i == place) for i in range(4))
    found = colors.jitter(images, strength, 1.0, generator())
    draws = torch.rand(len(images), 5, generator=generator())[:, 1 + place]
    for image, result, draw in zip(images, found, draws, strict=True):
        amount = float(draw * 0.8 + (0.6 if place < 3 else -0.4))
        # torchvision's luma has fewer digits
        assert torch.allclose(result, theirs(image, amount), atol=2e-4)


def test_the_order_of_the_changes_differs_between_images():
    images = pictures(1).expand(40, -1, -1, -1)
    order = torch.rand(40, 4, generator=torch.Generator().manual_seed(2))
    found = colors.jitter(images, (0.8, 0.8, 0.8, 0.2), 1.0, generator())
    assert len({tuple(row.tolist()) for row in order.argsort(dim=1)}) > 10
    assert len({round(float(image.sum()), 4) for image in found}) == 40
    assert found.min() >= 0
    assert found.max() <= 1


def test_only_a_share_is_changed_and_a_seed_gives_the_same():
    images = pictures(400)
    one, two = (colors.jitter(images, (0.8, 0.8, 0.8, 0.2), 0.8, generator(3)) for _ in range(2))
    assert torch.equal(one, two)
    changed = (one != images).flatten(1).any(dim=1).float().mean()
    assert 0.72 < changed < 0.88


@pytest.mark.parametrize("channels", [1, 3])
def test_grayscale_removes_the_color_of_a_share(channels):
    images = pictures(400, channels)
    found = colors.grayscale(images, 0.2, generator())
    assert found.shape == images.shape
    if channels == 3:
        gray = (found.amax(dim=1) == found.amin(dim=1)).flatten(1).all(dim=1)
        assert 0.12 < gray.float().mean() < 0.28
        row = int(gray.nonzero()[0])
        assert torch.allclose(found[row], functional.rgb_to_grayscale(images[row], 3), atol=2e-4)
    else:
        assert torch.allclose(found, images)


def test_blur_equals_torchvisions():
    images = torch.rand(5, 3, 24, 20, generator=generator(7))
    found = colors.blur(images, 1.0, (0.5, 2.0), generator())
    draws = torch.rand(5, 2, generator=generator())[:, 1]
    for image, result, draw in zip(images, found, draws, strict=True):
        sigma = 0.5 + 1.5 * float(draw)
        assert torch.allclose(result, functional.gaussian_blur(image, [13, 13], [sigma, sigma]), atol=1e-5)


def test_blur_changes_a_share():
    images = pictures(400)
    changed = (colors.blur(images, 0.5, (0.5, 2.0), generator()) != images).flatten(1).any(dim=1)
    assert 0.42 < changed.float().mean() < 0.58


def test_channels_are_shifted_within_the_range_of_the_image():
    images = 0.25 + 0.5 * pictures(50)
    found = colors.shift_channels(images, 0.1, generator())
    low, high = images.amin(dim=(1, 2, 3)), images.amax(dim=(1, 2, 3))
    assert (found.amin(dim=(1, 2, 3)) >= low).all()
    assert (found.amax(dim=(1, 2, 3)) <= high).all()
    inner = (found > low.view(-1, 1, 1, 1)) & (found < high.view(-1, 1, 1, 1))
    added = torch.where(inner, found - images, torch.nan)
    spread = added.nan_to_num(-9).amax(dim=(2, 3)) - added.nan_to_num(9).amin(dim=(2, 3))
    assert spread.max() < 1e-6
    assert 0.09 < added.nan_to_num(0).abs().max() <= 0.1
