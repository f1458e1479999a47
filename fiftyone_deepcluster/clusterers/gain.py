"""Which number of clusters stands out: how much the last step up to it lowers the distances, against finer steps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

STANDS_OUT = 1.6
"""Gain from which a number of clusters stands out; chosen on the sets of docs/results/tried.md."""

_STEP = 1.1
_ROUNDING = 1e-9
_TAIL = 3
_FEWEST_STEPS = 3
_FURTHER = 4
_IMAGES_PER_CLUSTER = 2
_LEAST_SLOPE = 0.02
_LEAST_SQUARES = 1e-6


def further_numbers(wanted: Sequence[int], n: int) -> list[int]:
    """Numbers of clusters to compare the ``wanted`` ones with: one below them and at most four above, up to twice.

    Args:
        wanted: ascending.
        n: number of vectors; there are two or more for each cluster of the larger numbers.
    """
    below = int(wanted[0] / _STEP + _ROUNDING)
    above = {round(wanted[-1] * 2 ** (i / _FURTHER)) for i in range(1, _FURTHER + 1)}
    larger = sorted(k for k in above if wanted[-1] < k <= n // _IMAGES_PER_CLUSTER)
    return [*([below] if below > 1 else []), *larger]


def mean_squares(vectors: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """Mean squared distance of the vectors to the mean of their cluster.

    Args:
        vectors: (N, D).
        labels: (N,) clusters from 0.
    """
    sizes = np.bincount(labels)
    sums = np.stack([np.bincount(labels, column, len(sizes)) for column in vectors.T], axis=1)
    centers = sums / sizes.clip(1)[:, None]
    return float(((vectors - centers[labels]) ** 2).sum(axis=1).mean())


def gains(numbers: Sequence[int], squares: NDArray[np.float64]) -> NDArray[np.float64]:
    """How many times as much the last step up to a number lowers the logarithm of the distances as finer steps do.

    In groups without structure of their own, ``squares`` falls as k^(-2/d), where d is the dimension (Zador 1982): the
    slope of log squares in log k is constant. As long as a step separates groups, it is steeper. The slope up to k,
    from the largest number of which k is at least 1.1 times as many, is divided by the median slope of the steps from k
    up to 3 k, three steps or more.

    Args:
        numbers: numbers of clusters, ascending from 1.
        squares: mean squared distance to the center for each of them.

    Returns:
        One value for each number; NaN for 1, and for numbers with fewer than three larger ones: it is not measured.
    """
    k = np.asarray(numbers, np.float64)
    before = np.searchsorted(k, k[1:] / _STEP + _ROUNDING, side="right") - 1
    logs = np.log(np.maximum(squares, max(squares[0] * _LEAST_SQUARES, np.finfo(np.float64).tiny)))
    slopes = np.append(0.0, (logs[before] - logs[1:]) / np.log(k[1:] / k[before]))
    found = np.full(len(k), np.nan)
    for i in range(1, len(k) - _FEWEST_STEPS):
        end = max(int(np.searchsorted(k, _TAIL * k[i], side="right")), i + 1 + _FEWEST_STEPS)
        found[i] = slopes[i] / max(float(np.median(slopes[i + 1 : end])), _LEAST_SLOPE)
    return found


def standing_out(gain: NDArray[np.float64]) -> tuple[int, int] | None:
    """Index of the number that stands out most, and of the largest that stands out; None: none does.

    Args:
        gain: one value for each number; NaN: not measured.
    """
    good = np.flatnonzero(gain >= STANDS_OUT)
    if not len(good):
        return None
    return int(np.nanargmax(gain[: good[-1] + 1])), int(good[-1])
