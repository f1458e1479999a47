"""TURTLE: the labels of images that linear classifiers learn fastest."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from fiftyone_deepcluster.clusterers.base import CLUSTERERS, Clusterer, ClusterRequest, FoundClusters
from fiftyone_deepcluster.clusterers.heads import MIN_PER_DIMENSION, check_enough, scaled_parts, start_labels
from fiftyone_deepcluster.core.registry import PartOf

if TYPE_CHECKING:
    import torch

_BETAS, _EPS = (0.9, 0.999), 1e-8  # of Adam
_START_STEPS, _START_RATE = 200, 0.01


@CLUSTERERS.register
class Turtle(Clusterer):
    """TURTLE: trains the labels themselves so that linear classifiers learn them in few steps.

    Gadetsky, Jiang and Brbic, "Let Go of Your Labels with Unsupervised Transfer" (2024), equations 9 to 12. A linear
    head on every part of the vectors (backbone, layer), with normalized weights, gives probabilities; their mean over
    the parts are the labels. In every step new linear classifiers of these labels make a few steps of Adam; then the
    heads are changed so that the classifiers' cross-entropy falls and clusters keep their sizes.

    The defaults are the paper's, except for the start (random in the paper: ``init`` empty) and the minimum number of
    images (none in the paper: ``min_per_dimension`` 0). The paper's results are on features of large foundation models
    and 10,000 images or more.
    """

    name: Literal["turtle"] = "turtle"
    title: ClassVar[str] = "TURTLE"
    init: Annotated[Clusterer | None, PartOf(CLUSTERERS, optional=True)] = Field(
        default="best-of", validate_default=True, description="Clustering to start from; empty: random heads."
    )
    steps: int = Field(6000, ge=1, description="Steps of the heads.")
    inner_steps: int = Field(10, ge=1, description="Steps of the classifiers in each step of the heads.")
    learning_rate: float = Field(0.001, gt=0, description="Learning rate of the heads.")
    inner_learning_rate: float = Field(0.001, gt=0, description="Learning rate of the classifiers.")
    entropy_weight: float = Field(10.0, ge=0, description="Weight of the cluster sizes in the loss.")
    size_power: float = Field(
        0.0,
        ge=0,
        le=4,
        description="Exponent a of the expected sizes: the r-th largest cluster is proportional to r ** -a; 0: equal "
        "sizes.",
    )
    batch_size: int = Field(
        10_000, ge=1, description="Maximum number of images per step, drawn anew for each."
    )
    min_per_dimension: float = Field(
        MIN_PER_DIMENSION,
        ge=0,
        description="Minimum number of images per dimension of a part. Fewer are an error: heads would fit noise.",
    )

    def find(self, vectors: torch.Tensor, request: ClusterRequest) -> FoundClusters:
        """Cluster ``vectors`` (N, D) float32 into ``request.n_clusters`` or fewer.

        ``confidence`` is the mean probability of the cluster. ``scores`` has the loss of the classifiers and the
        entropy of the cluster sizes, as share of the largest possible, after the last step.

        Raises:
            InputError: too few vectors for their dimensions.
        """
        import torch

        from fiftyone_deepcluster.clusterers.distances import threads_for

        widths = request.widths if len(request.widths) > 1 else (vectors.shape[1],)
        check_enough(len(vectors), widths, least=self.min_per_dimension, who=self.title)
        start = start_labels(self.init, vectors, request)
        parts = scaled_parts(vectors, request.widths)
        generator = torch.Generator().manual_seed(request.seed)
        with threads_for(vectors), torch.enable_grad():
            heads = [Head(part, request.number, generator) for part in parts]
            if start is not None:
                _pretrain(heads, parts, start)
            error = self._train(heads, parts, request.number, generator)
        with torch.no_grad():
            found = torch.stack([head(part) for head, part in zip(heads, parts, strict=True)]).mean(0)
        best = found.max(1)
        sizes = torch.special.entr(found.mean(0)).sum() / max(1e-12, math.log(request.number))
        return FoundClusters(
            labels=best.indices,
            confidence=best.values,
            scores={"classifier_loss": error, "size_entropy": float(sizes)},
        )

    def _train(
        self, heads: list[Head], parts: list[torch.Tensor], n_clusters: int, generator: torch.Generator
    ) -> float:
        """Train the heads for all steps; returns the classifiers' loss in the last one."""
        import torch

        n, device = len(parts[0]), parts[0].device
        expected = size_prior(n_clusters, self.size_power).to(device)
        optimizer = torch.optim.Adam([p for head in heads for p in head.parameters], lr=self.learning_rate)
        error = torch.zeros(())
        for _ in range(self.steps):
            if n > self.batch_size:
                rows = torch.randperm(n, generator=generator)[: self.batch_size].to(device)
                seen = [part[rows] for part in parts]
            else:
                seen = parts
            own = [head(part) for head, part in zip(heads, seen, strict=True)]
            labels = torch.stack(own).mean(0)
            loss = labels.new_zeros(())
            for part in seen:
                weights = self._classifier(part, labels.detach(), generator)
                loss = loss - (labels * (with_ones(part) @ weights).log_softmax(1)).sum(1).mean()
            error = loss.detach()
            for probabilities in own:
                loss = loss + self.entropy_weight * size_divergence(probabilities.mean(0), expected)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return float(error) / len(parts)

    def _classifier(
        self, part: torch.Tensor, labels: torch.Tensor, generator: torch.Generator
    ) -> torch.Tensor:
        """(D + 1, K) weights and biases of a new linear classifier after a few steps of Adam on soft ``labels``."""
        import torch

        points = with_ones(part)
        weights = _linear_start(part.shape[1], labels.shape[1], generator).to(points)
        mean, square = torch.zeros_like(weights), torch.zeros_like(weights)
        for step in range(1, self.inner_steps + 1):
            slope = points.T @ ((points @ weights).softmax(1) - labels) / len(points)
            mean.lerp_(slope, 1 - _BETAS[0])
            square.lerp_(slope.square(), 1 - _BETAS[1])
            length = (square / (1 - _BETAS[1] ** step)).sqrt_().add_(_EPS)
            weights -= self.inner_learning_rate / (1 - _BETAS[0] ** step) * mean / length
        return weights


