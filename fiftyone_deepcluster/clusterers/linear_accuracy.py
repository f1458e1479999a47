"""How well straight boundaries separate given clusters, as a score that needs no classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fiftyone_deepcluster.core.seeds import derive, rng
from fiftyone_deepcluster.reducers.base import REDUCERS

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

SAMPLED_IMAGES = 3000
"""A classifier of more images takes long and says no more."""

FOLDS = 3
"""Clusters with fewer images are left out."""

_LEAST_PROBABILITY = 1e-6
_PCA = {"name": "pca"}


@dataclass(frozen=True)
class LinearScores:
    """How well a linear classifier predicts clusters of images that it was not fitted to.

    Attributes:
        accuracy: share of the images whose cluster is predicted.
        information: H(c) + mean log q(c | x) in nats, where q is the classifier and H(c) the entropy of the cluster
            sizes. It estimates a lower bound of the mutual information of clusters and vectors (Barber and Agakov
            2003): at most H(c), and lower as clusters overlap; 0 for a single cluster, below 0 for chance.
    """

    accuracy: float
    information: float


class LinearAccuracy:
    """Scores clusterings of the same vectors; the PCA of the same images is computed once.

    Attributes:
        vectors: (N, D) float32.

    Args:
        seed: random seed.
    """

    def __init__(self, vectors: torch.Tensor, seed: int) -> None:
        self.vectors, self._seed = vectors, seed
        self._rows: NDArray[np.intp] = np.empty(0, np.intp)
        self._points: NDArray[Any] | None = None

    def __call__(self, labels: NDArray[np.int64]) -> float:
        """Cross-validated accuracy of a logistic regression that predicts the clusters, on a sample; see ``scores``."""
        return self.scores(labels).accuracy

    def information(self, labels: NDArray[np.int64]) -> float:
        """Information that the vectors give about the clusters, in nats; see ``scores``."""
        return self.scores(labels).information

    def scores(self, labels: NDArray[np.int64]) -> LinearScores:
        """Both scores of a cross-validated logistic regression that predicts the clusters, on a sample.

        Noise and clusters with fewer images than folds are left out; 0 where fewer than two clusters remain.

        Args:
            labels: (N,) clusters; -1 is noise.
        """
        from sklearn.linear_model import LogisticRegression
        from sklearn.model_selection import StratifiedKFold, cross_val_predict

        from fiftyone_deepcluster.core.process_state import ignored_warnings

        rows = self._sample(labels)
        if not len(rows):
            return LinearScores(0.0, 0.0)
        _, numbers, sizes = np.unique(labels[rows], return_inverse=True, return_counts=True)
        model = LogisticRegression(C=1.0, max_iter=200, random_state=0)
        folds = StratifiedKFold(FOLDS, shuffle=True, random_state=derive(self._seed, "folds"))
        with ignored_warnings(".*"):
            found = cross_val_predict(model, self._reduced(rows), numbers, cv=folds, method="predict_proba")
        shares = sizes / len(rows)
        likelihood = np.log(found[np.arange(len(rows)), numbers].clip(_LEAST_PROBABILITY)).mean()
        return LinearScores(
            accuracy=float((found.argmax(axis=1) == numbers).mean()),
            information=float(likelihood - shares @ np.log(shares)),
        )

    def _sample(self, labels: NDArray[np.int64]) -> NDArray[np.intp]:
        """The images to fit to; none where fewer than two clusters remain."""
        rows = np.flatnonzero(labels >= 0)
        if len(rows) > SAMPLED_IMAGES:
            rows = np.sort(rng(self._seed, "linear accuracy").choice(rows, SAMPLED_IMAGES, replace=False))
        sizes = np.bincount(labels[rows]) if len(rows) else np.zeros(1, int)
        rows = rows[sizes[labels[rows]] >= FOLDS]
        return rows if len(np.unique(labels[rows])) > 1 else rows[:0]

    def _reduced(self, rows: NDArray[np.intp]) -> NDArray[Any]:
        """(rows, dimensions) PCA of these vectors, scaled as a whole."""
        if self._points is None or not np.array_equal(rows, self._rows):
            points = REDUCERS.parse(_PCA).embed(self.vectors[rows], self._seed).cpu().numpy()
            self._points = points / max(float(points.std(axis=0).max()), 1e-12)
            self._rows = rows
        return self._points
