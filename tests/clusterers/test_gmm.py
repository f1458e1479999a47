"""Gaussian mixtures: posteriors, scale, and errors where they fail."""

from __future__ import annotations

import pytest
import torch

from fiftyone_deepcluster.clusterers.base import ClusterRequest
from fiftyone_deepcluster.clusterers.gmm import GaussianMixture
from fiftyone_deepcluster.errors import InputError
from fiftyone_deepcluster.metrics.agreement import agreement


@pytest.mark.parametrize("covariance", ["full", "diag", "tied"])
def test_mixture_confidence_is_the_posterior(blobs, covariance):
    found = GaussianMixture(covariance=covariance).cluster(blobs, ClusterRequest(4))
    assert found.scores["converged"] == 1
    assert found.confidence.min() > 0.99


def test_mixture_scales_with_the_vectors(digits):
    part = GaussianMixture(covariance="diag", n_init=1)
    plain, small = (part.cluster(digits[:500] * scale, ClusterRequest(10)) for scale in (1.0, 2.0**-16))
    assert agreement(plain.labels, small.labels).ari > 0.95


def test_a_collapsing_mixture_raises_an_error_that_names_regularization():
    vectors = torch.eye(3).repeat(10, 1)
    with pytest.raises(InputError, match="regularization"):
        GaussianMixture(regularization=0).cluster(vectors, ClusterRequest(3))


def test_a_mixture_that_did_not_converge_has_converged_0_in_its_scores(digits):
    found = GaussianMixture(covariance="diag", max_iter=1).cluster(digits, ClusterRequest(10))
    assert found.scores["converged"] == 0
