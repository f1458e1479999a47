"""Small models of other libraries, without their hubs."""

from __future__ import annotations

import pytest

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


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory):
    """A function that writes a configuration of transformers into a new folder, and returns its path."""
    return lambda config: (folder := str(tmp_path_factory.mktemp("model")), config.save_pretrained(folder))[0]


@pytest.fixture(scope="session")
def parse_backbone(tiny_folder):
    """A function from a name to the backbone with its defaults; transformers' default is on the hub."""

    def parse(name):
        if name != "transformers":
            return BACKBONES.parse(name)
        from transformers import Dinov2Config

        return BACKBONES.parse({"name": name, "model": tiny_folder(Dinov2Config(**TINY))})

    return parse
