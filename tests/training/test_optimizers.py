"""The moving average of the weights, against its formula, and learning rates."""

from __future__ import annotations

import torch

from fiftyone_deepcluster.backbones.base import BACKBONES
from fiftyone_deepcluster.backbones.input_norms import make_input_norm
from fiftyone_deepcluster.backbones.network import Network
from fiftyone_deepcluster.core.devices import Compute
from fiftyone_deepcluster.core.process_state import seeded_torch
from fiftyone_deepcluster.training.optimizers import Optimizer, OptimizerSpec


def test_a_round_ends_with_the_moving_average_of_the_backbones_weights():
    with seeded_torch(0):
        network = Network(
            make_input_norm("plain", 1), BACKBONES.parse({"name": "small", "width": 4}).build(1, 16, None)
        )
    network.replace_head(3, 0)
    optimizer = Optimizer(
        network, OptimizerSpec("sgd", 0.1, average=0.75), Compute(torch.device("cpu"), torch.float32)
    )
    optimizer.begin_round(3)
    backbone = list(network.backbone.parameters())
    expected = [weights.detach().clone() for weights in backbone]
    images = torch.rand(4, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    for _ in range(3):
        optimizer.step(network(images).logits.square().sum())
        expected = [0.75 * one + 0.25 * two.detach() for one, two in zip(expected, backbone, strict=True)]
    head = network.head.weight.detach().clone()
    last = [weights.detach().clone() for weights in backbone]
    optimizer.end_round()
    for weights, wanted, raw in zip(backbone, expected, last, strict=True):
        torch.testing.assert_close(weights.detach(), wanted)
        assert not torch.equal(weights, raw)
    assert torch.equal(network.head.weight, head), "the head has the weights of the last step"


def rates(optimizer, network, steps):
    """Learning rates of backbone and head in every step."""
    images, found = torch.ones(2, 1, 16, 16), []
    for _ in range(steps):
        found.append([part.param_groups[0]["lr"] for part in (optimizer._backbone, optimizer._head)])
        optimizer.step(network(images).logits.square().sum())
    return found


def test_in_a_round_without_a_planned_end_the_rate_warms_up_in_the_first_epoch_and_stays():
    with seeded_torch(0):
        network = Network(
            make_input_norm("plain", 1), BACKBONES.parse({"name": "small", "width": 4}).build(1, 16, None)
        )
    network.replace_head(3, 0)
    compute = Compute(torch.device("cpu"), torch.float32)
    cycled = Optimizer(network, OptimizerSpec("adamw", 0.01, 0.1, one_cycle=True), compute)
    cycled.begin_round(4, open_ended=True)
    wanted = [[0.01 * share, 0.1 * share] for share in (0.25, 0.4375, 0.625, 0.8125, *[1.0] * 8)]
    torch.testing.assert_close(torch.tensor(rates(cycled, network, 12)), torch.tensor(wanted))
    cycled.begin_round(1, open_ended=True)
    assert rates(cycled, network, 2)[0] == [0.01, 0.1], "an epoch of one batch"
    cycled.begin_round(4)
    assert rates(cycled, network, 4)[-1][0] < 0.001, "the next round is a cycle again"
    constant = Optimizer(network, OptimizerSpec("sgd", 0.001, 0.01), compute)
    constant.begin_round(4, open_ended=True)
    assert rates(constant, network, 6) == [[0.001, 0.01]] * 6
