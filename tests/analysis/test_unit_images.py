"""Images of single units: gradient ascent and highest activations against slow loops."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fiftyone_deepcluster.analysis import unit_images
from fiftyone_deepcluster.backbones.layers import choose_layers
from fiftyone_deepcluster.errors import CancelledError, InputError
from tests.analysis.conftest import N, batch
from tests.observers import Watcher

QUICK = unit_images.Ascent(steps=25)


def excitement(trained_run, layer, images, unit, raw=False):
    """Mean activation of one unit for every image, as numbers."""
    units = torch.full((len(images),), int(unit))
    with torch.no_grad():
        return unit_images.activations(trained_run.trained.network, layer, images, units, raw=raw).tolist()


@pytest.mark.parametrize("name", ["conv1", "conv3", "fc6"])
def test_gradient_ascent_exceeds_the_activation_of_every_start_image(trained_run, layers, name):
    (layer,) = choose_layers(layers, [name])
    units = unit_images.spread_units(layer, 6)
    made = unit_images.maximize(trained_run.trained, layer, units, QUICK)
    assert made.images.shape == (6, 16, 16, 1)
    assert made.images.dtype == np.float32
    noise = unit_images._noise(trained_run.trained, 6, QUICK.seed)
    for at, unit in enumerate(units.tolist()):
        raw = bool(made.silent[at])
        start = excitement(trained_run, layer, noise, unit, raw)
        assert made.start[at] == pytest.approx(start[at], abs=1e-4)
        image = torch.from_numpy(made.images[at : at + 1]).permute(0, 3, 1, 2)
        (reached,) = excitement(trained_run, layer, image, unit, raw)
        assert reached > max(start), f"unit {unit} of {name}"
        assert made.activations[at] == pytest.approx(reached, abs=1e-4)


def test_a_unit_with_zero_output_is_maximized_before_its_activation(trained_run, layers):
    (layer,) = choose_layers(layers, ["conv3"])
    norm = trained_run.trained.network.backbone.get_submodule(layer.raw_path)
    with torch.no_grad():
        norm.bias[5] = -50.0
    made = unit_images.maximize(trained_run.trained, layer, np.array([4, 5]), QUICK)
    assert made.silent.tolist() == [False, True]
    assert made.start[1] < -40
    assert made.activations[1] > made.start[1]


def test_blur_and_decay_regularize(trained_run, layers):
    (layer,) = choose_layers(layers, ["conv1"])
    units = unit_images.spread_units(layer, 4)

    def roughness(**changes):
        images = unit_images.maximize(
            trained_run.trained, layer, units, QUICK.model_copy(update=changes)
        ).images
        return np.abs(np.diff(images, axis=1)).mean(), np.square(images - 0.5).mean()

    plain = roughness(blur=0.0, decay=0.0)
    assert roughness(blur=1.0, decay=0.0)[0] < plain[0]
    assert roughness(blur=0.0, decay=3.0)[1] < plain[1]


def test_blurring_keeps_the_mean_of_a_flat_image():
    flat = torch.full((1, 2, 9, 9), 0.3)
    assert torch.allclose(unit_images._blurred(flat, 0.7), flat, atol=1e-6)


@pytest.mark.parametrize("name", ["conv2", "fc6"])
def test_top_images_equal_a_slow_loop(trained_run, layers, name):
    (layer,) = choose_layers(layers, [name])
    units = np.array([1, 3])
    found = unit_images.top_images(trained_run.trained, layer, units)
    everything = []
    for row in range(N):
        image = batch(trained_run.trained, [row])
        everything.append([excitement(trained_run, layer, image, unit)[0] for unit in units])
    scores = np.array(everything)
    for at in range(2):
        best = np.sort(scores[:, at])[::-1][:9]
        np.testing.assert_allclose(found.activations[at], best, atol=1e-4)
        np.testing.assert_allclose(scores[found.rows[at], at], best, atol=1e-4)
        assert len(set(found.rows[at])) == 9


def test_filters_can_be_cancelled_and_units_are_checked(trained_run, layers):
    trained_run.trained.observer = Watcher(after_steps=1)
    with pytest.raises(CancelledError):
        unit_images.maximize(trained_run.trained, layers[0], np.array([0]), QUICK)
    with pytest.raises(InputError, match=r"units has 8; the layer 'conv1' has the units 0 to 7"):
        unit_images.check_units(layers[0], [0, 8])
    with pytest.raises(InputError, match="empty"):
        unit_images.check_units(layers[0], [])
    assert unit_images.spread_units(layers[0], 16).tolist() == list(range(8))
