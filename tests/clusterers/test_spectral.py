"""LSC against dense spectral algebra, and on groups that k-means cannot separate."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from fiftyone_deepcluster.clusterers.base import ClusterRequest
from fiftyone_deepcluster.clusterers.kmeans.clusterer import KMeans
from fiftyone_deepcluster.clusterers.spectral import Lsc, landmark_weights, spectral_embedding
from fiftyone_deepcluster.errors import InputError
from fiftyone_deepcluster.metrics.agreement import agreement


def dense(weights: torch.Tensor, near: torch.Tensor, n_landmarks: int) -> np.ndarray:
    found = np.zeros((len(weights), n_landmarks))
    np.put_along_axis(found, near.numpy(), weights.numpy(), axis=1)
    return found


def test_weights_of_the_r_nearest_landmarks_sum_to_one(digits):
    landmarks = digits[::30]
    weights, near = landmark_weights(digits[:300], landmarks, 5)
    table = dense(weights, near, len(landmarks))
    assert ((table > 0).sum(axis=1) == 5).all()
    np.testing.assert_allclose(table.sum(axis=1), 1, atol=1e-6)


def test_weights_are_gaussians_of_the_nearest_landmarks(digits):
    vectors, landmarks = digits[:40], digits[100:115]
    weights, near = landmark_weights(vectors, landmarks, 3)
    distance = np.linalg.norm(vectors.numpy()[:, None] - landmarks.numpy()[None], axis=2)
    width = distance.mean()
    for row in range(40):
        nearest = np.argsort(distance[row])[:3]
        assert near[row].tolist() == nearest.tolist()
        kernel = np.exp(-(distance[row, nearest] ** 2) / (2 * width**2))
        np.testing.assert_allclose(weights[row].numpy(), kernel / kernel.sum(), rtol=1e-4)


def test_embedding_equals_the_singular_vectors_of_the_scaled_weights(digits):
    weights, near = landmark_weights(digits[:300], digits[300:340], 4)
    found, singular = spectral_embedding(weights, near, n_landmarks=40, n_components=6)
    table = dense(weights, near, 40)
    left, values, _ = np.linalg.svd(table / np.sqrt(table.sum(axis=0).clip(1e-300)), full_matrices=False)
    np.testing.assert_allclose(singular.numpy(), values[:7], atol=1e-6)
    assert float(singular[0]) == pytest.approx(1.0, abs=1e-6)
    expected = left[:, 1:7]
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(np.abs(found.numpy()), np.abs(expected), atol=1e-3)


@pytest.mark.parametrize("placed", ["kmeans", "sample"])
def test_digits_are_better_than_by_kmeans(digits, placed):
    truth = load_digits().target
    ours = Lsc(placed=placed).cluster(digits, ClusterRequest(10, seed=51))
    plain = agreement(KMeans().cluster(digits, ClusterRequest(10, seed=51)).labels, truth)
    assert agreement(ours.labels, truth).nmi > plain.nmi + 0.03
    assert ours.scores["landmarks"] == 449


def test_more_clusters_than_landmarks_add_landmarks(blobs):
    found = Lsc(landmarks=2).cluster(blobs, ClusterRequest(4, seed=1))
    assert found.n_clusters == 4
    assert found.scores["landmarks"] == 5


def test_a_missing_number_is_refused(blobs):
    with pytest.raises(InputError, match="spectral clustering needs n_clusters"):
        Lsc().cluster(blobs, ClusterRequest(None))
