"""How well straight boundaries separate given clusters, as a score that needs no classes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fiftyone_deepcluster.core.seeds import derive, rng
from fiftyone_deepcluster.reducers.base import REDUCERS

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch
    from numpy.typing import NDArray

SAMPLED_IMAGES = 3000
"""A classifier of more images takes long and says no more."""

FOLDS = 3
"""Clusters with fewer images are left out."""

_LEAST_PROBABILITY = 1e-6
_PCA = {"name": "pca"}


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
        """Cross-validated accuracy of a logistic regression that predicts the clusters, on a sample.

        Noise and clusters with fewer images than folds are left out; 0 where fewer than two clusters remain.

        Args:
            labels: (N,) clusters; -1 is noise.
        """
        from sklearn.model_selection import cross_val_score

        rows = self._sample(labels)
        if not len(rows):
            return 0.0
        return float(self._cross_validated(cross_val_score, rows, labels[rows]).mean())

    def information(self, labels: NDArray[np.int64]) -> float:
        """Information that the vectors give about the clusters, in nats: H(c) + mean log q(c | x).

        q is the cross-validated logistic regression of ``__call__``, on the same images. The value estimates a lower
        bound of the mutual information (Barber and Agakov 2003). It is at most H(c), the entropy of the cluster sizes,
        and falls as clusters overlap; 0 for a single cluster.

        Args:
            labels: (N,) clusters; -1 is noise.
        """
        from sklearn.model_selection import cross_val_predict

        rows = self._sample(labels)
        if not len(rows):
            return 0.0
        _, numbers, sizes = np.unique(labels[rows], return_inverse=True, return_counts=True)
        found = self._cross_validated(cross_val_predict, rows, numbers, method="predict_proba")
        shares = sizes / len(rows)
        likelihood = np.log(found[np.arange(len(rows)), numbers].clip(_LEAST_PROBABILITY)).mean()
        return float(likelihood - shares @ np.log(shares))

    def _sample(self, labels: NDArray[np.int64]) -> NDArray[np.intp]:
        """The images to fit to; none where fewer than two clusters remain."""
        rows = np.flatnonzero(labels >= 0)
        if len(rows) > SAMPLED_IMAGES:
            rows = np.sort(rng(self._seed, "linear accuracy").choice(rows, SAMPLED_IMAGES, replace=False))
        sizes = np.bincount(labels[rows]) if len(rows) else np.zeros(1, int)
        rows = rows[sizes[labels[rows]] >= FOLDS]
        return rows if len(np.unique(labels[rows])) > 1 else rows[:0]

    def _cross_validated(
        self,
        evaluate: Callable[..., NDArray[Any]],
        rows: NDArray[np.intp],
        clusters: NDArray[np.int64],
        **settings: str,
    ) -> NDArray[Any]:
        """What ``evaluate``, a function of scikit-learn, returns for the logistic regression of ``clusters``."""
        from sklearn.linear_model import LogisticRegression
        from sklearn.model_selection import StratifiedKFold

        from fiftyone_deepcluster.core.process_state import ignored_warnings

        model = LogisticRegression(C=1.0, max_iter=200, random_state=0)
        folds = StratifiedKFold(FOLDS, shuffle=True, random_state=derive(self._seed, "folds"))
        with ignored_warnings(".*"):
            return evaluate(model, self._reduced(rows), clusters, cv=folds, **settings)

    def _reduced(self, rows: NDArray[np.intp]) -> NDArray[Any]:
        """(rows, dimensions) PCA of these vectors, scaled as a whole."""
        if self._points is None or not np.array_equal(rows, self._rows):
            points = REDUCERS.parse(_PCA).embed(self.vectors[rows], self._seed).cpu().numpy()
            self._points = points / max(float(points.std(axis=0).max()), 1e-12)
            self._rows = rows
        return self._points
