"""How far two labelings agree, and how good clusters look on their own.

All comparisons come from one sparse contingency table, so a million images and ten thousand clusters fit.
Images labelled -1 on either side (noise, unreadable, unknown truth) are left out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from fiftyone_deepcluster.assignments import best_match, overlap
from fiftyone_deepcluster.core.record import Agreement
from fiftyone_deepcluster.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

Average = Literal["arithmetic", "geometric", "max", "min"]


def agreement(labels: ArrayLike, reference: ArrayLike) -> Agreement:
    """NMI, ARI, purity and best-match accuracy of ``labels`` against ``reference``.

    Args:
        labels: (N,) int, the clusters.
        reference: (N,) int, the classes or the clusters of another round.

    Returns:
        The figures; all 0 where no image has a label on both sides.

    Raises:
        InputError: the two are not of the same length.
    """
    counts = overlap(labels, reference)
    total = counts.sum()
    if total == 0:
        return Agreement(nmi=0.0, ari=0.0, purity=0.0, acc=0.0)
    rows, columns = best_match(counts)
    return Agreement(
        nmi=_nmi(counts, "arithmetic"),
        ari=_ari(counts),
        purity=float(counts.max(axis=1).sum() / total),
        acc=float(counts[rows, columns].sum() / total),
    )


def nmi(labels: ArrayLike, reference: ArrayLike, average: Average = "arithmetic") -> float:
    """Normalised mutual information, I(U, V) / average(H(U), H(V)).

    Papers differ in the average: arithmetic is today's habit, older versions of scikit-learn and with them
    many tables used geometric, and Xu, Liu and Gong (2003) max.

    Returns:
        In 0..1; 1 for two labelings of one cluster each; 0 where no image has a label on both sides.
    """
    return _nmi(overlap(labels, reference), average)


def _nmi(counts: Any, average: Average) -> float:
    total = counts.sum()
    if total == 0:
        return 0.0
    table = counts.tocoo()
    rows, columns = counts.sum(axis=1) / total, counts.sum(axis=0) / total
    first, second = _entropy(rows), _entropy(columns)
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
        raise InputError(f"average={average!r} is not known; choose one of {', '.join(averages)}")
    scale = averages[average]
    # Of a labeling without information nothing is shared, whatever the average.
    return float(np.clip(shared / scale, 0.0, 1.0)) if scale > 0 else 0.0


def _entropy(shares: NDArray[np.float64]) -> float:
    shares = shares[shares > 0]
    return 0.0 if len(shares) < 2 else float(-np.sum(shares * np.log(shares)))


def _ari(counts: Any) -> float:
    """Adjusted Rand index (Hubert and Arabie 1985, eq. 5): pairs together, corrected for chance."""
    together = _pairs(counts.data)
    first, second = _pairs(counts.sum(axis=1)), _pairs(counts.sum(axis=0))
    everything = _pairs(np.asarray([counts.sum()]))
    expected = first * second / everything if everything else 0.0
    best = (first + second) / 2
    # Both are all singletons or both one cluster: identical.
    return 1.0 if best == expected else float((together - expected) / (best - expected))


def _pairs(sizes: NDArray[np.int64]) -> float:
    wide = sizes.astype(np.float64)
    return float(np.sum(wide * (wide - 1)) / 2)


def share_and_entropy(labels: ArrayLike, n_clusters: int) -> tuple[int, float, float]:
    """Signs of collapse in the cluster sizes.

    Args:
        labels: (N,) int in 0..n_clusters-1; -1 is left out.
        n_clusters: clusters that could be in use.

    Returns:
        Clusters in use, the largest one's share of the images, and the entropy of the sizes in 0..1 of
        log(n_clusters); all 0 without any image.
    """
    labels = np.asarray(labels, np.int64)
    sizes = np.bincount(labels[labels >= 0], minlength=n_clusters)
    total = sizes.sum()
    if total == 0:
        return 0, 0.0, 0.0
    entropy = _entropy(sizes / total) / np.log(n_clusters) if n_clusters > 1 else 0.0
    return int(np.count_nonzero(sizes)), float(sizes.max() / total), float(min(entropy, 1.0))


def cohesion(distance: ArrayLike, labels: ArrayLike, n_clusters: int) -> NDArray[np.float32]:
    """Mean distance of each cluster's images to its centre.

    Args:
        distance: (N,) float, each image's distance to its own centre.
        labels: (N,) int in 0..n_clusters-1; -1 is left out.
        n_clusters: K.

    Returns:
        (K,) float32; NaN for an empty cluster.
    """
    labels, distance = np.asarray(labels, np.int64), np.asarray(distance, np.float64)
    kept = labels >= 0
    sizes = np.bincount(labels[kept], minlength=n_clusters)
    sums = np.bincount(labels[kept], weights=distance[kept], minlength=n_clusters)
    return np.where(sizes > 0, sums / np.maximum(sizes, 1), np.nan).astype(np.float32)


def silhouette(vectors: NDArray[np.float32], labels: ArrayLike, seed: int, sample: int = 2000) -> float:
    """Mean silhouette (Rousseeuw 1987) of a random sample, Euclidean.

    Args:
        vectors: (N, D) float32.
        labels: (N,) int; -1 is left out.
        seed: of the sample.
        sample: images to measure at most; time and memory grow with its square.

    Returns:
        In -1..1; 0 where the sample holds fewer than two clusters, or only clusters of one image.
    """
    from sklearn.metrics import silhouette_score

    labels = np.asarray(labels, np.int64)
    rows = _sampled(labels, seed, sample)
    n_found = len(np.unique(labels[rows]))
    if not 2 <= n_found < len(rows):
        return 0.0
    return float(silhouette_score(vectors[rows], labels[rows]))


def neighbour_agreement(
    vectors: NDArray[np.float32], labels: ArrayLike, k: int = 10, sample: int = 2000, seed: int = 0
) -> float:
    """Share of the k nearest neighbours that have the image's own label, mean over a sample.

    Args:
        vectors: (N, D) float32.
        labels: (N,) int; -1 is left out on both sides.
        k: neighbours, the image itself not counted; fewer where there are not as many.
        sample: images to ask for their neighbours among all; at most.
        seed: of the sample.

    Returns:
        In 0..1; 0 where there are fewer than two images.
    """
    from sklearn.neighbors import NearestNeighbors

    labels = np.asarray(labels, np.int64)
    kept = np.flatnonzero(labels >= 0)
    k = min(k, len(kept) - 1)
    if k < 1:
        return 0.0
    vectors, labels = vectors[kept], labels[kept]
    rows = _sampled(labels, seed, sample)
    search = NearestNeighbors(n_neighbors=k + 1, algorithm="brute").fit(vectors)
    found = search.kneighbors(vectors[rows], return_distance=False)
    # Among duplicates an image need not be its own first neighbour: drop it where it stands, else the last.
    others = found != rows[:, None]
    others[others.all(axis=1), -1] = False
    same = (labels[found] == labels[rows][:, None]) & others
    return float(same.sum() / (len(rows) * k))


def _sampled(labels: NDArray[np.int64], seed: int, sample: int) -> NDArray[np.int64]:
    rows = np.flatnonzero(labels >= 0)
    if len(rows) > sample:
        rows = np.sort(np.random.default_rng(seed).choice(rows, sample, replace=False))
    return rows
