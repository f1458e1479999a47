"""The contract of every registered backbone."""

from __future__ import annotations

import pytest

from fiftyone_deepcluster.backbones.base import BACKBONES
from fiftyone_deepcluster.testing import BACKBONE_CHECKS


@pytest.mark.parametrize("check", BACKBONE_CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", BACKBONES.names())
def test_backbone_keeps_its_contract(name, check, parse_backbone):
    check(parse_backbone(name))