class Head:
    """Linear layer with normalized weights (K, D), their lengths and biases, and a softmax.

    Args:
        part: (N, D) vectors, for dimensions and device.
        n_clusters: K.
        generator: of the initial weights.
    """

    def __init__(self, part: torch.Tensor, n_clusters: int, generator: torch.Generator) -> None:
        start = _linear_start(part.shape[1], n_clusters, generator).to(part)
        self._direction = start[:-1].T.clone().requires_grad_()
        self._length = start[:-1].norm(dim=0)[:, None].clone().requires_grad_()
        self._bias = start[-1].clone().requires_grad_()
        self.parameters = [self._direction, self._length, self._bias]

    def scores(self, vectors: torch.Tensor) -> torch.Tensor:
        """(N, K) before the softmax."""
        import torch

        weights = self._length * torch.nn.functional.normalize(self._direction, dim=1)
        scores: torch.Tensor = vectors @ weights.T + self._bias
        return scores

    def __call__(self, vectors: torch.Tensor) -> torch.Tensor:
        """(N, K) probabilities."""
        return self.scores(vectors).softmax(1)


def size_prior(n_clusters: int, power: float) -> torch.Tensor:
    """(K,) expected shares of the clusters, the largest first: a power law, or equal for ``power`` 0."""
    import torch

    shares = torch.arange(1, n_clusters + 1).float() ** -power
    return shares / shares.sum()


def size_divergence(shares: torch.Tensor, expected: torch.Tensor) -> torch.Tensor:
    """Kullback-Leibler divergence of the sorted ``shares`` (K,) from the expected ones.

    For equal expected shares it is minus the entropy of equation 12, up to a constant.
    """
    import torch

    ordered = shares.sort(descending=True).values
    entropy: torch.Tensor = torch.special.entr(ordered).sum()
    return -(entropy + (ordered * expected.log()).sum())


def with_ones(vectors: torch.Tensor) -> torch.Tensor:
    """(N, D + 1): a further dimension of ones, for the bias."""
    import torch

    return torch.cat([vectors, torch.ones_like(vectors[:, :1])], dim=1)


def _pretrain(heads: list[Head], parts: list[torch.Tensor], labels: torch.Tensor) -> None:
    """Train the heads on known labels; -1 is ignored."""
    import torch

    known = labels >= 0
    optimizer = torch.optim.Adam([p for head in heads for p in head.parameters], lr=_START_RATE)
    for _ in range(_START_STEPS):
        losses = [
            torch.nn.functional.cross_entropy(head.scores(part[known]), labels[known])
            for head, part in zip(heads, parts, strict=True)
        ]
        optimizer.zero_grad()
        torch.stack(losses).sum().backward()
        optimizer.step()


def _linear_start(dimensions: int, n_clusters: int, generator: torch.Generator) -> torch.Tensor:
    """(D + 1, K) weights and biases, initialized as ``nn.Linear``: uniform in ±1 / sqrt(D)."""
    import torch

    draw: torch.Tensor = torch.rand(dimensions + 1, n_clusters, generator=generator)
    return (2 * draw - 1) / math.sqrt(dimensions)
