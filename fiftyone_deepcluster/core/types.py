"""The few values that travel through the loop.

Shapes use B for a batch, N for all readable images, D for feature dimensions, K for clusters.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import torch
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Batch:
    """A mini-batch, on the device.

    Attributes:
        images: (V·B, C, H, W) float32 in 0..1, augmented: V crops of B images, all first crops first. V is 1
            but for multi-crop.
        rows: (B,) int64 on the CPU, the row of each image in the corpus.
        small: (S·B, C, h, w), S further crops of the same images at another size, in the same order; None
            where there are none.
    """

    images: torch.Tensor
    rows: torch.Tensor
    small: torch.Tensor | None = None

    @property
    def views(self) -> tuple[torch.Tensor, ...]:
        """What the network is called with: the crops of one size, or of both."""
        return (self.images,) if self.small is None else (self.images, self.small)


@dataclass(frozen=True)
class Outputs:
    """What a network says of a batch.

    With several crops an image the rows below are V·B + S·B, in the order of ``Batch``.

    Attributes:
        features: (B, D) the representation that is clustered.
        logits: (B, K) scores of the head; a (B, 0) tensor where there is no head.
    """

    features: torch.Tensor
    logits: torch.Tensor


@dataclass(frozen=True)
class ClassTargets:
    """One pseudo-class for each image of a batch: (B,) int64, or (B, H) for H heads; -1 is not taught."""

    labels: torch.Tensor


@dataclass(frozen=True)
class PairTargets:
    """For each pair of a batch whether both belong together.

    Attributes:
        same: (B, B) float32, 1 for pairs taken as similar and 0 as dissimilar.
        chosen: (B, B) float32, 1 for the pairs that are taught at all.
        before: (B, K) float32 label features that the network is held to, or None.
    """

    same: torch.Tensor
    chosen: torch.Tensor
    before: torch.Tensor | None = None


Targets = ClassTargets | PairTargets


@dataclass(frozen=True)
class RoundPlan:
    """What one round trains on.

    Attributes:
        order: (M,) int64, the rows to draw, in order; repeats are allowed.
        n_outputs: outputs of the new head, or None to keep the head.
        prototypes: (K, D) float32, a head that is given instead of learned: its weights, which stay as they are.
        augmented: images are changed at random as the training spec says; else they stay as they are.
        rate: share of constant learning rates that holds in this round.
    """

    order: NDArray[np.int64]
    n_outputs: int | None = None
    prototypes: torch.Tensor | None = None
    augmented: bool = True
    rate: float = 1.0


@dataclass(frozen=True)
class Assignment:
    """The cluster of every image, at one moment.

    Attributes:
        labels: (N,) int64, the cluster of each image.
        confidence: (N,) float32 in 0..1.
        distance: (N,) float32, Euclidean distance to the cluster's center in ``embeddings``.
        margin: (N,) float32, distance to the second nearest center less ``distance``.
        embeddings: (N, D) float32, the vectors that were clustered.
        centers: (K, D) float32, mean embedding of each cluster, row = cluster id; NaN where an id is not in use.
        scores: figures of the part that assigned, for the record.
        details: lists of figures of that part, likewise.
    """

    labels: NDArray[np.int64]
    confidence: NDArray[np.float32]
    distance: NDArray[np.float32]
    margin: NDArray[np.float32]
    embeddings: NDArray[np.float32]
    centers: NDArray[np.float32]
    scores: dict[str, float] = field(default_factory=dict)
    details: dict[str, list[float]] = field(default_factory=dict)

    @property
    def n_clusters(self) -> int:
        """Number of cluster ids, those not in use included."""
        return len(self.centers)


@dataclass(frozen=True)
class Known:
    """What is known of N images besides their pixels, in their order; all of it may be missing.

    Attributes:
        groups: who belongs together and may not be parted by a split, e.g. the patient of each image; None unknown.
        initial: labels that the first round is taught, where the method asks for them; None unknown.
    """

    groups: Sequence[object] | None = None
    initial: Sequence[object] | None = None
