"""One-versus-all linear support vector machines with a search for C."""

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.svm import LinearSVC

from fiftyone_deepcluster.analysis.linear_svm import COSTS, linear_svm
from fiftyone_deepcluster.errors import InputError


def blobs(n=120, classes=3):
    rng = np.random.default_rng(1)
    labels = np.arange(n) % classes
    return (rng.normal(size=(n, 4)) + 3 * np.eye(4)[labels]).astype(np.float32), labels


def test_a_given_split_is_measured_on_its_test_rows_only():
    vectors, labels = blobs()
    labels[100:] = (labels[100:] + 1) % 3  # wrong everywhere in the test rows
    found = linear_svm(vectors, labels, split=(np.arange(100), np.arange(100, 120)))
    assert found.accuracy < 0.2
    assert max(found.by_cost.values()) > 0.9


def test_the_cost_is_the_best_of_the_folds_and_all_images_count():
    digits = load_digits()
    vectors, labels = digits.data[:300].astype(np.float32), digits.target[:300]
    found = linear_svm(vectors, labels, folds=3)
    assert set(found.by_cost) == set(COSTS)
    assert found.accuracy == max(found.by_cost.values()) == found.by_cost[found.cost]
    assert found.accuracy > 0.9
    assert found == linear_svm(vectors, labels, folds=3)


def test_machines_are_one_versus_all():
    """Three classes in a line: the middle one cannot be separated from all others, but from each."""
    rng = np.random.default_rng(0)
    labels = np.arange(150) % 3
    vectors = np.stack([labels + 0.05 * rng.normal(size=150)], axis=1).astype(np.float32)
    found = linear_svm(vectors, labels)
    assert found.accuracy < 0.8
    assert LinearSVC(random_state=0).fit(vectors, labels).coef_.shape == (3, 1)


def test_a_rare_class_is_refused():
    vectors, labels = blobs(12)
    with pytest.raises(InputError, match="a class has 4 training images for folds=5"):
        linear_svm(vectors, labels)
