"""Clusters of the images' own features, without views: what one would do without this package."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fiftyone_deepcluster.clusterers.base import CLUSTERERS, Clustering, ClusterRequest
from fiftyone_deepcluster.core.pace import CLUSTER_ONCE
from fiftyone_deepcluster.core.seeds import derive
from fiftyone_deepcluster.features.view_outputs import image_features
from fiftyone_deepcluster.reducers.base import REDUCERS

if TYPE_CHECKING:
    from fiftyone_deepcluster.features.corpus import Corpus
    from fiftyone_deepcluster.features.views import Views

_REDUCER = {"name": "umap", "metric": "cosine"}


def plain_clusters(corpus: Corpus, views: Views, n_clusters: int, seed: int) -> Clustering:
    """UMAP + k-means on the features of the images themselves, which are the first of their views."""
    seed = derive(seed, "plain")
    corpus.observer.phase(CLUSTER_ONCE, len(corpus))
    features = image_features(corpus, views)
    layout = REDUCERS.parse(_REDUCER).embed(features, seed)
    found = CLUSTERERS.parse("kmeans").cluster(layout, ClusterRequest(n_clusters, seed, origin=features))
    corpus.compute.broadcast([found.labels, found.confidence])
    return found
