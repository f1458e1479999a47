"""From evidence to one suspicion for every label, and to a probability that it is wrong.

The probability is calibrated without any true label. Held-out classifier and neighbors do not use the image's own
label, so the score of a wrong label is known without fitting again: it is the score of a wrong class, drawn for every
image. With the densities f of the given labels' scores and f_wrong of the drawn labels' scores, Bayes' rule gives
p(wrong | score) = rate · f_wrong / f. The rate is estimated from the highest scores, which only wrong labels have:
rate = P(given score >= t) / P(drawn score >= t).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fiftyone_deepcluster.analysis.label_audit.evidence import Evidence
    from fiftyone_deepcluster.analysis.label_audit.labeled_set import LabeledSet

_TAILS = (0.5, 0.75)
"""Upper shares of the drawn labels' scores that set the threshold t; the rate is the mean of their estimates."""

_MOST_POINTS = 50_000


def suspicion(first: Evidence, second: Evidence) -> NDArray[np.float32]:
    """(N,) suspicion of every label: minus the sum of the six margins, each at mean 0 and standard deviation 1."""
    total = np.zeros(len(first.both), np.float32)
    for evidence in (first, second):
        for margin in (evidence.in_sample, evidence.held_out, evidence.neighbors):
            total -= (margin - margin.mean()) / max(float(margin.std()), 1e-6)
    return total


def probability_wrong(
    labeled: LabeledSet, second: Evidence, suspicious: NDArray[np.float32]
) -> tuple[NDArray[np.float32], tuple[float, float]]:
    """Probability that each label is wrong, rising with its suspicion, and the uncertainty of the share of wrong ones.

    Labels that a person corrected count with their old class: a person corrects the most suspicious labels first, so
    without them the rate of the others would be estimated wrongly.

    Args:
        labeled: the N images.
        second: evidence of the second round.
        suspicious: (N,) as returned by ``suspicion``.

    Returns:
        (N,) float32, 0 for labels that are certain; and two factors (<= 1, >= 1) from the share of wrong labels to its
        lowest and highest estimate.
    """
    corrected = labeled.before != labeled.classes
    drawn_from = ~labeled.certain & (second.best == labeled.classes)
    given = -np.where(corrected, second.drawn, second.both).astype(np.float64)
    wrong = np.sort(-second.drawn[drawn_from].astype(np.float64))
    found, open_rows = np.zeros(len(given), np.float32), np.flatnonzero(~labeled.certain)
    if not len(wrong):
        return found, (1.0, 1.0)
    rates = _rates(given, wrong)
    rate = float(np.mean(rates))
    spread = (min(rates) / rate, max(rates) / rate) if rate else (1.0, 1.0)
    found[open_rows] = _rising(_bayes(given, wrong, rate)[open_rows], suspicious[open_rows])
    return found, spread


def _rates(given: NDArray[np.float64], wrong: NDArray[np.float64]) -> list[float]:
    """For each of ``_TAILS``: P(given >= t) / P(wrong >= t), at most 1; an upper bound if right labels reach t, too."""
    found = []
    for tail in _TAILS:
        least = wrong[min(int((1 - tail) * len(wrong)), len(wrong) - 1)]
        share = float((given >= least).mean()) / max(float((wrong >= least).mean()), 1e-12)
        found.append(min(1.0, share))
    return found


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
    """Isotonic regression: values that rise with ``order``, with the same mean."""
    from sklearn.isotonic import isotonic_regression

    ranked = np.argsort(order, kind="stable")
    found = np.empty(len(values), np.float32)
    found[ranked] = isotonic_regression(values[ranked], y_min=0, y_max=1)
    return found


def _thinned(ranked: NDArray[np.float64]) -> NDArray[np.float64]:
    return ranked[:: max(1, len(ranked) // _MOST_POINTS)]
