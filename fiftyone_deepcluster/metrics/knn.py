"""Exact k nearest neighbors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fiftyone_deepcluster.metrics.products import CenterField, chunks

if TYPE_CHECKING:
    import torch


def exact_neighbors(vectors: torch.Tensor, k: int, asked: torch.Tensor | None = None) -> tuple[Any, Any]:
    """The k nearest neighbors by Euclidean distance, including the vector itself, in the format UMAP accepts.

    Args:
        vectors: (N, D) float32.
        k: number of neighbors, at most N.
        asked: (M,) int64, rows of the query vectors; None: all N.

    Returns:
        Two NumPy arrays (M, k): rows of the neighbors, int64, and distances, float32, ascending.
    """
    import torch

    queries = vectors if asked is None else vectors[asked.to(vectors.device)]
    if vectors.device.type == "cpu":
        import faiss

        found, rows = faiss.knn(queries.numpy(), vectors.numpy(), k)
        return rows.astype("int64"), found.clip(min=0) ** 0.5
    others = CenterField(vectors)
    distance = vectors.new_empty(len(queries), k)
    near = torch.empty(len(queries), k, dtype=torch.int64, device=vectors.device)
    for part in chunks(len(queries), len(vectors), vectors.device):
        shifted, scores = others.scores(queries[part])
        least = scores.topk(k, dim=1, largest=False)
        squared = least.values + shifted.square().sum(dim=1, keepdim=True)
        distance[part], near[part] = squared.clamp_min(0).sqrt(), least.indices
    return near.cpu().numpy(), distance.cpu().numpy()
