"""Agreement scores against values by hand, scikit-learn and slow loops."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.optimize import linear_sum_assignment
from sklearn import metrics

from fiftyone_deepcluster.errors import InputError
from fiftyone_deepcluster.metrics.agreement import agreement, nmi
from fiftyone_deepcluster.metrics.silhouette import (
    share_and_entropy,
    silhouette,
)

labelings = st.integers(1, 60).flatmap(
    lambda n: st.tuples(
        arrays(np.int64, n, elements=st.integers(0, 6)), arrays(np.int64, n, elements=st.integers(0, 6))
    )
)


def test_scores_equal_values_by_hand():
    # Clusters {a, a, b} and {b, b, a}: majorities 2 + 2 of 6, and so is the best match.
    found = agreement([0, 0, 0, 1, 1, 1], [0, 0, 1, 1, 1, 0])
    assert found.purity == pytest.approx(4 / 6)
    assert found.acc == pytest.approx(4 / 6)
    # H = log 2 on both sides; I = 2 (1/3 log(4/3) + 1/6 log(2/3)).
    shared = 2 * (np.log(4 / 3) / 3 + np.log(2 / 3) / 6)
    assert found.nmi == pytest.approx(shared / np.log(2))
    # Pairs together 2, 6 each side, 15 in all: (2 - 36/15) / (6 - 36/15).
    assert found.ari == pytest.approx((2 - 2.4) / (6 - 2.4))


def test_purity_rewards_splitting_and_accuracy_does_not():
    found = agreement([0, 1, 2, 3], [0, 0, 1, 1])
    assert found.purity == 1
    assert found.acc == pytest.approx(0.5)


def test_minus_one_in_either_labeling_is_left_out():
    assert agreement([0, 0, 1, -1, 1], [5, 5, 7, 7, -1]) == agreement([0, 0, 1], [5, 5, 7])


def test_no_common_labels_give_zero_scores():
    assert agreement([-1, -1], [0, 1]).model_dump() == {"nmi": 0, "ari": 0, "purity": 0, "acc": 0}
    assert nmi([], []) == 0


def test_one_cluster_on_both_sides_agrees():
    assert agreement([3, 3, 3], [0, 0, 0]).model_dump() == {"nmi": 1, "ari": 1, "purity": 1, "acc": 1}
    assert nmi([0, 0, 0], [0, 1, 2], "min") == 0


def test_invalid_labels_are_refused():
    with pytest.raises(InputError, match=r"\(2,\) and reference of shape \(3,\)"):
        agreement([0, 1], [0, 1, 2])
    with pytest.raises(InputError, match="average='mean'"):
        nmi([0, 1], [0, 1], "mean")


def best_by_trying(labels: np.ndarray, reference: np.ndarray) -> float:
    size = int(max(labels.max(), reference.max())) + 1
    return max(float(np.mean(np.asarray(names)[labels] == reference)) for names in permutations(range(size)))


@settings(max_examples=60, deadline=None)
@given(labelings)
def test_scores_equal_those_of_scikit_learn(pair):
    labels, reference = pair
    found = agreement(labels, reference)
    assert found.ari == pytest.approx(metrics.adjusted_rand_score(reference, labels), abs=1e-9)
    for average in ("arithmetic", "geometric", "max"):
        expected = metrics.normalized_mutual_info_score(reference, labels, average_method=average)
        assert nmi(labels, reference, average) == pytest.approx(expected, abs=1e-7)
    table = metrics.cluster.contingency_matrix(reference, labels)
    rows, columns = linear_sum_assignment(table, maximize=True)
    assert found.acc == pytest.approx(table[rows, columns].sum() / len(labels))
    assert found.purity == pytest.approx(table.max(axis=0).sum() / len(labels))


@settings(max_examples=20, deadline=None)
@given(
    st.integers(1, 20).flatmap(
        lambda n: st.tuples(
            arrays(np.int64, n, elements=st.integers(0, 4)), arrays(np.int64, n, elements=st.integers(0, 4))
        )
    )
)
def test_accuracy_equals_the_best_of_all_matchings(pair):
    assert agreement(*pair).acc == pytest.approx(best_by_trying(*pair))


@settings(max_examples=60, deadline=None)
@given(labelings, st.randoms(use_true_random=False))
def test_scores_are_bounded_and_do_not_depend_on_order_or_names(pair, chance):
    labels, reference = pair
    found = agreement(labels, reference)
    names = list(range(7))
    chance.shuffle(names)
    order = list(range(len(labels)))
    chance.shuffle(order)
    renamed = agreement(np.asarray(names)[labels][order], reference[order])
    for measure, value in found.model_dump().items():
        assert getattr(renamed, measure) == pytest.approx(value, abs=1e-9)
        assert getattr(agreement(labels, labels), measure) == pytest.approx(1)
    assert found.acc <= found.purity + 1e-12
    most, mean, root, least = (nmi(labels, reference, a) for a in ("max", "arithmetic", "geometric", "min"))
    assert 0 <= most <= mean + 1e-9
    assert mean <= root + 1e-9
    assert root <= least + 1e-9 or least == 0


def test_scales_to_many_clusters():
    generator = np.random.default_rng(0)
    truth = generator.integers(0, 5000, 200_000)
    labels = (truth * 7 + 1) % 5003
    assert agreement(labels, truth).acc == pytest.approx(1)


def test_share_and_entropy():
    assert share_and_entropy([0, 1, 2, 3], 4) == (4, 0.25, 1.0)
    assert share_and_entropy([0, 0, 0, 0], 4) == (1, 1.0, 0.0)
    in_use, largest, entropy = share_and_entropy([0, 0, 1, 1, -1], 4)
    assert (in_use, largest, entropy) == (2, 0.5, pytest.approx(0.5))
    assert share_and_entropy([-1], 4) == (0, 0.0, 0.0)
    assert share_and_entropy([0], 1) == (1, 1.0, 0.0)


def test_silhouette():
    vectors = np.float32([[0], [1], [10], [11]])
    # a = 1, b = 10.5 for the outer two and 9.5 for the inner two.
    assert silhouette(vectors, [0, 0, 1, 1], seed=0) == pytest.approx(((9.5 / 10.5) + (8.5 / 9.5)) / 2)
    assert silhouette(vectors, [0, 0, 0, 0], seed=0) == 0
    assert silhouette(vectors, [0, 1, 2, 3], seed=0) == 0
    assert silhouette(vectors, [0, 0, 1, -1], seed=0) == pytest.approx(np.mean([0.9, 8 / 9, 0]), abs=1e-6)


def test_silhouette_of_a_sample_is_near_the_whole(digits):
    mixed = np.arange(len(digits)) % 10
    sorted_ = np.argsort(np.argsort(digits[:, 20].numpy())) // 180
    for labels in (mixed, sorted_):
        whole = silhouette(digits.numpy(), labels, seed=0)
        assert silhouette(digits.numpy(), labels, seed=1, sample=900) == pytest.approx(whole, abs=0.03)
