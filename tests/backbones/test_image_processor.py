"""Mean and deviation that a model of transformers states in a file: used, missing, or broken."""

from __future__ import annotations

import json
import shutil

import pytest
import torch

from fiftyone_deepcluster.backbones.base import BACKBONES
from fiftyone_deepcluster.backbones.network import build_network
from fiftyone_deepcluster.core.process_state import seeded_torch
from fiftyone_deepcluster.errors import OptionsError
from tests.backbones.conftest import named, normalized, rgb

pytest.importorskip("transformers")

pytestmark = pytest.mark.usefixtures("seeded")


def test_a_model_that_states_no_mean_needs_an_input_norm(dinov2, tmp_path):
    with seeded_torch(1):
        torch.save(named(dinov2, "transformers").build(3, 32, None).model.state_dict(), tmp_path / "w.pth")
    with pytest.raises(OptionsError, match=r"it has no preprocessor_config\.json; choose one of 'plain'"):
        build_network(named(dinov2, "transformers"), "model", (3, 32), str(tmp_path / "w.pth"))
    with pytest.raises(OptionsError, match="this model states none"):
        build_network(BACKBONES.parse("small"), "model", (3, 32))


GOOD = {
    "image_processor_type": "ViTImageProcessor",
    "image_mean": [0.1, 0.2, 0.3],
    "image_std": [0.4, 0.5, 0.6],
}


@pytest.mark.parametrize(
    "content",
    [
        "", '{"image_mean": [0.5,', "[]", "\0", GOOD | {"image_processor_type": "Nothing"}, GOOD | {"image_mean": "a"},
        GOOD | {"image_mean": [0.5, 0.5]}, GOOD | {"image_std": [0, 0, 0]}, GOOD | {"image_std": [float("nan")] * 3},
        GOOD | {"rescale_factor": None},
    ],
)  # fmt: skip
def test_a_broken_file_of_mean_and_deviation_is_said_to_be_broken(dinov2, tmp_path, content):
    folder = shutil.copytree(dinov2, tmp_path / "model")
    named(folder, "transformers").build(3, 32, None).model.save_pretrained(folder)
    file = folder / "preprocessor_config.json"
    file.write_text(content if isinstance(content, str) else json.dumps(content))
    backbone = named(folder, "transformers")
    for weights in ("pretrained", None):
        with pytest.raises(
            OptionsError,
            match=rf"but its file '{file}' is broken \(.+\); choose one of 'plain', .*, or give the model a file",
        ):
            build_network(backbone, "model", (3, 32), weights)
    build_network(backbone, "imagenet", (3, 32), "pretrained")


def test_one_number_is_that_of_all_channels_and_a_mean_that_is_not_stated_is_named(dinov2, tmp_path):
    folder = shutil.copytree(dinov2, tmp_path / "model")
    named(folder, "transformers").build(3, 32, None).model.save_pretrained(folder)
    file, backbone = folder / "preprocessor_config.json", named(folder, "transformers")
    for mean in (0.3, [0.3]):
        file.write_text(json.dumps(GOOD | {"image_mean": mean}))
        network = build_network(backbone, "model", (3, 32), "pretrained")
        images = rgb(2, 32)
        torch.testing.assert_close(network.input_norm(images), normalized(images, [0.3] * 3, [0.4, 0.5, 0.6]))
    file.write_text(json.dumps(GOOD | {"image_mean": None}))
    with pytest.raises(OptionsError, match="its image processor states no image_mean"):
        build_network(backbone, "model", (3, 32), "pretrained")
    images = rgb(2, 32)
    untrained = build_network(backbone, "model", (3, 32), None).input_norm(images)
    torch.testing.assert_close(
        untrained, build_network(backbone, "imagenet", (3, 32), None).input_norm(images)
    )


def test_a_file_about_texts_only_states_no_mean(dinov2, tmp_path):
    folder = shutil.copytree(dinov2, tmp_path / "model")
    (folder / "preprocessor_config.json").unlink(missing_ok=True)
    named(folder, "transformers").build(3, 32, None).model.save_pretrained(folder)
    (folder / "processor_config.json").write_text(json.dumps({"processor_class": "CLIPProcessor"}))
    with pytest.raises(OptionsError, match=r"it has no preprocessor_config\.json"):
        build_network(named(folder, "transformers"), "model", (3, 32), "pretrained")
    build_network(named(folder, "transformers"), "model", (3, 32), None)
