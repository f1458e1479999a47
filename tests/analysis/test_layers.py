"""A reopened run and the layers of its network: names, shapes and captured outputs."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import fiftyone_deepcluster as fdc
from fiftyone_deepcluster.analysis import linear_probe
from fiftyone_deepcluster.api.assembly import build_parts
from fiftyone_deepcluster.api.trained_run import reopen
from fiftyone_deepcluster.backbones.base import BACKBONES
from fiftyone_deepcluster.backbones.input_norms import make_input_norm
from fiftyone_deepcluster.backbones.layers import (
    FEATURES_LAYER,
    as_maps,
    capture_outputs,
    choose_layers,
    layers_of,
)
from fiftyone_deepcluster.backbones.network import Network
from fiftyone_deepcluster.errors import CheckpointError, InputError
from tests.analysis.conftest import batch

SQUEEZENET = ["conv1", *(f"features.{i}" for i in (3, 4, 6, 7, 9, 10, 11, 12)), FEATURES_LAYER]


def test_a_reopened_run_has_its_trained_and_its_initial_network(trained_run, run_dir, digits):
    again = fdc.predict(run_dir, digits[0])
    np.testing.assert_allclose(trained_run.vectors().numpy(), again.embeddings, atol=1e-6)
    with torch.random.fork_rng():
        torch.manual_seed(7)  # whatever state torch is in
        first = trained_run.initial.network.state_dict()
    trained = trained_run.trained.network.state_dict()
    same = [name for name in first if torch.equal(first[name], trained[name])]
    assert not [name for name in same if name.endswith("layers.0.weight")], "training changed the filters"
    with reopen(run_dir, digits[0]) as other:
        assert all(
            torch.equal(value, first[name]) for name, value in other.initial.network.state_dict().items()
        )
    assert trained_run.initial_vectors().shape == trained_run.vectors().shape


def test_a_folder_without_a_run_is_an_error(tmp_path, digits):
    with pytest.raises(CheckpointError, match=r"model\.pt cannot be read"), reopen(tmp_path, digits[0]):
        pass


@pytest.mark.usefixtures("seeded")
@pytest.mark.parametrize(
    ("backbone", "size", "names", "last"),
    [
        ("small", 16, ["conv1", "conv2", "conv3", "conv4", "conv5", "fc6"], 128),
        (
            {"name": "small", "grid": 1},
            16,
            ["conv1", "conv2", "conv3", "conv4", "conv5", FEATURES_LAYER],
            128,
        ),
        ("alexnet", 67, ["conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7"], 4096),
        ("vgg16", 32, [f"conv{i}" for i in range(1, 14)] + ["fc14", "fc15"], 4096),
        (
            "resnet18",
            32,
            ["conv1", *(f"layer{i}.{j}" for i in range(1, 5) for j in (0, 1)), FEATURES_LAYER],
            512,
        ),
        ({"name": "torchvision", "model": "squeezenet1_1"}, 64, SQUEEZENET, 512),
        ({"name": "torchvision", "model": "mobilenet_v3_small"}, 64, None, 1024),
        ("pixels", 16, [FEATURES_LAYER], 256),
    ],
)
def test_layers_have_the_papers_names_and_their_true_shapes(backbone, size, names, last):
    part = BACKBONES.parse(backbone)
    input_norm = make_input_norm("plain" if part.name == "pixels" else part.input_norm, 1)
    network = Network(input_norm, part.build(input_norm.out_channels, size, None))
    images = torch.rand(2, 1, size, size)
    found = layers_of(network, images)
    if names is not None:
        assert [layer.name for layer in found] == names
    assert found[-1].units == last
    assert len({layer.name for layer in found}) == len(found) > 0
    outputs = capture_outputs(network, images, found, torch.clone)
    assert [tuple(output.shape[1:]) for output in outputs] == [layer.shape for layer in found]
    assert [as_maps(output).shape[1] for output in outputs] == [layer.units for layer in found]
    with torch.inference_mode():
        assert torch.allclose(outputs[-1].flatten(1), network.features(images), atol=1e-5) or (
            found[-1].name != FEATURES_LAYER
        )


@pytest.mark.usefixtures("seeded")
@pytest.mark.parametrize("name", sorted(fdc.list_methods()))
def test_every_method_has_a_network_with_layers(name, digits):
    from fiftyone_deepcluster.images.inspect import image_facts

    options = fdc.list_methods()[name]().resolve(image_facts(digits[0]))
    network = build_parts(options).network
    images = torch.rand(2, 1, options.image_size, options.image_size)
    found = layers_of(network, images)
    first = {"frozen": [FEATURES_LAYER], "self-training": ["conv1", "features.1"]}
    assert [layer.name for layer in found[:2]] == first.get(name, ["conv1", "conv2"])
    assert len({layer.name for layer in found}) == len(found)
    assert found[-1].units == network.dim
    assert [len(output) for output in capture_outputs(network, images, found, linear_probe.pool)] == [
        2
    ] * len(found)


def test_layers_are_captured_after_the_activation_and_raw_before_it(trained_run, layers):
    network, images = trained_run.trained.network, batch(trained_run.trained, range(8))
    chosen = choose_layers(layers, ["conv2"])
    (after,) = capture_outputs(network, images, chosen, torch.clone)
    (before,) = capture_outputs(network, images, chosen, torch.clone, raw=True)
    assert (before < 0).any(), "else the comparison says nothing"
    assert torch.equal(after, before.relu())


def test_the_forward_pass_ends_at_the_last_captured_layer(trained_run, layers):
    network = trained_run.trained.network
    called = []
    handle = network.backbone.get_submodule(layers[-1].path).register_forward_hook(
        lambda *_: called.append("norm")
    )
    capture_outputs(network, batch(trained_run.trained, [0]), layers[:1], torch.clone)
    assert called == []
    capture_outputs(network, batch(trained_run.trained, [0]), layers, torch.clone)
    handle.remove()
    assert called == ["norm"]
    assert not [module for module in network.backbone.modules() if module._forward_hooks]


def test_an_unknown_layer_is_refused_with_the_known_names(layers):
    with pytest.raises(InputError, match=r"layer='conv9'.*conv1, conv2, conv3, conv4, conv5, fc6"):
        choose_layers(layers, ["conv9"])
