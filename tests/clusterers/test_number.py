"""The number of clusters: planted groups, digits, no groups, and the gain that decides."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest

from fiftyone_deepcluster.clusterers.base import CLUSTERERS
from fiftyone_deepcluster.clusterers.gain import further_numbers, gains, mean_squares, standing_out
from fiftyone_deepcluster.clusterers.kmeans.clusterer import KMeans
from fiftyone_deepcluster.clusterers.number import NumberSweep, _recommended, sweep_numbers
from fiftyone_deepcluster.errors import InputError


def test_planted_groups_are_counted(blobs):
    found = sweep_numbers(blobs, range(2, 9), reducer="identity")
    assert found.recommended == 4
    assert found.interval == (4, 4)
    assert found.stability[2] == 1.0
    assert found.accuracy[2] == 1.0
    assert list(found.objective) == sorted(found.objective, reverse=True)
    lines = str(found).splitlines()
    assert len(lines) == 9
    assert [line[0] for line in lines[1:8]] == [" ", " ", ">", " ", " ", " ", " "]
    assert lines[-1] == "recommended: 4 clusters, no other number stands out more"
    assert found.stands_out
    assert found.gain[2] > 1.6 > max(found.gain[3:])


class FewClusters(KMeans):
    """k-means into at most eight clusters."""

    name: Literal["few-clusters"] = "few-clusters"

    def find(self, vectors, request):
        if request.number > 8:
            raise InputError("too many; lower n_clusters")
        return super().find(vectors, request)


def test_a_number_that_was_not_asked_for_and_cannot_be_clustered_is_left_out(blobs, monkeypatch):
    parse = CLUSTERERS.parse
    monkeypatch.setattr(CLUSTERERS, "parse", lambda value: FewClusters() if value == "few" else parse(value))
    assert max(further_numbers(range(2, 9), len(blobs))) > 8
    found = sweep_numbers(blobs, range(2, 9), reducer="identity", clusterer="few", repetitions=2)
    assert found.numbers == tuple(range(2, 9))
    assert found.recommended == 4
    with pytest.raises(InputError, match="too many"):
        sweep_numbers(blobs, range(2, 10), reducer="identity", clusterer="few", repetitions=2)


def test_without_groups_no_number_stands_out():
    """Uniform in two dimensions: the squared distances fall as 1 / k at every step."""
    found = sweep_numbers(np.random.default_rng(0).random((900, 2)), range(3, 9), reducer="identity")
    assert max(found.gain) < 1.6
    assert not found.stands_out
    assert found.interval == (3, 8)
    assert found.score[found.numbers.index(found.recommended)] == max(found.score)
    assert found.advice == (
        f"recommended: {found.recommended} clusters, but no number stands out; prefer one that you know"
    )


def test_gain_by_hand():
    """Squares fall as k^-1; the step to 4 is twice as steep."""
    numbers = [1, 2, 3, 4, 5, 6, 8, 9]
    squares = 1 / np.array(numbers, float)
    squares[3:] *= 3 / 4
    found = gains(numbers, squares)
    np.testing.assert_allclose(found, [np.nan, 1, 1, 2, 1, *3 * [np.nan]])
    assert standing_out(found) == (3, 3)
    assert standing_out(np.array([np.nan, 3, 1, 1.6, 1.5, np.nan])) == (1, 3)
    assert standing_out(np.array([np.nan, 1.5])) is None
    assert np.nan_to_num(gains(numbers, np.zeros(8))).tolist() == [0] * 8


def test_a_step_is_at_least_ten_percent():
    """Squares fall as k^-1 up to 20; the step to 22 of 20 and 21 begins at 20."""
    numbers = [1, *range(18, 30)]
    squares = 1 / np.array(numbers, float)
    squares[5:] *= 20 / 22
    found = gains(numbers, squares)
    assert found[5] == pytest.approx(2)


def test_a_step_is_compared_with_those_up_to_three_times_the_number():
    """Squares fall as k^-1 up to 6, and no further."""
    numbers = [1, 2, 3, 4, 5, 6, 20, 30, 40, 50, 60]
    assert gains(numbers, 1 / np.minimum(numbers, 6))[1] == pytest.approx(1)


def test_the_interval_is_that_of_all_repetitions():
    """The first row is the mean over both repetitions; in the last one, only 6 stands out."""
    gain = np.array([[1, 2, 3, 1.7, 1], [1, 4, 1, 1, 1], [1, 1, 1, 1, 2]], float)
    found = _recommended([2, 3, 4, 5, 6], np.ones((5, 4)), gain)
    assert (found.recommended, found.interval) == (5, (3, 6))
    assert found.advice == "recommended: 5 clusters, interval 3 to 6"


def test_a_recommended_number_at_the_end_of_the_range_is_said_to_be_there():
    found = _recommended([2, 3, 4], np.ones((3, 4)), np.array([[1, 1, 2]], float))
    assert found.advice == (
        "recommended: 4 clusters, no other number stands out more; it is the largest number that was tried: try larger "
        "ones, too"
    )


def test_mean_squares_are_those_of_the_clusters():
    vectors = np.array([[0, 0], [2, 0], [5, 1], [5, 5]], np.float32)
    assert mean_squares(vectors, np.array([0, 0, 2, 2])) == pytest.approx((1 + 1 + 4 + 4) / 4)


def test_further_numbers_reach_twice_the_largest_with_two_vectors_each():
    assert further_numbers([2, 20], 2_000) == [24, 28, 34, 40]
    assert further_numbers([5, 20], 56) == [4, 24, 28]
    assert further_numbers([2, 3], 6) == []
    assert further_numbers([20, 30], 40) == [18]
    for below in range(2, 500):  # 11 / 1.1 is less than 10
        assert further_numbers([11 * below, 12 * below], 0) == [10 * below]


def test_a_gain_that_is_not_measured_is_missing_and_not_zero(blobs):
    found = sweep_numbers(blobs[:8], range(2, 8), reducer="identity", repetitions=2)
    assert [one is None for one in found.gain] == [False, False, False, True, True, True]
    rows = [line.removeprefix(">").split() for line in str(found).splitlines()[1:7]]
    assert [row[1] for row in rows[3:]] == ["-"] * 3
    assert float(rows[2][1]) == pytest.approx(found.gain[2], abs=0.01)
    assert "(not measured from 5 on, which needs more images)" in found.advice
    none = sweep_numbers(blobs[:6], [2, 3], reducer="identity", repetitions=2)
    assert none.gain == (None, None)
    assert none.advice.endswith(
        "no number stands out (not measured from 2 on, which needs more images); prefer one that you know"
    )


def test_sweeps_of_older_versions_recommend_by_their_score():
    old = NumberSweep((2, 3), (1.0, 0.5), (0.5, 0.5), (1.0, 0.9), (4.0, 3.0), 2, (2, 3))
    assert not old.stands_out
    assert old.advice == "recommended: 2 clusters, 2 to 3 score nearly as well"
    assert str(old).splitlines()[1].split() == [">", "2", "-", "1.000", "0.500", "1.000", "4.000"]


def test_digits_are_about_ten(digits):
    reducer = {"name": "umap", "epochs": 100, "n_components": 5}
    found = sweep_numbers(digits[:900], (4, 7, 10, 14, 20), reducer=reducer, repetitions=2)
    assert found.recommended in (7, 10, 14)
    low, high = found.interval
    assert low <= found.recommended <= high


def test_numbers_that_cannot_be_compared_are_refused(blobs):
    for numbers in ([], [3], [1, 2], [4, 4], [2.5, 3], range(1, 9), range(4, 5), range(9, 0, -4)):
        with pytest.raises(InputError, match="two or more different whole numbers"):
            sweep_numbers(blobs, numbers)
    with pytest.raises(InputError, match="repetitions=1: give 2 to 100"):
        sweep_numbers(blobs, [2, 3], repetitions=1)
    with pytest.raises(InputError, match=f"9,999 is more than the {len(blobs)} vectors"):
        sweep_numbers(blobs, [2, 9999])


def test_the_numbers_of_a_large_range_are_not_listed(blobs):
    """All of them would need more memory than there is."""
    for numbers in (range(2, 10**30), range(10**30, 2, -1)):
        with pytest.raises(InputError) as error:
            sweep_numbers(blobs, numbers)
        assert str(error.value).startswith(f"numbers={numbers}: ")
        assert f"is more than the {len(blobs)} vectors" in str(error.value)
    assert sweep_numbers(blobs, range(6, 2, -1), reducer="identity", repetitions=2).numbers == (3, 4, 5, 6)
