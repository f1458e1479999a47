"""RIM against plain formulas, finite differences and its scale law."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from fiftyone_deepcluster.clusterers.base import ClusterRequest
from fiftyone_deepcluster.clusterers.rim import information as module
from fiftyone_deepcluster.clusterers.rim.clusterer import (
    PathPoint,
    Rim,
    longest_plateau,
    regularization_path,
    standardized,
)
from fiftyone_deepcluster.clusterers.rim.information import Multilogit, ascend, information, likelihood
from fiftyone_deepcluster.errors import InputError
from fiftyone_deepcluster.metrics.agreement import agreement


@pytest.fixture
def problem():
    """Points (60, 4), weights (4, 5), biases (5,) in float64, and labels (60,)."""
    generator = torch.Generator().manual_seed(0)
    draw = {"generator": generator, "dtype": torch.float64}
    labels = torch.randint(5, (60,), generator=generator)
    return torch.randn(60, 4, **draw), torch.randn(4, 5, **draw), torch.randn(5, **draw), labels


def information_slowly(points, weights, biases):
    """Equation 1: entropy of the mean less the mean entropy, one number after the other."""
    n, k = len(points), len(biases)
    p = np.zeros((n, k))
    for i in range(n):
        scores = [
            sum(points[i, d] * weights[d, c] for d in range(points.shape[1])) + biases[c] for c in range(k)
        ]
        total = sum(np.exp(score) for score in scores)
        p[i] = [np.exp(score) / total for score in scores]
    entropy = [-sum(x * np.log(x) for x in row) for row in p]
    mean = p.mean(axis=0)
    return -sum(x * np.log(x) for x in mean) - sum(entropy) / n


def test_objective_equals_the_formula_by_loops(problem):
    points, weights, biases, _ = problem
    found, _, _ = information(Multilogit(weights, biases), points)
    assert found == pytest.approx(
        information_slowly(points.numpy(), weights.numpy(), biases.numpy()), abs=1e-12
    )


@pytest.mark.parametrize("gain", ["information", "likelihood"])
def test_gradient_equals_finite_differences(problem, gain):
    points, weights, biases, labels = problem

    def value(model):
        return information(model, points) if gain == "information" else likelihood(model, points, labels)

    _, by_weights, by_biases = value(Multilogit(weights, biases))
    step = 1e-6
    for d, k in [(0, 0), (3, 4), (1, 2)]:
        ahead, behind = weights.clone(), weights.clone()
        ahead[d, k] += step
        behind[d, k] -= step
        slope = (value(Multilogit(ahead, biases))[0] - value(Multilogit(behind, biases))[0]) / (2 * step)
        assert float(by_weights[d, k]) == pytest.approx(slope, abs=1e-8)
    for k in range(5):
        ahead, behind = biases.clone(), biases.clone()
        ahead[k] += step
        behind[k] -= step
        slope = (value(Multilogit(weights, ahead))[0] - value(Multilogit(weights, behind))[0]) / (2 * step)
        assert float(by_biases[k]) == pytest.approx(slope, abs=1e-8)


@pytest.mark.parametrize("kept", [2**27, 0])
def test_result_does_not_depend_on_the_chunk_size(problem, monkeypatch, kept):
    points, weights, biases, labels = problem
    model = Multilogit(weights, biases)
    whole = information(model, points), likelihood(model, points, labels)
    monkeypatch.setattr(module, "_CHUNK", 35)
    monkeypatch.setattr(module, "_KEPT", kept)
    parts = information(model, points), likelihood(model, points, labels)
    for before, after in zip(whole, parts, strict=True):
        assert after[0] == pytest.approx(before[0], abs=1e-13)
        torch.testing.assert_close(after[1:], before[1:])
    assert torch.equal(model.assign(points)[0], (points @ weights + biases).argmax(dim=1))


def test_initial_model_equals_scikit_learns_logistic_regression(problem):
    points, _, _, labels = problem
    blank = Multilogit(points.new_zeros(4, 5), points.new_zeros(5))
    model, _ = ascend(lambda now: likelihood(now, points, labels), blank, penalty=0.05, max_iter=500)
    # scikit-learn's penalty is |w|² / 2C beside the sum over the images.
    theirs = LogisticRegression(C=1 / (2 * 0.05 * 60), max_iter=1000, tol=1e-8).fit(
        points.numpy(), labels.numpy()
    )
    ours = torch.cat([part.exp() for _, part in model.log_probabilities(points)])
    np.testing.assert_allclose(ours.numpy(), theirs.predict_proba(points.numpy()), atol=2e-3)


def test_ascend_ends_at_a_zero_gradient(problem):
    points, weights, biases, _ = problem
    model, objective = ascend(
        lambda now: information(now, points), Multilogit(weights, biases), penalty=0.01, max_iter=500
    )
    value, by_weights, by_biases = information(model, points)
    assert objective == pytest.approx(value - 0.01 * float(model.weights.square().sum()), abs=1e-12)
    assert float((by_weights - 0.02 * model.weights).abs().max()) < 2e-3
    assert float(by_biases.abs().max()) < 2e-3
    start = information(Multilogit(weights, biases), points)[0] - 0.01 * float(weights.square().sum())
    assert objective > start


def test_ascend_without_penalty_never_loses_information(problem):
    points, weights, biases, _ = problem
    _, after = ascend(
        lambda now: information(now, points), Multilogit(weights, biases), penalty=0.0, max_iter=100
    )
    assert after >= information(Multilogit(weights, biases), points)[0]


def test_scaling_the_features_scales_lambda(digits):
    """fit(F, lambda) from W is fit(a·F, a²·lambda) from W / a."""
    vectors = digits[:400]
    one = Rim(n_init_clusters=20, penalty=2.0).cluster(vectors, ClusterRequest(None, seed=3))
    other = Rim(n_init_clusters=20, penalty=2.0 * 8**2).cluster(8 * vectors, ClusterRequest(None, seed=3))
    assert torch.equal(one.labels, other.labels)
    assert other.objective == pytest.approx(one.objective, rel=1e-5)
    assert other.scores["scale"] == pytest.approx(8 * one.scores["scale"])
    assert other.scores["lambda_unit"] == pytest.approx(one.scores["lambda_unit"])
    assert 1 < one.n_clusters < 20


def test_lambda_1_gives_one_cluster_at_length_1_and_several_at_the_networks_length(digits):
    """What makes un-normalized features part of the method: with LDPO's lambda everything is one at length 1."""
    unit = torch.nn.functional.normalize(digits[:600])
    assert Rim(n_init_clusters=30, penalty=1.0).cluster(unit, ClusterRequest(None)).n_clusters == 1
    assert Rim(n_init_clusters=30, penalty=1.0).cluster(60 * unit, ClusterRequest(None)).n_clusters > 5


