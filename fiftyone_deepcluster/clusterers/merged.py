"""Many small pieces, merged into clusters by how far each image's neighbors are told by its own cluster."""

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
"""Images in a piece on average: fewer say too little of its neighbors."""

_MAX_PIECES = 1000
"""Merging takes memory with their square and time with their cube."""

_MAX_ASKED = 20_000
"""Images whose neighbors are sought: shares between pieces need no more."""

_MAX_SWEEPS = 50


@CLUSTERERS.register
class Merged(Clusterer):
    """Merged pieces: a clusterer makes several times too many, then those that share neighbors merge.

    Pieces are joined so that the cluster at one end of a short walk over the neighbor graph tells as much as
    possible of the cluster at its other end: greedily, as in the agglomerative information bottleneck (Slonim and
    Tishby 1999; on random walks, Tishby and Slonim 2000, "Data clustering by Markovian relaxation and the
    information bottleneck method"), then by moving single pieces as long as that gains. A mixture with the
    wanted number of components spends two on one wide group and one on two close ones; links between pieces show
    it. Clusters of like size tell more than others: where one is many times as large as another, and loosely linked
    within, it may be split; a longer walk (``steps``) helps then.
    """

    name: Literal["merged"] = "merged"
    title: ClassVar[str] = "merging pieces"
    pieces: Annotated[Clusterer, PartOf(CLUSTERERS)] = Field(
        default="gmm", validate_default=True, description="Makes the pieces."
    )
    factor: int = Field(6, ge=1, le=100, description="Pieces for each cluster; 1: nothing is merged.")
    n_neighbors: int = Field(30, ge=1, le=500, description="Nearest images that each image is linked to.")
    steps: int = Field(
        2, ge=1, le=64, description="Length of the walk over links; longer ones join what is far apart."
    )

    def find(self, vectors: torch.Tensor, request: ClusterRequest) -> FoundClusters | Clustering:
        """Cluster ``vectors`` (N, D) float32; neighbors are those of ``request.origin`` where it is given.

        ``objective`` is minus the mutual information in nats. Where the pieces are no more than the clusters, they
        are the clusters.
        """
        import torch

        wanted = request.number
        n_pieces = max(wanted, min(self.factor * wanted, len(vectors) // _MIN_IMAGES, _MAX_PIECES))
        found = self.pieces.cluster(vectors, ClusterRequest(n_pieces, request.seed))
        if not found.n_clusters:  # all of them noise: there is nothing to merge
            return found
        origin = vectors if request.origin is None else request.origin
        links = self._links(origin, found.labels, request.seed)
        joint, group = walk(links, self.steps), merge_pieces(links, wanted, self.steps)
        labels = torch.where(found.labels < 0, -1, torch.from_numpy(group)[found.labels])
        kept = joint_information(grouped(joint, group))
        return FoundClusters(
            labels=labels,
            objective=-kept,
            scores={"pieces": float(found.n_clusters), "information": kept},
        )

    def _links(self, vectors: torch.Tensor, labels: torch.Tensor, seed: int) -> NDArray[np.float64]:
        """Links between pieces, (M, M) symmetric: how many images of one have one of the other as a neighbor."""
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
        # No piece is without a link: an image by itself is linked to itself.
        return (counts + counts.T) / 2 + np.eye(n_pieces)


def walk(links: NDArray[np.float64], steps: int) -> NDArray[np.float64]:
    """Joint probability (M, M) of a walk's two ends after ``steps`` steps, started in proportion to the links."""
    start = links.sum(axis=1)
    ends = np.linalg.matrix_power(links / start[:, None], steps)
    joint = start[:, None] * ends
    return (joint + joint.T) / (2 * start.sum())  # type: ignore[no-any-return]


def joint_information(joint: NDArray[np.float64]) -> float:
    """Mutual information in nats of the two ends of a symmetric joint probability (M, M)."""
    return float(_xlogx(joint).sum() - 2 * _xlogx(joint.sum(axis=1)).sum())


def grouped(joint: NDArray[np.float64], group: NDArray[np.int64]) -> NDArray[np.float64]:
    """(M, M) summed over the groups (M,) of both ends: (K, K)."""
    member = np.eye(int(group.max()) + 1)[group]
    return member.T @ joint @ member  # type: ignore[no-any-return]


def merge_pieces(links: NDArray[np.float64], n_groups: int, steps: int) -> NDArray[np.int64]:
    """Groups (M,) 0..K-1 of the M pieces that keep the most information between the ends of a walk.

    Merging once joined wrongly cannot go back, and moving single pieces ends at the nearest peak. So it starts
    from walks of half and of twice the length too: the best of the three is kept.

    Args:
        links: (M, M) symmetric, no row of zeros.
        n_groups: K.
        steps: length of the walk.
    """
    if len(links) <= n_groups:
        return np.arange(len(links))
    joint = walk(links, steps)
    lengths = sorted({max(1, steps // 2), steps, 2 * steps})
    ends = [_settle(joint, _greedy(walk(links, length), n_groups)) for length in lengths]
    return max(ends, key=lambda group: joint_information(grouped(joint, group)))


def _greedy(joint: NDArray[np.float64], n_groups: int) -> NDArray[np.int64]:
    """Joins the two groups that lose the least information, until ``n_groups`` are left."""
    joint = joint.copy()
    group = np.arange(len(joint))
    # sums[i, j]: sum over k of f(p_ik + p_jk), f(x) = x log x; kept up to date from merge to merge.
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
    """The two groups, first < second, whose merging loses the least information."""
    own, mass = np.diag(joint), joint.sum(axis=1)
    each, edge = _xlogx(joint), own[:, None] + joint
    total = each.sum(axis=1)
    # Both ends change: twice the terms with other groups, and once the group with itself.
    apart = sums - _xlogx(edge) - _xlogx(edge.T)
    before = total[:, None] + total - np.diag(each)[:, None] - np.diag(each) - 2 * each
    inner = _xlogx(edge + edge.T) - np.diag(each)[:, None] - np.diag(each) - 2 * each
    alone = _xlogx(mass)
    outer = _xlogx(mass[:, None] + mass) - alone[:, None] - alone
    gain = 2 * (apart - before) + inner - 2 * outer
    gain[np.tril_indices(len(gain))] = -np.inf
    first, second = np.unravel_index(int(gain.argmax()), gain.shape)
    return int(first), int(second)


def _settle(joint: NDArray[np.float64], group: NDArray[np.int64]) -> NDArray[np.int64]:
    """Moves single pieces to other groups as long as that gains information; no group is emptied."""
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
    """(K,) information that ``piece`` adds in each group, once it is taken out of its own."""
    others = np.arange(len(joint)) != piece
    member = np.eye(n_groups)[group[others]]
    rest = member.T @ joint[others][:, others] @ member
    links, own = member.T @ joint[others, piece], joint[piece, piece]
    grown = _xlogx(rest + links) - _xlogx(rest)
    apart = 2 * (grown.sum(axis=1) - np.diag(grown))
    inner = _xlogx(np.diag(rest) + 2 * links + own) - _xlogx(np.diag(rest))
    mass = rest.sum(axis=1) + links
    # Taken into a group, the piece's links to all others move from a row of its own to the group's.
    outer = _xlogx(mass + links.sum() + own) - _xlogx(mass)
    return apart + inner - 2 * outer  # type: ignore[no-any-return]


def _xlogx(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Entropy's terms: x log x, 0 at 0."""
    safe = np.maximum(values, 1e-300)
    return safe * np.log(safe)
