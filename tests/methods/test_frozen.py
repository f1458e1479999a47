"""Frozen features: what the network sees is the whole image, and what torchvision's transforms give."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_sample_images

import fiftyone_deepcluster as fdc
from fiftyone_deepcluster.api.assembly import assemble, build_parts, open_store
from fiftyone_deepcluster.core.progress import Silent
from fiftyone_deepcluster.images.inspect import image_facts

SQUEEZENET = {"name": "torchvision", "model": "squeezenet1_1"}


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """Paths of eight PNG files: parts of scikit-learn's two photographs, from 90 to 427 pixels, none of them square."""
    folder = tmp_path_factory.mktemp("photographs")
    paths = []
    for number, image in enumerate(load_sample_images().images):
        for place, part in enumerate((image, image[:90, :120], image[100:400, 50:250], image[200:, 300:])):
            paths.append(str(folder / f"{number}-{place}.png"))
            Image.fromarray(part).save(paths[-1])
    return paths


def frozen(images, **options):
    """Resolved options of ``frozen`` with a small network of random weights in float32."""
    options = {"backbone": SQUEEZENET, "input_norm": "imagenet", "precision": "float32", **options}
    return fdc.Frozen(n_clusters=2, **options).resolve(image_facts(images))


def features_of(images, options):
    with open_store(images, options, Silent()) as store:
        corpus, _ = assemble(options, store, Silent(), None)
        return corpus.features()


@pytest.mark.parametrize("image_fit", ["stretch", "crop"])
def test_features_equal_those_of_torchvisions_transforms(photographs, image_fit):
    from torchvision.transforms import v2

    shrink = {
        "stretch": [v2.Resize((224, 224))],
        "crop": [v2.Resize(256), v2.CenterCrop(224)],
    }[image_fit]
    change = v2.Compose(
        [
            *shrink,
            v2.ToImage(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ]
    )
    options = frozen(photographs, image_fit=image_fit)
    images = torch.stack([change(Image.open(path).convert("RGB")) for path in photographs])
    with torch.no_grad():
        expected = build_parts(options).network.backbone.eval()(images)
    found = features_of(photographs, options)
    similar = torch.nn.functional.cosine_similarity(found, expected)
    # "crop": torchvision rounds the longer side, and the place of the cut, to whole pixels.
    assert similar.min() > (0.99999 if image_fit == "stretch" else 0.995)


@pytest.mark.parametrize(
    "method", ["frozen", "deepcluster", "deepcluster-v2", "ldpo", "cardiac-mr", "ucnn", "dac"]
)
def test_no_method_cuts_off_a_border_unless_asked_to(method):
    image = np.full((90, 120), 40, np.uint8)
    image[:, :6] = image[:, -6:] = image[:4] = image[-4:] = 255
    images = np.stack([image] * 3)
    options = fdc.list_methods()[method](n_clusters=2).resolve(image_facts(images))
    with open_store(images, options, Silent()) as store:
        seen = store.read(np.arange(3))[..., 0]
    side = seen.shape[1]
    assert seen.shape == (3, side, side) == (3, options.image_size, options.image_size)
    for border in (seen[:, 0], seen[:, -1], seen[:, :, 0], seen[:, :, -1]):
        assert (border == 255).all(), "the white border is there on all four sides"
    assert (seen[:, side // 2, side // 2] == 40).all()


def test_a_crop_keeps_the_aspect_ratio_and_the_center():
    image = np.zeros((90, 120), np.uint8)
    image[:, :15] = image[:, -15:] = 255
    images = np.stack([image] * 2)
    options = frozen(images, image_fit="crop")
    assert (options.image_size, options.decoded_side) == (224, 256)
    with open_store(images, options, Silent()) as store:
        assert (store.read(np.arange(2))[:, :, 2:-2] == 0).all()
