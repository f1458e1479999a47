"""How often images of each class get each label: by maximum likelihood, without any true label.

A label c is given to an image with probability Σ_k q_k · M_kc: q_k is the probability of class k by a prediction that
does not use the image's own label, and M_kc the probability that an image of class k gets the label c. That is the
model of Dawid and Skene (Applied Statistics 28, 1979) with a prediction in place of the other observers. M is fitted
by expectation maximization (their equations 2.3 to 2.5).

A label that differs from a confident prediction is a wrong label, or the prediction is wrong. Two parts of the model
decide between them. The prediction may be too sure or not sure enough: q_k is proportional to p_k^(1/T), and the most
likely T of several is taken. And M has few parameters: an image of class k gets each other label with the same
probability, except for pairs (k, c) of which there is evidence that they are confused. Each pair must raise the log
likelihood by the penalty of the extended Bayesian information criterion (Chen and Chen, Biometrika 95, 2008), or else
classes that look alike, which any classifier confuses, would be taken for wrong labels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fiftyone_deepcluster.core.seeds import rng

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fiftyone_deepcluster.analysis.label_audit.labeled_set import LabeledSet

_TEMPERATURES = (0.5, 0.7, 1.0)
"""All are at most 1, because the log probabilities of the evidence have been made smaller already."""

_STEPS, _STEPS_AGAIN = 40, 20
"""Steps of expectation maximization: first, and after each choice of the confused pairs."""

_CHOICES = 4
"""Times that the confused pairs are chosen anew."""

_FITTED_ON = 20_000
"""Maximum number of images that the model is fitted on, drawn at random."""

_START = 0.9
"""First value of M_kk."""

_LEAST = 1e-3
"""Least value of M_kk."""


@dataclass(frozen=True)
class NoiseFit:
    """The model without confused pairs, and with those that have evidence.

    Attributes:
        plain: (N,) probability that each label is wrong, if all wrong labels are equally frequent.
        confused: (N,) the same with confused pairs.
        gain: how much more the second explains, log likelihood minus penalty.
    """

    plain: NDArray[np.float64]
    confused: NDArray[np.float64]
    gain: float


def fit_noise(labeled: LabeledSet, candidates: NDArray[np.int64], logs: NDArray[np.float32]) -> NoiseFit:
    """Probability that the label of each image, before a person decided, is wrong, by both forms of the model.

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
    plain: list[tuple[NDArray[np.float64], float, float]] = []
    confused: list[tuple[NDArray[np.float64], float, float]] = []
    for temperature in _TEMPERATURES:
        chances = _softmax(logs[chosen], temperature) * possible[chosen]
        for found, fitted in zip((plain, confused), table.fits(chances, place[chosen]), strict=True):
            found.append((*fitted, temperature))

    def wrong(found: NDArray[np.float64], temperature: float) -> NDArray[np.float64]:
        rest = _softmax(logs, temperature) * possible * found[place]
        own = (rest * (candidates == labeled.before[:, None])).sum(axis=1)
        return np.asarray(1 - own / np.maximum(rest.sum(axis=1), 1e-300))

    one, other = (max(found, key=lambda fitted: fitted[1]) for found in (plain, confused))
    return NoiseFit(wrong(one[0], one[2]), wrong(other[0], other[2]), other[1] - one[1])


