"""Matching of cluster numbers between rounds, and statistics of each image."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy.optimize import linear_sum_assignment
from scipy.sparse import csr_array

from fiftyone_deepcluster.metrics.matching import (
    best_match,
    changes,
    cluster_names,
    compact_labels,
    match_to,
    numbered,
    renumber,
    stability,
)

rounds = arrays(np.int64, st.tuples(st.integers(1, 25), st.integers(1, 6)), elements=st.integers(-1, 4))


def test_compact_labels_are_numbered_by_first_use():
    assert compact_labels([5, 5, -1, 2, 9, 2]).tolist() == [0, 0, -1, 1, 2, 1]
    assert compact_labels([]).tolist() == []


def test_numbered():
    labels, names = numbered(["cat", None, "ant", float("nan"), "cat", 3])
    assert names == ["3", "ant", "cat"]
    assert labels.tolist() == [2, -1, 1, -1, 2, 0]


def test_cluster_names_sort_as_numbers():
    assert cluster_names(3) == ["cluster-00", "cluster-01", "cluster-02"]
    assert cluster_names(101)[7] == "cluster-007"
    assert cluster_names(1000) == sorted(cluster_names(1000))
    assert cluster_names(0) == []


def test_matched_clusters_keep_their_numbers():
    # 0 was 1, 1 was 0; 2 is new and gets the free number.
    assert match_to([0, 0, 1, 1, 2], 3, [1, 1, 0, 0, 0], 2).tolist() == [1, 0, 2]


def test_matching_fewer_clusters_leaves_numbers_unused():
    assert match_to([0, 0, 1], 2, [4, 4, 2], 5).tolist() == [4, 2]


def test_clusters_without_overlap_get_free_numbers():
    assert match_to([-1, 0], 2, [0, -1], 2).tolist() == [0, 1]
    assert match_to([], 2, [], 2).tolist() == [0, 1]


@settings(max_examples=60, deadline=None)
@given(arrays(np.int64, array_shapes(min_dims=2, max_dims=2, max_side=8), elements=st.integers(0, 9)))
def test_best_match_has_the_total_of_scipys_assignment(table):
    rows, columns = best_match(csr_array(table))
    best = linear_sum_assignment(table, maximize=True)
    assert table[rows, columns].sum() == table[best].sum()
    assert len(set(rows.tolist())) == len(set(columns.tolist())) == len(rows)


@settings(max_examples=60, deadline=None)
@given(rounds.filter(lambda table: table.shape[1] > 1))
def test_match_gives_each_cluster_a_number_of_its_own(table):
    numbers = match_to(table[:, 1], 5, table[:, 0], 5)
    assert sorted(numbers.tolist()) == list(range(5))
    moved = renumber(table[:, 1], numbers)
    assert ((moved < 0) == (table[:, 1] < 0)).all()
    # What is renumbered once stays.
    assert np.sum(moved == table[:, 0]) == np.sum(
        renumber(moved, match_to(moved, 5, table[:, 0], 5)) == table[:, 0]
    )


def test_renumber():
    assert renumber([0, -1, 1], np.array([7, 3])).tolist() == [7, -1, 3]
    assert renumber([-1], np.empty(0, np.int64)).tolist() == [-1]


def test_changes():
    assert changes([[0, 0, 0], [0, 1, 0], [-1, 2, 2]]).tolist() == [0, 2, 1]
    assert changes([[0], [1]]).tolist() == [0, 0]
    assert changes([[0]]).dtype == np.int32


def test_stability_by_hand():
    # Final clusters {0, 1, 2} and {3}; before, image 2 was apart from 0 and 1.
    found = stability([[4, 0], [4, 0], [5, 0], [5, 1]])
    assert found.tolist() == pytest.approx([0.5, 0.5, 0.0, 1.0])
    assert found.dtype == np.float32
    # An image that had no cluster before was nobody's mate, least of all in the next cluster.
    assert stability([[1, 0], [1, 0], [-1, 1], [0, 1]]).tolist() == [1, 1, 0, 0]
    assert np.isnan(stability([[0], [1]])).all()
    assert np.isnan(stability([[0, -1]])).all()


@settings(max_examples=80, deadline=None)
@given(rounds, st.integers(1, 4))
def test_stability_against_a_loop(table, window):
    found = stability(table, window)
    n, n_rounds = table.shape
    for i in range(n):
        if table[i, -1] < 0 or n_rounds == 1:
            assert np.isnan(found[i])
            continue
        mates = [j for j in range(n) if j != i and table[j, -1] == table[i, -1]]
        shares = [
            np.mean([table[j, r] == table[i, r] >= 0 for j in mates]) if mates else 1.0
            for r in range(max(0, n_rounds - 1 - window), n_rounds - 1)
        ]
        assert found[i] == pytest.approx(np.mean(shares), abs=1e-6)
