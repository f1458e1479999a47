"""Lloyd's iteration on the device where the vectors are."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from fiftyone_deepcluster.clusterers.distances import nearest, nearest_two, sums
from fiftyone_deepcluster.clusterers.kmeans.bounds import PAYS_FROM, Assigner

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch

# Relative shift that parts the two halves of a split cluster, as in faiss.
_SPLIT = 1 / 1024

# Attempts to put every center to use; the last two drop the rest and look at what is left.
_SETTLE = 5


@dataclass(frozen=True)
class LloydSettings:
    """How long Lloyd's iteration goes on.

    Attributes:
        max_iter: at most.
        tolerance: stop when at most this share of the vectors changes its cluster.
        spherical: centers are kept at length 1.
        seed: of the clusters that are split to fill empty ones.
    """

    max_iter: int
    tolerance: float
    spherical: bool
    seed: int


def lloyd(vectors: torch.Tensor, centers: torch.Tensor, schedule: LloydSettings) -> tuple[torch.Tensor, int]:
    """Move ``centers`` to a local minimum of the sum of squared distances (Lloyd 1982).

    Args:
        vectors: (N, D) float32.
        centers: (K, D) float32 to start from.
        schedule: when to stop.

    Returns:
        (K, D) centers and the iterations made.
    """
    import torch

    generator = torch.Generator().manual_seed(schedule.seed)
    assign = _assign_to_nearest(vectors, centers)
    last = torch.full((len(vectors),), -1, device=vectors.device)
    for iteration in range(schedule.max_iter):
        labels = assign(centers)
        counts = torch.bincount(labels, minlength=len(centers))
        centers = sums(vectors, labels, len(centers)) / counts.clamp_min(1)[:, None]
        split_for_empty(centers, counts, generator)
        if schedule.spherical:
            centers = torch.nn.functional.normalize(centers, dim=1)
        if int((labels != last).sum()) <= schedule.tolerance * len(vectors):
            return centers, iteration + 1
        last = labels
    return centers, schedule.max_iter


def _assign_to_nearest(
    vectors: torch.Tensor, centers: torch.Tensor
) -> Callable[[torch.Tensor], torch.Tensor]:
    """From (K, D) centers to the nearest of each vector, (N,) int64; ``centers`` are the first."""
    if len(centers) >= PAYS_FROM:
        return Assigner(vectors, centers.mean(dim=0)).assign
    return partial(nearest, vectors)


def settle(vectors: torch.Tensor, centers: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Final labels, as ``nearest_two``, with every center in use as far as there are vectors for it.

    A center that is nearest to none moves to the vector that is farthest from its own, up to three times;
    then it is dropped, so that labels are 0..K'-1 with K' <= K.
    """
    import torch

    for attempt in range(_SETTLE):
        labels, first, second = nearest_two(vectors, centers)
        counts = torch.bincount(labels, minlength=len(centers))
        empty = (counts == 0).nonzero()[:, 0]
        if not len(empty):
            break
        if attempt < _SETTLE - 2 and bool((first > 0).any()):
            centers = centers.index_copy(0, empty, vectors[first.topk(len(empty)).indices])
        else:
            centers = centers[counts > 0]
    return labels, first, second


def split_for_empty(centers: torch.Tensor, counts: torch.Tensor, generator: torch.Generator) -> int:
    """Give each empty cluster one half of a large one, in place.

    The rule of faiss: the larger a cluster the likelier it is split; both halves get its center, moved apart
    by a tiny factor in alternating directions, and half of its count each.

    Args:
        centers: (K, D), changed in place.
        counts: (K,) int64, changed in place; their sum stays.
        generator: on the CPU.

    Returns:
        How many clusters were empty.
    """
    import torch

    empty = (counts == 0).nonzero()[:, 0].tolist()
    if not empty:
        return 0
    sizes = counts.cpu().double()
    sign = torch.ones(centers.shape[1], device=centers.device, dtype=centers.dtype)
    sign[1::2] = -1
    for cluster in empty:
        if bool((sizes <= 1).all()):
            break
        donor = int(torch.multinomial((sizes - 1).clamp_min(0), 1, generator=generator))
        centers[cluster] = centers[donor] * (1 - _SPLIT * sign)
        centers[donor] *= 1 + _SPLIT * sign
        half = sizes[donor] // 2
        sizes[cluster], sizes[donor] = half, sizes[donor] - half
    counts.copy_(sizes.long())
    return len(empty)
