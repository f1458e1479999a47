"""Baselines that are reported with every run: k-means, and a Gaussian mixture on UMAP, both without training."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
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

LIMIT_SECONDS = 60.0
"""Time for one baseline. It is repeated on more images as long as the next repetition is expected to fit."""

FIRST_IMAGES, STEP = 1_000, 3
"""Number of images of the first repetition, and the factor from one to the next."""

_PER_CLUSTER = 10
"""Minimum images per cluster in the first repetition: with very few, all clusterings seem to agree."""

_FEW_CLUSTERS, _QUICK = 100, {"n_init": 1, "max_iter": 20}
"""With more clusters, the mixture is fitted with the second settings."""

_EQUAL_WITHIN = 0.01
"""Smaller differences of NMI count as equal: another seed changes it by as much."""


@dataclass(frozen=True)
class BaselineSettings:
    """Settings to evaluate baselines with.

    Attributes:
        n_clusters: number of clusters of each baseline.
        seed: of the clusterers.
        truth: (M,) int64 classes of the sampled images, -1 unknown; None: no ground truth.
        labels: (M,) int64 clusters of the run; None: there is no run to compare with.
        skip: names of baselines that the run itself computes.
    """

    n_clusters: int
    seed: int
    truth: NDArray[np.int64] | None
    labels: NDArray[np.int64] | None = None
    skip: tuple[str, ...] = ()


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
        features: what the vectors are, in words.
        settings: number of clusters, seed, ground truth, clusters of the run.
    """
    names = ["k-means", "UMAP + GMM"] if len(vectors) >= MIN_IMAGES_FOR_UMAP else ["k-means"]
    return [_in_time(name, features, vectors, settings) for name in names if name not in settings.skip]


def same_baseline(resolved: dict[str, object]) -> tuple[str, ...]:
    """Name of the baseline that a run without training itself computes, by its resolved options; empty if none."""
    names = [resolved[part].get("name") for part in ("reducer", "clusterer")]  # type: ignore[attr-defined]
    known = {("identity", "kmeans"): ("k-means",), ("umap", "gmm"): ("UMAP + GMM",)}
    return known.get(tuple(names), ())


def verdict(record: RunRecord) -> tuple[str, bool]:
    """Compare the run with its baselines. Returns a text, and whether a baseline is better.

    With ground truth, run and baseline are compared by their NMI with it, on the images of the baseline. Without,
    no measure is reliable (silhouette and stability favor k-means whatever the clusters are), so that the text only
    reports the NMI between run and baseline.
    """
    compared = [entry for entry in record.baselines if entry.truth and entry.run_truth]
    if compared:
        best = max(compared, key=_lead)
        return _verdict_text(best, [entry for entry in compared if entry is not best], record), (
            _lead(best) > _EQUAL_WITHIN
        )
    agreeing = [entry for entry in record.baselines if entry.agreement is not None]
    if not agreeing:
        return "", False
    parts = [f"{_title(entry, record)} to NMI {entry.agreement:.3f}" for entry in agreeing]
    return (
        f"Without known classes it cannot be measured whether this run is better than simple methods. It agrees with "
        f"{' and with '.join(parts)}. Give truth_field, where some images have a class, to compare them."
    ), False


def _lead(entry: Baseline) -> float:
    """NMI of the baseline with the truth, minus that of the run."""
    return entry.truth.nmi - entry.run_truth.nmi if entry.truth and entry.run_truth else 0.0


def _verdict_text(best: Baseline, others: list[Baseline], record: RunRecord) -> str:
    own, found = (0.0 if known is None else known.nmi for known in (best.run_truth, best.truth))
    rest = "".join(
        f", {_title(entry, record)} {entry.truth.nmi:.3f}" for entry in others if entry.truth is not None
    )
    figures = f"NMI with the truth {own:.3f}, {_title(best, record)} {found:.3f}{rest}."
    if _lead(best) > _EQUAL_WITHIN:
        advice = _advice(best, record.method)
        return f"{best.name} on {best.features} is BETTER than this run: {figures} {advice}"
    if _lead(best) > -_EQUAL_WITHIN:
        return f"This run is about as good as {best.name} on {best.features}: {figures}"
    return f"This run is better than simple methods: {figures}"


def _advice(best: Baseline, method: str) -> str:
    """How to get the clusters of a baseline."""
    parts = {"k-means": "clusterer='kmeans'", "UMAP + GMM": "reducer='umap' and clusterer='gmm'"}
    way = f" with {parts[best.name]} on {best.features}" if best.name in parts else ""
    if method == "frozen":
        return f"Cluster again{way}."
    return f"Consider the method 'frozen'{way}, which can do the same."


def _title(entry: Baseline, record: RunRecord) -> str:
    part = "" if entry.n_images == record.n_images else f" ({entry.n_images:,} images)"
    return f"{entry.name} on {entry.features}{part}"


def _in_time(name: str, features: str, vectors: torch.Tensor, settings: BaselineSettings) -> Baseline:
    """The result on as many images as fit into ``LIMIT_SECONDS``."""
    n, size = len(vectors), max(FIRST_IMAGES, _PER_CLUSTER * settings.n_clusters)
    order = rng(settings.seed, "baseline rows").permutation(n)
    spent = 0.0
    while True:
        rows = np.sort(order[:size])
        found = _evaluate(name, features, vectors[rows], _chosen(settings, rows))
        spent += found.seconds
        if size >= n or spent + STEP * found.seconds > LIMIT_SECONDS:
            return found
        size *= STEP


def _chosen(settings: BaselineSettings, rows: NDArray[np.int64]) -> BaselineSettings:
    """The settings, with truth and labels of the given rows."""
    truth, labels = settings.truth, settings.labels
    return replace(
        settings,
        truth=None if truth is None else truth[rows],
        labels=None if labels is None else labels[rows],
    )


def _evaluate(name: str, features: str, vectors: torch.Tensor, settings: BaselineSettings) -> Baseline:
    started = time.perf_counter()
    labels = _cluster(name, vectors, settings).labels.numpy()
    truth, own = settings.truth, settings.labels
    return Baseline(
        name=name,
        features=features,
        n_images=len(vectors),
        silhouette=silhouette(vectors.cpu().numpy(), labels, settings.seed),
        truth=None if truth is None else agreement(labels, truth),
        run_truth=None if truth is None or own is None else agreement(own, truth),
        agreement=None if own is None else agreement(labels, own).nmi,
        seconds=time.perf_counter() - started,
    )


def _cluster(name: str, vectors: torch.Tensor, settings: BaselineSettings) -> Clustering:
    seed = derive(settings.seed, "baseline", name, 0)
    request = ClusterRequest(min(settings.n_clusters, len(vectors)), seed)
    if name == "k-means":
        return CLUSTERERS.parse("kmeans").cluster(vectors, request)
    mixture = {"name": "gmm", **(_QUICK if settings.n_clusters > _FEW_CLUSTERS else {})}
    layout = REDUCERS.parse({"name": "umap", "epochs": 200}).embed(vectors, seed)
    return CLUSTERERS.parse(mixture).cluster(layout, request)
