"""The consensus: its formulas against loops and scikit-learn, and its choice among clusterings of digits."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
import torch
from sklearn.cluster import AgglomerativeClustering
from sklearn.datasets import load_digits

from fiftyone_deepcluster.api.notes import votes
from fiftyone_deepcluster.clusterers import coassociation
from fiftyone_deepcluster.clusterers.base import ClusterRequest
from fiftyone_deepcluster.clusterers.coassociation import average_linkage, certainty, combine
from fiftyone_deepcluster.clusterers.consensus import Consensus
from fiftyone_deepcluster.core.record import Round
from fiftyone_deepcluster.errors import OptionsError
from fiftyone_deepcluster.metrics.agreement import agreement

QUICK = {"reducer": {"name": "umap", "epochs": 50, "metric": "cosine"}, "runs": 4, "direct_runs": 6}


@pytest.fixture(scope="module")
def runs():
    """(6, 300): labels of a planted clustering with five clusters, each with 20 % of the images moved at random."""
    random = np.random.default_rng(0)
    planted = np.arange(300) % 5
    moved = random.random((6, 300)) < 0.2
    return np.where(moved, random.integers(0, 5, (6, 300)), planted)


def full_linkage(runs, n_clusters):
    """Average linkage of all images by scikit-learn."""
    together = np.mean([run[:, None] == run for run in runs], axis=0)
    model = AgglomerativeClustering(n_clusters, metric="precomputed", linkage="average")
    return model.fit_predict(1 - together)


def test_patterns_give_the_clusters_of_average_linkage_over_all_images(runs):
    found = combine(runs, 5)
    assert agreement(found, full_linkage(runs, 5)).ari == 1.0
    assert agreement(found, np.arange(300) % 5).acc > 0.97, "better than the 0.8 of each run"


def test_weighted_points_count_as_often_as_their_weight():
    random = np.random.default_rng(1)
    points, weights = random.random((30, 3)), random.integers(1, 9, 30)
    distances = np.linalg.norm(points[:, None] - points, axis=2)
    rows = np.repeat(np.arange(30), weights)
    model = AgglomerativeClustering(6, metric="precomputed", linkage="average")
    expected = model.fit_predict(distances[rows][:, rows])
    assert agreement(average_linkage(distances, weights, 6)[rows], expected).ari == 1.0


def test_rare_patterns_join_the_cluster_that_shares_most_runs(runs, monkeypatch):
    monkeypatch.setattr(coassociation, "MAX_PATTERNS", 20)
    assert agreement(combine(runs, 5), np.arange(300) % 5).acc > 0.95


def test_memory_does_not_grow_with_the_square_of_the_images():
    random, n = np.random.default_rng(0), 20_000
    truth = random.integers(0, 15, n)
    runs = np.stack([np.where(random.random(n) < 0.2, random.integers(0, 15, n), truth) for _ in range(12)])
    assert np.unique(runs, axis=1).shape[1] > 10_000, "most images have a pattern of their own"
    tracemalloc.start()
    found = combine(runs, 15)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < n**2, "a matrix of bytes has 400 MB"
    assert agreement(found, truth).acc > 0.999


def test_fewer_patterns_than_clusters_give_nothing():
    assert combine(np.zeros((3, 10), np.int64), 2) is None


def test_certainty_is_the_share_of_cluster_mates_kept_over_the_runs(runs):
    runs = runs.copy()
    runs[0, :7] = -1
    labels = combine(np.maximum(runs, 0), 5)
    expected = [
        np.mean([np.mean((run[labels == labels[i]] == run[i]) & (run[i] >= 0)) for run in runs])
        for i in range(300)
    ]
    np.testing.assert_allclose(certainty(runs, labels), expected)


def test_the_runs_that_end_where_the_best_ends_are_kept():
    random = np.random.default_rng(0)
    truth = np.arange(400) % 8
    points = 3 * random.normal(size=(8, 10))[truth] + random.normal(size=(400, 10))
    found = Consensus(**QUICK).cluster(torch.from_numpy(points).float(), ClusterRequest(8, seed=3))
    scores, objectives = found.scores, found.details["objectives"]
    assert scores["runs"] == len(objectives) == 10
    assert scores["comparable"] == 1
    assert found.objective == min(objectives)
    assert 1 <= scores["kept"] < 10
    assert 1 < scores["modes"] <= 10
    assert agreement(found.labels, truth).acc > 0.95


def test_runs_that_k_means_moves_to_worse_ends_are_all_kept(digits):
    truth = load_digits().target
    found = Consensus(**QUICK).cluster(digits, ClusterRequest(10, seed=3))
    assert (found.scores["comparable"], found.scores["kept"]) == (0, QUICK["runs"])
    assert found.objective > min(found.details["objectives"]), "k-means alone has a lower objective"
    acc = agreement(found.labels, truth).acc
    assert acc > 0.8
    sure = found.confidence > found.confidence.median()
    assert agreement(found.labels[sure], truth[sure.numpy()]).acc > acc, "where the runs agree they are right"
    assert votes([Round(index=0, scores=found.scores)])[0].startswith("all 4 clusterings with a reducer")


def test_one_kept_run_is_the_result(digits):
    alone = Consensus(**{**QUICK, "reducer": "identity", "direct_runs": 0, "runs": 1})
    found = alone.cluster(digits[:300], ClusterRequest(5, seed=3))
    assert (found.scores["kept"], found.scores["modes"], found.n_clusters) == (1, 1, 5)


def test_the_first_part_of_the_vectors_is_the_common_space(digits):
    first, noise = digits[:300], torch.randn(300, 20, generator=torch.Generator().manual_seed(0))
    part = torch.nn.functional.normalize(first)
    options = Consensus(reducer="identity", clusterer="kmeans", runs=2, direct_runs=2)
    joined = torch.cat([part, noise], dim=1)
    found = options.cluster(joined, ClusterRequest(5, seed=1, widths=(64, 20)))
    squares = sum(
        float((part[found.labels == k] - part[found.labels == k].mean(0)).square().sum()) for k in range(5)
    )
    assert found.objective == pytest.approx(squares, rel=0.05), "objectives are those of the first part alone"


def test_invalid_numbers_of_neighbors_are_refused():
    for wrong in ("10, x", "1", "2.5"):
        with pytest.raises(OptionsError, match="give whole numbers from 2"):
            Consensus(n_neighbors=wrong)
    assert Consensus(n_neighbors="").n_neighbors == ""
