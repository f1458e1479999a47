"""UMAP's space, and the clusterers that scikit-learn lends."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from fiftyone_deepcluster.clusterers.base import ClusterRequest
from fiftyone_deepcluster.clusterers.manifold import Flat, GaussianMixture, Umap, exact_neighbours
from fiftyone_deepcluster.clusterers.sklearn_bridge import Agglomerative, Hdbscan
from fiftyone_deepcluster.errors import InputError
from fiftyone_deepcluster.measures import agreement


@pytest.fixture(scope="session")
def layout(digits):
    """(1797, 10): the digits in UMAP's space."""
    return Umap().embed(digits, seed=0)


def test_umap_and_mixture_beat_the_pixels(layout, digits):
    truth = load_digits().target
    on_layout = GaussianMixture().cluster(layout, ClusterRequest(10))
    on_pixels = GaussianMixture(covariance="diag").cluster(digits, ClusterRequest(10))
    assert agreement(on_layout.labels, truth).acc > 0.85
    assert agreement(on_layout.labels, truth).nmi > agreement(on_pixels.labels, truth).nmi + 0.1


def test_many_images_leave_the_neighbours_to_umap(monkeypatch):
    from fiftyone_deepcluster.clusterers import manifold

    part, truth = Umap(dims=5, epochs=200), load_digits(n_class=3).target
    vectors = torch.from_numpy(load_digits(n_class=3).data).float()
    spaces = [part.embed(vectors, seed=0)]
    monkeypatch.setattr(manifold, "_EXACT_NEIGHBOURS", 0)
    spaces.append(part.embed(vectors, seed=0))
    # 0.94 to 1, by the seed and umap-learn's release
    for space in spaces:
        assert agreement(GaussianMixture().cluster(space, ClusterRequest(3)).labels, truth).acc > 0.9


def test_umap_options(digits):
    assert Umap(dims=3, metric="cosine", epochs=20).embed(digits[:100], seed=1).shape == (100, 3)
    with pytest.raises(InputError, match="UMAP cannot lay out 3 images"):
        Umap().embed(digits[:3], seed=1)
    with pytest.raises(InputError, match="NaN"):
        Umap().embed(torch.full((10, 3), float("nan")), seed=1)


def test_flat_is_the_identity(digits):
    assert Flat().embed(digits, seed=1) is digits


def test_neighbours_are_exact(digits):
    rows, distances = exact_neighbours(digits[:300], 5)
    everything = torch.cdist(digits[:300].double(), digits[:300].double())
    np.testing.assert_allclose(distances, everything.sort(dim=1).values[:, :5], atol=1e-2)
    np.testing.assert_allclose(np.take_along_axis(everything.numpy(), rows, 1), distances, atol=1e-2)
    assert rows[:, 0].tolist() == list(range(300))


@pytest.mark.parametrize("covariance", ["full", "diag", "tied"])
def test_mixture_confidence_is_the_posterior(blobs, covariance):
    found = GaussianMixture(covariance=covariance).cluster(blobs, ClusterRequest(4))
    assert found.scores["converged"] == 1
    assert found.confidence.min() > 0.99


def test_mixture_scales_with_the_vectors(digits):
    part = GaussianMixture(covariance="diag", restarts=1)
    plain, small = (part.cluster(digits[:500] * scale, ClusterRequest(10)) for scale in (1.0, 2.0**-16))
    assert agreement(plain.labels, small.labels).ari > 0.95


def test_mixture_that_shrinks_says_what_to_do():
    vectors = torch.eye(3).repeat(10, 1)
    with pytest.raises(InputError, match="regularisation"):
        GaussianMixture(regularisation=0).cluster(vectors, ClusterRequest(3))


def test_mixture_says_when_it_did_not_converge(digits):
    found = GaussianMixture(covariance="diag", iterations=1).cluster(digits, ClusterRequest(10))
    assert found.scores["converged"] == 0


@pytest.mark.parametrize("linkage", ["ward", "average", "complete"])
def test_agglomerative_linkages(blobs, linkage):
    found = Agglomerative(linkage=linkage).cluster(blobs, ClusterRequest(4))
    assert agreement(found.labels, np.arange(240) % 4).acc == 1


def test_agglomerative_refuses_too_many_images(blobs):
    with pytest.raises(InputError, match="max_images=100; raise it, or take kmeans"):
        Agglomerative(max_images=100).cluster(blobs, ClusterRequest(4))


def test_agglomerative_of_one_image(blobs):
    assert Agglomerative().cluster(blobs[:1], ClusterRequest(1)).labels.tolist() == [0]


def test_hdbscan_tells_noise(blobs):
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


def test_umap_leaves_torch_its_threads(blobs):
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        Umap(dims=2, epochs=5).embed(blobs, seed=0)
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)
