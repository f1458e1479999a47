"""From evidence to one suspicion for every label, and to a probability that it is wrong.

The probability is calibrated without any true label. What classifier and neighbors would say about a *wrong* label is
known: both leave the image's own label out, so a wrong class can be put in its place without fitting anything again.
The scores of these drawn labels and of the given ones give, by Bayes' rule, p(wrong | score) = rate · f_wrong / f. The
rate is that at which the upper part of the given labels' scores is made of wrong labels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fiftyone_deepcluster.analysis.label_audit.evidence import Evidence

_TAILS = (0.25, 0.5, 0.75)
"""Upper shares of the drawn labels' scores at which the rate is estimated; the median is taken."""

_MOST_POINTS = 50_000


def suspicion(first: Evidence, second: Evidence) -> NDArray[np.float32]:
    """(N,) how suspicious every label is, of mean 0: the sum of all margins, each at deviation 1, negative."""
    total = np.zeros(len(first.own), np.float32)
    for evidence in (first, second):
        for margin in (evidence.in_sample, evidence.held_out, evidence.neighbors):
            total -= (margin - margin.mean()) / max(float(margin.std()), 1e-6)
    return total


def probability_wrong(
    second: Evidence, suspicious: NDArray[np.float32], drawn_from: NDArray[np.bool_]
) -> tuple[NDArray[np.float32], float]:
    """Probability that each label is wrong, rising with its suspicion, and the share of wrong labels.

    Args:
        second: evidence of the second round, for N images.
        suspicious: (N,) as returned by ``suspicion``.
        drawn_from: (N,) bool, images with a label that is probably right, whose drawn classes are wrong ones.

    Returns:
        (N,) float32, and the estimated share.
    """
    given, wrong = -second.both.astype(np.float64), np.sort(-second.drawn[drawn_from].astype(np.float64))
    if not len(wrong):
        return np.zeros(len(given), np.float32), 0.0
    rate = _rate(given, wrong)
    return _rising(_bayes(given, wrong, rate), suspicious), rate


def _rate(given: NDArray[np.float64], wrong: NDArray[np.float64]) -> float:
    """Share of wrong labels, if ``wrong`` are scores of wrong labels and few right ones have as high a score."""
    found = []
    for tail in _TAILS:
        least = wrong[min(int((1 - tail) * len(wrong)), len(wrong) - 1)]
        found.append(float((given >= least).mean()) / max(float((wrong >= least).mean()), 1e-12))
    return min(1.0, float(np.median(found)))


def _bayes(given: NDArray[np.float64], wrong: NDArray[np.float64], rate: float) -> NDArray[np.float64]:
    """Bayes' rule: rate · f_wrong / f at every given score; the ratio of densities by isotonic regression."""
    from sklearn.isotonic import IsotonicRegression

    ours, theirs = _thinned(np.sort(given)), _thinned(wrong)
    scores = np.concatenate([ours, theirs])
    is_drawn = np.concatenate([np.zeros(len(ours)), np.ones(len(theirs))])
    weights = np.concatenate([np.full(len(ours), 1 / len(ours)), np.full(len(theirs), 1 / len(theirs))])
    share = (
        IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip")
        .fit(scores, is_drawn, weights)
        .predict(given)
    )
    return np.asarray(np.minimum(rate * share / np.maximum(1 - share, 1e-9), 1.0))


def _rising(values: NDArray[np.float64], order: NDArray[np.float32]) -> NDArray[np.float32]:
    """Values that rise with ``order`` and have the same mean; without steps, so that no two labels tie."""
    ranked = np.argsort(order, kind="stable")
    from sklearn.isotonic import isotonic_regression

    steps = isotonic_regression(values[ranked], y_min=0, y_max=1)
    edges = np.flatnonzero(np.diff(steps)) + 1
    starts, ends = np.concatenate([[0], edges]), np.concatenate([edges, [len(steps)]])
    smooth = np.interp(np.arange(len(steps)), (starts + ends - 1) / 2, steps[starts])
    found = np.empty(len(values), np.float32)
    found[ranked] = smooth
    return found


def _thinned(ranked: NDArray[np.float64]) -> NDArray[np.float64]:
    return ranked[:: max(1, len(ranked) // _MOST_POINTS)]
