"""Losses: what the network says against what the task wants, one value an image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch.nn import functional

from fiftyone_deepcluster.types import ClassTargets, Outputs, Targets


class Objective(Protocol):
    """Outputs and targets to (B,) losses."""

    def losses(self, outputs: Outputs, targets: Targets) -> torch.Tensor:
        """(B,) float32, one loss an image; 0 for an image that is not taught."""
        ...


@dataclass(frozen=True)
class CrossEntropy:
    """Softmax cross-entropy with the pseudo-label (Caron et al., equation 1).

    Attributes:
        smoothing: share of the target spread evenly over all classes.
    """

    smoothing: float = 0.0

    def losses(self, outputs: Outputs, targets: Targets) -> torch.Tensor:
        """(B,) losses; images with label -1 give 0."""
        if not isinstance(targets, ClassTargets):
            raise TypeError("CrossEntropy teaches classes; this task gives pairs")
        return functional.cross_entropy(
            outputs.logits.float(),
            targets.labels,
            ignore_index=-1,
            label_smoothing=self.smoothing,
            reduction="none",
        )
