"""Losses against values by hand."""

import numpy as np
import pytest
import torch

from fiftyone_deepcluster.core.types import ClassTargets, Outputs, PairTargets
from fiftyone_deepcluster.training.losses import CrossEntropy


def test_cross_entropy_of_each_image_and_nothing_for_unlabeled():
    logits = torch.tensor([[2.0, 0.0], [0.0, 1.0], [5.0, 5.0]])
    losses = CrossEntropy().losses(Outputs(logits, logits), ClassTargets(torch.tensor([0, 0, -1])))
    expected = [np.log(1 + np.exp(-2.0)), np.log(1 + np.exp(1.0)), 0.0]
    np.testing.assert_allclose(losses.numpy(), expected, rtol=1e-6)
    with pytest.raises(TypeError, match="gives pairs"):
        CrossEntropy().losses(Outputs(logits, logits), PairTargets(torch.eye(3), torch.eye(3)))
