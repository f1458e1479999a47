"""Vectors of another source, such as another network, beside the features of the network that is trained."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn.functional import normalize

from fiftyone_deepcluster.core.process_state import ignored_warnings
from fiftyone_deepcluster.core.seeds import rng
from fiftyone_deepcluster.pseudo_labels.round_labels import most_confident

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from fiftyone_deepcluster.features.base import Encoding

VOTE_FOLDS = 5
"""Folds of the linear classifier that votes: an image's own label takes no part in its vote."""

_MOST_IMAGES = 20_000
"""Maximum number of images that a classifier is trained on."""

_LEAST_RATIO = 0.01
"""Smallest vote for a cluster, so that the classifier cannot exclude it."""

_C = 10.0  # of the logistic regression, for vectors of length 1


def joined_with(encoding: Encoding, others: NDArray[np.float32] | None, weight: float) -> Encoding:
    """An encoding joined with vectors of another source, as part of its first, most important part.

    The joined vectors have length 1. In them, the others have ``weight`` times the mean length of the first part;
    images without such a vector have zeros.

    Args:
        encoding: vectors (N, D).
        others: (N, E), rows that are not finite where there is none; None: returns ``encoding`` itself.
        weight: above 0.
    """
    if others is None:
        return encoding
    vectors = encoding.vectors
    first, *rest = encoding.widths or (vectors.shape[1],)
    length = weight * vectors[:, :first].norm(dim=1).mean()
    parts = [vectors[:, :first], length * _directions(others).to(vectors), vectors[:, first:]]
    widths = (first + others.shape[1], *rest)
    return replace(encoding, vectors=normalize(torch.cat(parts, dim=1)), widths=widths)


def voted(
    probabilities: torch.Tensor,
    others: NDArray[np.float32],
    weight: float,
    *,
    share: float,
    seed: int,
    step: Callable[[], None] = lambda: None,
) -> torch.Tensor:
    """Probabilities of clusters by the head and by a linear classifier on vectors of another source together.

    log p = log p_head + ``weight`` · log(q / prior) + constant. q is the probability by a logistic regression, and
    prior the share of the cluster among the images that it is trained on: the sizes of clusters do not count twice. It
    is trained on the images that the head is most confident of, in folds. Images without such a vector keep the
    head's probabilities.

    Args:
        probabilities: (N, K) of the head, on the CPU.
        others: (N, E), rows that are not finite where there is none.
        weight: above 0.
        share: share of each cluster that the classifier is trained on.
        seed: random seed of the folds.
        step: called after each of the ``VOTE_FOLDS`` folds.
    """
    confidence, labels = probabilities.max(dim=1)
    targets = most_confident(labels, confidence, share).numpy()
    known = np.isfinite(others).all(axis=1)
    points, draw = _directions(others).numpy(), rng(seed, "vote")
    fold = draw.integers(0, VOTE_FOLDS, len(points))
    logits = probabilities.clamp_min(torch.finfo(probabilities.dtype).tiny).log()
    for i in range(VOTE_FOLDS):
        asked = np.flatnonzero(known & (fold == i))
        rows = draw.permutation(np.flatnonzero(known & (fold != i) & (targets >= 0)))[:_MOST_IMAGES]
        if len(asked) and len(np.unique(targets[rows])) > 1:
            ratios = _ratios(points[rows], targets[rows], points[asked], probabilities.shape[1])
            logits[asked] += weight * torch.from_numpy(np.log(ratios)).to(logits)
        step()
    return torch.where(torch.from_numpy(known)[:, None], logits.softmax(dim=1), probabilities)


def _ratios(
    points: NDArray[np.float32], labels: NDArray[np.int64], asked: NDArray[np.float32], n_clusters: int
) -> NDArray[np.float64]:
    """(A, K) probability of each cluster by a logistic regression, divided by its share; 1 for absent clusters.

    Args:
        points: (R, E) to train on.
        labels: (R,) their clusters.
        asked: (A, E) to predict.
        n_clusters: K.
    """
    from sklearn.linear_model import LogisticRegression

    with ignored_warnings(".*"):  # of a fit that has not quite converged
        model = LogisticRegression(C=_C, max_iter=300).fit(points, labels)
    ratios = np.ones((len(asked), n_clusters))
    prior = np.bincount(labels, minlength=n_clusters)[model.classes_] / len(labels)
    ratios[:, model.classes_] = (model.predict_proba(asked) / prior).clip(_LEAST_RATIO)
    return ratios


def _directions(others: NDArray[np.float32]) -> torch.Tensor:
    """(N, E) vectors less their mean, of length 1; zeros for rows that are not finite."""
    given = torch.from_numpy(others)
    known = torch.isfinite(given).all(dim=1)
    centered = torch.where(known[:, None], given - given[known].mean(dim=0), torch.zeros_like(given))
    return normalize(centered)
