"""Small models of other libraries, without their hubs, and images for them."""

from __future__ import annotations

import pytest
import torch

from fiftyone_deepcluster.backbones.base import BACKBONES

TINY = {
    "hidden_size": 32,
    "num_hidden_layers": 4,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "image_size": 32,
    "patch_size": 4,
}
"""A vision transformer of transformers for images of 32 pixels."""


def named(model, library="timm"):
    """Backbone of another library with a model, and its defaults."""
    return BACKBONES.parse({"name": library, "model": str(model)})


def rgb(n, size):
    """(n, 3, size, size) pixels in 0..1, always the same."""
    return torch.rand(n, 3, size, size, generator=torch.Generator().manual_seed(3))


def normalized(images, mean, std):
    """(B, 3, H, W) less the mean of each channel, divided by its deviation."""
    return (images - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory):
    """A function that writes a configuration of transformers into a new folder, and returns its path."""
    return lambda config: (folder := str(tmp_path_factory.mktemp("model")), config.save_pretrained(folder))[0]


@pytest.fixture(scope="session")
def dinov2(tiny_folder):
    """Folder of a model with random weights that are large enough for features that differ between images."""
    from transformers import Dinov2Config

    return tiny_folder(Dinov2Config(**TINY, initializer_range=0.5))


@pytest.fixture(scope="session")
def parse_backbone(tiny_folder):
    """A function from a name to the backbone with its defaults; transformers' default is on the hub."""

    def parse(name):
        if name != "transformers":
            return BACKBONES.parse(name)
        from transformers import Dinov2Config

        return BACKBONES.parse({"name": name, "model": tiny_folder(Dinov2Config(**TINY))})

    return parse
