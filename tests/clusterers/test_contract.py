"""What every registered clusterer keeps to."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch

from fiftyone_deepcluster.clusterers.base import CLUSTERERS, ClusterRequest
from fiftyone_deepcluster.errors import InputError, OptionsError
from fiftyone_deepcluster.metrics.agreement import agreement

# It finds the number of clusters itself.
FREE = {"hdbscan"}


@pytest.fixture(params=CLUSTERERS.names())
def clusterer(request):
    return CLUSTERERS.parse(request.param)


def test_result_is_complete(clusterer, blobs):
    found = clusterer.cluster(blobs, ClusterRequest(4, seed=1))
    assert found.labels.shape == found.confidence.shape == (240,)
    assert found.labels.dtype == torch.int64
    assert found.confidence.dtype == found.centers.dtype == torch.float32
    assert found.labels.device.type == found.confidence.device.type == "cpu"
    assert found.centers.shape == (found.n_clusters, 6)
    assert sorted(set(found.labels.tolist()) - {-1}) == list(range(found.n_clusters))
    assert ((found.confidence >= 0) & (found.confidence <= 1)).all()
    assert isinstance(found.objective, float)
    assert np.isfinite(found.objective)
    assert all(isinstance(score, float) for score in found.scores.values())


def test_finds_groups_that_are_far_apart(clusterer, blobs):
    found = clusterer.cluster(blobs, ClusterRequest(4, seed=1))
    reference = np.arange(240) % 4
    assert agreement(found.labels, reference).purity > 0.95


def test_centers_are_means(clusterer, blobs):
    found = clusterer.cluster(blobs, ClusterRequest(4, seed=1))
    for cluster in range(found.n_clusters):
        torch.testing.assert_close(
            found.centers[cluster], blobs[found.labels == cluster].mean(dim=0), rtol=1e-4, atol=1e-3
        )


def test_same_seed_same_result(clusterer, digits):
    first, second = (clusterer.cluster(digits[:400], ClusterRequest(10, seed=5)) for _ in range(2))
    assert torch.equal(first.labels, second.labels)
    assert torch.equal(first.centers, second.centers)
    assert torch.equal(first.confidence, second.confidence)
    assert first.objective == second.objective


def test_row_order_does_not_matter_for_clear_groups(clusterer, blobs):
    order = torch.randperm(240, generator=torch.Generator().manual_seed(0))
    plain = clusterer.cluster(blobs, ClusterRequest(4, seed=1))
    mixed = clusterer.cluster(blobs[order], ClusterRequest(4, seed=1))
    assert agreement(mixed.labels, plain.labels[order]).ari > 0.95


def test_input_is_left_alone(clusterer, blobs):
    before = blobs.clone()
    clusterer.cluster(blobs, ClusterRequest(4, seed=1))
    assert torch.equal(blobs, before)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_not_finite_are_refused(clusterer, blobs, value):
    broken = blobs.clone()
    broken[7, 2] = value
    with pytest.raises(InputError, match="NaN or infinite"):
        clusterer.cluster(broken, ClusterRequest(4))


def test_more_clusters_than_images_are_refused(clusterer, blobs):
    with pytest.raises(InputError, match=r"add images|lower"):
        clusterer.cluster(blobs[:3], ClusterRequest(4))


@pytest.mark.parametrize("name", sorted({"kmeans", "gmm", "agglomerative"}))
def test_a_missing_number_of_clusters_is_refused(name, blobs):
    with pytest.raises(InputError, match="needs n_clusters"):
        CLUSTERERS.parse(name).cluster(blobs, ClusterRequest(None))
    with pytest.raises(InputError, match="n_clusters=0"):
        CLUSTERERS.parse(name).cluster(blobs, ClusterRequest(0))


@pytest.mark.parametrize("value", [0.0, 5.0])
def test_duplicates_only_give_a_sound_result(clusterer, value):
    found = clusterer.cluster(torch.full((40, 3), value), ClusterRequest(4, seed=1))
    assert torch.isfinite(found.centers).all()
    assert torch.isfinite(found.confidence).all()
    assert not np.isnan(found.objective)
    assert sorted(set(found.labels.tolist()) - {-1}) == list(range(found.n_clusters))


def test_options_go_through_a_dict(clusterer):
    assert CLUSTERERS.parse(clusterer.model_dump()) == clusterer
    with pytest.raises(OptionsError, match="has no option 'color'"):
        CLUSTERERS.parse({"name": clusterer.name, "color": 3})


def test_parts_are_listed_without_heavy_imports():
    code = (
        "import sys; from fiftyone_deepcluster.clusterers.base import CLUSTERERS;"
        "from fiftyone_deepcluster.reducers.base import REDUCERS;"
        "[CLUSTERERS.get(n) for n in CLUSTERERS.names()]; REDUCERS.names();"
        "heavy = {'torch', 'sklearn', 'faiss', 'umap', 'fiftyone'} & set(sys.modules);"
        "sys.exit(', '.join(sorted(heavy)) or 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
