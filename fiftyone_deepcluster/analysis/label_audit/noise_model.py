"""How often images of each class get each label: by maximum likelihood, without any true label.

A label c is given to an image with probability Σ_k q_k · M_kc: q_k is the probability of class k by a prediction that
does not use the image's own label, and M_kc the probability that an image of class k gets the label c. That is the
model of Dawid and Skene (Applied Statistics 28, 1979) with a prediction in place of the other observers. The
prediction may be too sure or not sure enough: q_k is proportional to p_k^(1/T). M is fitted by expectation
maximization (their equations 2.3 to 2.5) for several temperatures T, of which the most likely is taken.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fiftyone_deepcluster.core.seeds import rng

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fiftyone_deepcluster.analysis.label_audit.labeled_set import LabeledSet

_TEMPERATURES = (0.5, 0.7, 1.0, 1.4, 2.0, 2.8, 4.0)
_STEPS = 40
_FITTED_ON = 20_000
"""Maximum number of images that the model is fitted on, drawn at random."""

_RIGHT, _WRONG = 1.0, 2.0
"""Additive smoothing of M: labels that are added to those of each class, its own, and others in equal parts."""

_START = 0.9
"""First value of M_kk."""


def wrong_by_model(
    labeled: LabeledSet, candidates: NDArray[np.int64], logs: NDArray[np.float32]
) -> NDArray[np.float64]:
    """(N,) probability that the label of each image, before a person decided, is wrong.

    Args:
        labeled: the N images.
        candidates: (N, C) classes that an image may have, its label among them.
        logs: (N, C) their log probabilities by a prediction without the label.
    """
    pairs, place = np.unique(candidates * labeled.n_classes + labeled.before[:, None], return_inverse=True)
    place = place.reshape(candidates.shape)
    possible = ~labeled.certain[:, None] | (candidates == labeled.classes[:, None])
    chosen = rng(labeled.seed, "noise model").permutation(len(labeled.before))[:_FITTED_ON]
    table = _Table(pairs // labeled.n_classes, pairs % labeled.n_classes, labeled.n_classes)
    best, likelihood = (np.ones(len(pairs)), 1.0), -np.inf
    for temperature in _TEMPERATURES:
        chances = _softmax(logs[chosen], temperature) * possible[chosen]
        found, reached = table.fit(chances, place[chosen])
        if reached > likelihood:
            best, likelihood = (found, temperature), reached
    rest = _softmax(logs, best[1]) * possible * best[0][place]
    own = (rest * (candidates == labeled.before[:, None])).sum(axis=1)
    return np.asarray(1 - own / np.maximum(rest.sum(axis=1), 1e-300))


@dataclass(frozen=True)
class _Table:
    """The P pairs of class and label that occur: (P,) classes, (P,) labels; ``n_classes`` is K."""

    classes: NDArray[np.int64]
    labels: NDArray[np.int64]
    n_classes: int

    def fit(
        self, chances: NDArray[np.float64], place: NDArray[np.int64]
    ) -> tuple[NDArray[np.float64], float]:
        """(P,) probability of the label of each pair in its class, and the mean log likelihood of the labels.

        Args:
            chances: (N, C) probability of every candidate.
            place: (N, C) its pair with the label of the image.
        """
        own = self.classes == self.labels
        found = np.where(own, _START, (1 - _START) / max(self.n_classes - 1, 1))
        added = np.where(own, _RIGHT, 0.0) + _WRONG / self.n_classes
        total = np.ones(len(chances))
        for _ in range(_STEPS):
            shares = chances * found[place]
            total = np.maximum(shares.sum(axis=1), 1e-300)
            counts = np.bincount(place.ravel(), (shares / total[:, None]).ravel(), len(found))
            sums = np.bincount(self.classes, counts, self.n_classes)
            found = (counts + added) / (sums[self.classes] + _RIGHT + _WRONG)
        return found, float(np.log(total).mean())


def _softmax(logs: NDArray[np.float32], temperature: float) -> NDArray[np.float64]:
    powers = logs.astype(np.float64) / temperature
    powers = np.exp(powers - powers.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))
