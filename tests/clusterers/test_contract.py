"""The contract of every registered clusterer."""

from __future__ import annotations

import subprocess
import sys

import pytest

from fiftyone_deepcluster.clusterers.base import CLUSTERERS, ClusterRequest
from fiftyone_deepcluster.errors import InputError
from fiftyone_deepcluster.testing import CLUSTERER_CHECKS

SHORT = {
    "consensus": {"reducer": "identity", "runs": 3, "direct_runs": 3},
    "turtle": {"init": "kmeans", "steps": 100},
    "temi": {"init": "kmeans", "epochs": 10, "hidden": 32},
    "best-of": {"only": "pca-kmeans, spherical-kmeans, pca-gmm"},
}
"""Options of clusterers that take long by default."""


@pytest.fixture(params=CLUSTERERS.names())
def clusterer(request):
    return CLUSTERERS.parse({"name": request.param, **SHORT.get(request.param, {})})


@pytest.mark.parametrize("check", CLUSTERER_CHECKS, ids=lambda check: check.__name__)
def test_clusterer_keeps_its_contract(clusterer, check):
    check(clusterer)


def test_more_clusters_than_images_are_refused(clusterer, blobs):
    with pytest.raises(InputError, match=r"add images|lower"):
        clusterer.cluster(blobs[:3], ClusterRequest(4))


@pytest.mark.parametrize("name", sorted({"kmeans", "gmm", "agglomerative"}))
def test_a_missing_number_of_clusters_is_refused(name, blobs):
    with pytest.raises(InputError, match="needs n_clusters"):
        CLUSTERERS.parse(name).cluster(blobs, ClusterRequest(None))
    with pytest.raises(InputError, match="n_clusters=0"):
        CLUSTERERS.parse(name).cluster(blobs, ClusterRequest(0))


def test_parts_are_listed_without_heavy_imports():
    code = (
        "import sys; from fiftyone_deepcluster.clusterers.base import CLUSTERERS;"
        "from fiftyone_deepcluster.reducers.base import REDUCERS;"
        "[CLUSTERERS.get(n) for n in CLUSTERERS.names()]; REDUCERS.names();"
        "heavy = {'torch', 'sklearn', 'faiss', 'umap', 'fiftyone'} & set(sys.modules);"
        "sys.exit(', '.join(sorted(heavy)) or 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
