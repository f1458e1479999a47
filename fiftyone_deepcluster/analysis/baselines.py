"""Baselines: simple clustering of the same features, reported with every run."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fiftyone_deepcluster.clusterers.base import CLUSTERERS, ClusterRequest
from fiftyone_deepcluster.core.record import Baseline
from fiftyone_deepcluster.core.seeds import derive, rng
from fiftyone_deepcluster.metrics.agreement import agreement
from fiftyone_deepcluster.metrics.silhouette import silhouette
from fiftyone_deepcluster.reducers.base import REDUCERS
from fiftyone_deepcluster.reducers.umap import MIN_IMAGES_FOR_UMAP

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch
    from numpy.typing import NDArray

    from fiftyone_deepcluster.clusterers.base import Clustering
    from fiftyone_deepcluster.core.record import RunRecord

MAX_IMAGES = 10_000
"""Maximum number of images that baselines are evaluated on."""

_EQUAL_WITHIN = 0.01
"""Smaller differences count as equal: another seed changes the metrics by as much."""


@dataclass(frozen=True)
class BaselineSettings:
    """Settings to evaluate baselines with.

    Attributes:
        n_clusters: number of clusters of each baseline.
        seed: of the clusterers.
        truth: (M,) int64 classes of the sampled images, -1 unknown; None: no ground truth.
    """

    n_clusters: int
    seed: int
    truth: NDArray[np.int64] | None


def baseline_rows(n: int, seed: int) -> NDArray[np.int64]:
    """Sorted rows of the images that baselines are evaluated on."""
    if n <= MAX_IMAGES:
        return np.arange(n)
    return np.sort(rng(seed, "baselines").choice(n, MAX_IMAGES, replace=False))


def pixel_features(
    read: Callable[[NDArray[np.int64]], NDArray[np.uint8]], rows: NDArray[np.int64]
) -> torch.Tensor:
    """(M, D) float32 pixels at 32 x 32 at most, mean 0 and standard deviation 1 per image."""
    import torch

    from fiftyone_deepcluster.images.thumbnails import thumbnail_vectors

    parts = []
    for at in range(0, len(rows), 1024):
        pixels = torch.from_numpy(read(rows[at : at + 1024])).permute(0, 3, 1, 2)
        parts.append(thumbnail_vectors(pixels))
    return torch.cat(parts)


def measure(vectors: torch.Tensor, features: str, settings: BaselineSettings) -> list[Baseline]:
    """Evaluate k-means, and with enough images a Gaussian mixture on UMAP, on (M, D) vectors.

    Args:
        vectors: float32, of the sampled images.
        features: ``first`` or ``last``, for the record.
        settings: number of clusters, seed, ground truth.
    """
    names = ["k-means", "UMAP + GMM"] if len(vectors) >= MIN_IMAGES_FOR_UMAP else ["k-means"]
    return [_evaluate(name, features, vectors, settings) for name in names]


def verdict(
    record: RunRecord, last: NDArray[np.float32], labels: NDArray[np.int64], seed: int
) -> tuple[str, bool]:
    """Compare the run with its baselines: a sentence, and whether a baseline is better.

    With ground truth by NMI with it. Without, a baseline on the last features is better if its silhouette is
    higher *and* it is as stable over two seeds as the run was over its last two rounds: silhouette alone
    favors k-means, whatever the clusters are.

    Args:
        record: run record with rounds and baselines.
        last: (M, D) last features of the sampled images.
        labels: (M,) clusters of the run.
        seed: of the silhouette's sample.
    """
    final = record.rounds[-1] if record.rounds else None
    if not record.baselines or final is None:
        return "", False
    if final.truth is not None:
        best = max(record.baselines, key=lambda entry: entry.truth.nmi if entry.truth else 0.0)
        baseline, own = best.truth.nmi if best.truth else 0.0, final.truth.nmi
        return _verdict_text(best, "NMI with the truth", baseline, own), baseline > own + _EQUAL_WITHIN
    best = max(
        (entry for entry in record.baselines if entry.features == "last"), key=lambda entry: entry.silhouette
    )
    own, baseline = silhouette(last, labels, seed), best.silhouette
    own_stability = 1.0 if final.change is None else final.change.ari
    if baseline > own + _EQUAL_WITHIN and best.stability < own_stability - _EQUAL_WITHIN:
        return (
            f"{best.name} on the last features has a higher silhouette ({baseline:.3f} against {own:.3f}) but is "
            f"less stable (ARI {best.stability:.2f} between seeds, {own_stability:.2f} between the last rounds here)."
        ), False
    return _verdict_text(best, "silhouette", baseline, own), baseline > own + _EQUAL_WITHIN


def _verdict_text(best: Baseline, what: str, baseline: float, own: float) -> str:
    """The verdict in one sentence, or two."""
    how = f"{best.name} on the {best.features} features"
    if baseline > own + _EQUAL_WITHIN:
        return (
            f"A simple baseline is BETTER than this run: {how} has {what} {baseline:.3f} against {own:.3f}. "
            "Consider the method 'frozen' with these settings."
        )
    if baseline > own - _EQUAL_WITHIN:
        return f"This run is level with its best baseline, {how}: {what} {own:.3f} against {baseline:.3f}."
    return f"This run is ahead of its best baseline, {how}: {what} {own:.3f} against {baseline:.3f}."


def _evaluate(name: str, features: str, vectors: torch.Tensor, settings: BaselineSettings) -> Baseline:
    started = time.perf_counter()
    first, second = (_cluster(name, vectors, settings, repetition) for repetition in (0, 1))
    labels = first.labels.numpy()
    return Baseline(
        name=name,
        features=features,
        n_images=len(vectors),
        silhouette=silhouette(vectors.cpu().numpy(), labels, settings.seed),
        stability=agreement(labels, second.labels.numpy()).ari,
        truth=None if settings.truth is None else agreement(labels, settings.truth),
        seconds=time.perf_counter() - started,
    )


def _cluster(name: str, vectors: torch.Tensor, settings: BaselineSettings, repetition: int) -> Clustering:
    seed = derive(settings.seed, "baseline", name, repetition)
    request = ClusterRequest(min(settings.n_clusters, len(vectors)), seed)
    if name == "k-means":
        return CLUSTERERS.parse("kmeans").cluster(vectors, request)
    # UMAP's seed affects the result more than the mixture's, so each repetition has its own UMAP.
    return CLUSTERERS.parse("gmm").cluster(
        REDUCERS.parse({"name": "umap", "epochs": 200}).embed(vectors, seed), request
    )
