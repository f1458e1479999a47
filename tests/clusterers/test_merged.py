"""Merged pieces: against slow loops, and on groups that a mixture cannot separate."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from fiftyone_deepcluster.clusterers.base import ClusterRequest
from fiftyone_deepcluster.clusterers.merged import (
    Merged,
    grouped,
    joint_information,
    merge_pieces,
    random_walk,
)
from fiftyone_deepcluster.errors import InputError
from fiftyone_deepcluster.methods.base import parse_options
from fiftyone_deepcluster.metrics.agreement import agreement


def a_graph(n: int, seed: int) -> np.ndarray:
    """(n, n) symmetric links of pieces, most of them to themselves."""
    links = np.random.default_rng(seed).gamma(0.3, size=(n, n))
    return links + links.T + np.diag(10 + np.arange(n))


def by_loop(joint: np.ndarray, group: list[int]) -> float:
    """Mutual information of the groups at the two ends, as the book has it."""
    n = max(group) + 1
    table = [[0.0] * n for _ in range(n)]
    for i, first in enumerate(group):
        for j, second in enumerate(group):
            table[first][second] += joint[i][j]
    mass = [sum(row) for row in table]
    return sum(
        p * math.log(p / (mass[i] * mass[j]))
        for i, row in enumerate(table)
        for j, p in enumerate(row)
        if p > 0
    )


def partitions(n: int, n_groups: int):
    """All ways to put n pieces into n_groups groups, none empty."""

    def grow(head: list[int]):
        if len(head) == n:
            if max(head) == n_groups - 1:
                yield head
            return
        for group in range(min(max(head) + 2, n_groups)):
            yield from grow([*head, group])

    yield from grow([0])


@pytest.mark.parametrize("seed", range(3))
def test_information_equals_a_slow_loop(seed):
    joint = random_walk(a_graph(6, seed), 2)
    group = np.array([0, 1, 1, 0, 2, 2])
    assert joint.sum() == pytest.approx(1)
    assert joint_information(grouped(joint, group)) == pytest.approx(
        by_loop(joint, group.tolist()), rel=1e-12
    )


def test_two_steps_equal_the_sum_over_all_middle_pieces():
    links = a_graph(4, 0)
    mass = links.sum(axis=1)
    slow = [[sum(links[i, k] / mass[k] * links[k, j] for k in range(4)) for j in range(4)] for i in range(4)]
    np.testing.assert_allclose(random_walk(links, 2), np.array(slow) / links.sum(), rtol=1e-12)


def test_a_single_merge_loses_the_least_information():
    links = a_graph(7, 4)
    best = max(partitions(7, 6), key=lambda group: by_loop(random_walk(links, 2), group))
    assert agreement(merge_pieces(links, 6, 2), np.array(best)).ari == 1


@pytest.mark.parametrize("seed", range(8))
def test_merging_is_close_to_the_best_of_all_partitions(seed):
    links = a_graph(8, seed)
    joint = random_walk(links, 2)
    found = merge_pieces(links, 3, 2)
    everything = max(by_loop(joint, group) for group in partitions(8, 3))
    assert set(found) == {0, 1, 2}
    assert joint_information(grouped(joint, found)) > 0.98 * everything


def test_few_pieces_are_the_clusters():
    assert merge_pieces(a_graph(3, 0), 5, 2).tolist() == [0, 1, 2]


@pytest.fixture(scope="module")
def rings() -> tuple[torch.Tensor, np.ndarray]:
    """(900, 2): a ring, and three short arcs side by side within it."""
    rng = np.random.default_rng(1)
    angle = rng.uniform(0, 2 * np.pi, 300)
    wide = 6 * np.stack([np.cos(angle), np.sin(angle)], 1)
    bend = rng.uniform(-1, 1, (3, 200))
    arcs = [np.stack([2 * shift - 0.8 * bend[i] ** 2, 3 * bend[i]], 1) for i, shift in enumerate((-1, 0, 1))]
    points = np.concatenate([wide, *arcs]) + 0.12 * rng.normal(size=(900, 2))
    return torch.from_numpy(points).float(), np.repeat([0, 1, 2, 3], [300, 200, 200, 200])


@pytest.mark.parametrize("pieces", ["gmm", "kmeans"])
def test_groups_that_the_piece_clusterer_alone_cannot_find_are_found(rings, pieces):
    points, truth = rings
    part = Merged(pieces=pieces)
    alone = part.pieces.cluster(points, ClusterRequest(4, seed=1))
    found = part.cluster(points, ClusterRequest(4, seed=1))
    assert agreement(alone.labels, truth).acc < 0.9
    assert agreement(found.labels, truth).acc > 0.99
    assert found.scores["pieces"] == 24
    assert found.objective == -found.scores["information"]


def test_neighbors_are_those_of_the_origin(rings):
    points, truth = rings
    squashed = points * torch.tensor([1.0, 0.2])
    found = Merged().cluster(squashed, ClusterRequest(4, seed=1, origin=points))
    same = Merged(factor=1).cluster(squashed, ClusterRequest(4, seed=1, origin=points))
    assert agreement(found.labels, truth).nmi > agreement(same.labels, truth).nmi + 0.1
    assert found.centers.shape == (4, 2)


def test_noise_of_the_pieces_stays_noise(blobs):
    points = torch.cat([blobs, blobs.mean(dim=0) + 400 * torch.eye(6)])
    found = Merged(pieces={"name": "hdbscan", "min_cluster_size": 10}).cluster(points, ClusterRequest(2))
    assert (found.labels[-6:] == -1).all()
    assert sorted(set(found.labels[:240].tolist())) == [0, 1]


def test_only_noise_gives_no_cluster():
    points = torch.rand(30, 6, generator=torch.Generator().manual_seed(0))
    found = Merged(pieces={"name": "hdbscan", "min_cluster_size": 25}).cluster(points, ClusterRequest(2))
    assert found.n_clusters == 0
    assert (found.labels == -1).all()


def test_a_number_is_needed(blobs):
    with pytest.raises(InputError, match="needs n_clusters"):
        Merged().cluster(blobs, ClusterRequest(None))


@pytest.mark.parametrize(
    ("method", "makers"), [("deepcluster", ["merged"]), ("deepcluster-manifold", ["merged", "gmm"])]
)
def test_small_images_train_on_pieces_and_get_merged_clusters(method, makers):
    from fiftyone_deepcluster.images.inspect import ImageFacts

    facts = ImageFacts(n=5000, side=28, gray=True, height=28, width=28)
    parts = parse_options(method).resolve(facts).task_parts()
    assert [maker.name for maker in parts.early] == makers
    assert parts.early[0].pieces == parts.clusterer
    assert parts.early[0].factor * 10 == parts.n_pseudo
    assert parts.early[1:] in ((), (parts.clusterer,))
    plain = parse_options(method, {"merge": False}).resolve(facts).task_parts()
    assert plain.early == ()
    assert plain.clusterer == parts.clusterer


def test_few_images_are_not_merged_unless_asked():
    from fiftyone_deepcluster.images.inspect import ImageFacts

    facts = ImageFacts(n=1797, side=8, gray=True, height=8, width=8)
    assert parse_options("deepcluster").resolve(facts).task_parts().early == ()
    (early,) = parse_options("deepcluster", {"merge": True}).resolve(facts).task_parts().early
    assert isinstance(early, Merged)


def test_large_images_are_clustered_without_merging_as_in_the_paper():
    from fiftyone_deepcluster.images.inspect import ImageFacts

    facts = ImageFacts(n=5000, side=300, gray=False, height=300, width=300)
    parts = parse_options("deepcluster").resolve(facts).task_parts()
    assert parts.early == ()
    assert parts.clusterer.name == "kmeans"


def test_links_from_a_sample_of_images_give_the_same_groups(rings, monkeypatch):
    from fiftyone_deepcluster.clusterers import merged

    points, truth = rings
    monkeypatch.setattr(merged, "_MAX_ASKED", 300)
    found = Merged(pieces="kmeans").cluster(points, ClusterRequest(4, seed=1))
    assert agreement(found.labels, truth).acc > 0.99
