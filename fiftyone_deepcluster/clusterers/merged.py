"""Over-segmentation by another clusterer, then merging of the pieces that share neighbors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from fiftyone_deepcluster.clusterers.base import (
    CLUSTERERS,
    Clusterer,
    Clustering,
    ClusterRequest,
    FoundClusters,
)
from fiftyone_deepcluster.core.registry import PartOf

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

_MIN_IMAGES = 20
"""Minimum mean number of images per piece: fewer give unreliable links."""

_MAX_PIECES = 1000
"""Maximum number of pieces: merging takes O(M²) memory and O(M³) time for M pieces."""

_MAX_ASKED = 20_000
"""Maximum number of images whose neighbors are computed: a sample suffices to estimate the links."""

_MAX_SWEEPS = 50


@CLUSTERERS.register
class Merged(Clusterer):
    """Merged pieces: over-segments by another clusterer, then merges pieces that share neighbors.

    Merging maximizes the mutual information of the clusters at both ends of a short random walk on the neighbor
    graph: greedily, as in the agglomerative information bottleneck (Slonim and Tishby 1999; on random walks, Tishby
    and Slonim 2000, "Data clustering by Markovian relaxation and the information bottleneck method"), then by moving
    single pieces while that increases it. A mixture with the requested number of components may split a wide group
    and join two close ones; the links between pieces correct this. The objective favors clusters of similar size: a
    cluster many times as large as others, and loosely linked within, may be split; a longer walk (``steps``) helps.
    """

    name: Literal["merged"] = "merged"
    title: ClassVar[str] = "merging pieces"
    pieces: Annotated[Clusterer, PartOf(CLUSTERERS)] = Field(
        default="gmm", validate_default=True, description="Clusterer for the over-segmentation into pieces."
    )
    factor: int = Field(6, ge=1, le=100, description="Pieces per cluster; 1: no merging.")
    n_neighbors: int = Field(30, ge=1, le=500, description="Nearest neighbors to which each image is linked.")
    steps: int = Field(
        2, ge=1, le=64, description="Steps of the random walk; more steps join pieces that are farther apart."
    )

    def find(self, vectors: torch.Tensor, request: ClusterRequest) -> FoundClusters | Clustering:
        """Cluster ``vectors`` (N, D) float32; neighbors are computed from ``request.origin`` if given.

        ``objective`` is the negative mutual information in nats. If there are no more pieces than clusters, the
        pieces are returned as clusters.
        """
        import torch

        wanted = request.number
        n_pieces = max(wanted, min(self.factor * wanted, len(vectors) // _MIN_IMAGES, _MAX_PIECES))
        found = self.pieces.cluster(vectors, ClusterRequest(n_pieces, request.seed))
        if not found.n_clusters:  # only noise
            return found
        origin = vectors if request.origin is None else request.origin
        links = self._links(origin, found.labels, request.seed)
        joint, group = random_walk(links, self.steps), merge_pieces(links, wanted, self.steps)
        labels = torch.where(found.labels < 0, -1, torch.from_numpy(group)[found.labels])
        kept = joint_information(grouped(joint, group))
        return FoundClusters(
            labels=labels,
            objective=-kept,
            scores={"pieces": float(found.n_clusters), "information": kept},
        )

    def _links(self, vectors: torch.Tensor, labels: torch.Tensor, seed: int) -> NDArray[np.float64]:
        """Links (M, M), symmetric: number of neighbor relations between the images of two pieces."""
        import torch

        from fiftyone_deepcluster.metrics.knn import exact_neighbors

        n, n_pieces = len(vectors), int(labels.max()) + 1
        asked = torch.randperm(n, generator=torch.Generator().manual_seed(seed))[:_MAX_ASKED].sort().values
        near, _ = exact_neighbors(vectors, min(self.n_neighbors + 1, n), asked)
        piece, rows = labels.numpy(), asked.numpy()
        ends = np.repeat(rows, near.shape[1]), near.ravel()
        real = (ends[0] != ends[1]) & (piece[ends[0]] >= 0) & (piece[ends[1]] >= 0)
        counts = np.zeros((n_pieces, n_pieces))
        np.add.at(counts, (piece[ends[0][real]], piece[ends[1][real]]), 1.0)
        # Self-links, so that no row is zero.
        return (counts + counts.T) / 2 + np.eye(n_pieces)


def random_walk(links: NDArray[np.float64], steps: int) -> NDArray[np.float64]:
    """Joint probability (M, M) of start and end of a stationary random walk of ``steps`` steps over the links."""
    start = links.sum(axis=1)
    ends = np.linalg.matrix_power(links / start[:, None], steps)
    joint = start[:, None] * ends
    return (joint + joint.T) / (2 * start.sum())  # type: ignore[no-any-return]


def joint_information(joint: NDArray[np.float64]) -> float:
    """Mutual information in nats of a symmetric joint probability (M, M)."""
    return float(_xlogx(joint).sum() - 2 * _xlogx(joint.sum(axis=1)).sum())


def grouped(joint: NDArray[np.float64], group: NDArray[np.int64]) -> NDArray[np.float64]:
    """Joint probability (M, M) summed over the groups (M,) of its rows and columns: (K, K)."""
    member = np.eye(int(group.max()) + 1)[group]
    return member.T @ joint @ member  # type: ignore[no-any-return]


def merge_pieces(links: NDArray[np.float64], n_groups: int, steps: int) -> NDArray[np.int64]:
    """Groups (M,) 0..K-1 of the M pieces that maximize the mutual information of a walk's ends.

    Greedy merging cannot undo a wrong merge, and moving single pieces finds a local optimum only. So merging also
    starts from walks of half and of twice the length, and the best of the three results is kept.

    Args:
        links: (M, M) symmetric, without zero rows.
        n_groups: K.
        steps: number of steps of the walk.
    """
    if len(links) <= n_groups:
        return np.arange(len(links))
    joint = random_walk(links, steps)
    lengths = sorted({max(1, steps // 2), steps, 2 * steps})
    ends = [_move_pieces(joint, _greedy(random_walk(links, length), n_groups)) for length in lengths]
    return max(ends, key=lambda group: joint_information(grouped(joint, group)))


def _greedy(joint: NDArray[np.float64], n_groups: int) -> NDArray[np.int64]:
    """Merge the pair of groups that loses the least information, until ``n_groups`` are left."""
    joint = joint.copy()
    group = np.arange(len(joint))
    # sums[i, j]: sum over k of f(p_ik + p_jk), f(x) = x log x; updated after every merge.
    sums = np.stack([_xlogx(row + joint).sum(axis=1) for row in joint])
    while len(joint) > n_groups:
        into, gone = _least_loss(joint, sums)
        old = joint[:, [into, gone]]
        joint[into] += joint[gone]
        joint[:, into] += joint[:, gone]
        joint = np.delete(np.delete(joint, gone, 0), gone, 1)
        group[group == gone] = into
        group[group > gone] -= 1
        sums -= sum(_xlogx(column[:, None] + column) for column in old.T)
        sums = np.delete(np.delete(sums, gone, 0), gone, 1)
        sums += _xlogx(joint[:, into][:, None] + joint[:, into])
        sums[into] = sums[:, into] = _xlogx(joint[into] + joint).sum(axis=1)
    return group


def _least_loss(joint: NDArray[np.float64], sums: NDArray[np.float64]) -> tuple[int, int]:
    """The pair of groups, first < second, whose merging loses the least information."""
    own, mass = np.diag(joint), joint.sum(axis=1)
    each, edge = _xlogx(joint), own[:, None] + joint
    total = each.sum(axis=1)
    # Rows and columns change: twice the terms with other groups, once the group with itself.
    apart = sums - _xlogx(edge) - _xlogx(edge.T)
    before = total[:, None] + total - np.diag(each)[:, None] - np.diag(each) - 2 * each
    inner = _xlogx(edge + edge.T) - np.diag(each)[:, None] - np.diag(each) - 2 * each
    alone = _xlogx(mass)
    outer = _xlogx(mass[:, None] + mass) - alone[:, None] - alone
    gain = 2 * (apart - before) + inner - 2 * outer
    gain[np.tril_indices(len(gain))] = -np.inf
    first, second = np.unravel_index(int(gain.argmax()), gain.shape)
    return int(first), int(second)


def _move_pieces(joint: NDArray[np.float64], group: NDArray[np.int64]) -> NDArray[np.int64]:
    """Move single pieces to other groups while that increases the information; no group is emptied."""
    group, n_groups = group.copy(), int(group.max()) + 1
    for _ in range(_MAX_SWEEPS):
        moved = False
        for piece in range(len(joint)):
            if (group == group[piece]).sum() == 1:
                continue
            gain = _gains(joint, group, piece, n_groups)
            best = int(gain.argmax())
            if gain[best] > gain[group[piece]] + 1e-12:
                group[piece], moved = best, True
        if not moved:
            break
    return group


def _gains(
    joint: NDArray[np.float64], group: NDArray[np.int64], piece: int, n_groups: int
) -> NDArray[np.float64]:
    """(K,) information gained by putting ``piece`` into each group, after removing it from its own."""
    others = np.arange(len(joint)) != piece
    member = np.eye(n_groups)[group[others]]
    rest = member.T @ joint[others][:, others] @ member
    links, own = member.T @ joint[others, piece], joint[piece, piece]
    grown = _xlogx(rest + links) - _xlogx(rest)
    apart = 2 * (grown.sum(axis=1) - np.diag(grown))
    inner = _xlogx(np.diag(rest) + 2 * links + own) - _xlogx(np.diag(rest))
    mass = rest.sum(axis=1) + links
    # In a group, the mass of the piece's links to all others is added to the group's.
    outer = _xlogx(mass + links.sum() + own) - _xlogx(mass)
    return apart + inner - 2 * outer  # type: ignore[no-any-return]


def _xlogx(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """X log x, elementwise; 0 at 0."""
    safe = np.maximum(values, 1e-300)
    return safe * np.log(safe)
