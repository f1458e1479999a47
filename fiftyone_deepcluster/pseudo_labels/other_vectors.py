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
    from numpy.typing import NDArray

    from fiftyone_deepcluster.features.base import Encoding

FOLDS = 5
"""Folds of the linear classifier: an image's own label takes no part in its vote."""

_MOST_IMAGES = 20_000
"""Maximum number of images that a classifier is trained on."""

_SMALLEST = 1e-3
"""Added to the probabilities of the linear classifier, so that it cannot exclude a cluster."""

_STRICTNESS = 10.0  # C of the logistic regression, for vectors of length 1


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
    probabilities: torch.Tensor, others: NDArray[np.float32], weight: float, share: float, seed: int
) -> torch.Tensor:
    """Probabilities of clusters by the head and by a linear classifier on vectors of another source together.

    The product of the head's probabilities and those of the classifier to the power of ``weight``, scaled to sum 1. The
    classifier is a logistic regression, trained on the images that the head is most confident of, in folds. Images
    without such a vector keep the head's.

    Args:
        probabilities: (N, K) of the head, on the CPU.
        others: (N, E), rows that are not finite where there is none.
        weight: above 0.
        share: share of each cluster that the classifier is trained on.
        seed: random seed of the folds.
    """
    confidence, labels = probabilities.max(dim=1)
    taught = most_confident(labels, confidence, share).numpy()
    known = np.isfinite(others).all(axis=1)
    points, draw = _directions(others).numpy(), rng(seed, "vote")
    fold = draw.integers(0, FOLDS, len(points))
    found = probabilities.clone()
    for i in range(FOLDS):
        asked = np.flatnonzero(known & (fold == i))
        rows = draw.permutation(np.flatnonzero(known & (fold != i) & (taught >= 0)))[:_MOST_IMAGES]
        if len(asked) and len(np.unique(taught[rows])) > 1:
            votes = _votes(points, rows, taught[rows], asked, probabilities.shape[1])
            found[asked] *= (torch.from_numpy(votes).to(found) + _SMALLEST) ** weight
    return found / found.sum(dim=1, keepdim=True)


def _votes(
    points: NDArray[np.float32],
    rows: NDArray[np.int64],
    labels: NDArray[np.int64],
    asked: NDArray[np.int64],
    n_clusters: int,
) -> NDArray[np.float64]:
    """(A, K) probabilities of the ``asked`` points by a logistic regression of the labels (R,) of ``rows``."""
    from sklearn.linear_model import LogisticRegression

    with ignored_warnings(".*"):  # of a fit that has not quite converged
        model = LogisticRegression(C=_STRICTNESS, max_iter=300).fit(points[rows], labels)
    votes = np.zeros((len(asked), n_clusters))
    votes[:, model.classes_] = model.predict_proba(points[asked])
    return votes


def _directions(others: NDArray[np.float32]) -> torch.Tensor:
    """(N, E) vectors less their mean, of length 1; zeros for rows that are not finite."""
    given = torch.from_numpy(others)
    known = torch.isfinite(given).all(dim=1)
    centered = torch.where(known[:, None], given - given[known].mean(dim=0), torch.zeros_like(given))
    return normalize(centered)
