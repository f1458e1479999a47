"""Initial centers for k-means: batched k-means++, or a random sample."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import torch

KMeansInit = Literal["kmeans++", "sample"]

# Vectors per cluster that k-means++ draws from, their minimum number, and the maximum number of draws.
_SEEN_PER_CLUSTER = 16
_SEEN = 16_384
_DRAWS = 64


def first_centers(vectors: torch.Tensor, n_clusters: int, init: KMeansInit, *, seed: int) -> torch.Tensor:
    """(K, D) initial centers: rows of ``vectors`` (N, D), N >= K.

    ``kmeans++`` (Arthur and Vassilvitskii 2007) draws each center with probability proportional to the
    squared distance from those drawn before, among 16 vectors per cluster (at least 16,384). Up to 64 clusters
    are drawn one by one, each as the best of 2 + log K draws (greedy k-means++); more are drawn in 64 batches, as
    in k-means|| (Bahmani et al. 2012). It takes about as long as a few iterations.
    """
    import torch

    # Drawn on the CPU: the same seed gives the same centers on every device.
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(vectors), generator=generator)
    if init == "sample":
        return vectors[order[:n_clusters].to(vectors.device)].clone()
    seen = vectors[order[: max(_SEEN_PER_CLUSTER * n_clusters, _SEEN)].to(vectors.device)]
    return _plus_plus(seen, n_clusters, generator)


def _plus_plus(vectors: torch.Tensor, n_clusters: int, generator: torch.Generator) -> torch.Tensor:
    import torch

    centered = vectors - vectors.mean(dim=0)
    squares = centered.square().sum(dim=1)

    def squared_distances(rows: torch.Tensor) -> torch.Tensor:
        """(N, len(rows)) on the CPU."""
        there = rows.to(vectors.device)
        products = torch.addmm(squares[there], centered, centered[there].T, alpha=-2)
        return (products + squares[:, None]).clamp_min_(0.0).cpu()

    batch = -(-n_clusters // _DRAWS)
    trials = 2 + int(math.log(n_clusters)) if batch == 1 else 1
    chosen = torch.randint(len(vectors), (1,), generator=generator)
    distance = squared_distances(chosen)[:, 0]
    while len(chosen) < n_clusters:
        distance[chosen] = 0.0
        if trials > 1:
            drawn = _draw(distance, min(trials, len(vectors) - len(chosen)), generator, chosen)
            after = torch.minimum(distance[:, None], squared_distances(drawn))
            best = int(after.sum(dim=0).argmin())
            fresh, distance = drawn[best : best + 1], after[:, best].contiguous()
        else:
            fresh = _draw(distance, min(batch, n_clusters - len(chosen)), generator, chosen)
            distance = torch.minimum(distance, squared_distances(fresh).amin(dim=1))
        chosen = torch.cat([chosen, fresh])
    return vectors[chosen.to(vectors.device)].clone()


def _draw(weights: torch.Tensor, count: int, generator: torch.Generator, taken: torch.Tensor) -> torch.Tensor:
    """``count`` distinct rows by weight; arbitrary rows if too few have a weight above 0 (duplicates)."""
    import torch

    # Gumbel top-k trick: the largest log w + Gumbel noise are a weighted sample without replacement.
    noise = -torch.log(-torch.log(torch.rand(len(weights), generator=generator, dtype=torch.float64)))
    keys = torch.log(weights.double()) + noise
    # Rows of weight 0 come last, in random order; rows already taken are excluded.
    keys = torch.where(weights > 0, keys, noise - 1e6)
    keys[taken] = -torch.inf
    return keys.topk(count).indices
