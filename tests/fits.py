"""Comparison of two results of ``fit``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from fiftyone_deepcluster.api.fit import FitResult


def same(a: FitResult, b: FitResult) -> bool:
    """Whether labels, embeddings and histories are equal to the bit."""
    return (
        np.array_equal(a.labels, b.labels)
        and np.array_equal(a.embeddings, b.embeddings)
        and np.array_equal(a.round_labels, b.round_labels)
        and np.array_equal(a.round_losses, b.round_losses, equal_nan=True)
    )
