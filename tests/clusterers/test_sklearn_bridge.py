"""The clusterers from scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fiftyone_deepcluster.clusterers.base import ClusterRequest
from fiftyone_deepcluster.clusterers.sklearn_bridge import Agglomerative, Hdbscan
from fiftyone_deepcluster.errors import InputError
from fiftyone_deepcluster.metrics.agreement import agreement


@pytest.mark.parametrize("linkage", ["ward", "average", "complete"])
def test_agglomerative_linkages(blobs, linkage):
    found = Agglomerative(linkage=linkage).cluster(blobs, ClusterRequest(4))
    assert agreement(found.labels, np.arange(240) % 4).acc == 1


def test_agglomerative_refuses_too_many_images(blobs):
    with pytest.raises(InputError, match="max_images=100; raise it, or use kmeans"):
        Agglomerative(max_images=100).cluster(blobs, ClusterRequest(4))


def test_agglomerative_of_one_image(blobs):
    assert Agglomerative().cluster(blobs[:1], ClusterRequest(1)).labels.tolist() == [0]


def test_hdbscan_labels_noise_as_minus_one(blobs):
    vectors = torch.cat([blobs, torch.full((1, 6), 1e4)])
    found = Hdbscan().cluster(vectors, ClusterRequest(None))
    assert found.labels[-1] == -1
    assert found.confidence[-1] == 0
    assert found.n_clusters == 4
    assert found.scores["noise"] == pytest.approx((found.labels < 0).float().mean().item())


def test_hdbscan_can_find_only_noise():
    generator = torch.Generator().manual_seed(0)
    found = Hdbscan(min_cluster_size=30).cluster(torch.rand(40, 2, generator=generator), ClusterRequest(None))
    assert found.n_clusters == len(found.centers) == 0
    assert found.objective == 0
