"""Neighbors and retrieval scores against slow loops and scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score
from torch.nn import functional

from fiftyone_deepcluster.analysis import retrieval
from fiftyone_deepcluster.errors import CancelledError, InputError
from tests.observers import Watcher


def vectors_and_classes(n=80, dims=6):
    rng = np.random.default_rng(3)
    classes = rng.integers(0, 5, n)
    return torch.from_numpy((rng.normal(size=(n, dims)) + classes[:, None]).astype(np.float32)), classes


def test_average_precision_equals_scikit_learns():
    vectors, classes = vectors_and_classes()
    found = retrieval.score("x", vectors, classes, k=5)
    values, hits = [], []
    for query in range(len(classes)):  # slow: one query at a time, as the definition says
        others = np.delete(np.arange(len(classes)), query)
        distances = np.linalg.norm(vectors[others].numpy() - vectors[query].numpy(), axis=1)
        same = classes[others] == classes[query]
        values.append(average_precision_score(same, -distances))
        hits.append(same[np.argsort(distances, kind="stable")[:5]].mean())
    assert found.mean_average_precision == pytest.approx(np.mean(values), abs=1e-6)
    assert found.precision == pytest.approx(np.mean(hits), abs=1e-6)
    assert (found.n_images, found.n_queries, found.k) == (80, 80, 5)


def test_precision_and_average_precision_by_hand():
    relevant = torch.tensor([[True, False, True, False], [False, False, False, True]])
    assert retrieval.average_precision(relevant).tolist() == pytest.approx([(1 + 2 / 3) / 2, 1 / 4])
    assert retrieval.precision_at(relevant, 2).tolist() == [0.5, 0.0]


def test_perfect_and_random_retrieval():
    _, classes = vectors_and_classes(200)
    apart = functional.one_hot(torch.from_numpy(classes)).float()
    best = retrieval.score("x", apart, classes)
    assert best.mean_average_precision == 1.0
    assert best.precision == 1.0
    noise = torch.from_numpy(np.random.default_rng(0).normal(size=(200, 8)).astype(np.float32))
    worst = retrieval.score("x", noise, classes)
    assert worst.precision == pytest.approx(worst.chance, abs=0.05)


def test_images_without_class_or_second_image_of_it_are_left_out():
    vectors, classes = vectors_and_classes()
    classes = classes.copy()
    classes[:10], classes[10] = -1, 77
    found = retrieval.score("x", vectors, classes)
    assert (found.n_images, found.n_queries) == (70, 69)
    with pytest.raises(InputError, match="none of the 2 images"):
        retrieval.score("x", vectors[:3], np.array([0, 1, -1]))


@pytest.mark.parametrize("at_once", [2**25, 100])
def test_neighbors_equal_a_slow_loop(monkeypatch, at_once):
    monkeypatch.setattr(retrieval, "_MAX_NUMBERS", at_once)
    vectors, _ = vectors_and_classes()
    vectors = torch.cat([vectors, vectors[:1] + 1e-4])  # a near duplicate
    rows, distances = retrieval.nearest_images(vectors, np.array([0, 5, 80]), 7)
    for query, found, far in zip((0, 5, 80), rows, distances, strict=True):
        exact = (vectors.double() - vectors[query].double()).norm(dim=1).numpy()
        exact[query] = np.inf
        assert found.tolist() == np.argsort(exact, kind="stable")[:7].tolist()
        np.testing.assert_allclose(far, exact[found], rtol=1e-3)
    assert retrieval.nearest_images(vectors[:4], np.array([1]), 10)[0].shape == (1, 3)


def test_a_search_reports_its_progress_and_can_be_cancelled(monkeypatch):
    vectors, classes = vectors_and_classes()
    whole = retrieval.nearest_images(vectors, np.arange(80), 5)
    monkeypatch.setattr(retrieval, "_MAX_NUMBERS", 10 * 80)
    for search, phase in (
        (lambda observer: retrieval.nearest_images(vectors, np.arange(80), 5, observer), "neighbors"),
        (lambda observer: retrieval.score("x", vectors, classes, observer=observer), "retrieval scores"),
    ):
        watcher, stopped = Watcher(), Watcher(after_steps=20)
        search(watcher)
        assert (watcher.phases, watcher.steps) == ([(phase, 80)], 80)
        with pytest.raises(CancelledError, match=f"no {phase} were stored"):
            search(stopped)
        assert stopped.steps == 20
    np.testing.assert_array_equal(retrieval.nearest_images(vectors, np.arange(80), 5)[0], whole[0])
