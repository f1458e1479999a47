"""UCNN's centers: updated by the running mean, revived, of constant size."""

import pytest
import torch
from sklearn.datasets import load_digits

from fiftyone_deepcluster.clusterers.base import CLUSTERERS, ClusterRequest
from fiftyone_deepcluster.clusterers.kmeans.streams import Centroids


def test_centers_move_by_one_over_count():
    centroids = Centroids(torch.tensor([[0.0, 0.0], [10.0, 10.0]]))
    centroids.update(torch.tensor([[2.0, 0.0]]), torch.tensor([0]))
    assert centroids.centers.tolist() == [[2, 0], [10, 10]]  # 1/1: the first takes the start's place
    centroids.update(torch.tensor([[4.0, 0.0]]), torch.tensor([0]))
    assert centroids.centers[0].tolist() == [3, 0]  # 1/2 of the way
    centroids.update(torch.tensor([[9.0, 4.0], [0.0, 8.0]]), torch.tensor([0, 1]))
    assert centroids.centers.tolist()[1] == [0, 8]
    torch.testing.assert_close(centroids.centers[0], torch.tensor([5.0, 4 / 3]))  # 1/3 of the way
    assert centroids.counts.tolist() == [3, 1]


def slow_update(centers, counts, vectors, labels):
    """Hsu and Lin, equations 2 and 3, one vector after the other."""
    for vector, label in zip(vectors.double(), labels.tolist(), strict=True):
        counts[label] += 1
        rate = 1 / counts[label]
        centers[label] = (1 - rate) * centers[label] + rate * vector


def test_a_batch_update_equals_single_updates_and_the_running_mean():
    generator = torch.Generator().manual_seed(1)
    start = torch.randn(7, 5, generator=generator)
    centroids, centers, counts = Centroids(start), start.double().clone(), [0] * 7
    given, chosen = [], []
    for _ in range(40):
        vectors = torch.randn(50, 5, generator=generator) + 3
        labels = centroids.nearest(vectors)
        slow = (vectors[:, None] - centroids.centers).square().sum(dim=2).argmin(dim=1)
        assert torch.equal(labels, slow)
        centroids.update(vectors, labels)
        slow_update(centers, counts, vectors, labels)
        given.append(vectors)
        chosen.append(labels)
    torch.testing.assert_close(centroids.centers.double(), centers, rtol=1e-5, atol=1e-5)
    assert centroids.counts.tolist() == counts
    vectors, labels = torch.cat(given), torch.cat(chosen)
    for cluster in labels.unique().tolist():
        mean = vectors[labels == cluster].mean(dim=0)
        torch.testing.assert_close(centroids.centers[cluster], mean, rtol=1e-4, atol=1e-5)


def test_after_forget_new_vectors_weigh_like_the_first():
    centroids = Centroids(torch.zeros(1, 1))
    for _ in range(9):
        centroids.update(torch.zeros(1, 1), torch.tensor([0]))
    centroids.update(torch.ones(1, 1), torch.tensor([0]))
    assert abs(float(centroids.centers) - 0.1) < 1e-6
    centroids.forget()
    centroids.update(torch.ones(1, 1), torch.tensor([0]))
    assert float(centroids.centers) == 1


def test_a_dead_center_moves_to_the_vector_farthest_from_its_center():
    centroids = Centroids(torch.tensor([[0.0], [1000.0], [-1000.0]]))
    vectors, labels = torch.tensor([[0.0], [5.0], [1.0]]), torch.tensor([0, 0, 0])
    for _ in range(3):
        centroids.update(vectors, labels)
        assert centroids.revive(vectors, labels, patience=10) == 0
    centroids.update(vectors, labels)
    assert centroids.revive(vectors, labels, patience=10) == 2
    assert centroids.centers.flatten().tolist() == [2, 5, 0]
    assert centroids.counts.tolist() == [12, 0, 0]
    assert centroids.revive(vectors, labels, patience=10) == 0
    alike = torch.full((3, 1), 2.0)
    for _ in range(4):
        centroids.update(alike, labels)
    centroids.revive(alike, labels, patience=10)
    assert centroids.centers.flatten().tolist() == [2, 5, 0], "nothing is gained on a vector's own center"


@pytest.mark.usefixtures("seeded")
def test_state_of_centroids_has_constant_size_and_can_be_restored():
    centroids = Centroids(torch.randn(4, 3))
    for _ in range(20):
        vectors = torch.randn(1000, 3)
        centroids.update(vectors, centroids.nearest(vectors))
    state = centroids.state_dict()
    assert sum(value.numel() for value in state.values()) == 4 * 3 + 4 + 4
    again = Centroids.from_state(state)
    for both in (centroids, again):
        both.update(vectors, both.nearest(vectors))
    assert torch.equal(centroids.centers, again.centers)


def test_mini_batch_k_means_is_nearly_as_good_as_k_means():
    vectors = torch.from_numpy(load_digits().data).float()
    best = CLUSTERERS.parse("kmeans").cluster(vectors, ClusterRequest(10, seed=1)).objective
    for start in ("kmeans++", "sample"):
        part = CLUSTERERS.parse({"name": "minibatch-kmeans", "batch_size": 50, "init": start})
        found = part.cluster(vectors, ClusterRequest(10, seed=1))
        assert found.n_clusters == 10
        assert found.objective < 1.1 * best
