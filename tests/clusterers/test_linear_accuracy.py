"""Accuracy of a linear classifier that predicts clusters."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from fiftyone_deepcluster.clusterers.linear_accuracy import LinearAccuracy


@pytest.fixture(scope="module")
def digits():
    bunch = load_digits()
    return torch.from_numpy(bunch.data[:400]).float(), bunch.target[:400].astype(np.int64)


def test_a_cluster_that_a_line_separates_has_a_high_accuracy_and_noise_a_low_one(digits):
    vectors, truth = digits
    accuracy = LinearAccuracy(vectors, 0)
    assert accuracy(truth) > 0.85
    assert accuracy(np.random.default_rng(0).integers(0, 10, 400)) < 0.3
    assert accuracy(np.zeros(400, np.int64)) == 0.0


def test_what_was_scored_before_changes_nothing(digits):
    vectors, truth = digits
    some = np.where(truth < 5, truth, -1)
    whole, part = LinearAccuracy(vectors, 0)(truth), LinearAccuracy(vectors, 0)(some)
    accuracy = LinearAccuracy(vectors, 0)
    assert [accuracy(truth), accuracy(some), accuracy(some), accuracy(truth)] == [whole, part, part, whole]
    assert whole != part


def test_accuracy_and_information_are_those_of_the_same_held_out_predictions(digits):
    vectors, truth = digits
    found = LinearAccuracy(vectors, 0).scores(truth)
    assert (found.accuracy, found.information) == (
        LinearAccuracy(vectors, 0)(truth),
        LinearAccuracy(vectors, 0).information(truth),
    )
    largest = np.log(10)
    assert 0.6 * largest < found.information < largest
    drawn = np.random.default_rng(0).integers(0, 10, 400)
    assert LinearAccuracy(vectors, 0).scores(drawn).information < 0, "worse than their shares"
    assert LinearAccuracy(vectors, 0).scores(np.zeros(400, np.int64)).information == 0
