"""A network that is built for stored values, without the file of its weights, is the same as the one built from it."""

from __future__ import annotations

import pytest
import torch
from torchvision.models import get_model

from fiftyone_deepcluster.backbones.base import BACKBONES
from fiftyone_deepcluster.backbones.network import build_network
from fiftyone_deepcluster.backbones.stored_weights import StoredWeights
from fiftyone_deepcluster.core.process_state import seeded_torch
from fiftyone_deepcluster.errors import OptionsError
from tests.backbones.conftest import TINY

pytestmark = pytest.mark.usefixtures("seeded")


def whole(name):
    """State of torchvision's model with its classifier."""
    return get_model(
        name, weights=None, **({"init_weights": False} if name == "googlenet" else {})
    ).state_dict()


def own(name, size):
    return BACKBONES.parse(name).build(3, size, None).state_dict()


CASES = {
    "small": (16, lambda: own("small", 16)),
    "slim-vgg": (16, lambda: own("slim-vgg", 16)),
    "ucnn": (16, lambda: own("ucnn", 16)),
    "resnet18": (32, lambda: whole("resnet18")),  # with given weights the stem is another one at this size
    "torchvision googlenet": (64, lambda: whole("googlenet")),  # which then scales its input
    "torchvision mobilenet_v2": (32, lambda: whole("mobilenet_v2")),
}


@pytest.mark.parametrize("case", CASES)
def test_the_network_for_stored_values_is_that_of_the_file(case, tmp_path):
    name, _, model = case.partition(" ")
    size, state = CASES[case]
    backbone = BACKBONES.parse({"name": name, "model": model} if model else name)
    path = tmp_path / "weights.pth"
    with seeded_torch(5):
        torch.save(state(), path)
    same_without_the_file(backbone, str(path), size, path.unlink)


def same_without_the_file(backbone, weights, size, delete, later=None):
    norm = backbone.norm_for(weights)
    with seeded_torch(6):
        made = build_network(backbone, norm, (3, size), weights).eval()
    state, images = made.state_dict(), torch.rand(2, 3, size, size)
    with torch.no_grad():
        expected = made.features(images)
    delete()
    with pytest.raises(OptionsError):
        build_network(backbone, norm, (3, size), weights)
    names = [name.removeprefix("backbone.") for name in state]
    built = build_network(later or backbone, norm, (3, size), StoredWeights(weights, names)).eval()
    built.load_state_dict(state)
    with torch.no_grad():
        assert torch.equal(built.features(images), expected)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["vgg16", "alexnet"])
def test_large_networks_are_built_without_the_file(name):
    plain = BACKBONES.parse(name).build(2, 64, None)
    built = BACKBONES.parse(name).build(2, 64, StoredWeights("gone.pth", ()))
    assert [(key, value.shape) for key, value in built.state_dict().items()] == [
        (key, value.shape) for key, value in plain.state_dict().items()
    ]


def test_timm(tmp_path):
    timm = pytest.importorskip("timm")
    path = tmp_path / "weights.pth"
    with seeded_torch(5):
        torch.save(timm.create_model("resnet10t").state_dict(), path)
    same_without_the_file(BACKBONES.parse({"name": "timm", "model": "resnet10t"}), str(path), 32, path.unlink)


@pytest.mark.parametrize("kind", ["ViTModel", "ViTForImageClassification", "half"])
def test_transformers_with_and_without_a_pooler_and_in_float16(tmp_path, kind):
    transformers = pytest.importorskip("transformers")
    with seeded_torch(5):
        config = transformers.ViTConfig(**TINY)
        model = getattr(transformers, "ViTModel" if kind == "half" else kind)(config)
    (model.half() if kind == "half" else model).save_pretrained(tmp_path)
    transformers.ViTImageProcessor().save_pretrained(tmp_path)
    backbone = BACKBONES.parse({"name": "transformers", "model": str(tmp_path)})
    same_without_the_file(backbone, "pretrained", 32, (tmp_path / "model.safetensors").unlink)
