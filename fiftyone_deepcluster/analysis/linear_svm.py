"""One-versus-all linear support vector machines on vectors: the supervised measure of LDPO (section 4.2, "-LL")."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fiftyone_deepcluster.core.process_state import ignored_warnings
from fiftyone_deepcluster.core.seeds import derive
from fiftyone_deepcluster.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from sklearn.svm import LinearSVC

COSTS = (1e-3, 1e-2, 1e-1, 1.0, 10.0, 100.0)
"""Values of C in the search, for vectors of mean length 1."""


@dataclass(frozen=True)
class SvmScore:
    """Accuracy of one-versus-all linear support vector machines.

    Attributes:
        accuracy: on the test rows; without a split, the mean over the folds at ``cost``.
        cost: C with the best mean accuracy over the folds.
        by_cost: mean accuracy over the folds by C.
    """

    accuracy: float
    cost: float
    by_cost: dict[float, float]


def linear_svm(
    vectors: NDArray[np.float32],
    classes: NDArray[np.int64],
    *,
    split: tuple[NDArray[np.int64], NDArray[np.int64]] | None = None,
    folds: int = 5,
    seed: int = 0,
) -> SvmScore:
    """Choose C by cross-validation on the training rows, and measure on the test rows.

    Args:
        vectors: (N, D) float32; centered and scaled to mean length 1 here, by the training rows.
        classes: (N,) from 0 without gaps, each with at least ``folds`` training images.
        split: training and test rows, such as a benchmark's own; None: all rows are in the folds.
        folds: of the stratified cross-validation.
        seed: of folds and solver.

    Raises:
        InputError: a class with fewer training images than folds.
    """
    from sklearn.model_selection import StratifiedKFold

    train, test = (np.arange(len(classes)),) * 2 if split is None else split
    rarest = int(np.unique(classes[train], return_counts=True)[1].min())
    if rarest < folds:
        raise InputError(
            f"a class has {rarest} training images for folds={folds}; lower folds or leave the class out"
        )
    center = vectors[train].mean(axis=0)
    scale = np.sqrt(np.square(vectors[train] - center).sum(axis=1).mean())
    scaled = (vectors - center) / max(float(scale), 1e-12)
    parts = StratifiedKFold(folds, shuffle=True, random_state=derive(seed, "folds"))
    cuts = [(train[one], train[two]) for one, two in parts.split(train, classes[train])]
    by_cost = {
        cost: float(
            np.mean(
                [fitted(scaled, classes, one, cost).score(scaled[two], classes[two]) for one, two in cuts]
            )
        )
        for cost in COSTS
    }
    cost = max(by_cost, key=lambda one: by_cost[one])
    if split is None:
        return SvmScore(by_cost[cost], cost, by_cost)
    accuracy = fitted(scaled, classes, train, cost).score(scaled[test], classes[test])
    return SvmScore(float(accuracy), cost, by_cost)


def fitted(
    vectors: NDArray[np.float32], classes: NDArray[np.int64], rows: NDArray[np.int64], cost: float
) -> LinearSVC:
    """Support vector machines fitted to the rows, one for each class against all others."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.svm import LinearSVC

    # accuracy converges long before liblinear's tolerance is reached
    with ignored_warnings(ConvergenceWarning):
        return LinearSVC(C=cost, multi_class="ovr", dual="auto", max_iter=2000, random_state=0).fit(
            vectors[rows], classes[rows]
        )
