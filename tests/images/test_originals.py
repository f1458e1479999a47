"""Crops of the original images."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from fiftyone_deepcluster.images.augment import Augment
from fiftyone_deepcluster.images.originals import Originals


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_crops_are_interpolated_as_asked(interpolation):
    images = np.random.default_rng(0).integers(0, 256, (3, 8, 8), dtype=np.uint8)
    augment = Augment(crop=(1.0, 1.0), ratio=(1.0, 1.0), original=True, interpolation=interpolation)
    (crops,) = Originals(images, np.arange(3), "gray").crops(np.array([2, 0]), augment.specs(16), seed=0)
    how = Image.Resampling[interpolation.upper()]
    expected = [np.asarray(Image.fromarray(images[row]).resize((16, 16), how)) for row in (2, 0)]
    np.testing.assert_array_equal(crops[..., 0], expected)