def test_fewer_clusters_as_lambda_grows_down_to_one(digits):
    points, _ = standardized(digits[:600])
    path = regularization_path(points, Rim(n_init_clusters=30)._initial_model(points, 0), 60)
    counts = [point.n_clusters for point in path]
    assert counts == sorted(counts, reverse=True)
    assert counts[0] > 20
    assert counts[-1] == 1
    assert len(set(counts)) > 5


def test_groups_and_their_number_are_found_and_the_path_is_in_the_details(blobs):
    found = Rim(n_init_clusters=20).cluster(blobs, ClusterRequest(None, seed=1))
    assert found.n_clusters == 4
    assert agreement(found.labels, np.arange(240) % 4).acc == 1.0
    lambdas, counts = found.details["path_lambda"], found.details["path_clusters"]
    assert lambdas == sorted(lambdas)
    assert counts[lambdas.index(found.scores["lambda"])] == 4
    assert max(counts) > 4 > min(counts)
    held = [at for at, count in zip(lambdas, counts, strict=True) if count == 4]
    assert found.scores["plateau"] == pytest.approx(np.log10(held[-1] / held[0]))
    assert found.scores["scale"] == pytest.approx(float(blobs.norm(dim=1).mean()))


def path_of(counts, fewest=3, most=20):
    points = [
        PathPoint(10 ** (-3 + i / 20), torch.arange(k), torch.ones(k), -float(i))
        for i, k in enumerate(counts)
    ]
    return longest_plateau(points, (fewest, most)).n_clusters


def test_the_longest_plateau_relative_to_the_number_of_clusters_is_taken():
    falling = [40, 40, 40, 40, 40, 40, 36, 30, 25, 19, 16, 14]
    assert path_of([*falling, 11, 11, 11, 11, 11, 9, 7, 5, 4, 4, 3, 3, 3, 2, 2, 2, 2, 2, 2, 1]) == 11
    assert path_of([*falling, 12, 11, 9, 8, 7, 6, 5, 5, 4, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 2, 2, 2, 1]) == 3


def test_two_clusters_are_selected_only_if_fewest_is_2():
    counts = [40, 30, 18, 18, 16, 16, 13, 9, 6, 4, *[2] * 20, 1]
    assert path_of(counts) in (16, 18)
    assert path_of(counts, fewest=2) == 2


def test_without_a_plateau_the_solution_with_the_best_objective_is_taken():
    assert path_of([40, 1]) == 40
    assert path_of([1]) == 1


def test_many_images_of_one_kind_are_one_cluster():
    found = Rim().cluster(torch.ones(50, 3), ClusterRequest(None))
    assert found.n_clusters == 1


@pytest.mark.usefixtures("seeded")
def test_few_images_are_refused():
    with pytest.raises(InputError, match="RIM cannot cluster 3 images; add images"):
        Rim().cluster(torch.rand(3, 2), ClusterRequest(None))
