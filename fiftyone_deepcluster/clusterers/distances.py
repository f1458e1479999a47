"""Distances between vectors and centers, computed in chunks; used by all clusterers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fiftyone_deepcluster.core.process_state import kept_threads, one_thread
from fiftyone_deepcluster.metrics.products import CenterField, chunks, each_chunk

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    import torch

# Number of floats in the vectors from which multithreading is faster.
_MULTITHREADED_FROM = 2**22

# Up to this many clusters a GPU sums vectors by a product with the (K, N) memberships.
_FEW_CLUSTERS = 512


@dataclass(frozen=True)
class ClusterDistances:
    """Distances of N vectors to the centers of K clusters.

    Attributes:
        centers: (K, D) float32 on the vectors' device, mean of each cluster; zeros for an empty one.
        distance: (N,) float32 on the CPU, Euclidean distance to the assigned center.
        margin: (N,) float32 on the CPU, distance to the nearest other center minus ``distance``; negative
            where another center is nearer, 0 where there is no other.
        confidence: (N,) float32 on the CPU in 0..1, 1 - own / nearest other; 1 where there is no other.
    """

    centers: torch.Tensor
    distance: torch.Tensor
    margin: torch.Tensor
    confidence: torch.Tensor


def describe_clusters(
    vectors: torch.Tensor, labels: torch.Tensor, n_clusters: int | None = None
) -> ClusterDistances:
    """Cluster centers, and the distances, margin and confidence of each vector.

    Args:
        vectors: (N, D) float32.
        labels: (N,) int64; rows of -1 (noise) are left out of the means and measured to the nearest center.
        n_clusters: K; by default the largest label + 1.

    Returns:
        Centers, distances, margins and confidences.
    """
    import torch

    labels = labels.to(vectors.device)
    if n_clusters is None:
        n_clusters = int(labels.max()) + 1 if len(labels) else 0
    centers = means(vectors, labels, n_clusters)
    if n_clusters == 0:
        nothing = torch.zeros(len(vectors))
        return ClusterDistances(centers, nothing, nothing, nothing)
    empty = sizes_of(labels[labels >= 0], n_clusters) == 0
    _, own, other = nearest_two(vectors, centers, labels, skip=empty)
    own, other = own.sqrt().cpu(), other.sqrt().cpu()
    alone = other.isinf()
    margin = torch.where(alone, 0.0, other - own)
    return ClusterDistances(centers, own, margin, confidence_of(own, other))


def confidence_of(own: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """1 - own / other in 0..1 for distances (N,); 0 where both are 0, 1 where there is no other."""
    import torch

    ratio = own / other.clamp_min(torch.finfo(own.dtype).tiny)
    return torch.where(other > 0, 1 - ratio, 0.0).clamp(0.0, 1.0).float()


def means(vectors: torch.Tensor, labels: torch.Tensor, n_clusters: int) -> torch.Tensor:
    """(K, D) float32 mean of each cluster's vectors; zeros for an empty one. Rows of -1 are left out."""
    labels = labels.to(vectors.device)
    if bool((labels < 0).any()):
        vectors, labels = vectors[labels >= 0], labels[labels >= 0]
    counts = sizes_of(labels, n_clusters).clamp_min(1)
    return sums(vectors, labels, n_clusters) / counts[:, None]


def sizes_of(labels: torch.Tensor, n_clusters: int) -> torch.Tensor:
    """(K,) int64, the number of vectors of each cluster, from labels (N,) in 0..K-1."""
    import torch

    if labels.device.type != "cuda":
        return torch.bincount(labels, minlength=n_clusters)
    # bincount on CUDA reads the largest label, and so waits for the device; integer sums do not depend on the order
    return labels.new_zeros(n_clusters).index_add_(0, labels, torch.ones_like(labels))


def sums(vectors: torch.Tensor, labels: torch.Tensor, n_clusters: int) -> torch.Tensor:
    """(K, D) sum of each cluster's vectors, deterministic on every device."""
    import torch

    total = vectors.new_zeros(n_clusters, vectors.shape[1])
    if vectors.device.type != "cuda":
        return total.index_add_(0, labels, vectors)
    # index_add_ on CUDA adds in arbitrary order; a product, and segment_reduce on sorted rows, do not.
    few = n_clusters <= _FEW_CLUSTERS
    numbers = torch.arange(n_clusters, device=labels.device)[:, None]
    for rows in chunks(len(vectors), max(vectors.shape[1], n_clusters if few else 1), vectors.device):
        part, own = vectors[rows], labels[rows]
        if few:
            total.addmm_((numbers == own).to(part), part)
        else:
            order, lengths = own.argsort(stable=True), sizes_of(own, n_clusters)
            total += torch.segment_reduce(part[order], "sum", lengths=lengths, axis=0, unsafe=True)
    return total


def nearest_centers(vectors: torch.Tensor, centers: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The nearest center of each vector and the Euclidean distance to it.

    Args:
        vectors: (N, D) float32, on any device.
        centers: (K, D) float32, moved to that device.

    Returns:
        (N,) int64 and (N,) float32, both on the vectors' device.
    """
    labels, own, _ = nearest_two(vectors, centers.to(vectors))
    return labels, own.sqrt()


def nearest(vectors: torch.Tensor, centers: torch.Tensor) -> torch.Tensor:
    """(N,) int64, the nearest of ``centers`` (K, D) to each of ``vectors`` (N, D)."""
    import torch

    field = CenterField(centers)
    labels = torch.empty(len(vectors), dtype=torch.int64, device=vectors.device)

    def find(rows: slice) -> None:
        labels[rows] = field.nearest(vectors[rows])

    each_chunk(len(vectors), max(len(centers), vectors.shape[1]), vectors.device, find)
    return labels


def nearest_two(
    vectors: torch.Tensor,
    centers: torch.Tensor,
    labels: torch.Tensor | None = None,
    *,
    skip: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Own center and nearest other center of every vector.

    Args:
        vectors: (N, D) float32.
        centers: (K, D) float32, K >= 1.
        labels: (N,) int64, the own centers; -1 or None: the nearest center.
        skip: (K,) bool, centers to ignore.

    Returns:
        Own center (N,) int64, squared distances to it and to the nearest other (N,) float32; infinite where
        there is no other.
    """
    import torch

    field = CenterField(centers, skip)
    own = torch.empty(len(vectors), dtype=torch.int64, device=vectors.device)
    first, second = torch.empty_like(own, dtype=vectors.dtype), torch.empty_like(own, dtype=vectors.dtype)

    def two(rows: slice) -> None:
        found = field.two(vectors[rows], None if labels is None else labels[rows])
        # Copied, because results allocated between the large buffers of the chunks would fragment the memory.
        own[rows], first[rows], second[rows] = found

    each_chunk(len(vectors), max(len(centers), vectors.shape[1]), vectors.device, two)
    return own, first, second


def threads_for(vectors: torch.Tensor) -> AbstractContextManager[None]:
    """A context of one thread for few vectors on the CPU, of all threads otherwise.

    In many short steps, thread synchronization takes longer than the work: several times longer where other
    programs share the cores.
    """
    small = vectors.device.type == "cpu" and vectors.numel() <= _MULTITHREADED_FROM
    return one_thread() if small else kept_threads()
