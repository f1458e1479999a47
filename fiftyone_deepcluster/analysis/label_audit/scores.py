"""From evidence to one suspicion for every label, and to a probability that it is wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fiftyone_deepcluster.analysis.label_audit.noise_model import fit_noise

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fiftyone_deepcluster.analysis.label_audit.evidence import Evidence
    from fiftyone_deepcluster.analysis.label_audit.labeled_set import LabeledSet


def suspicion(first: Evidence, second: Evidence) -> NDArray[np.float32]:
    """(N,) suspicion of every label: minus the sum of the six margins, each at mean 0 and standard deviation 1."""
    total = np.zeros(len(first.both), np.float32)
    for evidence in (first, second):
        for margin in (evidence.in_sample, evidence.held_out, evidence.neighbors):
            total -= (margin - margin.mean()) / max(float(margin.std()), 1e-6)
    return total


def probability_wrong(
    labeled: LabeledSet, evidence: tuple[Evidence, Evidence], suspicious: NDArray[np.float32]
) -> tuple[NDArray[np.float32], tuple[float, float]]:
    """Probability that each label is wrong, rising with its suspicion, and the uncertainty of the share of wrong ones.

    There are two forms of the noise model, without and with confused classes, and evidence of two rounds. The form is
    the one that explains both rounds better. Without confused classes, the mean of both rounds is taken; with them, the
    second round, because the classifiers of the first have been fitted to the confused labels, too.

    Args:
        labeled: the N images.
        evidence: of both rounds.
        suspicious: (N,) as returned by ``suspicion``.

    Returns:
        (N,) float32, 0 for labels that are certain; and two factors (<= 1, >= 1) from the share of wrong labels to its
        estimates by the single rounds.
    """
    found, open_rows = np.zeros(len(labeled), np.float32), np.flatnonzero(~labeled.certain)
    if not len(open_rows):
        return found, (1.0, 1.0)
    fits = [fit_noise(labeled, each.candidates, each.logs) for each in evidence]
    are_confused = sum(fit.gain for fit in fits) > 0
    rounds = np.stack([fit.confused if are_confused else fit.plain for fit in fits])[:, open_rows]
    values = rounds[1] if are_confused else rounds.mean(axis=0)
    rates, rate = rounds.mean(axis=1), float(values.mean())
    found[open_rows] = _rising(values, suspicious[open_rows])
    return found, (float(rates.min()) / rate, float(rates.max()) / rate) if rate else (1.0, 1.0)


def _rising(values: NDArray[np.float64], order: NDArray[np.float32]) -> NDArray[np.float32]:
    """Isotonic regression: values that rise with ``order``, with the same mean."""
    from sklearn.isotonic import isotonic_regression

    ranked = np.argsort(order, kind="stable")
    found = np.empty(len(values), np.float32)
    found[ranked] = isotonic_regression(values[ranked], y_min=0, y_max=1)
    return found
