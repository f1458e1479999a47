"""The interface of a clusterer: tensors in, tensors out, on the device of the input."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from typing_extensions import final

from fiftyone_deepcluster.clusterers.values import Clustering, FoundClusters
from fiftyone_deepcluster.core.contracts import attributed_to
from fiftyone_deepcluster.core.registry import Part, Registry
from fiftyone_deepcluster.core.words import counted
from fiftyone_deepcluster.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    import torch
    from numpy.typing import NDArray

    from fiftyone_deepcluster.clusterers.anchors import Anchors

__all__ = ["CLUSTERERS", "ClusterRequest", "Clusterer", "Clustering", "FoundClusters"]


@dataclass(frozen=True)
class ClusterRequest:
    """Arguments of a clustering.

    Attributes:
        n_clusters: number of clusters; None where the clusterer determines it.
        seed: random seed; the result is reproducible on one machine.
        init_centers: (K, D) centers of the last round for a warm start, or None. A clusterer may ignore it.
        origin: (N, D') the vectors before the reducer; None without a reducer. A clusterer may ignore it.
        anchors: known labels, of which the fixed ones stay, for clusterers with ``keeps_labels``; cluster k is their
            label k. None: no label is known.
        widths: numbers of dimensions of the parts (layers) that the vectors concatenate, the most important first;
            empty: a single part. A clusterer may ignore it.
        step: called after every step, ``Clusterer.reported_steps`` times; None: nobody asks.
    """

    n_clusters: int | None
    seed: int = 0
    init_centers: torch.Tensor | None = None
    origin: torch.Tensor | None = None
    anchors: Anchors | None = None
    widths: tuple[int, ...] = ()
    step: Callable[[], None] | None = None

    @property
    def number(self) -> int:
        """``n_clusters`` as an int, for clusterers that need it; ``cluster`` has checked it.

        Raises:
            InputError: ``n_clusters`` is None.
        """
        if self.n_clusters is None:
            raise InputError("n_clusters is None; give a number of clusters")
        return self.n_clusters

    def step_done(self) -> None:
        """Report a step."""
        if self.step is not None:
            self.step()


class Clusterer(Part):
    """Base class of clusterers: callers use ``cluster``, subclasses implement ``find``.

    Attributes:
        finds_number: whether the clusterer determines the number of clusters.
        keeps_labels: whether it can cluster around known labels, ``ClusterRequest.anchors``.
        title: name in messages; empty: derived from ``name``.
    """

    finds_number: ClassVar[bool] = False
    keeps_labels: ClassVar[bool] = False
    title: ClassVar[str] = ""

    @property
    def reported_steps(self) -> int:
        """Number of steps of a clustering; if more than 1, ``find`` calls ``request.step_done`` after each."""
        return 1

    @final
    def cluster(self, vectors: torch.Tensor, request: ClusterRequest) -> Clustering:
        """Cluster ``vectors`` (N, D) float32: check them, call ``find``, complete and check its result.

        Raises:
            InputError: fewer vectors than clusters, NaN or infinite values, n_clusters missing
                where the method needs it, or known labels that it cannot keep.
            PartError: ``find`` failed, or its result is not a valid clustering of these vectors.
        """
        from fiftyone_deepcluster.clusterers.complete import complete
        from fiftyone_deepcluster.metrics.products import check_finite

        who = self.title or f"the clusterer {self.name!r}"
        check_finite(vectors, who)
        if not self.finds_number:
            _check_number(request.n_clusters, len(vectors), who)
        vectors = vectors.float()
        if request.anchors is not None:
            return self._around(request.anchors, vectors, request, who)
        return complete(self._found(vectors, request, who), vectors, who)

    def _found(self, vectors: torch.Tensor, request: ClusterRequest, who: str) -> Any:
        """The result of ``find``, which reports its steps unless it is a single one."""
        single = self.reported_steps == 1
        with attributed_to(who):
            found = self.find(vectors, replace(request, step=None) if single else request)
        if single:
            request.step_done()
        return found

    def _around(
        self, anchors: Anchors, vectors: torch.Tensor, request: ClusterRequest, who: str
    ) -> Clustering:
        """Cluster around known labels; images that are in no cluster are left out."""
        from fiftyone_deepcluster.clusterers.anchors import check_anchors, spread_over
        from fiftyone_deepcluster.clusterers.complete import complete

        if not self.keeps_labels:
            raise InputError(f"{who} cannot keep known labels; use {clusterers_that_keep_labels()}")
        check_anchors(anchors, len(vectors), request.n_clusters, who=who)
        rows = anchors.in_clusters
        there = rows.to(vectors.device)
        vectors = vectors[there]
        held = anchors.choose(rows).with_one_each(vectors)
        origin = None if request.origin is None else request.origin[there]
        found = self._found(vectors, replace(request, anchors=held, origin=origin), who)
        return spread_over(complete(found, vectors, who), anchors, who)

    @abstractmethod
    def find(
        self, vectors: torch.Tensor, request: ClusterRequest
    ) -> torch.Tensor | NDArray[Any] | FoundClusters | Clustering:
        """Find the clusters of ``vectors`` (N, D) float32, which are finite and must not be modified.

        Unless ``finds_number``, ``request.n_clusters`` is an int in 1..N. With ``request.anchors`` every cluster has
        a fixed image, and the labels of all fixed images must be returned as they are.

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
        raise InputError(
            f"n_clusters={n_clusters} is more than the {counted(n, 'image')}; lower it or add images"
        )


CLUSTERERS: Registry[Clusterer] = Registry("clusterers", Clusterer)  # type: ignore[type-abstract]


def clusterers_that_keep_labels() -> str:
    """The clusterers that can cluster around known labels, for error messages: ``clusterer='kmeans'`` and others."""
    names = [name for name in CLUSTERERS.names() if CLUSTERERS.get(name).keeps_labels]
    return " or ".join(f"clusterer={name!r}" for name in names)
