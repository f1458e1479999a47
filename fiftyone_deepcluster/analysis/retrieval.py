"""Nearest neighbors of images, and how often they have the same class."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from pydantic import BaseModel, ConfigDict

from fiftyone_deepcluster.core.progress import in_parts, observer_or_silent
from fiftyone_deepcluster.core.seeds import rng
from fiftyone_deepcluster.core.words import none_of
from fiftyone_deepcluster.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch
    from numpy.typing import NDArray

    from fiftyone_deepcluster.core.progress import Observer

_MAX_NUMBERS = 2**25
"""Maximum number of distances, or of values of the neighbors' vectors, in memory at once."""


class RetrievalScore(BaseModel):
    """Retrieval metrics with images of the same class as relevant.

    Attributes:
        features: name of the vectors whose distances were used.
        mean_average_precision: mean over the queries of the average precision of all other images by distance.
        precision: mean share of the query's class among its ``k`` nearest neighbors.
        k: of ``precision``.
        n_images: number of images with a known class.
        n_queries: number of these used as queries; each has others of its class.
        chance: mean share of the query's class among all other images.
    """

    model_config = ConfigDict(frozen=True)
    features: str
    mean_average_precision: float
    precision: float
    k: int
    n_images: int
    n_queries: int
    chance: float


def nearest_images(
    vectors: torch.Tensor, queries: NDArray[np.int64], k: int, observer: Observer | None = None
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The ``k`` nearest images of each query by Euclidean distance, nearest first, without the query itself.

    Args:
        vectors: (N, D) float32.
        queries: (Q,) rows.
        k: number of neighbors; at most N - 1 are returned.
        observer: receives progress events; can cancel.

    Returns:
        Rows (Q, k) and distances (Q, k).

    Raises:
        CancelledError: the observer requested cancellation.
    """
    import torch

    k = min(k, len(vectors) - 1)
    rows, lengths = [], []
    for part in _parts(queries, max(len(vectors), k * vectors.shape[1]), "neighbors", observer):
        chosen = torch.from_numpy(part).to(vectors.device)
        found = _squared(vectors, chosen).topk(k, dim=1, largest=False).indices
        # small distances are lost to rounding in |a|^2 + |b|^2 - 2ab: recomputed exactly, and sorted again
        exact = (vectors[found] - vectors[chosen][:, None]).norm(dim=2)
        exact, order = exact.sort(dim=1, stable=True)
        rows.append(found.gather(1, order).cpu())
        lengths.append(exact.float().cpu())
    return torch.cat(rows).numpy(), torch.cat(lengths).numpy()


def score(
    features: str,
    vectors: torch.Tensor,
    classes: NDArray[np.int64],
    *,
    k: int = 10,
    max_queries: int = 2_000,
    seed: int = 51,
    observer: Observer | None = None,
) -> RetrievalScore:
    """Mean average precision, and precision at ``k``, with images of the same class as the relevant ones.

    Args:
        features: name of the vectors, for the result.
        vectors: (N, D) float32.
        classes: (N,) int64; images of class -1 are ignored.
        k: of the precision.
        max_queries: maximum number of queries, drawn at random.
        seed: of the draw.
        observer: receives progress events; can cancel.

    Raises:
        InputError: no image has another of its class.
        CancelledError: the observer requested cancellation.
    """
    import torch

    known = np.flatnonzero(classes >= 0)
    vectors, classes = vectors[torch.from_numpy(known)], classes[known]
    counts = np.bincount(classes, minlength=1)
    queries = np.flatnonzero(counts[classes] > 1)
    if not len(queries):
        raise InputError(
            f"{none_of(len(known), 'image')} with a known class has another of its class; label more"
        )
    if len(queries) > max_queries:
        queries = np.sort(rng(seed, "queries").choice(queries, max_queries, replace=False))
    labels = torch.from_numpy(classes).to(vectors.device)
    averages, precisions = [], []
    for part in _parts(queries, len(vectors), "retrieval scores", observer):
        chosen = torch.from_numpy(part).to(vectors.device)
        order = _squared(vectors, chosen).argsort(dim=1, stable=True)[:, :-1]  # the query itself is last
        relevant = labels[order] == labels[chosen][:, None]
        averages.append(average_precision(relevant))
        precisions.append(precision_at(relevant, k))
    return RetrievalScore(
        features=features,
        mean_average_precision=float(torch.cat(averages).mean()),
        precision=float(torch.cat(precisions).mean()),
        k=min(k, len(vectors) - 1),
        n_images=len(vectors),
        n_queries=len(queries),
        chance=float(((counts[classes[queries]] - 1) / (len(vectors) - 1)).mean()),
    )


def average_precision(relevant: torch.Tensor) -> torch.Tensor:
    """Average precision of ranked lists: the mean of the precision at the rank of every relevant image.

    Args:
        relevant: (Q, M) bool, best first, at least one in every row.

    Returns:
        (Q,) float64.
    """
    import torch

    hits = relevant.cumsum(1, dtype=torch.float64)
    ranks = torch.arange(1, relevant.shape[1] + 1, device=relevant.device)
    return (hits / ranks * relevant).sum(1) / hits[:, -1]


def precision_at(relevant: torch.Tensor, k: int) -> torch.Tensor:
    """(Q, M) bool, best first -> (Q,) float64, share of relevant images among the first ``k``."""
    return relevant[:, :k].double().mean(1)


def _parts(
    queries: NDArray[np.int64], each: int, phase: str, observer: Observer | None
) -> Iterator[NDArray[np.int64]]:
    """Queries in chunks, so that with ``each`` values per query the memory stays bounded."""
    size, watcher = max(1, _MAX_NUMBERS // each), observer_or_silent(observer)
    why = f"cancelled; no {phase} were stored"
    for rows in in_parts(watcher, phase, len(queries), size=size, why=why):
        yield queries[rows]


def _squared(vectors: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
    """(Q, N) squared distances, up to rounding; infinite between a query and itself."""
    import torch

    lengths = vectors.square().sum(1)
    found = lengths[None] + lengths[chosen][:, None] - 2 * vectors[chosen] @ vectors.T
    return found.scatter_(1, chosen[:, None], torch.inf)
