"""The interface of a clusterer: tensors in, tensors out, on the device of the input."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from typing_extensions import final

from fiftyone_deepcluster.clusterers.values import Clustering, FoundClusters
from fiftyone_deepcluster.core.contracts import attributed_to
from fiftyone_deepcluster.core.registry import Part, Registry
from fiftyone_deepcluster.errors import InputError

if TYPE_CHECKING:
    from typing import Any

    import torch
    from numpy.typing import NDArray

__all__ = ["CLUSTERERS", "ClusterRequest", "Clusterer", "Clustering", "FoundClusters"]


@dataclass(frozen=True)
class ClusterRequest:
    """Arguments of a clustering.

    Attributes:
        n_clusters: number of clusters; None where the clusterer determines it.
        seed: random seed; the result is reproducible on one machine.
        init_centers: (K, D) centers of the last round for a warm start, or None. A clusterer may ignore it.
        origin: (N, D') the vectors before the reducer; None without a reducer. A clusterer may ignore it.
    """

    n_clusters: int | None
    seed: int = 0
    init_centers: torch.Tensor | None = None
    origin: torch.Tensor | None = None

    @property
    def number(self) -> int:
        """``n_clusters`` as an int, for clusterers that need it; ``cluster`` has checked it.

        Raises:
            InputError: ``n_clusters`` is None.
        """
        if self.n_clusters is None:
            raise InputError("n_clusters is None; give a number of clusters")
        return self.n_clusters


class Clusterer(Part):
    """Base class of clusterers: callers use ``cluster``, subclasses implement ``find``.

    Attributes:
        finds_number: whether the clusterer determines the number of clusters.
        title: name in messages; empty: made from ``name``.
    """

    finds_number: ClassVar[bool] = False
    title: ClassVar[str] = ""

    @final
    def cluster(self, vectors: torch.Tensor, request: ClusterRequest) -> Clustering:
        """Cluster ``vectors`` (N, D) float32: check them, call ``find``, complete and check its result.

        Raises:
            InputError: fewer vectors than clusters, NaN or infinite values, or n_clusters missing
                where the method needs it.
            PartError: ``find`` failed, or its result is not a valid clustering of these vectors.
        """
        from fiftyone_deepcluster.clusterers.complete import complete
        from fiftyone_deepcluster.metrics.products import check_finite

        who = self.title or f"the clusterer {self.name!r}"
        check_finite(vectors, who)
        if not self.finds_number:
            _check_number(request.n_clusters, len(vectors), who)
        vectors = vectors.float()
        with attributed_to(who):
            found = self.find(vectors, request)
        return complete(found, vectors, who)

    @abstractmethod
    def find(
        self, vectors: torch.Tensor, request: ClusterRequest
    ) -> torch.Tensor | NDArray[Any] | FoundClusters | Clustering:
        """Find the clusters of ``vectors`` (N, D) float32, which are finite and must not be modified.

        Unless ``finds_number``, ``request.n_clusters`` is an int in 1..N.

        Returns:
            (N,) labels, integers from 0 and -1 for noise, as a tensor or a NumPy array; or ``FoundClusters`` where the
            method computes more. Missing values are computed from the labels.
        """


def _check_number(n_clusters: int | None, n: int, who: str) -> None:
    """Check ``n_clusters`` against the number of vectors ``n``.

    Raises:
        InputError: ``n_clusters`` is missing, less than 1, or larger than ``n``.
    """
    if n_clusters is None:
        raise InputError(
            f"{who} needs n_clusters; give a number, or use a clusterer that determines it, such as hdbscan"
        )
    if n_clusters < 1:
        raise InputError(f"n_clusters={n_clusters} is not a valid number of clusters; give 1 or more")
    if n_clusters > n:
        raise InputError(f"n_clusters={n_clusters} is more than the {n} images; lower it or add images")


CLUSTERERS: Registry[Clusterer] = Registry("clusterers", Clusterer)  # type: ignore[type-abstract]
