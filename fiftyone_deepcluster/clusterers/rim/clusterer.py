"""RIM: many k-means clusters, of which regularized information maximization leaves as many as are needed."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from fiftyone_deepcluster.clusterers.base import CLUSTERERS, Clusterer, ClusterRequest, FoundClusters
from fiftyone_deepcluster.errors import InputError

if TYPE_CHECKING:
    import torch

    from fiftyone_deepcluster.clusterers.rim.information import Multilogit

PAPER_START = 1000
"""Clusters that LDPO begins with (Wang et al., section 3.2)."""

_IMAGES_A_CLUSTER = 20  # fewer images to a cluster than that are none to begin with
_MIN_IMAGES, _MIN_START = 4, 10
_FINE, _COARSE = 20, 4  # steps in a decade of lambda, and those while hardly any cluster has died
_FIRST = 1e-5  # lambda at length 1 that the path begins with
_LAST = 10.0  # and the largest: the information, at most a few nats, is long outweighed
_WITNESSES = 0.2  # decades of lambda that a plateau lasts at least
_AS_SLOW = 1.2  # times as fast as the slowest counts as slow
_FIT_PENALTY, _FIT_ITERATIONS = 1e-5, 50  # of the model that imitates k-means


@dataclass(frozen=True)
class PathPoint:
    """What RIM finds at one lambda.

    Attributes:
        penalty: lambda, at features of length 1.
        labels: (N,) int64, numbered from 0 without gaps.
        confidence: (N,) probability of the own cluster.
        objective: information less penalty.
    """

    penalty: float
    labels: torch.Tensor
    confidence: torch.Tensor
    objective: float

    @property
    def n_clusters(self) -> int:
        """Clusters that somebody is in."""
        return int(self.labels.max()) + 1


@CLUSTERERS.register
class Rim(Clusterer):
    """RIM: starts from too many k-means clusters and keeps as many as tell the images apart.

    Regularized information maximization (Gomes et al. 2010) as LDPO uses it (Wang et al., section 3.2, equations
    1 to 3). It finds the number of clusters and ignores ``n_clusters``. LDPO has lambda = 1 on features as the
    network gives them, whose lengths are 30 to 100: at length 1 nothing but one cluster is left at that lambda.
    So leave the vectors un-normalized (``l2_normalize=False`` of the encoder) where a lambda is given; ``scale`` in the
    scores is their mean length. Empty, lambda follows from a path of values, whatever the length: ``plateau`` is how
    many decades of it have the number of clusters that was taken, and the details hold the path.
    """

    name: Literal["rim"] = "rim"
    title: ClassVar[str] = "RIM"
    finds_number: ClassVar[bool] = True
    n_init_clusters: int | None = Field(
        None, ge=2, description="K-means clusters to begin with; empty: one for 20 images, 1000 at most."
    )
    penalty: float | None = Field(
        None,
        ge=0,
        description="Lambda, the price of large weights; empty: the longest plateau of the number of clusters.",
    )
    fewest: int = Field(
        3,
        ge=2,
        description="Clusters at least, where lambda is empty: the first cut through all images always lasts long.",
    )
    max_iter: int = Field(100, ge=1, description="L-BFGS iterations at each lambda at most.")

    def find(self, vectors: torch.Tensor, request: ClusterRequest) -> FoundClusters:
        """Cluster ``vectors`` (N, D) float32.

        ``confidence`` is the probability of the own cluster, ``objective`` minus equation 1.

        Raises:
            InputError: fewer than four vectors.
        """
        from fiftyone_deepcluster.clusterers.distances import threads_for

        if len(vectors) < _MIN_IMAGES:
            raise InputError(f"RIM cannot cluster {len(vectors)} images; add images ({_MIN_IMAGES} or more)")
        with threads_for(vectors):
            points, unit = standardized(vectors)
            model = self._imitated(points, request.seed)
            path = self._path(points, unit, model)
            chosen = (
                path[0]
                if self.penalty is not None
                else longest_plateau(path, (self.fewest, len(model.biases) // 2))
            )
        given = unit**2 or 1.0
        return FoundClusters(
            labels=chosen.labels,
            confidence=chosen.confidence.float().clamp(0.0, 1.0),
            objective=-chosen.objective,
            scores={
                "scale": float(vectors.norm(dim=1).mean()),
                "lambda": chosen.penalty * given,
                "lambda_unit": chosen.penalty,
                "plateau": plateau(path, chosen),
            },
            details={
                "path_lambda": [point.penalty * given for point in path],
                "path_clusters": [float(point.n_clusters) for point in path],
            },
        )

    def _path(self, points: torch.Tensor, unit: float, model: Multilogit) -> list[PathPoint]:
        """Solutions by rising lambda, or the one at the lambda given."""
        if self.penalty is None:
            return regularization_path(points, model, self.max_iter)
        return [solve(points, model, self.penalty / (unit**2 or 1.0), self.max_iter)[0]]

    def _imitated(self, points: torch.Tensor, seed: int) -> Multilogit:
        """The multinomial logistic model of over-segmented k-means labels."""
        from fiftyone_deepcluster.clusterers.kmeans.clusterer import KMeans
        from fiftyone_deepcluster.clusterers.rim.information import Multilogit, climb, likelihood

        most = len(points)
        wanted = (
            min(PAPER_START, max(_MIN_START, most // _IMAGES_A_CLUSTER))
            if self.n_init_clusters is None
            else self.n_init_clusters
        )
        request = ClusterRequest(min(wanted, most), seed)
        labels = KMeans(n_init=1).cluster(points, request).labels.to(points.device)
        k = int(labels.max()) + 1
        blank = Multilogit(points.new_zeros(points.shape[1], k), points.new_zeros(k))
        model, _ = climb(lambda now: likelihood(now, points, labels), blank, _FIT_PENALTY, _FIT_ITERATIONS)
        return model


def standardized(vectors: torch.Tensor) -> tuple[torch.Tensor, float]:
    """Vectors about their mean, of root mean square length 1, and the length they had.

    Biases are free, so a shift changes nothing, and a length only the measure of lambda; the climb then takes the
    same way whatever the length was.
    """
    import torch

    points = vectors - vectors.mean(dim=0)
    unit = float(points.square().sum(dim=1).mean().sqrt())
    flat = unit <= 1e-7 * float(vectors.abs().max())  # nothing but rounding
    return (torch.zeros_like(points), 0.0) if flat else (points / unit, unit)


def solve(
    points: torch.Tensor, model: Multilogit, penalty: float, max_iter: int
) -> tuple[PathPoint, Multilogit]:
    """Maximize equation 1 from ``model``; the solution, and its model without the clusters that died."""
    import torch

    from fiftyone_deepcluster.clusterers.rim.information import Multilogit, climb, information

    model, objective = climb(lambda now: information(now, points), model, penalty, max_iter)
    labels, confidence = model.assign(points)
    used, labels = torch.unique(labels, return_inverse=True)
    alive = Multilogit(model.weights[:, used].contiguous(), model.biases[used])
    return PathPoint(penalty, labels, confidence, objective), alive


def regularization_path(points: torch.Tensor, model: Multilogit, max_iter: int) -> list[PathPoint]:
    """Solutions for rising lambda, each begun at the one before, until one cluster is left."""
    path: list[PathPoint] = []
    begun, penalty = len(model.biases), _FIRST
    while penalty < _LAST and (not path or path[-1].n_clusters > 1):
        point, model = solve(points, model, penalty, max_iter)
        path.append(point)
        many = point.n_clusters > 0.8 * begun
        penalty *= 10 ** (1 / (_COARSE if many else _FINE))
    return path


def plateau(path: list[PathPoint], chosen: PathPoint) -> float:
    """Decades of lambda around the chosen solution along which the number of clusters is the same."""
    same = [point.penalty for point in path if point.n_clusters == chosen.n_clusters]
    return math.log10(max(same) / min(same)) if chosen.penalty > 0 else 0.0


def longest_plateau(path: list[PathPoint], between: tuple[int, int]) -> PathPoint:
    """The solution in the middle of the stretch of lambda along which the number of clusters holds best.

    Every number k lasts for a while as lambda grows, and the longer the smaller it is: from k + 1/2 to k - 1/2 is
    a larger step for 2 than for 20. So a stretch is judged by how fast the number falls along it, in decades of k
    per decade of lambda, with the numbers at its ends half a cluster further apart than they are. Of those that
    last long enough the slowest is taken, or the one of most clusters among those nearly as slow: too fine a cut
    is mended by merging.

    Args:
        path: by rising lambda.
        between: fewest and most clusters that may be the answer. While more than half of the first clusters are
            there, they have only begun to die, and two are the first cut through everything.

    Returns:
        That solution; without a plateau, the one with the best objective.
    """
    settled = [point for point in path if between[0] <= point.n_clusters <= between[1]]
    found: list[tuple[float, PathPoint]] = []
    for i, first in enumerate(settled):
        for j in range(i + 1, len(settled)):
            length = math.log10(settled[j].penalty / first.penalty)
            if length > 0.99 * _WITNESSES:
                fall = math.log10((first.n_clusters + 0.5) / (settled[j].n_clusters - 0.5)) / length
                found.append((fall, settled[(i + j) // 2]))
    if not found:
        return max(path, key=lambda point: point.objective)
    slowest = min(fall for fall, _ in found)
    return max((p for fall, p in found if fall <= _AS_SLOW * slowest), key=lambda point: point.n_clusters)
