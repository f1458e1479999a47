"""What every registered reducer keeps to."""

from __future__ import annotations

import pytest
import torch

from fiftyone_deepcluster.reducers.base import SPACES


@pytest.fixture(params=SPACES.names())
def space(request):
    return SPACES.parse(request.param)


def test_space_keeps_rows_and_type(space, digits):
    embedded = space.embed(digits[:150], seed=2)
    assert embedded.shape[0] == 150
    assert embedded.dtype == torch.float32
    assert torch.isfinite(embedded).all()
    assert torch.equal(embedded, space.embed(digits[:150], seed=2))


@pytest.mark.parametrize("n", [4, 9, 12, 14])
def test_space_takes_few_images(space, digits, n):
    embedded = space.embed(digits[:n], seed=2)
    assert len(embedded) == n
    assert torch.isfinite(embedded).all()


def test_space_takes_duplicates(space):
    assert torch.isfinite(space.embed(torch.ones(30, 5), seed=2)).all()
