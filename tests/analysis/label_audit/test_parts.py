"""Logistic regression beside scikit-learn's, the neighbor graph beside all distances."""

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import NearestNeighbors

from fiftyone_deepcluster.analysis.label_audit import neighbors
from fiftyone_deepcluster.analysis.label_audit.logistic import feature_rows, fit_logistic
from fiftyone_deepcluster.analysis.label_audit.neighbors import neighbor_graph
from fiftyone_deepcluster.errors import CancelledError
from tests.analysis.conftest import Steps


@pytest.fixture(scope="module")
def digits():
    found = load_digits()
    return found.data[:400].astype(np.float32), found.target[:400]


def test_models_are_scikit_learns(digits):
    vectors, classes = digits
    features = feature_rows(vectors)
    weights = np.ones((2, 400), np.float32)
    weights[1, :100] = 0
    penalty = 1e-2
    models = fit_logistic(features, classes, weights, penalty=penalty, max_iter=300, n_classes=10)
    inputs = np.concatenate([part.numpy() for _, part in features.chunks(1)])
    logits = np.concatenate([products for _, products in models.each_chunk(features)])

    for number, rows in ((0, slice(0, None)), (1, slice(100, None))):
        n = len(inputs[rows])
        theirs = LogisticRegression(C=1 / (penalty * n), max_iter=2000, tol=1e-8).fit(
            inputs[rows], classes[rows]
        )
        wanted = theirs.predict_log_proba(inputs)
        found = logits[:, number] - np.log(np.exp(logits[:, number]).sum(axis=1, keepdims=True))
        np.testing.assert_allclose(found, wanted, atol=0.05)


def test_chunks_do_not_matter(digits, monkeypatch):
    from fiftyone_deepcluster.analysis.label_audit import logistic

    vectors, classes = digits
    features = feature_rows(vectors)
    weights = np.ones((1, 400), np.float32)
    whole = fit_logistic(features, classes, weights, penalty=1e-2, max_iter=5, n_classes=10)
    monkeypatch.setattr(logistic, "_MAX_NUMBERS", 64 * 50)
    parts = fit_logistic(feature_rows(vectors), classes, weights, penalty=1e-2, max_iter=5, n_classes=10)

    np.testing.assert_allclose(parts.weights, whole.weights, atol=1e-3)


def test_neighbors_are_the_nearest_others(digits):
    features = feature_rows(digits[0])
    graph = neighbor_graph(features, 6)
    inputs = np.concatenate([part.numpy() for _, part in features.chunks(1)])
    inputs /= np.linalg.norm(inputs, axis=1, keepdims=True)
    distances, rows = NearestNeighbors(n_neighbors=7).fit(inputs).kneighbors(inputs)

    np.testing.assert_allclose(graph.distances, distances[:, 1:], atol=1e-3)
    assert (graph.rows == rows[:, 1:]).mean() > 0.99


def test_an_image_is_not_its_own_neighbor_among_copies():
    vectors = np.repeat(np.eye(3, dtype=np.float32), 5, axis=0)
    graph = neighbor_graph(feature_rows(vectors), 4)

    assert not (graph.rows == np.arange(15)[:, None]).any()
    assert (graph.rows // 5 == np.arange(15)[:, None] // 5).all()


def test_many_images_take_the_inverted_file(digits, monkeypatch):
    features = feature_rows(digits[0])
    exact = neighbor_graph(features, 10)
    monkeypatch.setattr(neighbors, "_EXACT", 100)
    found = neighbor_graph(features, 10)

    same = [len(set(one) & set(other)) for one, other in zip(exact.rows, found.rows, strict=True)]
    assert np.mean(same) > 8
    assert not (found.rows == np.arange(400)[:, None]).any()


@pytest.mark.parametrize("exact", [True, False])
def test_a_search_for_neighbors_reports_its_progress_and_can_be_cancelled(digits, monkeypatch, exact):
    features = feature_rows(digits[0])
    monkeypatch.setattr(neighbors, "_EXACT", 1000 if exact else 100)
    whole = neighbor_graph(features, 10)
    monkeypatch.setattr(neighbors, "_SEARCHED", 64)
    watcher, stopped = Steps(), Steps(cancel_after=128)
    np.testing.assert_array_equal(neighbor_graph(features, 10, watcher).rows, whole.rows)
    assert (watcher.phases, watcher.steps) == ({"neighbors": 400}, 400)
    with pytest.raises(CancelledError, match="nothing of the audit was stored"):
        neighbor_graph(features, 10, stopped)
    assert stopped.steps == 128


def test_images_of_one_group_do_not_vote_for_each_other(digits):
    graph = neighbor_graph(feature_rows(digits[0]), 20)
    groups = np.arange(400) // 4
    voters = graph.voters(slice(0, 400), 5, groups)

    assert voters.sum(axis=1).max() == 5
    assert not (voters & (groups[graph.rows] == groups[:, None])).any()
    votes = graph.votes(slice(0, 400), voters, digits[1], np.ones(400, np.float32), 10)
    row = 7
    wanted = np.bincount(digits[1][graph.rows[row][voters[row]]], minlength=10)
    np.testing.assert_array_equal(votes[row], wanted)
