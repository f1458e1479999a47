"""Models of timm and transformers: their own features, weights from files, errors, and the networks made of them."""

from __future__ import annotations

import io
import json
import sys

import pytest
import safetensors.torch
import torch

from fiftyone_deepcluster.backbones.cut import cut_layer, freeze_until, upper_part
from fiftyone_deepcluster.backbones.dropout import SeededDropout
from fiftyone_deepcluster.backbones.frozen_norms import freeze_norms
from fiftyone_deepcluster.backbones.layers import layers_of
from fiftyone_deepcluster.backbones.network import Network, build_network
from fiftyone_deepcluster.backbones.stored_weights import StoredWeights
from fiftyone_deepcluster.backbones.synced_norms import SyncedNorm
from fiftyone_deepcluster.core.devices import Compute
from fiftyone_deepcluster.core.process_state import seeded_torch
from fiftyone_deepcluster.errors import MissingDependencyError, OptionsError
from tests.backbones.conftest import TINY, named, normalized, rgb

timm = pytest.importorskip("timm")
transformers = pytest.importorskip("transformers")

pytestmark = pytest.mark.usefixtures("seeded")

CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


@pytest.mark.parametrize(
    ("model", "size", "own", "ending"),
    [
        ("resnet18", 64, {}, "pth"),
        ("convnext_atto", 64, {}, "safetensors"),
        ("vit_tiny_patch16_224", 64, {"img_size": 64}, "pth"),
        ("vit_tiny_patch16_224", 224, {}, "safetensors"),
        ("vit_xsmall_patch16_clip_224.tinyclip_yfcc15m", 32, {"img_size": 32}, "pth"),
    ],
)
def test_features_are_those_of_timm_for_the_same_pixels_and_weights(tmp_path, model, size, own, ending):
    """Reference: timm's model with its classifier, built for the size of the images; pooled before the classifier."""
    with seeded_torch(2):
        theirs = timm.create_model(model, **own).eval()
    path, state = tmp_path / f"weights.{ending}", theirs.state_dict()
    if own:  # positions of the model's usual size, which timm interpolates
        usual = timm.create_model(model).state_dict()["pos_embed"]
        state["pos_embed"] = usual
        resampled = timm.layers.resample_abs_pos_embed(usual, new_size=[size // 16] * 2)
        theirs.pos_embed.data.copy_(resampled)
    torch.save(state, path) if ending == "pth" else safetensors.torch.save_file(state, path)
    backbone = named(model)
    network = build_network(backbone, backbone.norm_for(str(path)), (3, size), str(path)).eval()
    images = rgb(2, size)
    config = theirs.pretrained_cfg
    with torch.no_grad():
        pixels = normalized(images, config["mean"], config["std"])
        expected = theirs.forward_head(theirs.forward_features(pixels), pre_logits=True)
        torch.testing.assert_close(network.features(images), expected, atol=1e-4, rtol=1e-4)
    if "clip" in model:
        torch.testing.assert_close(network.input_norm(images), normalized(images, CLIP_MEAN, CLIP_STD))


def test_features_are_the_pooler_output_of_transformers(dinov2, tmp_path):
    with seeded_torch(4):
        theirs = transformers.AutoModel.from_config(transformers.Dinov2Config(**TINY)).eval()
    torch.save(theirs.state_dict(), tmp_path / "w.pth")
    theirs.save_pretrained(tmp_path / "folder")
    transformers.BitImageProcessor(image_mean=CLIP_MEAN, image_std=CLIP_STD).save_pretrained(
        tmp_path / "folder"
    )
    images = rgb(2, 48)  # other than the 32 of the model
    with torch.no_grad():
        expected = theirs(normalized(images, CLIP_MEAN, CLIP_STD)).pooler_output
        for weights in (str(tmp_path / "w.pth"), "pretrained"):
            backbone = named(tmp_path / "folder", "transformers")
            network = build_network(backbone, backbone.norm_for(weights), (3, 48), weights).eval()
            torch.testing.assert_close(network.features(images), expected, atol=1e-5, rtol=1e-4)


def test_without_a_trained_pooler_features_are_the_mean_over_the_patches(tmp_path):
    """The weights of a classifier, whose class token has no pooler; patches without the class token."""
    config = transformers.ViTConfig(**TINY)
    with seeded_torch(5):
        theirs = transformers.ViTForImageClassification(config).eval()
    theirs.save_pretrained(tmp_path)
    network = build_network(named(tmp_path, "transformers"), "imagenet", (3, 48), "pretrained").eval()
    images = rgb(2, 48)
    with torch.no_grad():
        found = theirs.vit(network.input_norm(images), interpolate_pos_encoding=True).last_hidden_state
        torch.testing.assert_close(network.features(images), found[:, 1:].mean(1), atol=1e-5, rtol=1e-4)


def test_a_model_of_images_and_texts_gives_its_image_tower(tmp_path):
    small = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}
    config = transformers.CLIPConfig(
        text_config={**small, "vocab_size": 50, "bos_token_id": 1, "eos_token_id": 2},
        vision_config={**small, "image_size": 32, "patch_size": 8},
    )
    with seeded_torch(6):
        theirs = transformers.CLIPModel(config).eval()
    theirs.save_pretrained(tmp_path)
    network = build_network(named(tmp_path, "transformers"), "plain", (3, 32), "pretrained").eval()
    images = rgb(2, 32)
    with torch.no_grad():
        torch.testing.assert_close(network.features(images), theirs.vision_model(images).pooler_output)


def test_images_of_no_model_and_wrong_weights_are_refused(tiny_folder, dinov2, tmp_path):
    with pytest.raises(OptionsError, match="not a model of timm; did you mean 'resnet1"):
        named("resnet19").build(3, 64, None)
    with pytest.raises(OptionsError, match=r"has no weights 'openai'; choose one of: resnet18\.a1_in1k"):
        named("resnet18.openai").build(3, 64, None)
    with pytest.raises(
        OptionsError, match=r"does not accept images of 60 pixels .*a multiple of 14, such as 224"
    ):
        named("vit_small_patch14_dinov2.lvd142m").build(3, 60, None)
    with pytest.raises(OptionsError, match="neither a file nor a name"):
        named("resnet18").build(3, 64, "IMAGENET1K_V1")
    bert = transformers.BertConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, vocab_size=50
    )
    with pytest.raises(OptionsError, match="is no image model, but a BertModel"):
        named(tiny_folder(bert), "transformers").build(3, 32, None)
    with pytest.raises(OptionsError, match="there is no folder '/no/such/model'"):
        named("/no/such/model", "transformers").build(3, 32, None)
    with pytest.raises(OptionsError, match=r"has no config\.json"):
        named(tmp_path, "transformers").build(3, 32, None)
    with pytest.raises(OptionsError, match="does not accept images of 3 pixels"):
        named(dinov2, "transformers").build(3, 3, None)


