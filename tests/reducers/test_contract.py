"""What every registered reducer keeps to."""

from __future__ import annotations

import pytest
import torch

from fiftyone_deepcluster.reducers.base import REDUCERS


@pytest.fixture(params=REDUCERS.names())
def reducer(request):
    return REDUCERS.parse(request.param)


def test_reducer_keeps_rows_and_type(reducer, digits):
    embedded = reducer.embed(digits[:150], seed=2)
    assert embedded.shape[0] == 150
    assert embedded.dtype == torch.float32
    assert torch.isfinite(embedded).all()
    assert torch.equal(embedded, reducer.embed(digits[:150], seed=2))


@pytest.mark.parametrize("n", [4, 9, 12, 14])
def test_reducer_takes_few_images(reducer, digits, n):
    embedded = reducer.embed(digits[:n], seed=2)
    assert len(embedded) == n
    assert torch.isfinite(embedded).all()


def test_reducer_takes_duplicates(reducer):
    assert torch.isfinite(reducer.embed(torch.ones(30, 5), seed=2)).all()
