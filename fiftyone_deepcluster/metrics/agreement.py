"""Agreement of two labelings: NMI, ARI, purity and accuracy.

All scores are computed from one sparse contingency table, so a million images and ten thousand clusters fit
in memory. Images labeled -1 on either side (noise, unreadable, unknown truth) are ignored.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from fiftyone_deepcluster.core.arguments import short
from fiftyone_deepcluster.core.record import AgreementScores
from fiftyone_deepcluster.errors import InputError
from fiftyone_deepcluster.metrics.matching import best_match, overlap

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

Average = Literal["arithmetic", "geometric", "max", "min"]


def agreement(labels: ArrayLike, reference: ArrayLike) -> AgreementScores:
    """NMI, ARI, purity and best-match accuracy of ``labels`` against ``reference``.

    Args:
        labels: (N,) int, clusters.
        reference: (N,) int, classes or the clusters of another round.

    Returns:
        The four scores; all 0 if no image has a label on both sides.

    Raises:
        InputError: the lengths differ.
    """
    counts = overlap(labels, reference)
    total = counts.sum()
    if total == 0:
        return AgreementScores(nmi=0.0, ari=0.0, purity=0.0, acc=0.0)
    rows, columns = best_match(counts)
    return AgreementScores(
        nmi=_nmi(counts, "arithmetic"),
        ari=_ari(counts),
        purity=float(counts.max(axis=1).sum() / total),
        acc=float(counts[rows, columns].sum() / total),
    )


def nmi(labels: ArrayLike, reference: ArrayLike, average: Average = "arithmetic") -> float:
    """Normalized mutual information, I(U, V) / average(H(U), H(V)).

    Papers differ in the average: arithmetic is common today, older versions of scikit-learn (and so many
    published tables) used geometric, and Xu, Liu and Gong (2003) max.

    Returns:
        In 0..1; 1 if both labelings have one cluster each; 0 if no image has a label on both sides.

    Raises:
        InputError: the lengths differ, or the average is unknown.
    """
    return _nmi(overlap(labels, reference), average)


def _nmi(counts: Any, average: Average) -> float:
    total = counts.sum()
    if total == 0:
        return 0.0
    table = counts.tocoo()
    rows, columns = counts.sum(axis=1) / total, counts.sum(axis=0) / total
    first, second = entropy_of(rows), entropy_of(columns)
    if first == 0 and second == 0:
        return 1.0
    joint = table.data / total
    shared = float(np.sum(joint * (np.log(joint) - np.log(rows[table.row]) - np.log(columns[table.col]))))
    averages = {
        "arithmetic": (first + second) / 2,
        "geometric": float(np.sqrt(first * second)),
        "max": max(first, second),
        "min": min(first, second),
    }
    if average not in averages:
        raise InputError(f"average={short(average)} is not known; choose one of {', '.join(averages)}")
    scale = averages[average]
    # scale is 0 for geometric and min if one labeling has a single cluster: no mutual information.
    return float(np.clip(shared / scale, 0.0, 1.0)) if scale > 0 else 0.0


def entropy_of(shares: NDArray[np.float64]) -> float:
    """Entropy of shares that sum to 1, in nats."""
    shares = shares[shares > 0]
    return 0.0 if len(shares) < 2 else float(-np.sum(shares * np.log(shares)))


def _ari(counts: Any) -> float:
    """Adjusted Rand index (Hubert and Arabie 1985, eq. 5): pair counts corrected for chance."""
    together = _pairs(counts.data)
    first, second = _pairs(counts.sum(axis=1)), _pairs(counts.sum(axis=0))
    everything = _pairs(np.asarray([counts.sum()]))
    expected = first * second / everything if everything else 0.0
    best = (first + second) / 2
    # Both labelings are all singletons, or both are one cluster: identical.
    return 1.0 if best == expected else float((together - expected) / (best - expected))


def _pairs(sizes: NDArray[np.int64]) -> float:
    wide = sizes.astype(np.float64)
    return float(np.sum(wide * (wide - 1)) / 2)
