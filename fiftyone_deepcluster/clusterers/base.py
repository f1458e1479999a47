"""The contract of a clusterer.

It takes and gives tensors and keeps the device of what it was given.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from typing_extensions import final

from fiftyone_deepcluster.clusterers.values import Clustering, FoundClusters
from fiftyone_deepcluster.core.contracts import blamed
from fiftyone_deepcluster.core.registry import Part, Registry
from fiftyone_deepcluster.errors import InputError

if TYPE_CHECKING:
    from typing import Any

    import torch
    from numpy.typing import NDArray

__all__ = ["CLUSTERERS", "ClusterRequest", "Clusterer", "Clustering", "FoundClusters"]


@dataclass(frozen=True)
class ClusterRequest:
    """What is asked of a clusterer.

    Attributes:
        n_clusters: number of clusters, or None where the clusterer finds it by itself.
        seed: makes the result repeatable on one machine.
        init_centers: (K, D) centers of the last round for a warm start, or None. A clusterer may ignore it.
        origin: (N, D') the vectors before a reducer changed their geometry; None: there was no reducer. A clusterer
            may ignore it.
    """

    n_clusters: int | None
    seed: int = 0
    init_centers: torch.Tensor | None = None
    origin: torch.Tensor | None = None

    @property
    def number(self) -> int:
        """``n_clusters``, for clusterers that need it: ``cluster`` has made sure that it is there.

        Raises:
            InputError: it is None.
        """
        if self.n_clusters is None:
            raise InputError("n_clusters is None; give a number of clusters")
        return self.n_clusters


class Clusterer(Part):
    """Groups vectors: ``cluster`` is what others call, ``find`` is what a clusterer is written by.

    Attributes:
        finds_number: it finds the number of clusters by itself.
        title: what messages call it; empty: by its name.
    """

    finds_number: ClassVar[bool] = False
    title: ClassVar[str] = ""

    @final
    def cluster(self, vectors: torch.Tensor, request: ClusterRequest) -> Clustering:
        """Cluster ``vectors`` (N, D) float32: check them, ``find``, complete and check what was found.

        Raises:
            InputError: fewer vectors than clusters, NaN or infinite values, or n_clusters missing
                where the method needs it. The message says which and what to do.
            PartError: ``find`` failed, or gave something that cannot be clusters of these vectors.
        """
        from fiftyone_deepcluster.clusterers.complete import complete
        from fiftyone_deepcluster.metrics.products import check_finite

        who = self.title or f"the clusterer {self.name!r}"
        check_finite(vectors, who)
        if not self.finds_number:
            _check_number(request.n_clusters, len(vectors), who)
        vectors = vectors.float()
        with blamed(who):
            found = self.find(vectors, request)
        return complete(found, vectors, who)

    @abstractmethod
    def find(
        self, vectors: torch.Tensor, request: ClusterRequest
    ) -> torch.Tensor | NDArray[Any] | FoundClusters | Clustering:
        """Find the clusters of ``vectors`` (N, D) float32: finite, and not to be changed.

        Unless ``finds_number``, ``request.n_clusters`` is there, and in 1..N.

        Returns:
            (N,) labels, whole numbers from 0 and -1 for noise, as a tensor or a NumPy array; or ``FoundClusters``,
            where the method knows more: the rest is computed.
        """


def _check_number(n_clusters: int | None, n: int, who: str) -> None:
    """Whether ``n`` vectors can be put into ``n_clusters`` clusters.

    Raises:
        InputError: it is missing, or larger than the number of vectors.
    """
    if n_clusters is None:
        raise InputError(f"{who} needs n_clusters; give a number, or take a clusterer that finds it itself")
    if n_clusters < 1:
        raise InputError(f"n_clusters={n_clusters} is not a number of clusters; give 1 or more")
    if n_clusters > n:
        raise InputError(f"n_clusters={n_clusters} is more than the {n} images; lower it or add images")


CLUSTERERS: Registry[Clusterer] = Registry("clusterers", Clusterer)  # type: ignore[type-abstract]
