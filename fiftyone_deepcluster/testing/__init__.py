"""Checks for custom parts: the requirements of this package, the App and stored runs.

Each ``check_...`` takes a part (an object, its class, its name, or a dict with name and options) and raises
AssertionError at the first failed check, with the reason, like scikit-learn's ``check_estimator``::

    from fiftyone_deepcluster.testing import check_clusterer

    def test_my_clusterer():
        check_clusterer("mine")

To run each check as its own test, pass ``CLUSTERER_CHECKS`` etc. to ``pytest.mark.parametrize``.
"""

from __future__ import annotations

from fiftyone_deepcluster.testing.backbones import BACKBONE_CHECKS, check_backbone
from fiftyone_deepcluster.testing.clusterers import CLUSTERER_CHECKS, check_clusterer
from fiftyone_deepcluster.testing.encoders import ENCODER_CHECKS, check_encoder
from fiftyone_deepcluster.testing.methods import METHOD_CHECKS, check_method
from fiftyone_deepcluster.testing.reducers import REDUCER_CHECKS, check_reducer

__all__ = [
    "BACKBONE_CHECKS",
    "CLUSTERER_CHECKS",
    "ENCODER_CHECKS",
    "METHOD_CHECKS",
    "REDUCER_CHECKS",
    "check_backbone",
    "check_clusterer",
    "check_encoder",
    "check_method",
    "check_reducer",
]
