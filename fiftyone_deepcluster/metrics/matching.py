"""Cluster ids: compact numbering, matching between rounds, and per-image stability.

Labels are (N,) integers; -1 is an image without a cluster (noise, or unreadable) and stays -1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fiftyone_deepcluster.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    Labels = NDArray[np.int64]

STABILITY_WINDOW = 3
"""Number of rounds before the last that ``stability`` looks at."""

# Far below 1, the least weight of a real edge (one image), so padding is matched only as a last resort.
_PADDING = 1e-6


def compact_labels(labels: ArrayLike) -> Labels:
    """Labels renumbered to 0..k-1 in order of first occurrence; -1 is kept."""
    labels = np.asarray(labels)
    kept = labels >= 0
    found, first, inverse = np.unique(labels[kept], return_index=True, return_inverse=True)
    rank = np.empty(len(found), np.int64)
    rank[np.argsort(first)] = np.arange(len(found))
    result = np.full(labels.shape, -1, np.int64)
    result[kept] = rank[inverse]
    return result


def numbered(values: Sequence[object]) -> tuple[Labels, list[str]]:
    """Encode class names or numbers as (N,) int64 and return the sorted names, too; None and NaN become -1."""
    known = [value is not None and value == value for value in values]  # noqa: PLR0124 - NaN differs from itself
    texts = [str(value) for value, here in zip(values, known, strict=True) if here]
    names = sorted(set(texts))
    number = {name: index for index, name in enumerate(names)}
    labels = np.full(len(known), -1, np.int64)
    labels[np.asarray(known, bool)] = [number[text] for text in texts]
    return labels, names


def cluster_names(n_clusters: int) -> list[str]:
    """``cluster-00``, ``cluster-01``, ...: zero-padded so that names sort by number."""
    width = max(2, len(str(n_clusters - 1)))
    return [f"cluster-{index:0{width}d}" for index in range(n_clusters)]


def overlap(labels: ArrayLike, reference: ArrayLike, shape: tuple[int, int] | None = None) -> Any:
    """Sparse contingency matrix: number of images shared by each pair of clusters.

    Args:
        labels: (N,) int, rows of the result.
        reference: (N,) int, columns of the result.
        shape: shape of the result; by default one row and one column for each label in use, ascending.

    Returns:
        scipy CSR array (K, C) int64, without the images that are -1 on either side.

    Raises:
        InputError: the lengths differ.
    """
    from scipy import sparse

    labels, reference = np.asarray(labels, np.int64), np.asarray(reference, np.int64)
    if labels.shape != reference.shape or labels.ndim != 1:
        raise InputError(
            f"labels of shape {labels.shape} and reference of shape {reference.shape} cannot be compared; "
            "give one label per image in both, in the same order"
        )
    kept = (labels >= 0) & (reference >= 0)
    rows, columns = labels[kept], reference[kept]
    if shape is None:
        (used, rows), (seen, columns) = (np.unique(side, return_inverse=True) for side in (rows, columns))
        shape = (len(used), len(seen))
    return sparse.csr_array((np.ones(len(rows), np.int64), (rows, columns)), shape=shape)


def best_match(counts: Any) -> tuple[Labels, Labels]:
    """One-to-one matching of rows and columns that maximizes the number of shared images.

    This is the assignment problem (Hungarian algorithm), solved on the sparse matrix: 10,000 x 10,000 clusters
    take seconds and no dense matrix. Each row has its own padding column, so that a full matching always exists.

    Args:
        counts: (K, C) sparse matrix from ``overlap``.

    Returns:
        Matched rows and their columns, at most min(K, C); pairs without a shared image are omitted.
    """
    from scipy import sparse
    from scipy.sparse.csgraph import min_weight_full_bipartite_matching

    n_rows, n_columns = counts.shape
    if not counts.nnz:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    padding = _PADDING * sparse.identity(n_rows)
    padded = sparse.hstack([counts.astype(np.float64), padding], format="csr")
    rows, columns = min_weight_full_bipartite_matching(padded, maximize=True)
    real = columns < n_columns
    return rows[real].astype(np.int64), columns[real].astype(np.int64)


def match_to(labels: ArrayLike, n_clusters: int, previous: ArrayLike, n_previous: int) -> Labels:
    """New ids for the clusters of ``labels`` that agree best with those of ``previous``.

    Clusters are matched by ``best_match`` and take the ids of their matches. Unmatched clusters take the lowest
    free ids. With as many clusters as before the result is a permutation; with fewer, the ids of vanished
    clusters are unused; with more, new ids are appended.

    Args:
        labels: (N,) int in 0..n_clusters-1, -1 for none.
        n_clusters: number of clusters of ``labels``, including empty ones.
        previous: (N,) int in 0..n_previous-1, -1 for none.
        n_previous: number of clusters of ``previous``, including empty ones.

    Returns:
        (n_clusters,) int64 below max(n_clusters, n_previous): the new id of each cluster.
    """
    rows, columns = best_match(overlap(labels, previous, (n_clusters, n_previous)))
    numbers = np.full(n_clusters, -1, np.int64)
    numbers[rows] = columns
    free = np.setdiff1d(np.arange(max(n_clusters, n_previous)), columns)
    rest = numbers < 0
    numbers[rest] = free[: rest.sum()]
    return numbers


def renumber(labels: ArrayLike, numbers: Labels) -> Labels:
    """``numbers[labels]``; -1 is kept."""
    labels = np.asarray(labels, np.int64)
    if not len(numbers):
        return np.array(labels)
    renumbered: Labels = np.where(labels < 0, np.int64(-1), numbers[labels])
    return renumbered


def changes(round_labels: ArrayLike) -> NDArray[np.int32]:
    """How often the label of each image changed between adjacent rounds: (N, R) -> (N,) int32."""
    round_labels = np.asarray(round_labels)
    moved: NDArray[np.int32] = np.sum(round_labels[:, 1:] != round_labels[:, :-1], axis=1, dtype=np.int32)
    return moved


def stability(round_labels: ArrayLike, window: int = STABILITY_WINDOW) -> NDArray[np.float32]:
    """Share of the members of each image's final cluster that were already with it in recent rounds.

    For image i and round r: (images that share i's final cluster and its cluster in r, minus i) divided by
    (images of i's final cluster, minus i); the mean over the ``window`` rounds before the last. Computed from
    one contingency table per round, without an N x N matrix.

    Args:
        round_labels: (N, R) int; ids need not be matched between rounds.
        window: number of earlier rounds to compare with, or all if there are fewer.

    Returns:
        (N,) float32 in 0..1; 1 for an image alone in its cluster. NaN for an image without a final cluster,
        and for all images without an earlier round.
    """
    recent = np.asarray(round_labels)[:, -window - 1 :].astype(np.int64)
    final, earlier = recent[:, -1], recent[:, :-1].T
    if not len(earlier):
        return np.full(len(final), np.nan, np.float32)
    share: NDArray[np.float64] = np.mean([_kept_mates(final, labels) for labels in earlier], axis=0)
    share[final < 0] = np.nan
    return share.astype(np.float32)


def _kept_mates(final: Labels, earlier: Labels) -> NDArray[np.float64]:
    here = final >= 0
    mates = np.bincount(final[here], minlength=1)[final] - 1
    # Shift by one, so that -1 does not collide with another pair.
    pairs = final * (int(earlier.max(initial=0)) + 2) + earlier + 1
    _, pair, count = np.unique(pairs, return_inverse=True, return_counts=True)
    kept = np.where(earlier >= 0, count[pair] - 1, 0)
    share: NDArray[np.float64] = np.where(mates > 0, kept / np.maximum(mates, 1), 1.0)
    return share
