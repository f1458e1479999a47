"""Several clusterings of the same vectors, and a choice among them without labels."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from fiftyone_deepcluster.clusterers.base import CLUSTERERS, ClusterRequest
from fiftyone_deepcluster.clusterers.linear_accuracy import LinearAccuracy
from fiftyone_deepcluster.core import arguments
from fiftyone_deepcluster.core.contracts import describe_non_finite
from fiftyone_deepcluster.core.seeds import LARGEST_SEED, derive
from fiftyone_deepcluster.errors import InputError
from fiftyone_deepcluster.metrics.products import all_equal
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

HEADS: dict[str, tuple[Any, Any]] = {
    "pca-turtle": (PCA, {"name": "turtle", "init": None}),
    "pca-temi": (PCA, {"name": "temi", "init": None}),
}
"""Candidates on request (``heads=True``), initialized with the clustering chosen among the others."""

MEASURES = ("objective", "accuracy", "information", "silhouette", "seeds", "others", "balance", "worth")
"""Columns of the table with the criteria of each candidate."""

LEAST_INFORMATION = 1e-6
"""Below it, information counts as this much, so that agreement and balance decide among such candidates."""


@dataclass(frozen=True)
class Candidate:
    """One clustering with its scores, which need no labels.

    Attributes:
        name: name in the table.
        clustering: the clusters.
        end: the clusters after one k-means from their centers in the common space.
        objective: of ``end``, the mean squared distance to the center; smaller is better.
        accuracy: cross-validated accuracy of a linear classifier on the clusters.
        information: that the same classifier has about the clusters (``LinearScores``), as a share of the largest
            possible, log K for K clusters; 0 for chance or less.
        silhouette: in the common space.
        seeds: ARI of the clusters with those of another seed.
        others: mean NMI with the other candidates.
        balance: entropy of the cluster sizes, 1 for equal ones.
        seconds: time for both seeds.
    """

    name: str
    clustering: Clustering
    end: Clustering
    objective: float
    accuracy: float
    information: float
    silhouette: float
    seeds: float
    others: float
    balance: float
    seconds: float

    @property
    def leaves_out(self) -> bool:
        """Whether images are in no cluster."""
        return bool((self.clustering.labels < 0).any())

    @property
    def worth(self) -> float:
        """Product of ``others``, ``balance`` and the square root of ``information``, by which a candidate is chosen."""
        return self.others * self.balance * math.sqrt(max(self.information, LEAST_INFORMATION))


@dataclass(frozen=True)
class Trial:
    """Several clusterings of the same vectors; as text a table and the reason of the choice.

    Attributes:
        candidates: in the order in which they were tried.
        ranking: those that may be chosen, the best one first.
        left_out: candidates that cannot cluster these vectors, such as HDBSCAN with few of them, and why.
    """

    candidates: tuple[Candidate, ...]
    ranking: tuple[Candidate, ...]
    left_out: Mapping[str, str] = field(default_factory=dict)

    @property
    def chosen(self) -> Candidate:
        """The best one without labels."""
        return self.ranking[0]

    @property
    def why(self) -> str:
        """The reason of the choice, and the runner-up."""
        return reason(self.columns())

    @property
    def labels(self) -> NDArray[np.int64]:
        """(N,) clusters of the chosen candidate; -1 for noise."""
        return self.chosen.clustering.labels.numpy()  # type: ignore[no-any-return]

    def columns(self) -> dict[str, list[float] | list[str]]:
        """The table by column: ``candidate``, ``rank`` from 1 (0: cannot be chosen), ``clusters`` and ``MEASURES``."""
        ranks = {one.name: rank for rank, one in enumerate(self.ranking, start=1)}
        return {
            "candidate": [one.name for one in self.candidates],
            "rank": [float(ranks.get(one.name, 0)) for one in self.candidates],
            "clusters": [float(one.clustering.n_clusters) for one in self.candidates],
            **{name: [float(getattr(one, name)) for one in self.candidates] for name in MEASURES},
        }

    def __str__(self) -> str:
        head = f"{'':19}{'clusters':>9}{'objective':>10}{'linear':>8}{'inform.':>9}{'silh.':>7}{'seeds':>7}"
        head += f"{'others':>8}{'balance':>9}{'s':>7}"
        lines = [head, *(_line(one, one is self.chosen) for one in self.candidates), self.why]
        return "\n".join([*lines, *(f"{name} was not run: {why}" for name, why in self.left_out.items())])


def try_clusterings(
    vectors: torch.Tensor | NDArray[Any],
    n_clusters: int,
    *,
    seed: int = 51,
    candidates: Mapping[str, tuple[Any, Any]] | None = None,
    heads: bool = False,
) -> Trial:
    """Cluster vectors in several ways, and choose one without labels.

    Each way runs with two seeds; the result with the lower objective after refinement in the common space, the vectors
    at length 1, is its candidate.

    Args:
        vectors: (N, D) float32.
        n_clusters: number of clusters, 2 or more. HDBSCAN finds its own number. Candidates with another number, or
            that leave images out, are chosen only if there are no others.
        seed: random seed.
        candidates: name -> reducer and clusterer, as names or dictionaries; None: ``CANDIDATES``.
        heads: also train heads (TURTLE, TEMI) from the choice among the candidates; takes minutes more. One that does
            not lower the objective of its start is not chosen.

    Raises:
        InputError: no candidates, vectors that none of them can cluster, or another wrong argument.
        OptionsError: a reducer or clusterer of a candidate is unknown, or has a wrong option.
    """
    vectors = varied_vectors(vectors)
    n_clusters = arguments.whole_number("n_clusters", n_clusters, 2, len(vectors))
    seed = arguments.whole_number("seed", seed, 0, LARGEST_SEED)
    arguments.yes_or_no(heads=heads)
    bench = Bench(vectors, n_clusters, seed)
    trial = bench.trial(CANDIDATES if candidates is None else candidates, step=lambda: None)
    if not heads:
        return trial
    trained, left_out = bench.tried(HEADS, step=lambda: None, start=trial.chosen.clustering)
    complete = _with_others([*trial.candidates, *trained])
    worse = {one.name for one in trained if one.objective >= trial.chosen.objective}
    able = [one for one in complete if one.name not in worse]
    return Trial(tuple(complete), ranked(able, n_clusters), {**trial.left_out, **left_out})


def varied_vectors(vectors: Any) -> torch.Tensor:
    """The argument ``vectors`` as (N, D) float32, finite and not all the same; a tensor stays on its device.

    Raises:
        InputError: not real numbers, masked ones, of another shape, not finite, or all the same.
    """
    given = _given_vectors(vectors)
    non_finite = describe_non_finite(given)
    if non_finite:
        raise InputError(f"vectors has {non_finite} as float32; leave these rows out, or compute them again")
    if all_equal(given):
        raise InputError(
            f"all {len(given):,} vectors are the same, so there are no clusters to compare; compute the vectors again"
        )
    return given


def _given_vectors(vectors: Any) -> torch.Tensor:
    """The argument ``vectors`` as (N, D) float32; a tensor stays on its device.

    Raises:
        InputError: not real numbers, masked ones, or of another shape.
    """
    import torch

    try:
        problem = "" if isinstance(vectors, torch.Tensor) else arguments.number_problem("vectors", vectors)
        with np.errstate(over="ignore"):  # infinite values are refused by ``varied_vectors``
            given: torch.Tensor = (
                vectors
                if isinstance(vectors, torch.Tensor)
                else torch.from_numpy(np.array([] if problem else vectors, dtype=np.float32))
            )
    except (TypeError, ValueError, OverflowError):
        raise InputError(
            f"vectors={arguments.short(vectors)} is not numeric; give an array of shape (images, dimensions)"
        ) from None
    if problem:
        raise InputError(problem)
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


def ranked(tried: Sequence[Candidate], n_clusters: int) -> tuple[Candidate, ...]:
    """The candidates that may be chosen, the best one first.

    Those with the requested number of clusters that leave no image out, or all if there are none, by falling worth; of
    several with the same worth, the one with the lowest objective first.
    """
    able = [one for one in tried if one.clustering.n_clusters == n_clusters and not one.leaves_out] or list(
        tried
    )
    return tuple(sorted(able, key=lambda one: (-one.worth, one.objective)))


def reason(columns: Mapping[str, Sequence[Any]]) -> str:
    """Why the first candidate was chosen, and which is the second, from ``Trial.columns``."""
    rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    first, *others = sorted((row for row in rows if row["rank"] > 0), key=lambda row: row["rank"])
    why = (
        f"{first['candidate']}: the highest product of agreement with the others (NMI {first['others']:.2f}), balance "
        f"of the sizes ({first['balance']:.2f}) and root of the information that a linear classifier has about the "
        f"clusters ({first['information']:.2f} of the possible)"
    )
    if not others:
        return f"{why}; no other candidate can be chosen"
    return f"{why}, {first['worth']:.3f}; {others[0]['candidate']} is second with {others[0]['worth']:.3f}"


class Bench:
    """Runs and scores candidates on the same vectors; a reduction that several of them share is computed once.

    Args:
        vectors: (N, D) float32.
        n_clusters: number of clusters.
        seed: random seed.
    """

    def __init__(self, vectors: torch.Tensor, n_clusters: int, seed: int) -> None:
        import torch

        self._vectors, self._n_clusters, self._seed = vectors, n_clusters, seed
        self._common = torch.nn.functional.normalize(vectors)
        self._accuracy = LinearAccuracy(self._common, seed)
        self._layouts: dict[tuple[str, int], torch.Tensor] = {}

    def trial(self, candidates: Mapping[str, tuple[Any, Any]], step: Callable[[], None]) -> Trial:
        """Try the candidates, and call ``step`` after each; errors as ``try_clusterings``."""
        found, left_out = self.tried(candidates, step)
        if not found:
            reasons = "; ".join(f"{name}: {why}" for name, why in left_out.items())
            raise InputError(f"no candidate can cluster these vectors ({reasons}); give other candidates")
        complete = _with_others(found)
        return Trial(tuple(complete), ranked(complete, self._n_clusters), left_out)

    def tried(
        self,
        candidates: Mapping[str, tuple[Any, Any]],
        step: Callable[[], None],
        start: Clustering | None = None,
    ) -> tuple[list[Candidate], dict[str, str]]:
        """The candidates that can cluster these vectors; of each other one by name, why it cannot."""
        found, left_out = [], {}
        for name, way in _ways(candidates).items():
            try:
                found.append(self.candidate(name, way, start))
            except InputError as error:
                left_out[name] = str(error)
            step()
        return found, left_out

    def candidate(
        self, name: str, way: tuple[Reducer, Clusterer], start: Clustering | None = None
    ) -> Candidate:
        """The better of two seeds with its scores; ``others`` is a placeholder of 1.

        Raises:
            InputError: the reducer or clusterer refuses the vectors.
        """
        from fiftyone_deepcluster.clusterers.consensus import refined
        from fiftyone_deepcluster.metrics.agreement import agreement
        from fiftyone_deepcluster.metrics.silhouette import share_and_entropy, silhouette

        began = time.perf_counter()
        runs = [self._run(way, derive(self._seed, "candidate", i), start) for i in range(2)]
        ends = [refined(self._common, run.labels) for run in runs]
        best = int(ends[1].objective < ends[0].objective)
        seconds = time.perf_counter() - began
        labels, n_clusters = runs[best].labels.numpy(), runs[best].n_clusters
        linear = self._accuracy.scores(labels)
        return Candidate(
            name=name,
            clustering=runs[best],
            end=ends[best],
            objective=ends[best].objective / len(self._common),
            accuracy=linear.accuracy,
            information=max(linear.information, 0.0) / math.log(max(n_clusters, 2)),
            silhouette=silhouette(self._common.cpu().numpy(), labels, self._seed),
            seeds=agreement(runs[0].labels, runs[1].labels).ari,
            others=1.0,
            balance=share_and_entropy(labels, n_clusters)[2],
            seconds=seconds,
        )

    def _run(self, way: tuple[Reducer, Clusterer], seed: int, start: Clustering | None) -> Clustering:
        from fiftyone_deepcluster.clusterers.distances import means

        reducer, clusterer = way
        key = reducer.model_dump_json(), seed
        if key not in self._layouts:
            self._layouts[key] = reducer.embed(self._vectors, seed)
        layout = self._layouts[key]
        centers = None if start is None else means(layout, start.labels, start.n_clusters)
        request = ClusterRequest(self._n_clusters, seed, init_centers=centers, origin=self._vectors)
        return clusterer.cluster(layout, request)


def _with_others(tried: Sequence[Candidate]) -> list[Candidate]:
    """The candidates with their mean agreement with the others."""
    found = []
    for one in tried:
        others = [_agreement(one.clustering, other.clustering) for other in tried if other is not one]
        found.append(replace(one, others=float(np.mean(others)) if others else 1.0))
    return found


def _agreement(one: Clustering, other: Clustering) -> float:
    from fiftyone_deepcluster.metrics.agreement import nmi

    if bool((one.labels == other.labels).all()):
        return 1.0
    return nmi(one.labels, other.labels)


def _line(one: Candidate, chosen: bool) -> str:
    return (
        f"{'>' if chosen else ' '} {one.name:17}{one.clustering.n_clusters:9}{one.objective:10.4f}{one.accuracy:8.3f}"
        f"{one.information:9.3f}{one.silhouette:7.3f}{one.seeds:7.2f}{one.others:8.2f}{one.balance:9.2f}"
        f"{one.seconds:7.1f}"
    )
