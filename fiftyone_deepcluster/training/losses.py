"""Losses between network outputs and the targets of a pseudo-task, one value per image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch.nn import functional

from fiftyone_deepcluster.core.types import ClassTargets, Outputs, PairTargets, Targets


class Objective(Protocol):
    """Computes (B,) losses from outputs and targets."""

    def losses(self, outputs: Outputs, targets: Targets) -> torch.Tensor:
        """(B,) float32, one loss per image; 0 for an image without a target."""
        ...


@dataclass(frozen=True)
class CrossEntropy:
    """Softmax cross-entropy with the pseudo-label (Caron et al., equation 1).

    Attributes:
        label_smoothing: share of the target distributed uniformly over all classes.
    """

    label_smoothing: float = 0.0

    def losses(self, outputs: Outputs, targets: Targets) -> torch.Tensor:
        """(B,) losses; images with label -1 give 0."""
        if not isinstance(targets, ClassTargets):
            raise TypeError("CrossEntropy needs class targets; this task gives pairs")
        return functional.cross_entropy(
            outputs.logits.float(),
            targets.labels,
            ignore_index=-1,
            label_smoothing=self.label_smoothing,
            reduction="none",
        )


@dataclass(frozen=True)
class PrototypeCrossEntropy:
    """Cross-entropy with prototypes, the mean over heads and crops (DeepCluster-v2).

    Caron et al. 2020, "Unsupervised Learning of Visual Features by Contrasting Cluster Assignments",
    appendix on DeepCluster-v2: the target of every crop of an image, in every head, is the image's cluster.

    Attributes:
        temperature: divisor of the cosine similarities.
    """

    temperature: float = 0.1

    def losses(self, outputs: Outputs, targets: Targets) -> torch.Tensor:
        """(B,) losses from logits (V·B, H·K), cosines of V crops with H heads' prototypes, and labels (B, H).

        An image with label -1 in a head has loss 0 there.
        """
        if not isinstance(targets, ClassTargets) or targets.labels.ndim != 2:
            raise TypeError(
                "PrototypeCrossEntropy needs one class target per head; this task gives other targets"
            )
        size, heads = targets.labels.shape
        logits = outputs.logits.float().view(-1, size, heads, outputs.logits.shape[1] // heads)
        labels = targets.labels.expand(len(logits), size, heads)
        losses = functional.cross_entropy(
            logits.flatten(0, 2) / self.temperature, labels.flatten(), ignore_index=-1, reduction="none"
        )
        return losses.view(labels.shape).mean(dim=(0, 2))


_MIN = 1e-7
"""Lower bound of probabilities before the logarithm, as in Keras."""


@dataclass(frozen=True)
class PairLoss:
    """Binary cross-entropy between "same cluster" targets and pair similarities (Chang et al., equation 10).

    -r log g - (1 - r) log(1 - g) for g = l_i · l_j is -log of the probability of the target, g or 1 - g:
    one logarithm per pair, never of 0, and unselected pairs cannot give 0 · infinity. The sum is divided by the
    number of selected pairs, so that the learning rate need not change as more are selected. With two augmented views
    per image, each pair combines the first view of one image with the second view of the other, as in the authors'
    MNIST script: an image and its other view are a pair as well.

    Attributes:
        kind: ``entropy``; or as in the authors' scripts ``squares``, (r - g)² for MNIST, and ``distance``, |r - g|:
            ``cifar10_2.py`` swaps the two arguments of Keras 1's cross-entropy, which gives -log(1e-7) |r - g|.
            Its log agrees: .135 at the first step is a mean of |r - g| of .27.
        hold: weight of the cross-entropy between the current softmax and that of ``PairTargets.before``,
            averaged over the clusters: self-distillation, in the authors' code and not in the paper.
        hold_on: what the self-distillation compares: ``softmax``, or the label ``features`` of length 1 themselves,
            as in the authors' scripts for images of 96 pixels.
    """

    kind: Literal["entropy", "squares", "distance"] = "entropy"
    hold: float = 0.0
    hold_on: Literal["softmax", "features"] = "softmax"

    def losses(self, outputs: Outputs, targets: Targets) -> torch.Tensor:
        """(B,) losses: B times an image's share of the batch loss, so that their mean is that loss.

        Features are (B, K), or (2·B, K) for two views of each image, all first views first.
        """
        if not isinstance(targets, PairTargets):
            raise TypeError("PairLoss needs pair targets; this task gives classes")
        features = outputs.features.float()
        halves = features.split(len(targets.same))
        similar = halves[0] @ halves[-1].T
        given = torch.where(targets.same > 0, similar, 1 - similar)
        chosen = targets.chosen
        losses = (self._costs(given) * chosen).sum(1) * (len(chosen) / chosen.sum().clamp_min(1))
        if self.hold and targets.before is not None:
            now, before = halves[0], targets.before
            if self.hold_on == "softmax":
                now, before = _softmax_of(now), _softmax_of(before)
            # a length rounds to above 1
            losses = losses + self.hold * _entropy(now.clamp(0, 1), before.clamp(0, 1))
        return losses

    def _costs(self, given: torch.Tensor) -> torch.Tensor:
        """Losses of pairs from the predicted probabilities of their targets."""
        if self.kind == "entropy":
            return -given.clamp_min(_MIN).log()
        return 1 - given if self.kind == "distance" else (1 - given).square()


def _softmax_of(label_features: torch.Tensor) -> torch.Tensor:
    """The softmax p from which l = p / |p| was computed: l / Σ l."""
    return label_features / label_features.sum(1, keepdim=True)


def _entropy(now: torch.Tensor, before: torch.Tensor) -> torch.Tensor:
    """(B,) binary cross-entropy of each cluster's probability, averaged over the clusters."""
    return functional.binary_cross_entropy(now, before, reduction="none").mean(1)
