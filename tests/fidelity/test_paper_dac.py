"""DAC's preset is the paper (Chang et al. 2017), and ``variant="released"`` follows its authors' scripts."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import fiftyone_deepcluster as fdc
from fiftyone_deepcluster.backbones.all_conv import AllConvNet
from fiftyone_deepcluster.core.types import Outputs, PairTargets
from fiftyone_deepcluster.errors import OptionsError
from fiftyone_deepcluster.images.augment import MultiCrop
from fiftyone_deepcluster.pseudo_labels.pairs import PairSelection, select
from fiftyone_deepcluster.training.losses import PairLoss
from tests.fidelity.papers import facts, plain_values

SETTINGS = {
    "rounds": 100,  # until l > u, which is after 46
    "image_fit": "stretch",  # resized
    "variant": "paper",
    "star": False,
    "init": "random",  # algorithm 1, line 1
    "augmentation": "none",  # none in algorithm 1
    "stop_nmi": None,
    "eta": 0.009,  # section 5.4
    "batch_size": 1000,
    "min_steps": 0,
    "star_rounds": 46,
    "learning_rate": 0.001,  # not in the paper: the authors' scripts
    "weight_decay": 0.0,
    "width": 64,
    "input_norm": "plain",
    "norm": "batch",
}


def paper(**values):
    return fdc.DAC(preset="paper", **values)


def schedule(thresholds):
    found, lam = [], 0.0
    while not thresholds.over(lam, len(found)):
        found.append(thresholds.at(lam))
        lam += thresholds.step
    return found


def parts(options, side, *, gray, n=70_000):
    with torch.device("meta"):
        return options.resolve(facts(n, side, gray=gray)).build()


def test_dac_options_are_the_papers():
    found = plain_values(paper())
    assert {name: found[name] for name in SETTINGS} == SETTINGS


@pytest.mark.parametrize(("side", "gray"), [(16, True), (28, True), (32, False), (96, False), (500, False)])
def test_a_batch_has_1000_images_at_any_size(side, gray):
    made = parts(paper(), side, gray=gray)
    assert made.batch_size == 1000
    assert made.training_spec.task.parts.batch_size == 1000
    assert parts(paper(), side, gray=gray, n=300).batch_size == 300


def test_the_thresholds_are_those_of_section_54():
    """u = 0.95 - λ and l = 0.455 + 0.1 λ; λ grows by 1.1 η until l > u."""
    found = schedule(paper().resolve(facts(70_000, 28, gray=True)).thresholds())
    assert len(found) == 46
    lam = [round_index * 1.1 * 0.009 for round_index in range(46)]
    assert np.allclose(found, [(0.95 - one, 0.455 + 0.1 * one) for one in lam])
    lam_next = 46 * 1.1 * 0.009
    assert 0.455 + 0.1 * lam_next > 0.95 - lam_next


def test_dac_star_goes_from_095_to_05():
    found = schedule(paper(star=True).resolve(facts(70_000, 28, gray=True)).thresholds())
    assert [upper for upper, _ in found] == pytest.approx(np.linspace(0.95, 0.5, 46).tolist())
    assert all(upper == lower for upper, lower in found)
    assert paper(star=True).deviations() == []


def test_training_is_algorithm_1():
    """Random weights, pairs of the batch that is trained on, RMSprop, the plain cross-entropy, no early stop."""
    made = parts(paper(), 28, gray=True)
    task = made.training_spec.task
    assert isinstance(task, PairSelection)
    assert task.parts.frozen is None
    assert task.parts.min_steps == 0
    assert made.training_spec.objective == PairLoss("entropy", 0.0)
    assert made.training_spec.stopping == ()
    optimizer = made.training_spec.optimizer
    assert (optimizer.optimizer, optimizer.learning_rate, optimizer.weight_decay) == ("rmsprop", 0.001, 0.0)


def pair_loss(features, same):
    """Equation 2 summed over pairs by a slow loop, divided by their number."""
    total = 0.0
    for i, one in enumerate(features.double()):
        for j, two in enumerate(features.double()):
            g = float(one @ two)
            total -= math.log(max(g if same[i, j] else 1 - g, 1e-7))
    return total / len(features) ** 2


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31 - 1), st.integers(2, 5), st.floats(0, 1))
def test_theorem_1_the_optimum_is_one_hot(seed, k, mix):
    """Where every cluster has an image, the loss is 0 exactly for one-hot label features that differ by cluster.

    Between random label features and an optimum: any other features have a positive loss.
    """
    generator = torch.Generator().manual_seed(seed)
    clusters = torch.cat([torch.arange(k), torch.randint(0, k, (4,), generator=generator)])
    same = (clusters[:, None] == clusters[None]).double()
    basis = torch.eye(k, dtype=torch.float64)[torch.randperm(k, generator=generator)]
    optimum = basis[clusters]
    others = nn.functional.normalize(
        torch.rand(len(clusters), k, generator=generator, dtype=torch.float64), dim=1
    )
    features = nn.functional.normalize((1 - mix) * optimum + mix * others, dim=1)
    everything = PairTargets(same, torch.ones_like(same))
    objective = PairLoss()

    def value(vectors):
        return float(objective.losses(Outputs(vectors, vectors), everything).mean())

    assert value(optimum) == pytest.approx(0, abs=1e-6)
    assert (optimum.argmax(1)[:, None] == optimum.argmax(1)[None]).double().equal(same)
    closest = float((features @ features.T)[same == 0].max())
    if closest < 0.999:  # of pairs that nearly coincide, the loss keeps few digits in 32 bits
        assert value(features) == pytest.approx(pair_loss(features, same), rel=1e-3, abs=1e-6)
    distance = float((features - optimum).norm(dim=1).max())
    if distance > 0.1:
        assert value(features) > 1e-5


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**31 - 1))
def test_theorem_1_needs_an_image_in_every_cluster(seed):
    """Two clusters in three dimensions: orthogonal label features need not be one-hot, and the loss is 0, too."""
    angle = 0.1 + 1.3 * float(torch.rand(1, generator=torch.Generator().manual_seed(seed)))
    features = torch.tensor([[math.cos(angle), math.sin(angle), 0.0], [0.0, 0.0, 1.0]])
    same = torch.eye(2)
    loss = PairLoss().losses(Outputs(features, features), PairTargets(same, torch.ones(2, 2)))
    assert float(loss.mean()) == pytest.approx(0, abs=1e-6)


def test_selection_is_equation_6():
    features = nn.functional.normalize(torch.tensor([[1.0, 0.0], [1.0, 0.1], [0.5, 0.5], [0.0, 1.0]]), dim=1)
    found = select(features, 0.9, 0.5)
    for i in range(4):
        for j in range(4):
            g = float(features[i] @ features[j])
            assert found.same[i, j] == (g >= 0.9)
            assert found.chosen[i, j] == (g >= 0.9 or g < 0.5)


# --- the authors' scripts -----------------------------------------------------------------------------------


def layers_of(script, side, *, gray, star=True, n_clusters=10):
    """The layers in order: filters of convolutions, and the initials of the others."""
    options = fdc.DAC(variant="released", script=script, star=star, n_clusters=n_clusters)
    network = parts(options, side, gray=gray).network.backbone
    assert isinstance(network, AllConvNet)
    names = []
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            names.append(f"{layer.out_channels}@{layer.kernel_size[0]}")
            assert layer.padding == (0, 0)
        elif isinstance(layer, nn.MaxPool2d):
            names.append(f"M{layer.kernel_size}")
        elif isinstance(layer, nn.AvgPool2d):
            names.append(f"A{layer.kernel_size}")
        elif isinstance(layer, nn.Linear):
            names.append("D")
        elif isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
            names.append("b")
        elif isinstance(layer, nn.ReLU):
            names.append("r")
    return " ".join(names)


def block(filters, times, pool, kernel=3):
    return f"{filters}@{kernel} b r " * times + f"M{pool} "


@pytest.mark.parametrize(
    ("script", "side", "gray", "star", "expected"),
    [
        ("mnist", 28, True, True,
         block(64, 3, 2) + "b " + block(128, 3, 2) + "b 10@1 b r A2 b D b r D b r"),
        ("cifar10-1", 32, False, True, block(64, 2, 2) + block(128, 2, 2) + "10@1 b r A5 D b r D b"),
        ("cifar10-2", 32, False, False, block(64, 3, 2) + block(128, 3, 2) + "10@1 b r A3 D b r D b"),
        ("stl10", 96, False, True,
         block(64, 3, 2) + block(128, 3, 2) + block(256, 3, 2) + "10@1 b r A6 D b r D b r"),
        ("imagenet10", 96, False, True,
         block(64, 3, 2) + block(128, 3, 2) + block(256, 3, 2) + "10@1 b r A6 D b r D b r"),
        ("imagenet-dog", 96, False, True, block(64, 2, 4, 5) + block(128, 2, 4) + "10@1 b r A4 D b r D b r"),
    ],
)  # fmt: skip
def test_released_networks_are_those_of_the_scripts(script, side, gray, star, expected):
    """cifar10-1 averages 4 x 4 of its 5 x 5 maps in the script, and all of them here."""
    assert layers_of(script, side, gray=gray, star=star) == expected


@pytest.mark.parametrize(
    ("script", "side", "star", "rounds", "first", "last", "inner", "mini", "objective"),
    [
        ("mnist", 28, True, 20, 0.9, 0.5, 5, 128, PairLoss("squares")),
        ("cifar10-1", 32, True, 50, 0.99, 0.75, 10, 32, PairLoss("entropy", 10.0, "softmax")),
        ("stl10", 96, True, 75, 0.99, 0.5, 10, 32, PairLoss("entropy", 10.0, "features")),
        ("imagenet10", 96, True, 50, 0.99, 0.75, 10, 32, PairLoss("entropy", 10.0, "features")),
        ("imagenet-dog", 96, True, 50, 0.99, 0.75, 10, 32, PairLoss("entropy", 10.0, "features")),
        ("cifar10-2", 32, False, 50, 0.99, 0.895, 10, 32,
         PairLoss("distance", 32 / -math.log(1e-7), "softmax")),
    ],
)  # fmt: skip
def test_released_training_is_that_of_the_scripts(
    script, side, star, rounds, first, last, inner, mini, objective
):
    options = fdc.DAC(variant="released", script=script, star=star)
    resolved = options.resolve(facts(13_000, side, gray=script == "mnist"))
    found = schedule(resolved.thresholds())
    assert len(found) == rounds
    uppers = [upper for upper, _ in found]
    assert uppers == pytest.approx(np.linspace(first, last, rounds, endpoint=False).tolist())
    lowers = [lower for _, lower in found]
    assert lowers == pytest.approx(uppers if star else np.linspace(0.8, 0.895, 50, endpoint=False).tolist())
    assert (resolved.inner_epochs, resolved.batch_size, resolved.macro_batch, resolved.views) == (
        inner, mini, 1000, 2,
    )  # fmt: skip
    assert resolved.objective() == objective
    assert resolved.frozen().images == 1000
    assert (resolved.learning_rate, resolved.norm) == (0.001, "batch")


@pytest.mark.parametrize(
    ("script", "rotate", "shift", "zoom", "channels", "flip"),
    [
        ("mnist", 10, 0.1, (0.95, 1.05), 0.05, False),
        ("cifar10-1", 20, 0.18, (0.85, 1.15), 0.1, True),
        ("cifar10-2", 10, 0.09, (0.95, 1.05), 0.05, True),
        ("stl10", 10, 0.1, (0.95, 1.05), 0.05, True),
        ("imagenet10", 10, 0.1, (0.95, 1.05), 0.05, True),
        ("imagenet-dog", 10, 0.1, (0.95, 1.05), 0.05, True),
    ],
)
def test_released_augmentation_is_that_of_the_scripts(script, rotate, shift, zoom, channels, flip):
    options = fdc.DAC(variant="released", script=script, star=script != "cifar10-2")
    found = options.resolve(facts(13_000, 32)).make_augment()
    assert isinstance(found, MultiCrop) == (script == "mnist")
    one = found.large if isinstance(found, MultiCrop) else found
    assert (one.rotate, one.shift, one.scale, one.shift_channels, one.flip) == (
        rotate, shift, zoom, channels, flip,
    )  # fmt: skip
    assert one.scale_axes
    assert (one.shear, one.brightness, one.crop) == (0, 0, None)


def test_a_factor_and_a_mean_of_the_pixels_change_nothing(seeded):
    """The scripts multiply all pixels by 0.975 and subtract their mean: batch norm removes both."""
    network = AllConvNet(1, 28, 10, width=8).train()
    images = torch.rand(16, 1, 28, 28)
    assert torch.allclose(network(images), network(images * 0.975 - 0.13), atol=1e-3)


@pytest.mark.parametrize(
    "values",
    [
        {"script": "mnist"},
        {"script": "mnist", "variant": "released"},
        {"script": "cifar10-2", "variant": "released", "star": True},
        {"augmentation": "released"},
    ],
)
def test_a_script_must_fit_the_variant(values):
    with pytest.raises(OptionsError, match="set "):
        fdc.DAC(**values)
