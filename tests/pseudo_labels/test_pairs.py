"""DAC's pairs and their loss against slow loops."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import fiftyone_deepcluster as fdc
from fiftyone_deepcluster.backbones.all_conv import Restraint
from fiftyone_deepcluster.core.types import ClassTargets, Outputs, PairTargets
from fiftyone_deepcluster.images.inspect import ImageFacts
from fiftyone_deepcluster.pseudo_labels.pairs import select
from fiftyone_deepcluster.pseudo_labels.samplers import whole_batches
from fiftyone_deepcluster.training.losses import PairLoss


def label_features(n, k, seed):
    generator = torch.Generator().manual_seed(seed)
    return Restraint()(torch.randn(n, k, generator=generator) * 2)


def slow_pairs(features, upper, lower):
    """r and v of equations 6 and 8, one pair at a time."""
    n = len(features)
    same, chosen = torch.zeros(n, n), torch.zeros(n, n)
    for i in range(n):
        for j in range(n):
            similar = sum(float(a) * float(b) for a, b in zip(features[i], features[j], strict=True))
            if similar >= upper:
                same[i, j], chosen[i, j] = 1, 1
            elif similar < lower:
                chosen[i, j] = 1
    return same, chosen


def slow_loss(features, same, chosen):
    """Equation 10 with equation 2, divided by the number of chosen pairs."""
    total, count = torch.zeros((), dtype=features.dtype), 0
    for i in range(len(features)):
        for j in range(len(features)):
            if chosen[i, j] and i != j:
                similar = (features[i] * features[j]).sum()
                total = total - (similar.log() if same[i, j] else (1 - similar).log())
            count += int(chosen[i, j])
    return total / count


@pytest.mark.parametrize(("upper", "lower"), [(0.95, 0.455), (0.7, 0.48), (0.5, 0.5)])
def test_selected_pairs_equal_a_slow_loop(upper, lower):
    features = label_features(30, 5, seed=3)
    found = select(features, upper, lower)
    same, chosen = slow_pairs(features, upper, lower)
    assert torch.equal(found.same, same)
    assert torch.equal(found.chosen, chosen)


@pytest.mark.parametrize(("upper", "lower"), [(0.95, 0.455), (0.6, 0.5)])
def test_loss_and_gradient_equal_a_slow_loop(upper, lower):
    scores = torch.randn(20, 5, generator=torch.Generator().manual_seed(1)) * 2
    ours, theirs = (scores.double().clone().requires_grad_() for _ in range(2))
    features = Restraint()(ours)
    targets = select(features.detach(), upper, lower)
    losses = PairLoss().losses(Outputs(features, features.new_zeros(20, 0)), targets)
    expected = slow_loss(Restraint()(theirs), targets.same, targets.chosen)
    assert losses.shape == (20,)
    assert float(losses.mean().detach()) == pytest.approx(float(expected.detach()), abs=1e-5)
    losses.mean().backward()
    expected.backward()
    torch.testing.assert_close(ours.grad, theirs.grad, atol=1e-5, rtol=1e-3)


def test_loss_is_finite_where_logarithms_are_not():
    features = torch.eye(4, requires_grad=True)
    for same in (torch.eye(4), 1 - torch.eye(4)):
        losses = PairLoss().losses(Outputs(features, features), PairTargets(same, torch.ones(4, 4)))
        assert torch.isfinite(losses).all()
    nothing = PairLoss().losses(Outputs(features, features), PairTargets(torch.eye(4), torch.zeros(4, 4)))
    nothing.mean().backward()
    assert not nothing.any()
    assert torch.isfinite(features.grad).all()


def test_self_distillation_equals_the_cross_entropy_with_the_frozen_softmax():
    now, before = label_features(6, 4, seed=1), label_features(6, 4, seed=2)
    targets = PairTargets(torch.zeros(6, 6), torch.zeros(6, 6), before)
    found = PairLoss(hold=3.0).losses(Outputs(now, now), targets)
    p, q = (features / features.sum(1, keepdim=True) for features in (before, now))
    for i in range(6):
        terms = [
            -(float(p[i, h]) * math.log(q[i, h]) + (1 - float(p[i, h])) * math.log(1 - q[i, h]))
            for h in range(4)
        ]
        assert float(found[i]) == pytest.approx(3 * sum(terms) / 4, rel=1e-5)


def test_squared_loss_equals_the_mnist_script():
    features = label_features(9, 4, seed=5)
    targets = select(label_features(9, 4, seed=6), 0.6, 0.6)
    found = PairLoss("squares").losses(Outputs(features, features), targets)
    assert float(found.mean()) == pytest.approx(float((features @ features.T - targets.same).square().mean()))


def test_pairs_across_two_views_equal_the_mnist_script():
    """An image and itself, changed otherwise, are a pair too: its similarity is no longer 1 by itself."""
    first, second, frozen = (label_features(9, 4, seed=seed) for seed in (5, 6, 7))
    targets = select(frozen, 0.6, 0.6)
    found = PairLoss("squares").losses(Outputs(torch.cat([first, second]), first), targets)
    slow = torch.zeros(9)
    for i in range(9):
        for j in range(9):
            slow[i] += (first[i] @ second[j] - targets.same[i, j]) ** 2 / 9
    assert torch.allclose(found, slow, atol=1e-6)
    assert not torch.allclose(found, PairLoss("squares").losses(Outputs(first, first), targets), atol=1e-3)


def test_released_loss_equals_the_authors_script():
    """``cifar10_2.py`` term by term: Keras 1 takes (output, target), the script gives (target, output)."""
    now, before = label_features(32, 4, seed=7), label_features(32, 4, seed=8)
    targets = select(before, 0.9, 0.7)
    facts = ImageFacts(n=60_000, side=32, gray=False, height=32, width=32)
    ours = fdc.DAC(variant="released").resolve(facts).objective()
    found = ours.losses(Outputs(now, now), PairTargets(targets.same, targets.chosen, before)).mean()
    main, aux, pairs = 0.0, 0.0, float(targets.chosen.sum())
    softmaxes = [features / features.sum(1, keepdim=True) for features in (before, now)]
    for i in range(32):
        for j in range(32):
            output = min(max(float(targets.same[i, j]), 1e-7), 1 - 1e-7)
            target = float(now[i] @ now[j])
            cost = -(target * math.log(output) + (1 - target) * math.log(1 - output))
            main += float(targets.chosen[i, j]) * cost / pairs / 32
        for h in range(4):
            p, q = (float(softmax[i, h]) for softmax in softmaxes)
            aux += -(p * math.log(q) + (1 - p) * math.log(1 - q)) / 4 / 32
    assert float(found) == pytest.approx((main + aux) * 32 / -math.log(1e-7), rel=1e-5)


def test_pair_loss_refuses_other_targets():
    with pytest.raises(TypeError, match="gives classes"):
        PairLoss().losses(Outputs(torch.eye(2), torch.eye(2)), ClassTargets(torch.zeros(2)))


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 60), st.integers(2, 30), st.integers(0, 20), st.integers(0, 9))
def test_batches_are_whole_and_without_repeats(n, size, steps, seed):
    size = min(n, size)
    rows = whole_batches(n, size, min_steps=steps, draw=np.random.default_rng(seed)).reshape(-1, size)
    assert len(rows) >= max(n // size, steps)
    assert all(len(set(batch)) == size for batch in rows.tolist())
