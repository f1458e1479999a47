"""Assignments: values computed from vectors, and their snapshots."""

import numpy as np
import pytest
import torch

from fiftyone_deepcluster.clusterers.base import ClusterRequest
from fiftyone_deepcluster.clusterers.kmeans.clusterer import KMeans
from fiftyone_deepcluster.pseudo_labels.assignments import assignment_of, nearest_assignment
from fiftyone_deepcluster.training.run_state import pack_assignment, unpack_assignment


@pytest.fixture
def vectors():
    generator = torch.Generator().manual_seed(3)
    return torch.cat([torch.randn(20, 4, generator=generator) + shift for shift in (0.0, 9.0, 18.0)])


def test_the_nearest_center_is_the_cluster(vectors):
    centers = vectors[[0, 20, 40]]
    found = nearest_assignment(vectors, centers, {"drift": 0.5})
    apart = np.linalg.norm(vectors.numpy()[:, None] - centers.numpy()[None], axis=2)
    first, second = np.sort(apart, axis=1)[:, :2].T

    np.testing.assert_array_equal(found.labels, apart.argmin(1))
    np.testing.assert_allclose(found.distance, first, atol=2e-3)
    np.testing.assert_allclose(found.margin, second - first, atol=2e-3)
    assert ((found.confidence > 0) & (found.confidence <= 1)).all()
    assert found.scores == {"drift": 0.5}
    assert found.errors == {}


def test_a_single_center_has_no_margin(vectors):
    found = nearest_assignment(vectors, vectors[:1])

    assert not found.labels.any()
    assert not found.margin.any()


def test_distances_are_measured_in_the_given_vectors(vectors):
    found = KMeans().cluster(vectors, ClusterRequest(3, seed=1))
    wide = torch.cat([vectors, vectors], dim=1)
    assignment = assignment_of(found, wide, {"noted": 1.0})

    assert assignment.embeddings.shape == (60, 8)
    for cluster in range(3):
        mean = wide[found.labels == cluster].mean(0)
        np.testing.assert_allclose(assignment.centers[cluster], mean, atol=1e-5)
    assert {"objective", "noted"} <= assignment.scores.keys()


def test_a_snapshot_keeps_every_field(vectors, tmp_path):
    found = nearest_assignment(vectors, vectors[:3], {"drift": 0.5})
    torch.save(pack_assignment(found), tmp_path / "state.pt")
    again = unpack_assignment(torch.load(tmp_path / "state.pt", weights_only=True))

    assert vars(again).keys() == vars(found).keys()
    for name, value in vars(found).items():
        np.testing.assert_array_equal(vars(again)[name], value)
