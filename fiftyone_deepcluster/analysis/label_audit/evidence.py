"""How well classifiers and neighbors agree with every given label, in two rounds.

In the first round all labels have the same weight. In the second, the weight of a label is its probability in the
first, so that two classes whose labels are mixed up do not confirm each other's errors.

That a class is rare is no evidence against its labels: a person who labels an image does not look at how many others
have the label. So the prior probability of the given class is taken out of a classifier's log odds where it is below
that of K equal classes, and the votes for every class are smoothed by the same number of its own images.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fiftyone_deepcluster.analysis.label_audit.labeled_set import N_FOLDS
from fiftyone_deepcluster.analysis.label_audit.logistic import LogisticModels, fit_logistic
from fiftyone_deepcluster.analysis.label_audit.neighbors import NOTHING_STORED
from fiftyone_deepcluster.core.progress import observer_or_silent, stop_if_cancelled

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from fiftyone_deepcluster.analysis.label_audit.labeled_set import LabeledSet
    from fiftyone_deepcluster.core.progress import Observer

_PENALTY, _MAX_ITER = 1e-3, 40
STEPS = 2 * _MAX_ITER
"""Steps of progress: passes over the vectors, at most."""

_VOTES = 20
_PRIOR = 0.3
"""Additive smoothing: images whose votes are added to those of the neighbors, in all, equally many of each class."""

_LEAST_SHARE = 1e-3
"""Prior of a class as a share of that of K equal classes, at least: the log odds are raised by 7 at most."""

_LEAST_WEIGHT = 0.02
_CANDIDATES = 12
"""Classes of an image whose probability is kept; there can be thousands."""

_TOGETHER = 0.75
"""Factor of the sum of the log probabilities by held-out classifier and neighbors, which are not independent."""

_MOST = 15.0
"""Margins are clipped to this absolute value, so that one overconfident classifier does not decide alone."""


@dataclass(frozen=True)
class Evidence:
    """Scores of one round for each of N images. Margin: log odds of the given class against the best other class.

    Margins of classifiers are without the prior of a rare class.

    Attributes:
        in_sample: (N,) float32, margin by the classifier that was fitted with the image.
        held_out: (N,) float32, margin by the classifier that was fitted without it.
        neighbors: (N,) float32, margin by the neighbors' votes.
        both: (N,) float32, margin by held-out classifier and neighbors together.
        best: (N,) int64, most probable class by held-out classifier and neighbors.
        other: (N,) int64, most probable class other than the given one.
        candidates: (N, C) int64, the most probable classes, with the given one and that before a person decided.
        logs: (N, C) float32, their log probabilities by held-out classifier and neighbors.
    """

    in_sample: NDArray[np.float32]
    held_out: NDArray[np.float32]
    neighbors: NDArray[np.float32]
    both: NDArray[np.float32]
    best: NDArray[np.int64]
    other: NDArray[np.int64]
    candidates: NDArray[np.int64]
    logs: NDArray[np.float32]


def gather_evidence(labeled: LabeledSet, observer: Observer | None = None) -> tuple[Evidence, Evidence]:
    """Compute the scores of both rounds.

    Args:
        labeled: images of two classes or more.
        observer: receives ``STEPS`` steps of progress; can cancel after each.

    Raises:
        CancelledError: the observer requested cancellation.
    """
    balance, watcher = _class_weights(labeled)[labeled.classes], observer_or_silent(observer)
    first = _round(labeled, balance * labeled.weights, watcher)
    belief = np.minimum(np.exp(first.both), 1.0) + np.float32(_LEAST_WEIGHT)
    belief = np.where(labeled.certain, np.float32(1), belief)
    return first, _round(labeled, balance * labeled.weights * belief, watcher)


def _class_weights(labeled: LabeledSet) -> NDArray[np.float32]:
    """(K,) weights of an image by its class: 1 / sqrt(size of the class), scaled to mean 1 over the images."""
    counts = np.bincount(labeled.classes, labeled.weights, labeled.n_classes)
    each = 1 / np.sqrt(np.maximum(counts, 1))
    return np.asarray(each / (each * counts).sum() * counts.sum(), np.float32)


def _relief(labeled: LabeledSet) -> NDArray[np.float32]:
    """(K,) what is added to the log odds of a label of each class: minus the log of its prior times K, 0 or more."""
    total = np.bincount(labeled.classes, labeled.weights, labeled.n_classes) * _class_weights(labeled)
    ratio = total / total.sum() * np.count_nonzero(total)
    return np.asarray(-np.log(np.clip(ratio, _LEAST_SHARE, 1)), np.float32)


def _round(labeled: LabeledSet, weights: NDArray[np.float32], observer: Observer) -> Evidence:
    models = _fit(labeled, weights, observer)
    scorer = _Scorer(labeled, weights, _class_weights(labeled), _relief(labeled))
    found = [scorer.scores(rows, logs) for rows, logs in _log_probabilities(labeled, models)]
    return Evidence(*(np.concatenate(column) for column in zip(*found, strict=True)))


def _fit(labeled: LabeledSet, weights: NDArray[np.float32], observer: Observer) -> LogisticModels:
    """``N_FOLDS`` models, each fitted without one fold, and last one fitted on all images."""
    used = np.arange(N_FOLDS + 1)[:, None] != labeled.folds
    left = _MAX_ITER

    def after_pass() -> None:
        nonlocal left
        left -= 1
        observer.advance(1)
        stop_if_cancelled(observer, NOTHING_STORED)

    models = fit_logistic(
        labeled.features,
        labeled.classes,
        (used * weights).astype(np.float32),
        penalty=_PENALTY,
        max_iter=_MAX_ITER,
        n_classes=labeled.n_classes,
        after_pass=after_pass,
    )
    observer.advance(left)
    return models


def _log_probabilities(
    labeled: LabeledSet, models: LogisticModels
) -> Iterator[tuple[slice, tuple[NDArray[np.float32], NDArray[np.float32]]]]:
    """Log probabilities (B, K) in-sample and held out, chunk by chunk."""
    for rows, products in models.each_chunk(labeled.features):
        fold = labeled.folds[rows]
        yield rows, (_log_softmax(products[:, -1]), _log_softmax(products[np.arange(len(fold)), fold]))


@dataclass(frozen=True)
class _Scorer:
    """Computes the fields of ``Evidence`` from log probabilities.

    Attributes:
        labeled: the N images.
        weights: (N,) weight of every label in this round.
        by_class: (K,) weight of an image by its class, see ``_class_weights``.
        relief: (K,) see ``_relief``.
    """

    labeled: LabeledSet
    weights: NDArray[np.float32]
    by_class: NDArray[np.float32]
    relief: NDArray[np.float32]

    def scores(
        self, rows: slice, logs: tuple[NDArray[np.float32], NDArray[np.float32]]
    ) -> tuple[NDArray[np.generic], ...]:
        """The fields of ``Evidence`` for consecutive rows, in their order."""
        classes, (in_sample, held_out) = self.labeled.classes[rows], logs
        near = np.log(self._shares(rows))
        both = _log_softmax(_TOGETHER * (held_out + near))
        without = both.copy()
        without[np.arange(len(classes)), classes] = -np.inf
        relief, candidates = self.relief[classes], self._candidates(rows, both)
        return (
            _margin(in_sample, classes, relief),
            _margin(held_out, classes, relief),
            _margin(near, classes),
            _margin(both, classes, _TOGETHER * relief),
            both.argmax(axis=1),
            without.argmax(axis=1),
            candidates,
            np.take_along_axis(both, candidates, 1),
        )

    def _candidates(self, rows: slice, both: NDArray[np.float32]) -> NDArray[np.int64]:
        """(B, C) the most probable classes, with those that the label says or said."""
        first = both.copy()
        for known in (self.labeled.classes[rows], self.labeled.before[rows]):
            first[np.arange(len(both)), known] = np.inf
        n = min(_CANDIDATES, both.shape[1])
        return np.argpartition(first, -n, axis=1)[:, -n:]

    def _shares(self, rows: slice) -> NDArray[np.float32]:
        """(B, K) smoothed shares of the neighbors' votes."""
        labeled, k = self.labeled, self.labeled.n_classes
        voters = labeled.graph.voters(rows, _VOTES, labeled.apart)
        votes = labeled.graph.votes(rows, voters, labeled.classes, self.weights, k)
        votes *= voters.sum(axis=1, keepdims=True) / np.maximum(votes.sum(axis=1, keepdims=True), 1e-12)
        votes += _PRIOR / k * self.by_class
        return np.asarray(votes / votes.sum(axis=1, keepdims=True), np.float32)


def _margin(
    logs: NDArray[np.float32], classes: NDArray[np.int64], relief: NDArray[np.float32] | float = 0.0
) -> NDArray[np.float32]:
    """Log odds of one class against the best of the others, plus ``relief``, (B,)."""
    at = np.arange(len(classes))
    rest = logs.copy()
    rest[at, classes] = -np.inf
    return np.asarray(np.clip(logs[at, classes] - rest.max(axis=1) + relief, -_MOST, _MOST), np.float32)


def _log_softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    shifted = logits - logits.max(axis=1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)), np.float32)
