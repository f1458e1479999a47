"""An ensemble of heads that give an image and its neighbors the same cluster, as in TEMI."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from fiftyone_deepcluster.clusterers.base import CLUSTERERS, Clusterer, ClusterRequest, FoundClusters
from fiftyone_deepcluster.clusterers.heads import MIN_PER_DIMENSION, check_enough, scaled_parts, start_labels
from fiftyone_deepcluster.core.registry import PartOf

if TYPE_CHECKING:
    import torch

_START_STEPS, _START_RATE = 200, 0.001
_SHARES_MOMENTUM = 0.9
_TINY = 1e-8


@CLUSTERERS.register
class Temi(Clusterer):
    """TEMI: heads trained to agree on an image and its nearest neighbors, with a vote over the heads.

    After Adaloglou, Michels, Kalisch and Kollmann, "Exploring the Limits of Deep Image Clustering using Pretrained
    Models" (2023): pointwise mutual information of neighbors, an exponent against too equal clusters, a second network
    of averaged weights, and pairs weighted by how much the heads agree on them. Ours are one hidden layer, the batch
    size, learning rate and weight decay, the start from a clustering (random in the paper: ``init`` empty), the vote
    (in the paper the head with the lowest loss), and the minimum number of images. The paper's results are on features
    of large foundation models and 50,000 images or more.
    """

    name: Literal["temi"] = "temi"
    title: ClassVar[str] = "TEMI"
    init: Annotated[Clusterer | None, PartOf(CLUSTERERS, optional=True)] = Field(
        default="best-of", validate_default=True, description="Clustering to start from; empty: random heads."
    )
    n_neighbors: int = Field(50, ge=1, description="Nearest neighbors, of which one is drawn for each image.")
    n_heads: int = Field(16, ge=1, le=200, description="Number of heads.")
    hidden: int = Field(512, ge=1, description="Units of the hidden layer of a head.")
    temperature: float = Field(0.1, gt=0, description="Temperature of the probabilities.")
    average_momentum: float = Field(
        0.996,
        ge=0,
        lt=1,
        description="Momentum of the averaged weights: the share that is kept in each step.",
    )
    exponent: float = Field(
        0.6,
        gt=0.5,
        le=1,
        description="Exponent of the probabilities; 1 favors clusters of equal size.",
    )
    epochs: int = Field(100, ge=1, description="Passes over the images.")
    batch_size: int = Field(512, ge=2, description="Images per step.")
    learning_rate: float = Field(0.0001, gt=0, description="Learning rate.")
    weight_decay: float = Field(0.0001, ge=0, description="Weight decay.")
    min_per_dimension: float = Field(
        MIN_PER_DIMENSION,
        ge=0,
        description="Minimum number of images per dimension. Fewer are an error: heads would fit noise.",
    )

    def find(self, vectors: torch.Tensor, request: ClusterRequest) -> FoundClusters:
        """Cluster ``vectors`` (N, D) float32 into ``request.n_clusters`` or fewer.

        ``confidence`` is the mean share of heads by which an image has the same cluster as the images of its cluster.
        ``scores`` has the mean loss of the last pass.

        Raises:
            InputError: too few vectors for their dimensions, or a single one.
        """
        import torch

        from fiftyone_deepcluster.clusterers.coassociation import certainty, combine
        from fiftyone_deepcluster.clusterers.distances import threads_for

        check_enough(
            max(0, len(vectors) - 1), (vectors.shape[1],), least=self.min_per_dimension, who=self.title
        )
        start = start_labels(self.init, vectors, request)
        points = torch.cat(scaled_parts(vectors, request.widths), dim=1)
        generator = torch.Generator().manual_seed(request.seed)
        heads = Ensemble(self, points.shape[1], request.number, generator=generator, device=points.device)
        with threads_for(vectors), torch.enable_grad():
            if start is not None:
                self._pretrain(heads, points, start, generator)
            loss = self._train(heads, points, generator)
        with torch.no_grad():
            found = heads.probabilities(points, averaged=True)
            votes = np.stack([one.argmax(1).cpu().numpy() for one in found])
        together = combine(votes, request.number)
        labels = votes[0] if together is None else together
        return FoundClusters(
            labels=labels, confidence=certainty(votes, labels), scores={"neighbor_loss": loss}
        )

    def _pretrain(
        self, heads: Ensemble, points: torch.Tensor, labels: torch.Tensor, generator: torch.Generator
    ) -> None:
        """Train every head on known labels (-1 is ignored), and copy the weights to the averaged ones."""
        import torch

        known = (labels >= 0).nonzero()[:, 0]
        optimizer = torch.optim.AdamW(heads.weights, lr=_START_RATE, weight_decay=self.weight_decay)
        for _ in range(_START_STEPS):
            rows = known[torch.randint(len(known), (self.batch_size,), generator=generator).to(known.device)]
            scores = heads.scores(points[rows]).flatten(0, 1)
            loss = torch.nn.functional.cross_entropy(scores, labels[rows].repeat(self.n_heads))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        heads.move_average(0.0)

    def _train(self, heads: Ensemble, points: torch.Tensor, generator: torch.Generator) -> float:
        """Train for all epochs; returns the mean loss of the last one."""
        import torch

        from fiftyone_deepcluster.metrics.knn import exact_neighbors

        n = len(points)
        found = exact_neighbors(points, min(self.n_neighbors + 1, n))[0]
        near = torch.as_tensor(np.asarray(found)[:, 1:]).long().to(points.device)
        optimizer = torch.optim.AdamW(heads.weights, lr=self.learning_rate, weight_decay=self.weight_decay)
        shares = torch.full((self.n_heads, heads.n_clusters), 1 / heads.n_clusters, device=points.device)
        losses: list[torch.Tensor] = []
        for _ in range(self.epochs):
            losses = []
            for rows in torch.randperm(n, generator=generator).to(points.device).split(self.batch_size):
                drawn = torch.randint(near.shape[1], (len(rows),), generator=generator).to(points.device)
                pair = points[torch.cat([rows, near[rows, drawn]])]
                with torch.no_grad():
                    steady = heads.probabilities(pair, averaged=True)
                    shares = torch.lerp(steady.mean(1), shares, _SHARES_MOMENTUM)
                loss = neighbor_loss(heads.probabilities(pair), steady, shares, exponent=self.exponent)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                heads.move_average(self.average_momentum)
                losses.append(loss.detach())
        return float(torch.stack(losses).mean())


class Ensemble:
    """Heads of one hidden layer, computed together, with averaged weights beside the trained ones.

    Args:
        options: sizes and temperature.
        dimensions: of the vectors.
        n_clusters: K.
        generator: of the initial weights.
        device: of the weights.
    """

    def __init__(
        self,
        options: Temi,
        dimensions: int,
        n_clusters: int,
        *,
        generator: torch.Generator,
        device: torch.device,
    ) -> None:
        import torch

        def layer(inputs: int, outputs: int) -> list[torch.Tensor]:
            draw = torch.rand(options.n_heads, inputs + 1, outputs, generator=generator)
            start = ((2 * draw - 1) / inputs**0.5).to(device)
            return [start[:, :-1].clone(), start[:, -1:].clone()]

        self.n_clusters, self._temperature = n_clusters, options.temperature
        first = [*layer(dimensions, options.hidden), *layer(options.hidden, n_clusters)]
        self.weights = [weight.requires_grad_() for weight in first]
        self._averaged = [weight.detach().clone() for weight in first]

    def scores(self, vectors: torch.Tensor, *, averaged: bool = False) -> torch.Tensor:
        """(H, N, K) before the softmax."""
        import torch

        inward, bias, outward, last = self._averaged if averaged else self.weights
        hidden = torch.nn.functional.gelu(vectors @ inward + bias)
        return (hidden @ outward + last) / self._temperature

    def probabilities(self, vectors: torch.Tensor, *, averaged: bool = False) -> torch.Tensor:
        """(H, N, K) of every head."""
        return self.scores(vectors, averaged=averaged).softmax(2)

    def move_average(self, momentum: float) -> None:
        """Move the averaged weights toward the trained ones."""
        for old, new in zip(self._averaged, self.weights, strict=True):
            old.lerp_(new.detach(), 1 - momentum)


def neighbor_loss(
    trained: torch.Tensor, averaged: torch.Tensor, shares: torch.Tensor, *, exponent: float
) -> torch.Tensor:
    """Minus the weighted pointwise mutual information of pairs, mean over pairs and heads.

    Args:
        trained: (H, 2 B, K) probabilities; the second half are the neighbors of the first.
        averaged: (H, 2 B, K) probabilities by the averaged weights.
        shares: (H, K) mean probabilities by the averaged weights.
        exponent: of the joint probability.
    """
    own, near = trained.chunk(2, dim=1)
    own_mean, near_mean = averaged.chunk(2, dim=1)
    weight = (own_mean * near_mean).sum(2).mean(0)
    expected = shares[:, None].clamp_min(_TINY)
    total = own.new_zeros(())
    for one, other in ((own, near_mean), (near, own_mean)):
        joint = (one * other).clamp_min(_TINY) ** exponent
        total = total - (weight * (joint / expected).sum(2).log()).mean()
    return total / 2
