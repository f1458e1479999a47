"""Power iteration clustering against a slow loop written from its description."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from sklearn.datasets import load_digits

import fiftyone_deepcluster as fdc
from fiftyone_deepcluster.clusterers.base import CLUSTERERS, ClusterRequest
from fiftyone_deepcluster.errors import InputError
from fiftyone_deepcluster.methods.base import parse_options


def directions(n, dim=8, seed=0):
    points = torch.randn(n, dim, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.normalize(points, dim=1)


def neighbors(points, k):
    """For each point the k nearest others, nearest first, and their squared distances."""
    points = points.double().numpy()
    found = []
    for i, point in enumerate(points):
        squared = ((points - point) ** 2).sum(axis=1)
        squared[i] = math.inf
        order = np.argsort(squared, kind="stable")[:k]
        found.append([(int(j), float(squared[j])) for j in order])
    return found


def links(near, weight):
    """W = A + A^T, as one dict of neighbors a node."""
    table = [{} for _ in near]
    for i, others in enumerate(near):
        for j, squared in others:
            table[i][j] = table[i].get(j, 0.0) + weight(squared)
            table[j][i] = table[j].get(i, 0.0) + weight(squared)
    return table


def slow_pic(points, k=5, sigma=0.2, alpha=0.001, max_iter=200):
    """Labels, self-pointing nodes, and labels once singletons have joined."""
    near = neighbors(points, k)
    table = links(near, lambda squared: math.exp(-squared / sigma**2))
    n = len(points)
    v = [1 / n] * n
    for _ in range(max_iter):
        v = [alpha * sum(w * v[j] for j, w in table[i].items()) + (1 - alpha) / n for i in range(n)]
        total = sum(v)
        v = [value / total for value in v]
    pointer = list(range(n))
    for i in range(n):
        best = 0.0
        for j in sorted(table[i]):
            gain = table[i][j] * (v[j] - v[i])
            if gain > best:
                best, pointer[i] = gain, j
    maxima = [i for i in range(n) if pointer[i] == i]
    labels = []
    for i in range(n):
        at = i
        while pointer[at] != at:
            at = pointer[at]
        labels.append(at)
    sizes = {root: labels.count(root) for root in maxima}
    joined = list(labels)
    for i in range(n):
        if sizes[labels[i]] == 1:
            company = [j for j, _ in near[i] if sizes[labels[j]] > 1]
            joined[i] = labels[company[0]] if company else labels[i]
    return labels, maxima, joined


def same_groups(labels, others):
    pairs = set(zip(list(labels), list(others), strict=True))
    return len(pairs) == len(set(labels)) == len(set(others))


@pytest.fixture(scope="module")
def slow():
    return slow_pic(directions(500))


def test_labels_equal_a_slow_loop_on_500_points(slow):
    labels, _, joined = slow
    points = directions(500)
    assert min(labels.count(root) for root in set(labels)) == 1, "there are singletons to join"
    apart = CLUSTERERS.parse({"name": "pic", "join_singletons": False}).cluster(points, ClusterRequest(None))
    assert same_groups(apart.labels.tolist(), labels)
    found = CLUSTERERS.parse("pic").cluster(points, ClusterRequest(None))
    assert same_groups(found.labels.tolist(), joined)


def test_there_are_as_many_clusters_as_nodes_that_point_to_themselves(slow):
    _, maxima, joined = slow
    points = directions(500)
    apart = CLUSTERERS.parse({"name": "pic", "join_singletons": False}).cluster(points, ClusterRequest(3))
    assert apart.n_clusters == len(maxima)
    found = CLUSTERERS.parse("pic").cluster(points, ClusterRequest(3))
    assert found.scores["maxima"] == len(maxima)
    assert found.n_clusters == len(set(joined)) < len(maxima)


def test_unconnected_parts_never_share_a_cluster():
    middle = torch.zeros(8)
    middle[0] = 4.0
    parts = [directions(60, seed=seed) + shift for seed, shift in ((1, middle), (2, -middle))]
    points = torch.cat(parts)
    pairs = [(i, j) for i, near in enumerate(neighbors(points, 10)) for j, _ in near]
    graph = coo_array((np.ones(len(pairs)), np.array(pairs).T), shape=(120, 120))
    part = connected_components(graph, directed=False)[1]
    assert len(set(part)) >= 2
    found = CLUSTERERS.parse("pic").cluster(points, ClusterRequest(2, seed=0))
    assert found.n_clusters >= 2
    assert len(set(zip(found.labels.tolist(), part, strict=True))) == found.n_clusters


def test_the_length_of_vectors_does_not_matter():
    points = directions(200)
    once, larger = (
        CLUSTERERS.parse("pic").cluster(factor * points, ClusterRequest(None)) for factor in (1, 8)
    )
    assert same_groups(once.labels.tolist(), larger.labels.tolist())


def test_duplicates_are_linked_to_each_other_and_never_to_themselves():
    points = torch.cat([directions(10)] * 4)
    found = CLUSTERERS.parse({"name": "pic", "n_neighbors": 3}).cluster(points, ClusterRequest(None))
    assert found.labels.shape == (40,)
    assert found.n_clusters >= 10
    for copy in range(10):
        assert set(found.labels[copy::10].tolist()).isdisjoint(found.labels[(copy + 1) % 10 :: 10].tolist())


def test_too_few_images_for_the_graph_are_refused():
    with pytest.raises(
        InputError, match="n_neighbors=5 needs 6 images, not 5; lower n_neighbors or add images"
    ):
        CLUSTERERS.parse({"name": "pic", "n_neighbors": 5}).cluster(directions(5), ClusterRequest(2))


def test_deepcluster_and_frozen_accept_pic_without_n_clusters():
    data = load_digits()
    images, classes = (data.images[:300] * 15.9375).astype(np.uint8), data.target[:300]
    common = {"clusterer": "pic", "n_clusters": None, "baselines": False}
    frozen = fdc.fit(images, parse_options("frozen", common), truth=classes)
    assert frozen.record.n_clusters == len(np.unique(frozen.labels)) > 10
    assert frozen.record.rounds[0].truth.purity > 0.8
    trained = fdc.fit(
        images, parse_options("deepcluster", {**common, "rounds": 2, "min_steps": 4}), truth=classes
    )
    assert len(trained.record.rounds) == 2
    assert trained.record.rounds[-1].scores["pseudo_clusters"] == trained.record.n_clusters > 10
