"""Logistic regression beside scikit-learn's, the neighbor graph beside all distances."""

from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import NearestNeighbors

from fiftyone_deepcluster.analysis.label_audit import neighbors
from fiftyone_deepcluster.analysis.label_audit.logistic import feature_rows, fit_logistic
from fiftyone_deepcluster.analysis.label_audit.neighbors import neighbor_graph
from fiftyone_deepcluster.analysis.label_audit.noise_model import fit_noise
from fiftyone_deepcluster.errors import CancelledError
from tests.observers import Watcher


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
    watcher, stopped = Watcher(), Watcher(after_steps=128)
    np.testing.assert_array_equal(neighbor_graph(features, 10, watcher).rows, whole.rows)
    assert (watcher.phases, watcher.steps) == ([("neighbors", 400)], 400)
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


def labels_by_a_model(n):
    """Log probabilities (N, 3), true classes, labels, and the probability that each label is wrong."""
    draw = np.random.default_rng(0)
    right = np.array([[0.9, 0.1, 0.0], [0.0, 0.7, 0.3], [0.05, 0.05, 0.9]])
    chances = draw.dirichlet([0.3] * 3, n) + 1e-6
    chances /= chances.sum(axis=1, keepdims=True)
    true = (draw.random(n)[:, None] > chances.cumsum(axis=1)).sum(axis=1)
    labels = (draw.random(n)[:, None] > right[true].cumsum(axis=1)).sum(axis=1)
    both = chances * right[:, labels].T
    wrong = 1 - both[np.arange(n), labels] / both.sum(axis=1)
    return np.log(chances).astype(np.float32), true, labels, wrong


def set_of(labels, classes=None, certain=None):
    """What the noise model reads of a labeled set."""
    certain = np.zeros(len(labels), bool) if certain is None else certain
    classes = labels if classes is None else classes
    return SimpleNamespace(before=labels, classes=classes, certain=certain, n_classes=3, seed=0)


@pytest.mark.parametrize("sharpness", [1.0, 0.5], ids=["right", "not sure enough"])
def test_the_noise_model_finds_how_labels_were_made(sharpness):
    logs, _, labels, wanted = labels_by_a_model(4000)
    fitted = fit_noise(set_of(labels), np.tile(np.arange(3), (4000, 1)), sharpness * logs)
    found = fitted.confused

    assert fitted.gain > 0
    assert found.mean() == pytest.approx(wanted.mean(), abs=0.02)
    assert np.abs(found - wanted).mean() < 0.03


def test_the_noise_model_counts_labels_before_they_were_corrected():
    logs, true, labels, _ = labels_by_a_model(4000)
    certain = np.arange(4000) < 1000
    known = set_of(labels, np.where(certain, true, labels), certain)
    fitted = fit_noise(known, np.tile(np.arange(3), (4000, 1)), logs)

    for found in (fitted.plain, fitted.confused):
        np.testing.assert_array_equal(found[certain], (labels != true)[certain])


def test_the_order_of_the_candidates_does_not_matter():
    logs, _, labels, _ = labels_by_a_model(500)
    classes = np.tile(np.arange(3), (500, 1))
    one = fit_noise(set_of(labels), classes, logs)
    other = fit_noise(set_of(labels), classes[:, ::-1], logs[:, ::-1])

    np.testing.assert_allclose(one.confused, other.confused, atol=1e-6)
    assert one.gain == pytest.approx(other.gain)


def test_right_labels_have_no_confused_pairs():
    logs, true, _, _ = labels_by_a_model(4000)
    fitted = fit_noise(set_of(true), np.tile(np.arange(3), (4000, 1)), logs)

    assert fitted.gain <= 0
    assert fitted.plain.mean() < 0.01
