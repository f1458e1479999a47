"""Nearest neighbors against a slow search."""

from __future__ import annotations

import numpy as np
import torch

from fiftyone_deepcluster.metrics.knn import exact_neighbors


def test_neighbors_are_exact(digits):
    rows, distances = exact_neighbors(digits[:300], 5)
    everything = torch.cdist(digits[:300].double(), digits[:300].double())
    np.testing.assert_allclose(distances, everything.sort(dim=1).values[:, :5], atol=1e-2)
    np.testing.assert_allclose(np.take_along_axis(everything.numpy(), rows, 1), distances, atol=1e-2)
    assert rows[:, 0].tolist() == list(range(300))