@pytest.mark.parametrize("weights", [None, StoredWeights("pretrained", ())])
def test_code_in_the_folder_of_a_model_is_never_run(tmp_path, monkeypatch, weights):
    """Nor is the user asked: transformers has such a configuration, but no model of it, and would ask."""
    content = {"model_type": "blip_vision_model", "auto_map": {"AutoModel": "code.Model"}}
    (tmp_path / "config.json").write_text(json.dumps(content))
    (tmp_path / "code.py").write_text(f"open({str(tmp_path / 'was_run')!r}, 'w')\nclass Model: pass\n")
    asked = io.StringIO("y\n")
    monkeypatch.setattr("sys.stdin", asked)
    with pytest.raises(OptionsError, match="could not be loaded"):
        named(tmp_path, "transformers").build(3, 32, weights)
    assert asked.tell() == 0
    assert not (tmp_path / "was_run").exists()


def test_a_hub_that_cannot_be_reached_is_an_error_that_says_so(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(
        OptionsError, match=r"facebook/no-such-model.* could not be downloaded .*HF_HUB_OFFLINE is set"
    ):
        named("facebook/no-such-model", "transformers").build(3, 32, "pretrained")
    with pytest.raises(
        OptionsError,
        match=r"weights of timm's model='vit_tiny_patch16_224' could not be downloaded .*HF_HUB_OFFLINE is set",
    ):
        named("vit_tiny_patch16_224").build(3, 224, "pretrained")


@pytest.mark.parametrize("library", ["timm", "transformers"])
def test_a_file_must_have_all_weights_and_no_others(library, dinov2, tmp_path):
    backbone = named("resnet18") if library == "timm" else named(dinov2, library)
    state = backbone.build(3, 32, None).model.state_dict()
    lost = "layer2.0.conv1.weight" if library == "timm" else "encoder.layer.2.norm1.weight"
    path = tmp_path / "w.pth"
    torch.save({key: value for key, value in state.items() if key != lost}, path)
    with pytest.raises(OptionsError, match=rf"(?s)does not fit .*issing.*{lost}"):
        backbone.build(3, 32, str(path))
    more = lost.replace("2", "9", 1)
    torch.save({**state, more: state[lost]}, path)
    with pytest.raises(OptionsError, match=rf"(?s)does not fit .*nexpected.*{more}"):
        backbone.build(3, 32, str(path))
    torch.save({**state, lost: torch.zeros(3)}, path)
    with pytest.raises(OptionsError, match=rf"(?s)does not fit .*size.*{lost}|does not fit .*{lost}.*size"):
        backbone.build(3, 32, str(path))
    torch.save({"network": {f"backbone.model.{key}": value for key, value in state.items()}}, path)
    loaded = backbone.build(3, 32, str(path)).model.state_dict()
    assert all(torch.equal(value, loaded[key]) for key, value in state.items()), "one of our checkpoints"


@pytest.mark.parametrize("library", ["timm", "transformers"])
def test_the_message_about_weights_of_another_model_is_short(library, dinov2, tmp_path):
    backbone = named("resnet18") if library == "timm" else named(dinov2, library)
    path = tmp_path / "other.pth"
    torch.save({"network": named("vit_tiny_patch16_224").build(3, 32, None).model.state_dict()}, path)
    with pytest.raises(OptionsError, match=r"does not fit .*\(missing: .*, .*, .* and \d+ more") as caught:
        backbone.build(3, 32, str(path))
    message = str(caught.value)
    assert len(message) < 400 + len(str(path)) + len(dinov2)
    assert message.endswith("or set the backbone to the model of the file")


@pytest.mark.parametrize("library", ["timm", "transformers"])
def test_a_package_that_is_not_installed_is_named_with_its_extra(library, monkeypatch, dinov2):
    monkeypatch.setitem(sys.modules, library, None)  # as Python marks a module that cannot be imported
    with pytest.raises(MissingDependencyError, match=rf'pip install "fiftyone-deepcluster\[{library}\]"'):
        named("resnet18" if library == "timm" else dinov2, library).build(3, 32, None)


def test_other_numbers_of_channels_get_adapted_filters(tmp_path):
    with seeded_torch(1):
        theirs = timm.create_model("resnet18")
    torch.save(theirs.state_dict(), tmp_path / "w.pth")
    filters = named("resnet18").build(2, 32, str(tmp_path / "w.pth")).model.conv1.weight
    torch.testing.assert_close(filters, theirs.conv1.weight[:, :2] * 1.5)


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_models_of_transformers_take_images_of_any_number_of_channels(tiny_folder, channels):
    folder = tiny_folder(transformers.ViTConfig(**TINY))
    network = build_network(named(folder, "transformers"), "plain", (channels, 32)).eval()
    with torch.no_grad():
        assert network.features(torch.rand(2, channels, 32, 32)).shape == (2, 32)


def test_a_size_that_is_no_multiple_of_the_patches_is_refused(tiny_folder):
    folder = tiny_folder(transformers.ViTConfig(**TINY))
    with pytest.raises(
        OptionsError, match=r"does not accept images of 30 pixels .*a multiple of 4, such as 64"
    ):
        named(folder, "transformers").build(3, 30, None)


@pytest.mark.parametrize(
    ("model", "size", "stages", "cut"),
    [
        ("vit_tiny_patch16_224", 32, 1, "blocks.8"),
        ("vit_tiny_patch16_224", 32, 2, "blocks.5"),
        ("convnext_atto", 64, 1, "stages.2"),
        ("convnext_atto", 64, 2, "stages.1"),
        ("swin_tiny_patch4_window7_224", 64, 1, "layers.2"),
        ("", 32, 1, "encoder.layer.2"),
    ],
)
def test_networks_are_cut_at_blocks(model, size, stages, cut, dinov2):
    backbone = named(model) if model else named(dinov2, "transformers")
    network = build_network(backbone, "imagenet", (3, size)).eval()
    images = rgb(3, size)
    layer = cut_layer(network, images, stages=stages)
    assert layer.name == cut
    upper = upper_part(network, layer, images[:2])
    assert upper is not None
    freeze_until(network, layer)
    trained = {name for name, weights in network.backbone.named_parameters() if weights.requires_grad}
    assert trained
    assert not any("embed" in name or "token" in name or name.startswith(f"model.{cut}.") for name in trained)
    maps = []
    handle = network.backbone.get_submodule(layer.path).register_forward_hook(
        lambda _m, _i, out: maps.append(out)
    )
    network.features(images).square().sum().backward()
    handle.remove()
    expected = {
        name: weights.grad for name, weights in network.named_parameters() if weights.grad is not None
    }
    network.zero_grad()
    seen = maps[0].detach()
    upper(seen.permute(0, 3, 1, 2) if "swin" in model else seen).square().sum().backward()
    assert expected
    for name, weights in network.named_parameters():
        if weights.grad is not None or name in expected:
            torch.testing.assert_close(weights.grad, expected[name], atol=1e-4, rtol=1e-3)


def test_frozen_batch_norm_keeps_the_activation_that_timm_puts_into_it():
    network = build_network(named("mobilenetv3_small_100"), "imagenet", (3, 32))
    for norm in network.modules():
        if isinstance(norm, torch.nn.BatchNorm2d):
            norm.running_mean.uniform_(-1, 1)
            norm.running_var.uniform_(0.5, 2)
    images = rgb(4, 32)
    with torch.no_grad():
        expected = network.eval().features(images)
        frozen = freeze_norms(network).train()
        torch.testing.assert_close(frozen.features(images), expected)
    norms = [norm for norm in network.modules() if isinstance(norm, torch.nn.BatchNorm2d)]
    assert norms
    assert not any(weights.requires_grad for norm in norms for weights in norm.parameters())


def test_shared_batch_norm_keeps_it_too():
    norm = timm.layers.BatchNormAct2d(4)
    norm.running_mean.normal_()
    one = Compute(torch.device("cpu"), torch.float32)
    shared, values = SyncedNorm(norm, one, 2), torch.randn(3, 4, 5, 5)
    torch.testing.assert_close(shared.eval()(values), norm.eval()(values))
    torch.testing.assert_close(shared.train()(values), norm.train()(values))


def test_stochastic_depth_has_its_own_generator():
    dropped = timm.layers.DropPath(0.3)
    backbone = torch.nn.Sequential(torch.nn.Flatten(), dropped)
    backbone.dim = 12
    (layer,) = [m for m in Network(torch.nn.Identity(), backbone).modules() if isinstance(m, SeededDropout)]
    assert (layer.p, layer.unit) == (0.3, "row")


def test_layers_are_blocks_by_name(dinov2):
    network = build_network(named(dinov2, "transformers"), "imagenet", (3, 32))
    names = [layer.name for layer in layers_of(network, rgb(1, 32))]
    assert names == ["embeddings", *(f"encoder.layer.{i}" for i in range(4)), "features"]
