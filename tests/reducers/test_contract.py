"""The contract of every registered reducer."""

from __future__ import annotations

import pytest

from fiftyone_deepcluster.reducers.base import REDUCERS
from fiftyone_deepcluster.testing import REDUCER_CHECKS


@pytest.mark.parametrize("check", REDUCER_CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", REDUCERS.names())
def test_reducer_keeps_its_contract(name, check):
    check(REDUCERS.parse(name))


@pytest.mark.parametrize("name", REDUCERS.names())
@pytest.mark.parametrize("n", [4, 9, 12, 14])
def test_built_in_reducers_take_few_images(name, n, digits):
    assert len(REDUCERS.parse(name).embed(digits[:n], seed=2)) == n
