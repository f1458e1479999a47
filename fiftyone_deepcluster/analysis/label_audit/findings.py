"""Problems of a labeled set other than single wrong labels, from its neighbor graph and the probabilities."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from fiftyone_deepcluster.core.words import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from fiftyone_deepcluster.analysis.label_audit.evidence import Evidence
    from fiftyone_deepcluster.analysis.label_audit.labeled_set import LabeledSet

IssueKind = Literal[
    "wrong_label",
    "wrong_group",
    "duplicate_other_label",
    "leak",
    "outlier",
    "rare_class",
    "confused_classes",
    "drift",
]

ISSUE_KINDS: dict[IssueKind, str] = {
    "wrong_label": "labels that are more probably wrong than right",
    "wrong_group": "groups whose labels are wrong as a whole",
    "duplicate_other_label": "near duplicates with different labels",
    "leak": "near duplicates in different groups",
    "outlier": "images that are unlike all others",
    "rare_class": "classes with too few images to audit",
    "confused_classes": "classes that are often confused with each other",
    "drift": "stretches of consecutive files with more wrong labels",
}
"""Kinds of issues, each with a description."""

_DUPLICATE = 0.2
"""Largest distance of near duplicates, as a share of the median distance to the nearest neighbor."""

_OUTLIER = 3.5
"""Threshold of the log mean distance to the neighbors, in robust standard deviations above the median."""

_OUTLIER_NEIGHBORS = 10
_CONFUSED = 0.3
"""Two classes are confused if at least this share of the images of each are predicted to be the other."""

_DRIFT = 2.3
"""Range of a Brownian bridge that is exceeded with probability 0.1 % (Kuiper's distribution)."""

_DRIFT_RISE = 0.1
"""Minimum difference between the shares of wrong labels inside and outside of a stretch of files."""


@dataclass(frozen=True)
class Issue:
    """Images with one kind of problem.

    Attributes:
        kind: a key of ``ISSUE_KINDS``.
        text: what was found, in one sentence.
        rows: (M,) rows of the images.
    """

    kind: IssueKind
    text: str
    rows: NDArray[np.int64]


def duplicates(labeled: LabeledSet) -> NDArray[np.int64]:
    """(P, 2) pairs of near duplicates among the neighbors, lower row first."""
    nearest = labeled.graph.distances
    limit = max(_DUPLICATE * float(np.median(nearest[:, 0])), 1e-4)
    rows, columns = np.nonzero(nearest <= limit)
    pairs = np.stack([rows, labeled.graph.rows[rows, columns]], axis=1).astype(np.int64)
    return np.unique(np.sort(pairs, axis=1), axis=0)


def duplicates_with_other_label(labeled: LabeledSet, pairs: NDArray[np.int64]) -> Issue | None:
    """Near duplicates of which at least one label must be wrong."""
    chosen = pairs[labeled.classes[pairs[:, 0]] != labeled.classes[pairs[:, 1]]]
    if not len(chosen):
        return None
    return Issue(
        "duplicate_other_label",
        f"{counted(len(chosen), 'pair')} of near duplicates with different labels",
        np.unique(chosen),
    )


def leaks(labeled: LabeledSet, pairs: NDArray[np.int64]) -> Issue | None:
    """Near duplicates in different groups, such as splits or patients."""
    if labeled.groups is None:
        return None
    chosen = pairs[labeled.groups[pairs[:, 0]] != labeled.groups[pairs[:, 1]]]
    if not len(chosen):
        return None
    return Issue(
        "leak", f"{counted(len(chosen), 'pair')} of near duplicates in different groups", np.unique(chosen)
    )


def outliers(labeled: LabeledSet) -> Issue | None:
    """Images much further from their neighbors than others."""
    far = np.log(labeled.graph.distances[:, :_OUTLIER_NEIGHBORS].mean(axis=1) + 1e-6)
    middle = np.median(far)
    spread = 1.4826 * float(np.median(np.abs(far - middle)))
    rows = np.flatnonzero(far > middle + max(_OUTLIER * spread, 0.1))
    if not len(rows):
        return None
    return Issue("outlier", f"{counted(len(rows), 'image')} unlike all others", rows)


def confused_classes(labeled: LabeledSet, evidence: Evidence, names: Sequence[str]) -> list[Issue]:
    """Pairs of classes of which at least ``_CONFUSED`` of the images of each are predicted to be the other."""
    k = labeled.n_classes
    table = np.bincount(labeled.classes * k + evidence.best, minlength=k * k).reshape(k, k).astype(np.float64)
    shares = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    both = np.minimum(shares, shares.T)
    found = []
    for one, other in np.argwhere(np.triu(both, 1) >= _CONFUSED).tolist():
        rows = np.flatnonzero(np.isin(labeled.classes, (one, other)))
        text = (
            f"{names[one]!r} and {names[other]!r} may be one class: {shares[one, other]:.0%} and "
            f"{shares[other, one]:.0%} of their images look like the other"
        )
        found.append(Issue("confused_classes", text, rows))
    return found


def drift(classes: NDArray[np.int64], p_wrong: NDArray[np.float32], order: NDArray[np.int64]) -> Issue | None:
    """A stretch of the files in which more labels are wrong than elsewhere; None if there is none.

    The deviations of ``p_wrong`` from the mean of each class are summed in the order of the files. The range of these
    sums is compared with that of a Brownian bridge (Kuiper's test).

    Args:
        classes: (N,) class of every image.
        p_wrong: (N,) probability that its label is wrong.
        order: (N,) rows in the order of the files.
    """
    counts = np.maximum(np.bincount(classes), 1)
    means = np.bincount(classes, p_wrong) / counts
    rest = (p_wrong - means[classes])[order].astype(np.float64)
    spread = float(rest.std())
    if spread < 1e-6:
        return None
    path = np.concatenate([[0.0], rest.cumsum()]) / (spread * np.sqrt(len(rest)))
    low, high = int(path.argmin()), int(path.argmax())
    first, last = min(low, high), max(low, high)
    inside = order[first:last] if low < high else np.concatenate([order[:first], order[last:]])
    outside = np.setdiff1d(order, inside)
    if path[high] - path[low] < _DRIFT or not len(outside):
        return None
    rise = float(p_wrong[inside].mean() - p_wrong[outside].mean())
    if rise < _DRIFT_RISE:
        return None
    text = (
        f"{p_wrong[inside].mean():.0%} of the labels of {len(inside):,} consecutive files are wrong, "
        f"{p_wrong[outside].mean():.0%} of the others"
    )
    return Issue("drift", text, np.sort(inside))
