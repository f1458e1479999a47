"""One-versus-all linear support vector machines with a search for C."""

import numpy as np
import pytest
from sklearn.datasets import load_digits

from fiftyone_deepcluster.analysis.linear_svm import COSTS, fitted, linear_svm
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
    """One machine a class, each the one that is fitted to its class against all others."""
    vectors, labels = blobs(200, classes=4)
    rows = np.arange(160)
    found = fitted(vectors, labels, rows, 1.0)
    assert found.coef_.shape == (4, 4)
    for number in range(4):
        alone = fitted(vectors, (labels == number).astype(np.int64), rows, 1.0)
        np.testing.assert_allclose(found.coef_[number], alone.coef_[0], atol=1e-3)


def test_a_rare_class_is_refused():
    vectors, labels = blobs(12)
    with pytest.raises(InputError, match="a class has 4 training images for folds=5"):
        linear_svm(vectors, labels)
