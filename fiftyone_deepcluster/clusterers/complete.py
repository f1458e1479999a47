"""Checks the result of a clusterer and computes its missing values."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from fiftyone_deepcluster.clusterers.values import Clustering, FoundClusters
from fiftyone_deepcluster.core.contracts import as_number, as_scores, as_tensor, described
from fiftyone_deepcluster.errors import PartError

if TYPE_CHECKING:
    import torch

_ROUNDING = 1e-4
"""Tolerated excess of a confidence over 0..1, from rounding."""


def complete(found: Any, vectors: torch.Tensor, who: str) -> Clustering:
    """The complete ``Clustering`` of N vectors.

    Args:
        found: ``FoundClusters``, ``Clustering``, or (N,) labels only.
        vectors: (N, D) float32, the clustered vectors.
        who: name of the clusterer in messages.

    Raises:
        PartError: labels, centers, confidence, objective or scores are not valid for these vectors.
    """
    known = found if isinstance(found, FoundClusters | Clustering) else FoundClusters(found)
    labels = _labels(known.labels, len(vectors), who, renumber=known.centers is None)
    n_clusters = int(labels.max()) + 1
    centers, confidence, objective = _rest(known, vectors, labels, n_clusters)
    return Clustering(
        labels=labels,
        centers=_centers(centers, (n_clusters, vectors.shape[1]), who).to(vectors.device),
        confidence=_confidence(confidence, len(vectors), who),
        objective=_objective(objective, who),
        scores=as_scores(known.scores, who),
        details=dict(known.details),
    )


def _labels(labels: Any, n: int, who: str, *, renumber: bool) -> torch.Tensor:
    """(N,) int64 on the CPU with every number in use; with ``renumber``, gaps in the numbering are closed."""
    import torch

    need = f"labels ({n},), integers from 0, -1 for noise"
    found = as_tensor(labels, who, need)
    whole = not (found.is_floating_point() or found.is_complex() or found.dtype == torch.bool)
    if found.shape != (n,) or not whole:
        raise PartError(f"{who} returned {described(found)}; return {need}")
    found = found.long().cpu()
    if int(found.min()) < -1:
        raise PartError(f"{who} returned the label {int(found.min())}; return {need}")
    used, numbers = torch.unique(found[found >= 0], return_inverse=True)
    if len(used) == int(found.max()) + 1:
        return found
    if not renumber:
        raise PartError(
            f"{who} returned {len(used)} different labels up to {int(found.max())}, so some centers have no "
            "vectors; number the labels without gaps, or leave centers out"
        )
    closed = found.clone()
    closed[found >= 0] = numbers
    return closed


def _rest(
    known: FoundClusters | Clustering, vectors: torch.Tensor, labels: torch.Tensor, n_clusters: int
) -> tuple[Any, Any, Any]:
    """Centers, confidence and objective: as found, else computed from distances."""
    from fiftyone_deepcluster.clusterers.distances import describe_clusters, means

    centers, confidence, objective = known.centers, known.confidence, known.objective
    if confidence is None or objective is None:
        place = describe_clusters(vectors, labels, n_clusters)
        squares = place.distance[labels >= 0].double().square().sum()
        return (
            place.centers if centers is None else centers,
            place.confidence if confidence is None else confidence,
            float(squares) if objective is None else objective,
        )
    return means(vectors, labels, n_clusters) if centers is None else centers, confidence, objective


def _centers(centers: Any, shape: tuple[int, int], who: str) -> torch.Tensor:
    import torch

    need = f"centers {shape}, one finite row per label in use"
    found = as_tensor(centers, who, need).float()
    if found.shape != shape:
        raise PartError(
            f"{who} returned centers of shape {tuple(found.shape)}; return {need}, or leave them out"
        )
    if not bool(torch.isfinite(found).all()):
        broken = (~torch.isfinite(found)).any(dim=1).nonzero()[:, 0].tolist()
        raise PartError(
            f"{who} returned centers with NaN or infinite values in rows {broken}; return {need}, or leave them out"
        )
    return found


def _confidence(confidence: Any, n: int, who: str) -> torch.Tensor:
    need = f"confidence ({n},) in 0..1"
    found = as_tensor(confidence, who, need).float().cpu()
    if found.shape != (n,):
        raise PartError(
            f"{who} returned confidence of shape {tuple(found.shape)}; return {need}, or leave it out"
        )
    inside = (found >= -_ROUNDING) & (found <= 1 + _ROUNDING)  # false for NaN, too
    if not bool(inside.all()):
        worst = float(found[~inside][0])
        raise PartError(f"{who} returned confidence={worst:g}; return {need}, or leave it out")
    return found.clamp(0.0, 1.0)


def _objective(objective: Any, who: str) -> float:
    number = as_number(objective, who, "objective")
    if math.isnan(number):
        raise PartError(f"{who} returned objective=nan; return the minimized quantity, or leave it out")
    return number
