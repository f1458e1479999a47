"""The images that a method's network sees."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.models import mobilenet_v2

import fiftyone_deepcluster as fdc
from fiftyone_deepcluster.api.assembly import open_store
from fiftyone_deepcluster.core.progress import Silent
from fiftyone_deepcluster.images.inspect import ImageFacts

MOBILENET = {"name": "torchvision", "model": "mobilenet_v2"}
FACTS = ImageFacts(n=3, side=16, gray=True, height=16, width=16)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "mobilenet_v2.pth"
    with torch.random.fork_rng():
        torch.save(mobilenet_v2(weights=None).state_dict(), path)
    return str(path)


@pytest.mark.parametrize("files", [False, True])
@pytest.mark.parametrize(
    ("method", "how"),
    [
        (lambda weights: fdc.Frozen(backbone=MOBILENET, weights=weights), "BICUBIC"),
        (lambda weights: fdc.SelfTraining(backbone=MOBILENET, weights=weights), "BICUBIC"),
        (lambda weights: fdc.DeepCluster(backbone=MOBILENET, weights=weights), "BICUBIC"),
        (lambda weights: fdc.LDPO(backbone=MOBILENET, weights=weights), "BICUBIC"),
        (lambda weights: fdc.DeepCluster(), "BILINEAR"),
        (lambda weights: fdc.Frozen(backbone=MOBILENET), "BILINEAR"),
        (lambda weights: fdc.Frozen(backbone="pixels"), "BILINEAR"),
    ],
)
def test_images_for_a_trained_network_are_enlarged_sharply(tmp_path, weights, method, how, files):
    images = np.random.default_rng(0).integers(0, 256, (3, 16, 16), dtype=np.uint8)
    options = method(weights).model_copy(update={"image_size": 32, "n_clusters": 2, "color": "gray"})
    given = [str(tmp_path / f"{i}.png") for i in range(3)] if files else images
    for path, image in zip(given if files else (), images, strict=False):
        Image.fromarray(image).save(path)
    resolved = options.resolve(FACTS)
    with open_store(given, resolved, Silent()) as store:
        found = store.read(np.arange(3))
    expected = [np.asarray(Image.fromarray(one).resize((32, 32), Image.Resampling[how])) for one in images]
    np.testing.assert_array_equal(found[..., 0], expected)
