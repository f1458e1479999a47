"""Several clusterings of the same vectors, and a choice among them without labels."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fiftyone_deepcluster.clusterers.base import CLUSTERERS, ClusterRequest
from fiftyone_deepcluster.core import arguments
from fiftyone_deepcluster.core.seeds import derive, rng
from fiftyone_deepcluster.errors import InputError
from fiftyone_deepcluster.reducers.base import REDUCERS

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    from fiftyone_deepcluster.clusterers.base import Clusterer
    from fiftyone_deepcluster.clusterers.values import Clustering
    from fiftyone_deepcluster.reducers.base import Reducer

PCA, UMAP = {"name": "pca"}, {"name": "umap", "metric": "cosine"}

CANDIDATES: dict[str, tuple[Any, Any]] = {
    "pca-kmeans": (PCA, "kmeans"),
    "spherical-kmeans": ("identity", {"name": "kmeans", "spherical": True}),
    "pca-gmm": (PCA, {"name": "gmm", "covariance": "diag"}),
    "umap-kmeans": (UMAP, "kmeans"),
    "umap-gmm": (UMAP, "gmm"),
    "umap-hdbscan": (UMAP, "hdbscan"),
    "umap-merged": (UMAP, "merged"),
    "pca-lsc": (PCA, "lsc"),
}
"""Reducer and clusterer of each candidate."""

SAME = 0.95
"""Clusterings with at least this NMI after refinement count as the same."""

_CHECKED = 3000
"""Most images for the cross-validation and the silhouette."""

_FOLDS = 3

LARGEST_SEED = 2**31 - 1


@dataclass(frozen=True)
class Candidate:
    """One clustering, and what can be said about it without labels.

    Attributes:
        name: name in the table.
        clustering: the clusters.
        end: the clusters after one k-means from their centers in the common space.
        objective: of ``end``, the mean squared distance to the center; smaller is better.
        accuracy: cross-validated accuracy of a linear classifier on the clusters.
        silhouette: in the common space.
        seeds: ARI of the clusters with those of another seed.
        others: mean NMI with the other candidates.
        balance: entropy of the cluster sizes, 1 for equal ones.
        seconds: of both seeds.
    """

    name: str
    clustering: Clustering
    end: Clustering
    objective: float
    accuracy: float
    silhouette: float
    seeds: float
    others: float
    balance: float
    seconds: float


@dataclass(frozen=True)
class Trial:
    """Several clusterings of the same vectors; as text a table and the reason of the choice.

    Attributes:
        candidates: in the order in which they were tried.
        chosen: the best one without labels.
        why: the reason.
    """

    candidates: tuple[Candidate, ...]
    chosen: Candidate
    why: str

    @property
    def labels(self) -> NDArray[np.int64]:
        """(N,) clusters of the chosen candidate; -1 for noise."""
        return self.chosen.clustering.labels.numpy()  # type: ignore[no-any-return]

    def __str__(self) -> str:
        head = f"{'':19}{'clusters':>9}{'objective':>10}{'linear':>8}{'silh.':>7}{'seeds':>7}{'others':>8}"
        head += f"{'balance':>9}{'s':>7}"
        lines = [head, *(_line(one, one is self.chosen) for one in self.candidates), self.why]
        return "\n".join(lines)


def try_clusterings(
    vectors: torch.Tensor | NDArray[Any],
    n_clusters: int,
    *,
    seed: int = 51,
    candidates: Mapping[str, tuple[Any, Any]] | None = None,
) -> Trial:
    """Cluster vectors in several ways, and choose one without labels.

    Each way runs with two seeds; the result with the lower objective after refinement in the common space, the vectors
    at length 1, is its candidate.

    Args:
        vectors: (N, D) float32.
        n_clusters: number of clusters; HDBSCAN finds its own and is chosen only where nothing else can be.
        seed: random seed.
        candidates: name -> reducer and clusterer, as names or dictionaries; None: ``CANDIDATES``.

    Raises:
        InputError: no candidates, vectors that one of them cannot cluster, or another wrong argument.
        OptionsError: a reducer or clusterer of a candidate is unknown, or has a wrong option.
    """
    import torch

    vectors = given_vectors(vectors)
    n_clusters = arguments.whole_number("n_clusters", n_clusters, 1, len(vectors))
    seed = arguments.whole_number("seed", seed, 0, LARGEST_SEED)
    ways = _ways(CANDIDATES if candidates is None else candidates)
    common = torch.nn.functional.normalize(vectors)
    layouts: dict[tuple[str, int], torch.Tensor] = {}
    found = {name: _both(vectors, common, way, n_clusters, (seed, layouts)) for name, way in ways.items()}
    tried = tuple(_measured(name, found, common, seed) for name in found)
    chosen, why = choose(tried, n_clusters)
    return Trial(tried, chosen, why)


def given_vectors(vectors: Any) -> torch.Tensor:
    """The argument ``vectors`` as (N, D) float32; a tensor stays on its device.

    Raises:
        InputError: not numbers, or of another shape.
    """
    import torch

    try:
        given: torch.Tensor = (
            vectors
            if isinstance(vectors, torch.Tensor)
            else torch.from_numpy(np.array(vectors, dtype=np.float32))
        )
    except (TypeError, ValueError, OverflowError):
        raise InputError(
            f"vectors={arguments.short(vectors)} is not numeric; give an array of shape (images, dimensions)"
        ) from None
    if given.ndim != 2 or 0 in given.shape:
        raise InputError(
            f"vectors has shape {tuple(given.shape)}; give (images, dimensions), both at least 1"
        )
    if given.is_complex():
        raise InputError("vectors are complex numbers; give real ones")
    return given.float()


def _ways(candidates: Any) -> dict[str, tuple[Reducer, Clusterer]]:
    """Reducer and clusterer of each candidate.

    Raises:
        InputError: not a dictionary of pairs, or empty.
        OptionsError: a reducer or clusterer is unknown, or has a wrong option.
    """
    example = "{'pca-kmeans': ('pca', 'kmeans')}"
    if not isinstance(candidates, Mapping):
        raise InputError(
            f"candidates={arguments.short(candidates)} is not a dictionary; give one, such as {example}"
        )
    if not candidates:
        raise InputError("candidates is empty; give at least one, or leave it out")
    for name, way in candidates.items():
        if not isinstance(name, str) or not isinstance(way, tuple | list) or len(way) != 2:
            raise InputError(
                f"candidates has {arguments.short(name)}: {arguments.short(way)}; give a name with a reducer and a "
                f"clusterer, such as {example}"
            )
    return {name: (REDUCERS.parse(way[0]), CLUSTERERS.parse(way[1])) for name, way in candidates.items()}


def choose(tried: Sequence[Candidate], n_clusters: int) -> tuple[Candidate, str]:
    """The candidate to take, and why.

    Of those with the requested number of clusters, those that end where the one with the lowest objective ends; of
    these, the one that agrees most with all others.
    """
    able = [one for one in tried if one.clustering.n_clusters == n_clusters] or list(tried)
    best = min(able, key=lambda one: one.objective)
    same = [one for one in able if _agreement(best.end, one.end) >= SAME]
    chosen = max(same, key=lambda one: one.others)
    why = (
        f"{chosen.name}: {len(same)} of {len(able)} candidates lead to the lowest objective ({best.objective:.4f}); of "
        f"these it agrees most with the others (NMI {chosen.others:.2f})"
    )
    return chosen, why


def _both(
    vectors: torch.Tensor,
    common: torch.Tensor,
    way: tuple[Reducer, Clusterer],
    n_clusters: int,
    shared: tuple[int, dict[tuple[str, int], torch.Tensor]],
) -> tuple[Clustering, Clustering, float, float]:
    """Clusters and refined clusters of the better of two seeds, ARI of the two, and seconds."""
    from fiftyone_deepcluster.clusterers.consensus import refined
    from fiftyone_deepcluster.metrics.agreement import agreement

    (reducer, clusterer), (seed, layouts) = way, shared
    started = time.perf_counter()
    runs = []
    for repetition in range(2):
        own = derive(seed, "candidate", repetition)
        key = reducer.model_dump_json(), own
        if key not in layouts:
            layouts[key] = reducer.embed(vectors, own)
        runs.append(clusterer.cluster(layouts[key], ClusterRequest(n_clusters, own, origin=vectors)))
    ends = [refined(common, run.labels) for run in runs]
    best = int(ends[1].objective < ends[0].objective)
    agreed = agreement(runs[0].labels, runs[1].labels).ari
    return runs[best], ends[best], agreed, time.perf_counter() - started


def _measured(
    name: str, found: dict[str, tuple[Clustering, Clustering, float, float]], common: torch.Tensor, seed: int
) -> Candidate:
    from fiftyone_deepcluster.metrics.silhouette import share_and_entropy, silhouette

    clustering, end, seeds, seconds = found[name]
    labels = clustering.labels.numpy()
    others = [_agreement(clustering, found[other][0]) for other in found if other != name]
    return Candidate(
        name=name,
        clustering=clustering,
        end=end,
        objective=end.objective / len(common),
        accuracy=linear_accuracy(common, labels, seed),
        silhouette=silhouette(common.cpu().numpy(), labels, seed),
        seeds=seeds,
        others=float(np.mean(others)) if others else 1.0,
        balance=share_and_entropy(labels, clustering.n_clusters)[2],
        seconds=seconds,
    )


def linear_accuracy(vectors: torch.Tensor, labels: NDArray[np.int64], seed: int) -> float:
    """Cross-validated accuracy of a logistic regression that predicts the clusters, on a sample.

    Noise and clusters with fewer images than folds are left out; 0 where fewer than two clusters remain.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_score

    from fiftyone_deepcluster.core.process_state import ignored_warnings

    rows = np.flatnonzero(labels >= 0)
    if len(rows) > _CHECKED:
        rows = np.sort(rng(seed, "linear accuracy").choice(rows, _CHECKED, replace=False))
    sizes = np.bincount(labels[rows])
    rows = rows[sizes[labels[rows]] >= _FOLDS]
    if len(np.unique(labels[rows])) < 2:
        return 0.0
    points = REDUCERS.parse(PCA).embed(vectors[rows], seed).cpu().numpy()
    points = points / max(float(points.std(axis=0).max()), 1e-12)
    folds = StratifiedKFold(_FOLDS, shuffle=True, random_state=derive(seed, "folds"))
    with ignored_warnings(".*"):
        model = LogisticRegression(C=1.0, max_iter=200, random_state=0)
        return float(cross_val_score(model, points, labels[rows], cv=folds).mean())


def _agreement(one: Clustering, other: Clustering) -> float:
    from fiftyone_deepcluster.metrics.agreement import nmi

    if bool((one.labels == other.labels).all()):
        return 1.0
    return nmi(one.labels, other.labels)


def _line(one: Candidate, chosen: bool) -> str:
    return (
        f"{'>' if chosen else ' '} {one.name:17}{one.clustering.n_clusters:9}{one.objective:10.4f}{one.accuracy:8.3f}"
        f"{one.silhouette:7.3f}{one.seeds:7.2f}{one.others:8.2f}{one.balance:9.2f}{one.seconds:7.1f}"
    )
