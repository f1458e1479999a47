"""How well classifiers and neighbors agree with every given label, in two rounds.

In the first round all labels have the same weight. In the second, the weight of a label is its probability in the
first, so that two classes whose labels are mixed up do not confirm each other's errors.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fiftyone_deepcluster.analysis.label_audit.labeled_set import N_FOLDS
from fiftyone_deepcluster.analysis.label_audit.logistic import LogisticModels, fit_logistic
from fiftyone_deepcluster.analysis.label_audit.neighbors import NOTHING_STORED
from fiftyone_deepcluster.core.progress import observer_or_silent, stop_if_cancelled
from fiftyone_deepcluster.core.seeds import rng

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
"""Additive smoothing: total of the votes that are added to those of the neighbors, the same for every class."""

_LEAST_WEIGHT = 0.02
_MISTAKEN = 2.0
"""Additive smoothing of the confusion counts: this number divided by K for each pair of classes."""

_MOST = 15.0
"""Margins are clipped to this absolute value, so that one overconfident classifier does not decide alone."""


@dataclass(frozen=True)
class Evidence:
    """Scores of one round for each of N images. Margin: log odds of the given class against the best other class.

    Attributes:
        in_sample: (N,) float32, margin by the classifier that was fitted with the image.
        held_out: (N,) float32, margin by the classifier that was fitted without it.
        neighbors: (N,) float32, margin by the neighbors' votes.
        both: (N,) float32, margin by held-out classifier and neighbors together.
        drawn: (N,) float32, as ``both``, but of a drawn wrong class; where a person corrected the label, of the
            class before. In the first round equal to ``both``.
        own: (N,) float32, probability of the given class by held-out classifier and neighbors.
        best: (N,) int64, most probable class.
        best_share: (N,) float32, its probability.
        other: (N,) int64, most probable class other than the given one.
        own_votes: (N,) float32, share of the votes for the given class.
    """

    in_sample: NDArray[np.float32]
    held_out: NDArray[np.float32]
    neighbors: NDArray[np.float32]
    both: NDArray[np.float32]
    drawn: NDArray[np.float32]
    own: NDArray[np.float32]
    best: NDArray[np.int64]
    best_share: NDArray[np.float32]
    other: NDArray[np.int64]
    own_votes: NDArray[np.float32]


def gather_evidence(labeled: LabeledSet, observer: Observer | None = None) -> tuple[Evidence, Evidence]:
    """Compute the scores of both rounds.

    Args:
        labeled: images of two classes or more.
        observer: receives ``STEPS`` steps of progress; can cancel after each.

    Raises:
        CancelledError: the observer requested cancellation.
    """
    balance, watcher = _balance(labeled), observer_or_silent(observer)
    first = _round(labeled, balance * labeled.weights, labeled.classes, watcher)
    belief = np.minimum(first.own / first.best_share, 1.0) + np.float32(_LEAST_WEIGHT)
    belief = np.where(labeled.certain, np.float32(1), belief)
    drawn = np.where(labeled.before == labeled.classes, _draw(labeled, first.best), labeled.before)
    return first, _round(labeled, balance * labeled.weights * belief, drawn, watcher)


def _balance(labeled: LabeledSet) -> NDArray[np.float32]:
    """(N,) weights, proportional to 1 / sqrt(size of the class), mean 1: small classes are not outvoted."""
    counts = np.bincount(labeled.classes, labeled.weights, labeled.n_classes)
    each = 1 / np.sqrt(np.maximum(counts, 1))
    return np.asarray((each / (each * counts).sum() * counts.sum())[labeled.classes], np.float32)


def _draw(labeled: LabeledSet, best: NDArray[np.int64]) -> NDArray[np.int64]:
    """(N,) a wrong class for every image, drawn from the other labels of images with the same predicted class."""
    k, draw = labeled.n_classes, rng(labeled.seed, "drawn classes")
    mistaken = np.bincount(best * k + labeled.classes, minlength=k * k).reshape(k, k) + _MISTAKEN / k
    np.fill_diagonal(mistaken, 0)
    drawn = np.empty(len(best), np.int64)
    for number in range(k):
        rows = np.flatnonzero(best == number)
        drawn[rows] = draw.choice(k, len(rows), p=mistaken[number] / mistaken[number].sum())
    return drawn


def _round(
    labeled: LabeledSet, weights: NDArray[np.float32], drawn: NDArray[np.int64], observer: Observer
) -> Evidence:
    models = _fit(labeled, weights, observer)
    found = [
        _scores(labeled, weights, rows, logs, drawn[rows])
        for rows, logs in _log_probabilities(labeled, models)
    ]
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


def _scores(
    labeled: LabeledSet,
    weights: NDArray[np.float32],
    rows: slice,
    logs: tuple[NDArray[np.float32], NDArray[np.float32]],
    drawn: NDArray[np.int64],
) -> tuple[NDArray[np.generic], ...]:
    """The fields of ``Evidence`` for consecutive rows, in their order."""
    k, classes = labeled.n_classes, labeled.classes[rows]
    in_sample, held_out = logs
    voters = labeled.graph.voters(rows, _VOTES, labeled.apart)
    votes = labeled.graph.votes(rows, voters, labeled.classes, weights, k)
    votes *= voters.sum(axis=1, keepdims=True) / np.maximum(votes.sum(axis=1, keepdims=True), 1e-12)
    shares = (votes + _PRIOR / k) / (votes.sum(axis=1, keepdims=True) + _PRIOR)
    near = np.log(shares)
    both = _log_softmax(0.75 * (held_out + near))
    probable = np.exp(both)
    at = np.arange(len(classes))
    best = both.argmax(axis=1)
    without = both.copy()
    without[at, classes] = -np.inf
    return (
        _margin(in_sample, classes),
        _margin(held_out, classes),
        _margin(near, classes),
        _margin(both, classes),
        _margin(both, drawn),
        probable[at, classes],
        best,
        probable[at, best],
        without.argmax(axis=1),
        shares[at, classes],
    )


def _margin(logs: NDArray[np.float32], classes: NDArray[np.int64]) -> NDArray[np.float32]:
    """Log odds of one class against the best of the others, (B,)."""
    at = np.arange(len(classes))
    rest = logs.copy()
    rest[at, classes] = -np.inf
    return np.asarray(np.clip(logs[at, classes] - rest.max(axis=1), -_MOST, _MOST), np.float32)


def _log_softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    shifted = logits - logits.max(axis=1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)), np.float32)
