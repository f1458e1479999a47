"""Label-free scores: silhouette, and the distribution of cluster sizes.

Images labeled -1 (noise, unreadable) are ignored.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fiftyone_deepcluster.metrics.agreement import entropy_of

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


def share_and_entropy(labels: ArrayLike, n_clusters: int) -> tuple[int, float, float]:
    """Statistics of the cluster sizes that reveal collapse.

    Args:
        labels: (N,) int in 0..n_clusters-1; -1 is ignored.
        n_clusters: number of cluster ids, including empty clusters.

    Returns:
        Number of non-empty clusters, share of the images in the largest one, and entropy of the sizes divided
        by log(n_clusters), in 0..1; all 0 without images.
    """
    labels = np.asarray(labels, np.int64)
    sizes = np.bincount(labels[labels >= 0], minlength=n_clusters)
    total = sizes.sum()
    if total == 0:
        return 0, 0.0, 0.0
    entropy = entropy_of(sizes / total) / np.log(n_clusters) if n_clusters > 1 else 0.0
    return int(np.count_nonzero(sizes)), float(sizes.max() / total), float(min(entropy, 1.0))


def silhouette(vectors: NDArray[np.float32], labels: ArrayLike, seed: int, *, sample: int = 2000) -> float:
    """Mean silhouette coefficient (Rousseeuw 1987) of a random sample, Euclidean.

    Args:
        vectors: (N, D) float32.
        labels: (N,) int; -1 is ignored.
        seed: seed of the sample.
        sample: maximum sample size; time and memory grow with its square.

    Returns:
        In -1..1; 0 if the sample has fewer than two clusters, or only clusters of one image.
    """
    from sklearn.metrics import silhouette_score

    labels = np.asarray(labels, np.int64)
    rows = _sampled(labels, seed, sample)
    n_found = len(np.unique(labels[rows]))
    if not 2 <= n_found < len(rows):
        return 0.0
    return float(silhouette_score(vectors[rows], labels[rows]))


def _sampled(labels: NDArray[np.int64], seed: int, sample: int) -> NDArray[np.int64]:
    rows = np.flatnonzero(labels >= 0)
    if len(rows) > sample:
        rows = np.sort(np.random.default_rng(seed).choice(rows, sample, replace=False))
    return rows
