"""The choice between several clusterings of a round."""

from dataclasses import replace

import pytest
import torch

from fiftyone_deepcluster.clusterers.base import CLUSTERERS, ClusterRequest
from fiftyone_deepcluster.clusterers.distances import means
from fiftyone_deepcluster.clusterers.kmeans.clusterer import KMeans
from fiftyone_deepcluster.images.inspect import ImageFacts
from fiftyone_deepcluster.methods.base import parse_options
from fiftyone_deepcluster.metrics.agreement import nmi
from fiftyone_deepcluster.pseudo_labels.round_labels import RoundLabels

MAKERS = (CLUSTERERS.parse("kmeans"), CLUSTERERS.parse({"name": "hdbscan", "min_cluster_size": 10}))


@pytest.fixture
def stripes():
    """(400, 2) two long stripes side by side: k-means cuts across them, density follows them."""
    along = torch.linspace(-20, 20, 200)
    points = torch.stack([along.repeat(2), torch.tensor([0.0, 4.0]).repeat_interleave(200)], dim=1)
    points += 0.1 * torch.randn(400, 2, generator=torch.Generator().manual_seed(0))
    return points


@pytest.fixture
def task():
    options = parse_options("deepcluster-manifold", {"n_clusters": 2})
    parts = options.resolve(ImageFacts(n=400, side=24, gray=True, height=24, width=24)).task_parts()
    return RoundLabels(replace(parts, early=MAKERS))


@pytest.mark.parametrize("before", [0, 1])
@pytest.mark.parametrize("order", [MAKERS, MAKERS[::-1]])
def test_the_clustering_that_agrees_most_with_the_last_round_is_taken(task, stripes, corpus, before, order):
    request = ClusterRequest(2)
    first = task._most_stable((MAKERS[before],), stripes, request, corpus)
    other = MAKERS[1 - before].cluster(stripes, request)
    assert nmi(first.labels, other.labels) < 0.5

    resumed = RoundLabels(task.parts)
    resumed.load_state_dict(task.state_dict())
    for one in (task, resumed):
        found = one._most_stable(order, stripes, request, corpus)
        assert nmi(found.labels, first.labels) == pytest.approx(1)


def test_the_first_round_uses_the_first_clusterer(task, stripes, corpus):
    found = task._most_stable(task._clusterers(), stripes, ClusterRequest(2), corpus)
    assert nmi(found.labels, MAKERS[0].cluster(stripes, ClusterRequest(2)).labels) == pytest.approx(1)


def test_a_warm_start_is_last_rounds_grouping_in_this_rounds_basis(stripes, corpus):
    """A PCA turns the vectors from round to round; last round's centers would be anywhere."""
    options = parse_options("deepcluster", {"n_clusters": 5})
    parts = options.resolve(ImageFacts(n=400, side=24, gray=True, height=24, width=24)).task_parts()
    seen = []

    class Watched(KMeans):
        def find(self, vectors, request):
            seen.append(request.init_centers)
            return super().find(vectors, request)

    task, request = RoundLabels(parts), ClusterRequest(5)
    first = task._cluster("clusters", Watched(), stripes, request, corpus)
    turned = torch.stack([-stripes[:, 1], stripes[:, 0]], dim=1)
    resumed = RoundLabels(parts)
    resumed.load_state_dict(task.state_dict())
    for one in (task, resumed):
        one._cluster("clusters", Watched(), turned, request, corpus)
        assert torch.allclose(seen[-1], means(turned, first.labels, 5))
    task._cluster("clusters", Watched(), turned, ClusterRequest(4), corpus)
    assert seen[0] is None
    assert seen[-1] is None
