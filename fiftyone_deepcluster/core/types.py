"""Data types of the training loop.

In shapes, B is the batch size, N the number of readable images, D the feature dimension, K the clusters.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import numpy as np
    import torch
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Batch:
    """A mini-batch on the device.

    Attributes:
        images: (V·B, C, H, W) float32 in 0..1, augmented: V crops of B images, all first crops first. V is 1
            except for multi-crop.
        rows: (B,) int64 on the CPU, the row of each image in the corpus.
        small: (S·B, C, h, w), S further crops of the same images at another size, in the same order; None
            without small crops.
    """

    images: torch.Tensor
    rows: torch.Tensor
    small: torch.Tensor | None = None

    @property
    def views(self) -> tuple[torch.Tensor, ...]:
        """Arguments of the network's forward pass: the crops of one size, or of both."""
        return (self.images,) if self.small is None else (self.images, self.small)

    @cached_property
    def device_rows(self) -> torch.Tensor:
        """``rows`` on the device of the images; from pinned memory, so that nothing waits for a GPU."""
        return self.rows.to(self.images.device, non_blocking=True)


@dataclass(frozen=True)
class Outputs:
    """Outputs of a network for a batch.

    With multi-crop, the number of rows is V·B + S·B instead of B, in the order of ``Batch``.

    Attributes:
        features: (B, D), the representation that is clustered.
        logits: (B, K), outputs of the head; (B, 0) without a head.
    """

    features: torch.Tensor
    logits: torch.Tensor


@dataclass(frozen=True)
class ClassTargets:
    """Pseudo-labels of a batch: (B,) int64, or (B, H) for H heads; -1 is ignored by the loss."""

    labels: torch.Tensor


@dataclass(frozen=True)
class PairTargets:
    """Pairwise targets of a batch: whether two images belong to the same cluster.

    Attributes:
        same: (B, B) float32, 1 for similar pairs and 0 for dissimilar ones.
        chosen: (B, B) float32, 1 for the pairs that contribute to the loss.
        before: (B, K) float32, earlier label features that the loss keeps the network close to, or None.
    """

    same: torch.Tensor
    chosen: torch.Tensor
    before: torch.Tensor | None = None


Targets = ClassTargets | PairTargets


@dataclass(frozen=True)
class RoundPlan:
    """Training plan of one round.

    Attributes:
        order: (M,) int64, rows to train on, in order; may contain repeats.
        n_outputs: number of outputs of a new head, or None to keep the head.
        prototypes: (K, D) float32, fixed weights of the head, which are not trained.
        augmented: whether images are augmented as defined by the training spec.
        rate_factor: factor of the learning rates in this round, where no schedule sets them.
        next_epoch: for a round whose length depends on its loss: called after every epoch with the mean training loss
            of each epoch so far, it returns the rows of the next epoch, or None at the end; ``order`` is the first
            epoch. None: ``order`` is the whole round.
    """

    order: NDArray[np.int64]
    n_outputs: int | None = None
    prototypes: torch.Tensor | None = None
    augmented: bool = True
    rate_factor: float = 1.0
    next_epoch: Callable[[Sequence[float]], NDArray[np.int64] | None] | None = None


@dataclass(frozen=True)
class Assignment:
    """Cluster assignment of all images.

    Attributes:
        labels: (N,) int64, cluster of each image; -1 for noise in density-based methods.
        confidence: (N,) float32 in 0..1.
        distance: (N,) float32, Euclidean distance to the cluster's center in ``embeddings``.
        margin: (N,) float32, distance to the second nearest center minus ``distance``.
        embeddings: (N, D) float32, the vectors that were clustered; D is 0 if none were kept.
        centers: (K, D) float32, mean embedding of each cluster, row = cluster id; NaN for unused ids.
        scores: numbers reported by the part that assigned the clusters, for the record.
        details: lists of numbers or of texts reported by that part, for the record.
        numbers_kept: whether ids mean the same clusters as in the last assignment, so that no matching is needed.
        errors: row -> why that image could not be read. Such images have label -1, NaN as confidence, distance
            and margin, and zero embeddings. Always empty within the loop.
    """

    labels: NDArray[np.int64]
    confidence: NDArray[np.float32]
    distance: NDArray[np.float32]
    margin: NDArray[np.float32]
    embeddings: NDArray[np.float32]
    centers: NDArray[np.float32]
    scores: dict[str, float] = field(default_factory=dict)
    details: dict[str, list[float] | list[str]] = field(default_factory=dict)
    numbers_kept: bool = False
    errors: dict[int, str] = field(default_factory=dict)

    @property
    def n_clusters(self) -> int:
        """Number of cluster ids, including unused ones."""
        return len(self.centers)


@dataclass(frozen=True)
class Known:
    """Optional side information on N images, in their order.

    Attributes:
        groups: group of each image, e.g. its patient; a split never divides a group. None: unknown.
        initial: labels used as targets of the first round, where the method supports it. None: unknown.
        fixed: whether each image keeps its label of ``initial`` in every round, for methods that support it; an image
            that keeps None is in no cluster. The clusters of the result are these labels, numbered in sorted order.
            None: no image does.
        network: ``run_dir`` of a finished run of the same backbone, whose network training starts from. None: the
            weights that the options name.
        fixed_weight: weight of the fixed images in the loss, relative to that of all others.
        other_vectors: (N, D) float32 vectors of another source, such as another network, for methods that cluster them
            together with their own features. A row that is not finite: none for that image. None: none at all.
    """

    groups: Sequence[object] | None = None
    initial: Sequence[object] | None = None
    fixed: Sequence[bool] | None = None
    network: str | Path | None = None
    fixed_weight: float = 1.0
    other_vectors: NDArray[np.float32] | None = None
