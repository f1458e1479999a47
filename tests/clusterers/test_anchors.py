"""Clustering around known labels."""

import numpy as np
import pytest
import torch

from fiftyone_deepcluster.clusterers.anchors import Anchors
from fiftyone_deepcluster.clusterers.base import CLUSTERERS, ClusterRequest
from fiftyone_deepcluster.errors import InputError

KEEPERS = [name for name in CLUSTERERS.names() if CLUSTERERS.get(name).keeps_labels]


def slow_constrained_kmeans(vectors, labels, fixed, rounds=50):
    """Basu et al. 2002, figure 2, in a loop."""
    labels = labels.copy()
    for _ in range(rounds):
        centers = np.stack([vectors[labels == k].mean(axis=0) for k in range(labels.max() + 1)])
        for row in np.flatnonzero(~fixed):
            labels[row] = np.argmin(((vectors[row] - centers) ** 2).sum(axis=1))
    return labels


@pytest.mark.parametrize("seed", range(3))
def test_constrained_kmeans_against_a_loop(digits, seed):
    draw = np.random.default_rng(seed)
    vectors = digits[:200]
    labels, fixed = draw.integers(0, 5, 200), draw.random(200) < 0.3
    kmeans = CLUSTERERS.parse({"name": "kmeans", "tolerance": 0.0, "max_iter": 100})
    anchors = Anchors(torch.from_numpy(labels), torch.from_numpy(fixed))
    found = kmeans.cluster(vectors, ClusterRequest(5, anchors=anchors))
    assert found.labels.tolist() == slow_constrained_kmeans(vectors.double().numpy(), labels, fixed).tolist()


def test_a_mixture_without_fixed_labels_ends_where_scikit_learns_does(blobs):
    from sklearn.mixture import GaussianMixture

    truth = torch.arange(240) % 4
    started = torch.where(torch.arange(240) < 200, truth, (truth + 1) % 4)
    anchors = Anchors(started, torch.zeros(240, dtype=torch.bool))
    found = CLUSTERERS.parse("gmm").cluster(blobs, ClusterRequest(4, anchors=anchors))
    theirs = GaussianMixture(4, random_state=0, n_init=5).fit_predict(blobs.numpy())
    assert len({*zip(found.labels.tolist(), theirs.tolist(), strict=True)}) == 4


@pytest.mark.parametrize("name", KEEPERS)
def test_images_in_no_cluster_stay_out_and_do_not_move_centers(name, blobs):
    labels = torch.arange(240) % 4
    fixed = torch.arange(240) < 8
    labels[:4] = -1
    far = blobs.clone()
    far[:4] += 1e4
    clusterer = CLUSTERERS.parse(name)
    found, other = (
        clusterer.cluster(vectors, ClusterRequest(4, anchors=Anchors(labels, fixed)))
        for vectors in (far, blobs)
    )
    assert found.labels[:4].tolist() == [-1] * 4
    assert found.confidence[:4].tolist() == [0.0] * 4
    assert torch.equal(found.centers, other.centers)


@pytest.mark.parametrize("name", KEEPERS)
def test_a_cluster_of_one_free_image_among_others_does_not_vanish(name, blobs):
    labels = torch.arange(240) % 4
    labels[0] = 4  # in the middle of the first group
    found = CLUSTERERS.parse(name).cluster(
        blobs, ClusterRequest(5, anchors=Anchors(labels, torch.zeros(240, dtype=torch.bool)))
    )
    assert found.n_clusters == 5
    assert found.labels[0] == 4


def test_anchors_that_do_not_fit_are_refused(blobs):
    kmeans, labels, free = (
        CLUSTERERS.parse("kmeans"),
        torch.arange(240) % 4,
        torch.zeros(240, dtype=torch.bool),
    )
    with pytest.raises(InputError, match="known labels for 239 of 240 images"):
        kmeans.cluster(blobs, ClusterRequest(4, anchors=Anchors(labels[1:], free[1:])))
    with pytest.raises(InputError, match="4 known labels for n_clusters=5"):
        kmeans.cluster(blobs, ClusterRequest(5, anchors=Anchors(labels, free)))
    with pytest.raises(InputError, match="3 known labels for n_clusters=4"):
        kmeans.cluster(blobs, ClusterRequest(4, anchors=Anchors(torch.where(labels == 1, 0, labels), free)))
