"""First centres for k-means: k-means++ in batches, or a plain sample."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import torch

Start = Literal["kmeans++", "sample"]

# k-means++ looks at this many vectors a cluster, and draws in this many rounds at most.
_SEEN_PER_CLUSTER = 32
_DRAWS = 64


def first_centers(vectors: torch.Tensor, n_clusters: int, start: Start, seed: int) -> torch.Tensor:
    """(K, D) vectors to begin with: rows of ``vectors`` (N, D), N >= K.

    ``kmeans++`` (Arthur and Vassilvitskii 2007) draws each centre with probability proportional to the
    squared distance from those drawn before, among 32 vectors a cluster. Up to 64 clusters it draws one by
    one; beyond, in 64 batches, as k-means|| does (Bahmani et al. 2012). It costs less than an iteration.
    """
    import torch

    # Drawn on the CPU: the same seed gives the same centres on every device.
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(vectors), generator=generator)
    if start == "sample":
        return vectors[order[:n_clusters].to(vectors.device)].clone()
    seen = vectors[order[: _SEEN_PER_CLUSTER * n_clusters].to(vectors.device)]
    return _plus_plus(seen, n_clusters, generator)


def _plus_plus(vectors: torch.Tensor, n_clusters: int, generator: torch.Generator) -> torch.Tensor:
    import torch

    from fiftyone_deepcluster.clusterers.geometry import nearest_two

    batch = -(-n_clusters // _DRAWS)
    chosen = torch.randint(len(vectors), (1,), generator=generator)
    distance = torch.full((len(vectors),), float("inf"))
    fresh = chosen
    while len(chosen) < n_clusters:
        _, new, _ = nearest_two(vectors, vectors[fresh.to(vectors.device)])
        distance = torch.minimum(distance, new.cpu())
        distance[chosen] = 0.0
        fresh = _draw(distance, min(batch, n_clusters - len(chosen)), generator, chosen)
        chosen = torch.cat([chosen, fresh])
    return vectors[chosen.to(vectors.device)].clone()


def _draw(weights: torch.Tensor, count: int, generator: torch.Generator, taken: torch.Tensor) -> torch.Tensor:
    """``count`` rows by weight without repetition; any others where fewer have weight (duplicates)."""
    import torch

    # Gumbel's trick: the largest of log w + Gumbel noise are a weighted sample, for any number of rows.
    noise = -torch.log(-torch.log(torch.rand(len(weights), generator=generator, dtype=torch.float64)))
    keys = torch.log(weights.double()) + noise
    # Rows without weight come last, in an order of chance; those taken never.
    keys = torch.where(weights > 0, keys, noise - 1e6)
    keys[taken] = -torch.inf
    return keys.topk(count).indices
