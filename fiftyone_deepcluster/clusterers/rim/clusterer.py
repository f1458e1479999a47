"""RIM: regularized information maximization, which reduces many k-means clusters to fewer."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from fiftyone_deepcluster.clusterers.base import CLUSTERERS, Clusterer, ClusterRequest, FoundClusters
from fiftyone_deepcluster.core.words import counted
from fiftyone_deepcluster.errors import InputError

if TYPE_CHECKING:
    import torch

    from fiftyone_deepcluster.clusterers.rim.information import Multilogit

PAPER_START = 1000
"""Initial number of clusters in LDPO (Wang et al., section 3.2)."""

_IMAGES_A_CLUSTER = 20  # images per initial cluster
_MIN_IMAGES, _MIN_START = 4, 10
_FINE, _COARSE = 20, 4  # steps per decade of lambda; coarse while more than 80 % of the clusters remain
_FIRST = 1e-5  # first lambda of the path, for root mean square length 1
_LAST = 10.0  # upper bound of lambda, far above the information of a few nats
_MIN_PLATEAU = 0.2  # shortest plateau, in decades of lambda
_SLOWNESS_TOLERANCE = 1.2  # plateaus up to this factor faster than the slowest are candidates
_FIT_PENALTY, _FIT_ITERATIONS = 1e-5, 50  # of the initial model, fitted to k-means labels


@dataclass(frozen=True)
class PathPoint:
    """Solution of RIM at one lambda.

    Attributes:
        penalty: lambda, for features of root mean square length 1.
        labels: (N,) int64, numbered from 0 without gaps.
        confidence: (N,), probability of the assigned cluster.
        objective: information minus penalty.
    """

    penalty: float
    labels: torch.Tensor
    confidence: torch.Tensor
    objective: float

    @property
    def n_clusters(self) -> int:
        """Number of non-empty clusters."""
        return int(self.labels.max()) + 1


@CLUSTERERS.register
class Rim(Clusterer):
    """RIM: starts from many k-means clusters, and reduces them by regularized information maximization.

    Regularized information maximization (Gomes et al. 2010) as used by LDPO (Wang et al., section 3.2, equations
    1 to 3). It determines the number of clusters and ignores ``n_clusters``. LDPO has lambda = 1 on unnormalized
    features, whose lengths are 30 to 100; at length 1, that lambda leaves a single cluster. So do not normalize the
    vectors (``l2_normalize=False`` of the encoder) when lambda is given; ``scale`` in the scores is their mean length.
    If empty, lambda is selected on a path of values, independent of the length: ``plateau`` is the number of decades of
    lambda over which the number of clusters equals the selected one, and the details hold the path.
    """

    name: Literal["rim"] = "rim"
    title: ClassVar[str] = "RIM"
    finds_number: ClassVar[bool] = True
    n_init_clusters: int | None = Field(
        None, ge=2, description="Initial number of k-means clusters; empty: one per 20 images, at most 1000."
    )
    penalty: float | None = Field(
        None,
        ge=0,
        description="Lambda, the L2 penalty of the weights; empty: where the number of clusters is most stable.",
    )
    fewest: int = Field(
        3,
        ge=2,
        description="Minimum number of clusters if penalty is empty; a split into two is stable for any images.",
    )
    max_iter: int = Field(100, ge=1, description="Maximum number of L-BFGS iterations per lambda.")

    def find(self, vectors: torch.Tensor, request: ClusterRequest) -> FoundClusters:
        """Cluster ``vectors`` (N, D) float32.

        ``confidence`` is the probability of the assigned cluster, ``objective`` the negative of equation 1.

        Raises:
            InputError: fewer than four vectors.
        """
        from fiftyone_deepcluster.clusterers.distances import threads_for

        if len(vectors) < _MIN_IMAGES:
            raise InputError(
                f"RIM cannot cluster {counted(len(vectors), 'image')}; add images ({_MIN_IMAGES} or more)"
            )
        with threads_for(vectors):
            points, unit = standardized(vectors)
            model = self._initial_model(points, request.seed)
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
        """Solutions for increasing lambda, or the one at the given lambda."""
        if self.penalty is None:
            return regularization_path(points, model, self.max_iter)
        return [solve(points, model, penalty=self.penalty / (unit**2 or 1.0), max_iter=self.max_iter)[0]]

    def _initial_model(self, points: torch.Tensor, seed: int) -> Multilogit:
        """The initial model: multinomial logistic regression on over-segmented k-means labels."""
        from fiftyone_deepcluster.clusterers.kmeans.clusterer import KMeans
        from fiftyone_deepcluster.clusterers.rim.information import Multilogit, ascend, likelihood

        most = len(points)
        wanted = (
            min(PAPER_START, max(_MIN_START, most // _IMAGES_A_CLUSTER))
            if self.n_init_clusters is None
            else self.n_init_clusters
        )
        request = ClusterRequest(min(wanted, most), seed)
        labels = KMeans(n_init=1).cluster(points, request).labels.to(points.device)
        k = int(labels.max()) + 1
        zeros = Multilogit(points.new_zeros(points.shape[1], k), points.new_zeros(k))
        model, _ = ascend(
            lambda now: likelihood(now, points, labels), zeros, penalty=_FIT_PENALTY, max_iter=_FIT_ITERATIONS
        )
        return model


def standardized(vectors: torch.Tensor) -> tuple[torch.Tensor, float]:
    """Centered vectors of root mean square length 1, and the length before scaling.

    Biases are not penalized, so a shift does not change the optima, and a scale only changes the scale of lambda;
    after standardization the optimization does not depend on either.
    """
    import torch

    points = vectors - vectors.mean(dim=0)
    unit = float(points.square().sum(dim=1).mean().sqrt())
    flat = unit <= 1e-7 * float(vectors.abs().max())  # rounding error only
    return (torch.zeros_like(points), 0.0) if flat else (points / unit, unit)


def solve(
    points: torch.Tensor, model: Multilogit, *, penalty: float, max_iter: int
) -> tuple[PathPoint, Multilogit]:
    """Maximize equation 1 starting from ``model``; returns the solution, and its model without empty clusters."""
    import torch

    from fiftyone_deepcluster.clusterers.rim.information import Multilogit, ascend, information

    model, objective = ascend(lambda now: information(now, points), model, penalty=penalty, max_iter=max_iter)
    labels, confidence = model.assign(points)
    used, labels = torch.unique(labels, return_inverse=True)
    used_model = Multilogit(model.weights[:, used].contiguous(), model.biases[used])
    return PathPoint(penalty, labels, confidence, objective), used_model


def regularization_path(points: torch.Tensor, model: Multilogit, max_iter: int) -> list[PathPoint]:
    """Solutions for increasing lambda, each initialized by the one before, until one cluster is left."""
    path: list[PathPoint] = []
    n_initial, penalty = len(model.biases), _FIRST
    while penalty < _LAST and (not path or path[-1].n_clusters > 1):
        point, model = solve(points, model, penalty=penalty, max_iter=max_iter)
        path.append(point)
        many = point.n_clusters > 0.8 * n_initial
        penalty *= 10 ** (1 / (_COARSE if many else _FINE))
    return path


def plateau(path: list[PathPoint], chosen: PathPoint) -> float:
    """Length, in decades of lambda, over which the number of clusters equals that of the chosen solution."""
    same = [point.penalty for point in path if point.n_clusters == chosen.n_clusters]
    return math.log10(max(same) / min(same)) if chosen.penalty > 0 else 0.0


def longest_plateau(path: list[PathPoint], between: tuple[int, int]) -> PathPoint:
    """The solution in the middle of the interval of lambda in which the number of clusters is most stable.

    As lambda grows, small numbers of clusters k last longer than large ones: from k + 1/2 to k - 1/2 is a larger
    relative step for 2 than for 20. So an interval is rated by the decrease of k, in decades of k per decade of
    lambda, with half a cluster added at its start and subtracted at its end. Among the intervals that are long
    enough and decrease nearly as slowly as the slowest, the one with the most clusters is chosen, since
    over-segmentation can be corrected by merging.

    Args:
        path: solutions for increasing lambda.
        between: smallest and largest number of clusters to choose from. Exclude more than half of the initial number,
            where clusters have only begun to vanish, and two, the first split of any data.

    Returns:
        That solution; without a plateau, the one with the best objective.
    """
    candidates = [point for point in path if between[0] <= point.n_clusters <= between[1]]
    found: list[tuple[float, PathPoint]] = []
    for i, first in enumerate(candidates):
        for j in range(i + 1, len(candidates)):
            length = math.log10(candidates[j].penalty / first.penalty)
            if length > 0.99 * _MIN_PLATEAU:
                decrease = math.log10((first.n_clusters + 0.5) / (candidates[j].n_clusters - 0.5)) / length
                found.append((decrease, candidates[(i + j) // 2]))
    if not found:
        return max(path, key=lambda point: point.objective)
    slowest = min(decrease for decrease, _ in found)
    return max(
        (p for decrease, p in found if decrease <= _SLOWNESS_TOLERANCE * slowest),
        key=lambda point: point.n_clusters,
    )
