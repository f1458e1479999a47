"""Combine several clusterings by co-association: the share of runs in which two images have the same cluster.

Images that have the same cluster in every run form one *pattern*. Runs that agree have few patterns U, so that a (U, U)
matrix suffices instead of one of (N, N).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_PATTERNS = 4000
"""Maximum number of patterns with a co-association matrix, the most frequent ones: 128 MB."""


def combine(runs: NDArray[np.int64], n_clusters: int) -> NDArray[np.int64] | None:
    """Clusters by average linkage on the share of runs in which two images have the same cluster.

    Evidence accumulation (Fred and Jain 2005). Images of patterns beyond the ``MAX_PATTERNS`` most frequent join the
    cluster whose images share a cluster with them in most runs.

    Args:
        runs: (R, N) labels from 0.
        n_clusters: number of clusters K.

    Returns:
        (N,) labels 0..K-1; None if there are fewer patterns than clusters.
    """
    patterns, pattern, counts = np.unique(runs, axis=1, return_inverse=True, return_counts=True)
    pattern = pattern.reshape(-1)
    if patterns.shape[1] < n_clusters:
        return None
    kept = np.sort(np.argsort(-counts, kind="stable")[: max(MAX_PATTERNS, n_clusters)])
    groups = np.full(patterns.shape[1], -1)
    groups[kept] = average_linkage(1 - _shared(patterns[:, kept]), counts[kept], n_clusters)
    if len(kept) < patterns.shape[1]:
        known = groups[pattern] >= 0
        share = _share_with_clusters(patterns, runs[:, known], groups[pattern][known])
        groups = np.where(groups < 0, share.argmax(axis=1), groups)
    return groups[pattern]


def certainty(runs: NDArray[np.int64], labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """(N,) mean share of runs, 0..1, in which an image has the same cluster as the images of its cluster in ``labels``.

    Args:
        runs: (R, N) labels, -1 for noise, which shares a cluster with no image.
        labels: (N,) labels 0..K-1.
    """
    sizes = np.bincount(labels)
    total = np.zeros(len(labels))
    for run in runs:
        known = run >= 0
        table = np.zeros((len(sizes), max(1, int(run.max(initial=0)) + 1)))
        np.add.at(table, (labels[known], run[known]), 1.0)
        total[known] += table[labels[known], run[known]] / sizes[labels[known]]
    return total / len(runs)


def average_linkage(
    distances: NDArray[np.float64], weights: NDArray[np.int64], n_clusters: int
) -> NDArray[np.int64]:
    """Average linkage, by chains of nearest neighbors, of points that each stand for ``weights`` identical points.

    Args:
        distances: (U, U), symmetric.
        weights: (U,) from 1.
        n_clusters: number of clusters, at most U.

    Returns:
        (U,) labels 0..n_clusters-1.
    """
    distances, sizes = distances.astype(np.float64), weights.astype(np.float64)
    np.fill_diagonal(distances, np.inf)
    alive = np.ones(len(sizes), bool)
    chain: list[int] = []
    merges: list[tuple[float, int, int]] = []
    while len(merges) < len(sizes) - 1:
        into, gone = _mutual_neighbors(distances, alive, chain)
        merges.append((float(distances[into, gone]), into, gone))
        both = sizes[into] + sizes[gone]
        row = (sizes[into] * distances[into] + sizes[gone] * distances[gone]) / both
        row[into] = row[gone] = np.inf
        distances[into], distances[:, into] = row, row
        distances[gone] = distances[:, gone] = np.inf
        sizes[into], alive[gone] = both, False
    return _cut(merges, len(sizes), n_clusters)


def _mutual_neighbors(
    distances: NDArray[np.float64], alive: NDArray[np.bool_], chain: list[int]
) -> tuple[int, int]:
    """Two clusters that are nearest to each other; removed from ``chain``, which starts the next search."""
    if not chain:
        chain.append(int(np.flatnonzero(alive)[0]))
    while True:
        row = distances[chain[-1]]
        near = int(row.argmin())
        before = chain[-2] if len(chain) > 1 else None
        if before is not None and row[before] <= row[near]:
            return chain.pop(), chain.pop()
        chain.append(near)


def _cut(merges: list[tuple[float, int, int]], n: int, n_clusters: int) -> NDArray[np.int64]:
    """Labels after the ``n - n_clusters`` lowest merges."""
    parents = np.arange(n)

    def root(point: int) -> int:
        while parents[point] != point:
            point = int(parents[point])
        return point

    for _, into, gone in sorted(merges, key=lambda merge: merge[0])[: n - n_clusters]:
        parents[root(gone)] = root(into)
    return np.unique([root(point) for point in range(n)], return_inverse=True)[1].reshape(-1)


def _shared(patterns: NDArray[np.int64]) -> NDArray[np.float64]:
    """(U, U) share of the R runs (R, U) in which two patterns have the same cluster."""
    total = np.zeros((patterns.shape[1],) * 2)
    for run in patterns:
        total += run[:, None] == run
    return total / len(patterns)


def _share_with_clusters(
    patterns: NDArray[np.int64], runs: NDArray[np.int64], labels: NDArray[np.int64]
) -> NDArray[np.float64]:
    """(U, K) mean share of a cluster's images that have the pattern's cluster, over the runs."""
    sizes = np.bincount(labels)
    total = np.zeros((patterns.shape[1], len(sizes)))
    for run, pattern in zip(runs, patterns, strict=True):
        table = np.zeros((max(int(run.max()), int(pattern.max())) + 1, len(sizes)))
        np.add.at(table, (run, labels), 1.0)
        total += table[pattern] / sizes
    return total / len(runs)
