"""Heads on fixed vectors: TURTLE and TEMI against slow loops, their papers' settings, and what is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from fiftyone_deepcluster.clusterers import candidates
from fiftyone_deepcluster.clusterers.base import ClusterRequest
from fiftyone_deepcluster.clusterers.candidates import HEADS, try_clusterings
from fiftyone_deepcluster.clusterers.distances import means
from fiftyone_deepcluster.clusterers.heads import check_enough, scaled_parts
from fiftyone_deepcluster.clusterers.kmeans.clusterer import KMeans
from fiftyone_deepcluster.clusterers.temi import Temi, neighbor_loss
from fiftyone_deepcluster.clusterers.turtle import Head, Turtle, size_divergence, size_prior
from fiftyone_deepcluster.errors import InputError, OptionsError
from fiftyone_deepcluster.metrics.agreement import agreement


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


# ---------------------------------------------------------------- the papers' settings


def test_turtle_has_the_settings_of_its_paper():
    options = Turtle()
    assert (options.steps, options.inner_steps, options.batch_size) == (6000, 10, 10_000)
    assert (options.learning_rate, options.inner_learning_rate) == (0.001, 0.001)
    assert (options.entropy_weight, options.size_power) == (10.0, 0.0)
    assert Turtle(init=None).init is None, "the paper's start"


def test_temi_has_the_published_neighbors_heads_temperature_momentum_and_exponent():
    options = Temi()
    assert (options.n_neighbors, options.n_heads) == (50, 16)
    assert (options.temperature, options.average_momentum, options.exponent) == (0.1, 0.996, 0.6)


# ---------------------------------------------------------------- formulas


def test_a_head_is_pytorchs_linear_layer_with_weight_norm():
    head = Head(drawn(5, 7), 3, torch.Generator().manual_seed(1))
    with torch.random.fork_rng(devices=[]):
        layer = torch.nn.utils.parametrizations.weight_norm(torch.nn.Linear(7, 3))
    direction, length, bias = head.parameters
    with torch.no_grad():
        layer.parametrizations.weight.original1.copy_(direction)
        layer.parametrizations.weight.original0.copy_(length)
        layer.bias.copy_(bias)
    vectors = drawn(9, 7, seed=2)
    torch.testing.assert_close(head(vectors), layer(vectors).softmax(1))
    assert float(direction.detach().abs().max()) <= 7**-0.5, "PyTorch's start"


@pytest.mark.parametrize("steps", [1, 10])
def test_the_classifier_makes_steps_of_adam_on_soft_labels(steps):
    vectors, labels = drawn(40, 6), drawn(40, 4, seed=3).softmax(1)
    options = Turtle(inner_steps=steps, inner_learning_rate=0.05)
    found = options._classifier(vectors, labels, torch.Generator().manual_seed(5))
    start = options.model_copy(update={"inner_steps": 0})._classifier(
        vectors, labels, torch.Generator().manual_seed(5)
    )
    weights = start[:-1].clone().requires_grad_()
    bias = start[-1].clone().requires_grad_()
    optimizer = torch.optim.Adam([weights, bias], lr=0.05)
    for _ in range(steps):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(vectors @ weights + bias, labels).backward()
        optimizer.step()
    torch.testing.assert_close(found[:-1], weights.detach(), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found[-1], bias.detach(), rtol=1e-4, atol=1e-5)


def test_equal_expected_sizes_give_the_entropy_of_the_paper():
    shares = drawn(6).softmax(0)
    entropy = -sum(float(s) * math.log(float(s)) for s in shares)
    found = size_divergence(shares, size_prior(6, 0.0))
    assert float(found) == pytest.approx(math.log(6) - entropy, abs=1e-6)
    power = size_prior(4, 1.0)
    np.testing.assert_allclose(power, np.array([1, 1 / 2, 1 / 3, 1 / 4]) / (25 / 12), rtol=1e-6)
    assert float(size_divergence(power.flip(0), power)) == pytest.approx(0.0, abs=1e-6)
    assert float(size_divergence(size_prior(4, 0.0), power)) > 0.05


def test_the_loss_of_neighbors_equals_a_loop():
    heads, pairs, k, exponent = 3, 4, 5, 0.6
    trained = drawn(heads, 2 * pairs, k).softmax(2)
    averaged = drawn(heads, 2 * pairs, k, seed=1).softmax(2)
    shares = averaged.mean(1)
    total = 0.0
    for b in range(pairs):
        one, other = b, b + pairs
        weight = np.mean([float(averaged[h, one] @ averaged[h, other]) for h in range(heads)])
        for h in range(heads):
            for a, c in ((one, other), (other, one)):
                information = math.log(
                    sum(
                        float(trained[h, a, j] * averaged[h, c, j]) ** exponent / float(shares[h, j])
                        for j in range(k)
                    )
                )
                total -= weight * information / 2
    found = neighbor_loss(trained, averaged, shares, exponent=exponent)
    assert float(found) == pytest.approx(total / (pairs * heads), rel=1e-4)


def test_parts_have_the_same_scale():
    vectors = torch.cat([100 * drawn(50, 4) + 7, 0.01 * drawn(50, 6, seed=1)], dim=1)
    one, other = scaled_parts(vectors, (4, 6))
    assert (one.shape, other.shape) == ((50, 4), (50, 6))
    for part in (one, other):
        assert float(part.square().mean()) == pytest.approx(1.0, rel=1e-4)
        assert float(part.mean(0).abs().max()) < 1e-4
    assert len(scaled_parts(vectors, ())) == 1


# ---------------------------------------------------------------- clustering


@pytest.mark.parametrize(
    "clusterer",
    [Turtle(init=None, steps=50), Temi(init=None, epochs=3, hidden=32)],
    ids=lambda one: one.name,
)
def test_heads_start_from_given_centers(digits, clusterer):
    some, truth = digits[:700], load_digits().target[:700]
    start = KMeans().cluster(some, ClusterRequest(10, 1)).labels
    found = clusterer.cluster(some, ClusterRequest(10, 1, init_centers=means(some, start, 10)))
    assert agreement(found.labels, start).nmi > 0.8
    assert agreement(found.labels, truth).acc > agreement(start, truth).acc - 0.05


def test_noise_of_the_start_gets_a_cluster(blobs):
    noisy = {"name": "hdbscan", "min_cluster_size": 10}
    found = Turtle(init=noisy, steps=20).cluster(blobs, ClusterRequest(4, 1))
    assert int(found.labels.min()) == 0


def test_large_sets_are_seen_in_batches(blobs):
    found = Turtle(init="kmeans", steps=30, batch_size=64).cluster(blobs, ClusterRequest(4, 1))
    assert agreement(found.labels, np.arange(len(blobs)) % 4).acc > 0.95


def test_few_images_for_each_dimension_are_refused_with_a_way_out(digits):
    for clusterer in (Turtle(), Temi()):
        with pytest.raises(InputError) as caught:
            clusterer.cluster(digits[:200], ClusterRequest(10))
        text = str(caught.value)
        assert "needs 5 images for each dimension" in text
        assert "in 64 dimensions are 3.1" in text
        assert "n_components=" in text
    check_enough(200, (40, 24), least=5, who="TURTLE")  # each part has a head of its own
    with pytest.raises(InputError, match=r"320 or more"):
        check_enough(319, (64,), least=5, who="TURTLE")
    with pytest.raises(OptionsError, match="min_per_dimension"):
        Turtle(min_per_dimension=-1)


# ---------------------------------------------------------------- among other candidates


def test_heads_that_refuse_are_left_out_in_words(digits):
    trial = try_clusterings(digits[:150], 10, candidates={"k-means": ("pca", "kmeans")}, heads=True)
    assert set(trial.left_out) == set(HEADS)
    assert [one.name for one in trial.candidates] == ["k-means"]
    assert str(trial).count(" was not run: ") == 2
    with pytest.raises(InputError, match="heads="):
        try_clusterings(digits[:150], 10, heads="yes")


def test_a_head_that_does_not_lower_the_objective_is_not_chosen_although_it_is_worth_more(
    digits, monkeypatch
):
    """TURTLE with few steps: its clusters are more linear than k-means', and their objective is higher."""
    few = {"name": "turtle", "init": None, "steps": 40, "min_per_dimension": 0}
    monkeypatch.setattr(candidates, "HEADS", {"turtle": ("pca", few)})
    trial = try_clusterings(digits[:300], 10, candidates={"k-means": ("pca", "kmeans")}, heads=True)
    start, head = trial.candidates
    assert head.objective > start.objective
    assert head.worth > start.worth + 0.005, "without the objective it would be chosen"
    assert trial.chosen.name == "k-means"
    assert trial.why.startswith("k-means: ")
