"""Dropout with its own generator: shares, units, and torch's generator unchanged."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torchvision.ops import StochasticDepth

from fiftyone_deepcluster.backbones.base import BACKBONES
from fiftyone_deepcluster.backbones.dropout import SeededDropout, replace_dropout, seed_dropout
from fiftyone_deepcluster.backbones.input_norms import make_input_norm
from fiftyone_deepcluster.backbones.network import Network
from fiftyone_deepcluster.core.process_state import seeded_torch

CPU = torch.device("cpu")


@pytest.mark.parametrize("p", [0.0, 0.2, 0.7, 1.0])
def test_a_share_is_dropped_and_the_rest_scaled(p):
    layer = SeededDropout(p)
    seed_dropout(layer, 3, CPU)
    found = layer(torch.ones(200, 500))
    kept = found != 0
    # the standard error of the share is .0016 at most
    assert float(kept.float().mean()) == pytest.approx(1 - p, abs=0.01)
    assert found[kept].unique().tolist() == (pytest.approx([1 / (1 - p)]) if p < 1 else [])
    assert torch.equal(layer.eval()(found), found)


@pytest.mark.parametrize(
    ("theirs", "axes"),
    [
        (nn.Dropout(0.5), (0, 1, 2, 3)),
        (nn.Dropout2d(0.5), (0, 1)),
        (StochasticDepth(0.5, "row"), (0,)),
        (StochasticDepth(0.5, "batch"), ()),
    ],
)
def test_units_are_those_of_the_layer_replaced(theirs, axes):
    layer = replace_dropout(theirs)
    seed_dropout(layer, 7, CPU)
    values = torch.ones(40, 30, 2, 3)
    for _ in range(3):
        kept = layer(values) != 0
        within = kept.reshape(*kept.shape[: len(axes)], -1)
        assert bool((within.all(dim=-1) | ~within.any(dim=-1)).all()), "a unit is kept or dropped whole"
        if axes:
            assert 0 < float(kept.float().mean()) < 1


def test_the_same_seed_drops_the_same_and_torchs_generator_is_left_alone():
    with seeded_torch(1):
        backbone = nn.Sequential(nn.Linear(30, 30), nn.Dropout(0.5), nn.Sequential(nn.Dropout(0.5)))
    backbone.dim = 30
    network = Network(nn.Identity(), backbone)
    network.replace_head(4, seed=0)
    before, images, found = torch.get_rng_state(), torch.ones(8, 30), []
    for seed in (5, 5, 6):
        network.seed_dropout(seed)
        found.append(network(images).features)
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])
    assert torch.equal(torch.get_rng_state(), before)


def test_every_dropout_layer_of_alexnet_is_replaced():
    input_norm = make_input_norm("imagenet", 3)
    with seeded_torch(0):
        network = Network(input_norm, BACKBONES.parse("alexnet").build(input_norm.out_channels, 96, None))
    kinds = [type(part).__name__ for part in network.modules() if "drop" in type(part).__name__.lower()]
    assert kinds == ["SeededDropout"] * 2
