"""The best of several clusterings, chosen without labels."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, field_validator

from fiftyone_deepcluster.clusterers.base import CLUSTERERS, Clusterer, Clustering, ClusterRequest
from fiftyone_deepcluster.core.words import counted
from fiftyone_deepcluster.errors import InputError

if TYPE_CHECKING:
    import torch

MIN_IMAGES = 40
"""Minimum number of images."""

NOT_RUN = "not_run"
"""Name of the detail with the candidates that cannot cluster the vectors, and why."""


@CLUSTERERS.register
class BestOf(Clusterer):
    """Best of several: k-means, mixtures, UMAP, merged pieces and LSC; takes one without labels.

    The table of all candidates (``Trial.columns``) is in ``details`` of the record, the reason in a note of the run.
    """

    name: Literal["best-of"] = "best-of"
    title: ClassVar[str] = "the best of several clusterings"
    only: str = Field(
        "",
        description="Candidates, separated by commas: pca-kmeans, spherical-kmeans, pca-gmm, umap-kmeans, umap-gmm, "
        "umap-hdbscan, umap-merged, pca-lsc; empty: all.",
    )

    @field_validator("only")
    @classmethod
    def _known(cls, only: str) -> str:
        """Check the names."""
        from fiftyone_deepcluster.clusterers.candidates import CANDIDATES

        for name in _names(only):
            if name not in CANDIDATES:
                raise ValueError(
                    f"only={only!r}: {name!r} is no candidate; choose from {', '.join(CANDIDATES)}"
                )
        return only

    @property
    def reported_steps(self) -> int:
        """See ``Clusterer.reported_steps``: the candidates."""
        return len(self._candidates())

    def find(self, vectors: torch.Tensor, request: ClusterRequest) -> Clustering:
        """Cluster ``vectors`` (N, D) float32 into ``request.n_clusters``; into one if all are the same.

        Raises:
            InputError: fewer than 40 vectors.
        """
        import torch

        from fiftyone_deepcluster.clusterers.candidates import Bench
        from fiftyone_deepcluster.clusterers.complete import complete
        from fiftyone_deepcluster.clusterers.values import FoundClusters
        from fiftyone_deepcluster.metrics.products import all_equal

        if len(vectors) < MIN_IMAGES:
            raise InputError(
                f"clusterings of {counted(len(vectors), 'image')} cannot be compared; give {MIN_IMAGES} or more, or "
                "use kmeans"
            )
        if all_equal(vectors):
            return complete(FoundClusters(torch.zeros(len(vectors), dtype=torch.int64)), vectors, self.name)
        bench = Bench(vectors, request.number, request.seed)
        trial = bench.trial(self._candidates(), request.step_done)
        found = complete(
            FoundClusters(trial.chosen.clustering.labels, confidence=trial.chosen.clustering.confidence),
            vectors,
            self.title,
        )
        number = float(trial.candidates.index(trial.chosen))
        not_run = [f"{name} was not run: {why}" for name, why in trial.left_out.items()]
        return replace(
            found,
            scores={"chosen": number},
            details=trial.columns() | ({NOT_RUN: not_run} if not_run else {}),
        )

    def _candidates(self) -> dict[str, tuple[Any, Any]]:
        from fiftyone_deepcluster.clusterers.candidates import CANDIDATES

        return {name: way for name, way in CANDIDATES.items() if not self.only or name in _names(self.only)}


def _names(only: str) -> list[str]:
    return [name.strip() for name in only.split(",") if name.strip()]
