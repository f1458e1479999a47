"""Consensus of those of many clusterings that, after refinement, agree with the best one."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field, field_validator

from fiftyone_deepcluster.clusterers.base import CLUSTERERS, Clusterer, ClusterRequest, FoundClusters
from fiftyone_deepcluster.core.registry import PartOf
from fiftyone_deepcluster.core.seeds import derive
from fiftyone_deepcluster.reducers.base import REDUCERS, Reducer

if TYPE_CHECKING:
    from collections.abc import Iterable

    import torch
    from numpy.typing import NDArray

    from fiftyone_deepcluster.clusterers.base import Clustering

MIN_NEIGHBORS = 2
"""Smallest ``n_neighbors`` of a reducer."""


@CLUSTERERS.register
class Consensus(Clusterer):
    """Consensus: runs many clusterings, and combines those that agree with the best one after refinement.

    A reducer and a clusterer run with several seeds and numbers of neighbors, and k-means runs without a reducer. Their
    own objectives cannot be compared. So each result is refined by one k-means in a common space, the vectors before
    the reducer, and rated by its objective there. The runs whose refined clusters agree with the best (NMI of at least
    ``same``) are combined by how often two images share a cluster (``coassociation``).

    The common space may not suit the images: no run with the reducer agrees with the best, and refinement changes these
    runs more than another seed does. Then all runs with the reducer are combined.

    Where the vectors consist of several parts (layers), the common space is the first part, and every second run uses
    that part only.
    """

    name: Literal["consensus"] = "consensus"
    title: ClassVar[str] = "a consensus"
    reducer: Annotated[Reducer, PartOf(REDUCERS)] = Field(
        default={"name": "umap", "metric": "cosine"},
        validate_default=True,
        description="Dimensionality reduction of the runs.",
    )
    clusterer: Annotated[Clusterer, PartOf(CLUSTERERS)] = Field(
        default="kmeans", validate_default=True, description="Clusterer of the runs."
    )
    runs: int = Field(12, ge=1, le=200, description="Runs of reducer and clusterer.")
    n_neighbors: str = Field(
        "10, 15, 25",
        description="Neighbors of the reducer in turn, separated by commas; empty: the reducer's own number.",
    )
    direct_runs: int = Field(30, ge=0, le=1000, description="Further runs of k-means without a reducer.")
    same: float = Field(
        0.95, gt=0, le=1, description="Runs with at least this NMI after refinement count as the same."
    )

    @property
    def reported_steps(self) -> int:
        """See ``Clusterer.reported_steps``: the runs."""
        return self.runs + self.direct_runs

    @field_validator("n_neighbors")
    @classmethod
    def _numbers(cls, n_neighbors: str) -> str:
        """Check that these are whole numbers."""
        for part in n_neighbors.split(",") if n_neighbors.strip() else ():
            if not part.strip().isdigit() or int(part) < MIN_NEIGHBORS:
                raise ValueError(
                    f"n_neighbors={n_neighbors!r}: give whole numbers from {MIN_NEIGHBORS}, separated by commas, such "
                    "as '10, 15, 25', or nothing"
                )
        return n_neighbors

    def find(self, vectors: torch.Tensor, request: ClusterRequest) -> FoundClusters | Clustering:
        """Cluster ``vectors`` (N, D) float32 into ``request.n_clusters``.

        ``objective`` is that of the best run after refinement. ``confidence`` is how often, over all runs with the
        reducer, an image shares a cluster with the images of its cluster. ``scores`` has the number of runs, of those
        kept, and of the modes, which are the different results of the refinement. Its ``comparable`` is 0 if all runs
        with the reducer were combined, else 1. ``details`` has the objectives of all runs.
        Vectors that are all the same are one cluster.
        """
        import torch

        from fiftyone_deepcluster.metrics.products import all_equal

        if all_equal(vectors):
            return FoundClusters(torch.zeros(len(vectors), dtype=torch.int64))
        common = _first_part(vectors, request.widths)
        found = [self._run(i, (common, vectors)[i % 2], request) for i in range(self.runs)]
        plain = [self._direct_run(i, common, request) for i in range(self.direct_runs)]
        runs = (*found, *plain)
        ends = [refined(common, run.labels) for run in runs]
        kept, comparable = self._kept(found, ends)
        best = min((ends[i] for i in kept), key=lambda end: end.objective)
        votes = [runs[i].labels if bool((runs[i].labels >= 0).all()) else ends[i].labels for i in kept]
        labels = _combined(votes, best, request.number)
        return FoundClusters(
            labels=labels,
            confidence=_certainty(common, [run.labels for run in found], labels),
            objective=best.objective,
            scores={
                "runs": float(len(ends)),
                "kept": float(len(kept)),
                "modes": float(self._count_modes(ends)),
                "comparable": float(comparable),
            },
            details={"objectives": [end.objective for end in ends]},
        )

    def _run(self, index: int, vectors: torch.Tensor, request: ClusterRequest) -> Clustering:
        from dataclasses import replace

        seed = derive(request.seed, "run", index)
        numbers = [int(part) for part in self.n_neighbors.split(",") if part.strip()]
        reducer = self.reducer
        if numbers and "n_neighbors" in type(reducer).model_fields:
            reducer = reducer.model_copy(update={"n_neighbors": numbers[index // 2 % len(numbers)]})
        wanted = replace(request, seed=seed, init_centers=None, origin=vectors, widths=(), step=None)
        found = self.clusterer.cluster(reducer.embed(vectors, seed), wanted)
        request.step_done()
        return found

    def _direct_run(self, index: int, vectors: torch.Tensor, request: ClusterRequest) -> Clustering:
        found = _kmeans(vectors, request.number, derive(request.seed, "direct", index))
        request.step_done()
        return found

    def _kept(self, found: list[Clustering], ends: list[Clustering]) -> tuple[list[int], bool]:
        """The runs that are combined, and whether the objectives in the common space chose them.

        Args:
            found: the runs with the reducer.
            ends: all runs after refinement, those of ``found`` first.
        """
        best = min(ends, key=lambda end: end.objective)
        kept = [i for i, end in enumerate(ends) if self._agree(best.labels, end.labels)]
        if kept[0] < len(found):
            return kept, True
        if _mean_nmi(zip(found, ends, strict=False)) >= _mean_nmi(combinations(found, 2)):
            return kept, True
        return list(range(len(found))), False

    def _agree(self, labels: torch.Tensor, others: torch.Tensor) -> bool:
        from fiftyone_deepcluster.metrics.agreement import nmi

        return bool((labels == others).all()) or nmi(labels, others) >= self.same

    def _count_modes(self, ends: list[Clustering]) -> int:
        """Number of different clusterings among the refined ones, each compared with the best of its mode."""
        modes: list[Clustering] = []
        for end in sorted(ends, key=lambda one: one.objective):
            if not any(self._agree(mode.labels, end.labels) for mode in modes):
                modes.append(end)
        return len(modes)


def _mean_nmi(pairs: Iterable[tuple[Clustering, Clustering]]) -> float:
    """Mean NMI of pairs of clusterings; 0 without pairs."""
    from fiftyone_deepcluster.metrics.agreement import nmi

    values = [nmi(one.labels, other.labels) for one, other in pairs]
    return float(np.mean(values)) if values else 0.0


def _first_part(vectors: torch.Tensor, widths: tuple[int, ...]) -> torch.Tensor:
    """The most important part of the vectors, of length 1; the vectors themselves where there is only one."""
    import torch

    return torch.nn.functional.normalize(vectors[:, : widths[0]]) if len(widths) > 1 else vectors


def _kmeans(
    vectors: torch.Tensor, n_clusters: int, seed: int, init: torch.Tensor | None = None
) -> Clustering:
    """One run of k-means until nothing changes, from ``init`` or from random centers."""
    from fiftyone_deepcluster.clusterers.kmeans.clusterer import KMeans

    return KMeans(n_init=1, max_iter=300, tolerance=0.0).cluster(
        vectors, ClusterRequest(n_clusters, seed, init_centers=init)
    )


def refined(vectors: torch.Tensor, labels: torch.Tensor) -> Clustering:
    """Refine a clustering by k-means from its centers, so that objectives of several clusterings can be compared."""
    from fiftyone_deepcluster.clusterers.distances import means

    n_clusters = max(1, int(labels.max()) + 1)
    return _kmeans(vectors, n_clusters, 0, means(vectors, labels, n_clusters))


def _combined(kept: list[torch.Tensor], best: Clustering, n_clusters: int) -> torch.Tensor:
    """Labels (N,) combined from the kept runs; those of the best run if these have fewer patterns than clusters."""
    import torch

    from fiftyone_deepcluster.clusterers.coassociation import combine

    found = combine(np.stack([labels.numpy() for labels in kept]), n_clusters)
    return best.labels if found is None else torch.from_numpy(found)


def _certainty(vectors: torch.Tensor, runs: list[torch.Tensor], labels: torch.Tensor) -> NDArray[np.float32]:
    """(N,) in 0..1: ``certainty`` of the runs; ties are broken by the distances to the cluster centers."""
    from fiftyone_deepcluster.clusterers.coassociation import certainty
    from fiftyone_deepcluster.clusterers.distances import describe_clusters

    agreed = certainty(np.stack([run.numpy() for run in runs]), labels.numpy())
    place = describe_clusters(vectors, labels).confidence.numpy()
    return np.asarray(0.999 * agreed + 0.001 * place, np.float32)
