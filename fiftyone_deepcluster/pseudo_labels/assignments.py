"""Assignments of pseudo-tasks and predictions, from a clusterer's result or from the nearest centers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from fiftyone_deepcluster.clusterers.distances import confidence_of, describe_clusters, nearest_two
from fiftyone_deepcluster.core.types import Assignment

if TYPE_CHECKING:
    from fiftyone_deepcluster.clusterers.base import Clustering


def assignment_of(
    found: Clustering,
    vectors: torch.Tensor,
    scores: dict[str, float] | None = None,
    *,
    numbers_kept: bool = False,
) -> Assignment:
    """Assignment from a clusterer's result, with the vectors' distances to the centers.

    Args:
        found: clusters of N images.
        vectors: (N, D) float32 for the distances; may differ from the clustered ones.
        scores: additional metrics besides the clusterer's.
        numbers_kept: see ``Assignment``.
    """
    place = describe_clusters(vectors, found.labels)
    return Assignment(
        labels=found.labels.numpy(),
        confidence=found.confidence.float().numpy(),
        distance=place.distance.float().cpu().numpy(),
        margin=place.margin.float().cpu().numpy(),
        embeddings=vectors.float().cpu().numpy(),
        centers=place.centers.float().cpu().numpy(),
        scores={"objective": found.objective, **found.scores, **(scores or {})},
        details=found.details,
        numbers_kept=numbers_kept,
    )


def nearest_assignment(
    vectors: torch.Tensor, centers: torch.Tensor, scores: dict[str, float] | None = None
) -> Assignment:
    """Assign every image to the cluster with the nearest center.

    Args:
        vectors: (N, D) float32; must not be changed afterwards: the result may share their memory.
        centers: (K, D) float32, likewise.
        scores: metrics for the record.
    """
    labels, own, other = (part.cpu() for part in nearest_two(vectors, centers.to(vectors.device)))
    own, other = own.sqrt(), other.sqrt()
    return Assignment(
        labels=labels.numpy(),
        confidence=confidence_of(own, other).numpy(),
        distance=own.numpy(),
        margin=torch.where(other.isinf(), 0.0, other - own).numpy(),
        embeddings=vectors.cpu().numpy(),
        centers=centers.cpu().numpy(),
        scores=scores or {},
    )
