"""Shared by clusterers that train heads on fixed vectors: check of their number, scaling, and initial labels."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from fiftyone_deepcluster.errors import InputError

if TYPE_CHECKING:
    import torch

    from fiftyone_deepcluster.clusterers.base import Clusterer, ClusterRequest

MIN_PER_DIMENSION = 5.0
"""Minimum number of vectors per dimension: with fewer, heads fit noise. At 1.8 and 3.9 they were worse than k-means."""


def check_enough(n: int, widths: tuple[int, ...], *, least: float, who: str) -> None:
    """Refuse few vectors of many dimensions.

    Raises:
        InputError: fewer than ``least`` vectors for each dimension of the widest part.
    """
    widest = max(widths)
    if n < least * widest:
        raise InputError(
            f"{who} needs {least:g} images for each dimension, and {n:,} images in {widest:,} dimensions are "
            f"{n / widest:.1f}: add images ({math.ceil(least * widest):,} or more), use a reducer such as pca with "
            f"n_components={max(1, int(n / least))}, or another clusterer"
        )


def scaled_parts(vectors: torch.Tensor, widths: tuple[int, ...]) -> list[torch.Tensor]:
    """The parts of the vectors, without their mean, each with mean square 1 over all values."""
    parts = [vectors] if len(widths) < 2 else list(vectors.split(widths, dim=1))
    centered = [part - part.mean(0) for part in parts]
    return [part / part.square().mean().sqrt().clamp_min(1e-12) for part in centered]


def start_labels(
    init: Clusterer | None, vectors: torch.Tensor, request: ClusterRequest
) -> torch.Tensor | None:
    """(N,) clusters to start from: nearest to given centers, or those of ``init``; None without both.

    -1 where ``init`` found noise. Clusters beyond ``n_clusters`` count as noise, too.
    """
    from dataclasses import replace

    from fiftyone_deepcluster.clusterers.distances import nearest

    centers = request.init_centers
    if centers is not None and centers.shape == (request.number, vectors.shape[1]):
        return nearest(vectors, centers.to(vectors))
    if init is None:
        return None
    labels = init.cluster(vectors, replace(request, init_centers=None, step=None)).labels.to(vectors.device)
    return labels.where(labels < request.number, -1)