@dataclass(frozen=True)
class _Table:
    """The P pairs of class and label that occur: (P,) classes, (P,) labels; ``n_classes`` is K."""

    classes: NDArray[np.int64]
    labels: NDArray[np.int64]
    n_classes: int

    def fits(
        self, chances: NDArray[np.float64], place: NDArray[np.int64]
    ) -> tuple[tuple[NDArray[np.float64], float], tuple[NDArray[np.float64], float]]:
        """(P,) probability of the label of each pair in its class, and log likelihood minus penalty, twice.

        First without, then with confused pairs, if there are any. These are found backwards: at first every pair has a
        probability of its own, and pairs that do not explain enough lose it.

        Args:
            chances: (N, C) probability of every candidate.
            place: (N, C) its pair with the label of the image.
        """
        others = self.classes != self.labels
        start = np.where(others, (1 - _START) / max(self.n_classes - 1, 1), _START)
        free = np.zeros(len(others), bool)
        found, _, likelihood = self._fit(chances, place, free, start, _STEPS)
        plain = found, likelihood
        penalty = self._penalty(len(chances))
        free = others
        found, counts, likelihood = self._fit(chances, place, free, start, _STEPS)
        for _ in range(_CHOICES):
            free = free & (self._gains(counts, free) > penalty)
            found, counts, likelihood = self._fit(chances, place, free, found, _STEPS_AGAIN)
        return plain, (found, likelihood - penalty * int(free.sum())) if free.any() else plain

    def _fit(
        self,
        chances: NDArray[np.float64],
        place: NDArray[np.int64],
        free: NDArray[np.bool_],
        found: NDArray[np.float64],
        steps: int,
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
        """(P,) probabilities from the first ones ``found``, (P,) expected images of each pair, and log likelihood.

        The pairs ``free`` (P,) have a probability of their own.
        """
        total = np.ones(len(chances))
        counts = np.zeros(len(found))
        for step in range(steps + 1):
            shares = chances * found[place]
            total = np.maximum(shares.sum(axis=1), 1e-300)
            counts = _sums(place.ravel(), (shares / total[:, None]).ravel(), len(found))
            if step < steps:
                found = self._probabilities(counts, free)
        return found, counts, float(np.log(total).sum())

    def _probabilities(self, counts: NDArray[np.float64], free: NDArray[np.bool_]) -> NDArray[np.float64]:
        """(P,) most likely probability of the label of each pair in its class; those that are not free share one."""
        sums, n_free = self._images(counts), _sums(self.classes, free, self.n_classes)
        shared = self._shared(counts, free)
        found = np.where(free, counts / np.maximum(sums[self.classes], 1e-12), shared)
        wrong = _sums(self.classes, found * free, self.n_classes) + shared * (self.n_classes - 1 - n_free)
        own = self.classes == self.labels
        return np.asarray(np.where(own, np.maximum(1 - wrong[self.classes], _LEAST), found))

    def _gains(self, counts: NDArray[np.float64], free: NDArray[np.bool_]) -> NDArray[np.float64]:
        """(P,) log likelihood that a pair adds by a probability above the shared one; 0 if it is below."""
        others = self.classes != self.labels
        shared = self._shared(counts, np.zeros_like(free) if (free == others).all() else free, at_least=0.5)
        expected = self._images(counts)[self.classes] * shared
        ratio = np.maximum(counts, 1e-12) / np.maximum(expected, 1e-12)
        return np.asarray(np.where(ratio > 1, counts * np.log(ratio) - counts + expected, 0.0))

    def _shared(self, counts: NDArray[np.float64], free: NDArray[np.bool_], at_least: float = 0.0) -> float:
        """Probability that an image has one particular wrong label, the same for all pairs that are not free."""
        sums, n_free = self._images(counts), _sums(self.classes, free, self.n_classes)
        rest = counts[(self.classes != self.labels) & ~free].sum()
        images = (sums * (self.n_classes - 1 - n_free)).sum()
        return float(max(rest, at_least) / max(images, 1.0))

    def _images(self, counts: NDArray[np.float64]) -> NDArray[np.float64]:
        """(K,) expected images of each class."""
        return _sums(self.classes, counts, self.n_classes)

    def _penalty(self, n: int) -> float:
        """Of each confused pair, among K · (K - 1) possible ones: γ of the criterion is 1."""
        return 0.5 * float(np.log(n)) + float(np.log(max(self.n_classes * (self.n_classes - 1), 1)))


def _sums(places: NDArray[np.int64], values: NDArray[Any], n: int) -> NDArray[np.float64]:
    """(n,) sums of the values by their places."""
    return np.bincount(places, values, n).astype(np.float64)


def _softmax(logs: NDArray[np.float32], temperature: float) -> NDArray[np.float64]:
    powers = logs.astype(np.float64) / temperature
    powers = np.exp(powers - powers.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))
