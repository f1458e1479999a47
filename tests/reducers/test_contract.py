"""What every registered reducer keeps to."""

from __future__ import annotations

import pytest

from fiftyone_deepcluster.reducers.base import SPACES
from fiftyone_deepcluster.testing import REDUCER_CHECKS


@pytest.mark.parametrize("check", REDUCER_CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", SPACES.names())
def test_reducer_keeps_its_contract(name, check):
    check(SPACES.parse(name))


@pytest.mark.parametrize("name", SPACES.names())
@pytest.mark.parametrize("n", [4, 9, 12, 14])
def test_built_in_reducers_take_few_images(name, n, digits):
    assert len(SPACES.parse(name).embed(digits[:n], seed=2)) == n
