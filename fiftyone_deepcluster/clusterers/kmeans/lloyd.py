"""Lloyd's iteration on the vectors' device."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import TYPE_CHECKING

from fiftyone_deepcluster.clusterers.distances import means, nearest, nearest_two, sizes_of, sums
from fiftyone_deepcluster.clusterers.kmeans.bounds import PAYS_FROM, Assigner

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch

    from fiftyone_deepcluster.clusterers.anchors import Anchors

# Relative shift of the two centers of a split cluster, as in faiss.
_SPLIT = 1 / 1024

# Attempts to fill empty clusters; those still empty are dropped.
_MAX_ATTEMPTS = 3


@dataclass(frozen=True)
class LloydSettings:
    """Settings of Lloyd's iteration.

    Attributes:
        max_iter: largest number of iterations.
        tolerance: stop when at most this share of the vectors changes cluster.
        spherical: scale centers to length 1.
        seed: random seed for splitting clusters to fill empty ones.
    """

    max_iter: int
    tolerance: float
    spherical: bool
    seed: int


def lloyd(vectors: torch.Tensor, centers: torch.Tensor, settings: LloydSettings) -> tuple[torch.Tensor, int]:
    """Move ``centers`` to a local minimum of the sum of squared distances (Lloyd 1982).

    Args:
        vectors: (N, D) float32.
        centers: (K, D) float32 initial centers.
        settings: number of iterations, tolerance, normalization.

    Returns:
        (K, D) centers and the number of iterations.
    """
    import torch

    generator = torch.Generator().manual_seed(settings.seed)
    assign = _assign_to_nearest(vectors, centers)
    last = torch.full((len(vectors),), -1, device=vectors.device)
    for iteration in range(settings.max_iter):
        labels = assign(centers)
        counts = sizes_of(labels, len(centers))
        centers = sums(vectors, labels, len(centers)) / counts.clamp_min(1)[:, None]
        # read together: every read waits for the device
        found = torch.stack([torch.count_nonzero(counts == 0), torch.count_nonzero(labels != last)])
        n_empty, n_changed = found.tolist()
        if n_empty:
            split_for_empty(centers, counts, generator)
        if settings.spherical:
            centers = torch.nn.functional.normalize(centers, dim=1)
        if n_changed <= settings.tolerance * len(vectors):
            return centers, iteration + 1
        last = labels
    return centers, settings.max_iter


def constrained_lloyd(
    vectors: torch.Tensor, anchors: Anchors, settings: LloydSettings
) -> tuple[torch.Tensor, int]:
    """Lloyd's iteration from known labels, in which fixed images keep theirs (Basu et al. 2002, figure 2).

    Args:
        vectors: (N, D) float32.
        anchors: labels of the N vectors; each cluster has at least one that is fixed.
        settings: number of iterations, tolerance, normalization.

    Returns:
        (K, D) centers and the number of iterations.
    """
    import torch

    labels, fixed = anchors.labels.to(vectors.device), anchors.fixed.to(vectors.device)
    own, n, n_iter = labels, anchors.n_clusters, 0
    while True:
        n_iter += 1
        centers = means(vectors, labels, n)
        if settings.spherical:
            centers = torch.nn.functional.normalize(centers, dim=1)
        found = torch.where(fixed, own, nearest(vectors, centers))
        n_changed = int(torch.count_nonzero(found != labels))
        labels = found
        if n_changed <= settings.tolerance * len(vectors) or n_iter == settings.max_iter:
            return centers, n_iter


def _assign_to_nearest(
    vectors: torch.Tensor, centers: torch.Tensor
) -> Callable[[torch.Tensor], torch.Tensor]:
    """A function from centers (K, D) to labels (N,) int64; ``centers`` are the initial ones."""
    if len(centers) >= PAYS_FROM:
        return Assigner(vectors, centers.mean(dim=0)).assign
    return partial(nearest, vectors)


def final_assignment(
    vectors: torch.Tensor, centers: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Final labels and squared distances as in ``nearest_two``, without empty clusters.

    An empty center is moved to the vector farthest from its own center, up to three times;
    then it is dropped, so that labels are 0..K'-1 with K' <= K.
    """
    for attempt in count():
        labels, first, second = nearest_two(vectors, centers)
        counts = sizes_of(labels, len(centers))
        empty = (counts == 0).nonzero()[:, 0]
        if not len(empty):
            break
        if attempt < _MAX_ATTEMPTS and bool((first > 0).any()):
            centers = centers.index_copy(0, empty, vectors[first.topk(len(empty)).indices])
        else:  # and assign again: without these centers, rounding may move equal vectors and empty another one
            centers = centers[counts > 0]
    return labels, first, second


def split_for_empty(centers: torch.Tensor, counts: torch.Tensor, generator: torch.Generator) -> int:
    """Fill each empty cluster by splitting a large one, in place.

    As in faiss: a cluster is drawn with a probability that grows with its size; both halves get its center,
    perturbed by a small factor of alternating sign, and half of its count each.

    Args:
        centers: (K, D), modified in place.
        counts: (K,) int64, modified in place; their sum is preserved.
        generator: on the CPU.

    Returns:
        Number of clusters that were empty.
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
