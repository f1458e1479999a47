"""UMAP: clusters are better than on the pixels, and torch's threads are unchanged."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from sklearn.datasets import load_digits

from fiftyone_deepcluster.clusterers.base import ClusterRequest
from fiftyone_deepcluster.clusterers.gmm import GaussianMixture
from fiftyone_deepcluster.errors import InputError
from fiftyone_deepcluster.metrics.agreement import agreement
from fiftyone_deepcluster.reducers.identity import Identity
from fiftyone_deepcluster.reducers.umap import Umap


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


def test_many_images_leave_the_neighbors_to_umap(monkeypatch):
    from fiftyone_deepcluster.reducers import umap

    part, truth = Umap(n_components=5, epochs=200), load_digits(n_class=3).target
    vectors = torch.from_numpy(load_digits(n_class=3).data).float()
    spaces = [part.embed(vectors, seed=0)]
    monkeypatch.setattr(umap, "_EXACT_NEIGHBORS", 0)
    spaces.append(part.embed(vectors, seed=0))
    # 0.94 to 1, by the seed and umap-learn's release
    for space in spaces:
        assert agreement(GaussianMixture().cluster(space, ClusterRequest(3)).labels, truth).acc > 0.9


def test_umap_options(digits):
    assert Umap(n_components=3, metric="cosine", epochs=20).embed(digits[:100], seed=1).shape == (100, 3)
    with pytest.raises(InputError, match="UMAP cannot embed 3 images"):
        Umap().embed(digits[:3], seed=1)
    with pytest.raises(InputError, match="NaN"):
        Umap().embed(torch.full((10, 3), float("nan")), seed=1)


def test_identity_reducer_returns_the_vectors(digits):
    assert Identity().embed(digits, seed=1) is digits


def test_umap_does_not_change_torchs_threads(blobs):
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        Umap(n_components=2, epochs=5).embed(blobs, seed=0)
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


def test_the_compiled_code_is_kept_for_the_next_process(blobs):
    from umap import umap_

    Umap(n_components=2, epochs=5).embed(blobs, seed=0)
    assert umap_.smooth_knn_dist.stats.cache_path is not None
    assert umap_.compute_membership_strengths.stats.cache_path is not None


NO_FOLDER = """
import tempfile

def refuse(*arguments, **options):  # Numba tries each of its folders with a file
    raise OSError(30, "Read-only file system")

tempfile.TemporaryFile = refuse
import torch
from fiftyone_deepcluster.errors import DiskError
from fiftyone_deepcluster.reducers.umap import Umap

try:
    Umap().embed(torch.rand(20, 3), 0)
except DiskError as error:
    print(error)
"""


def test_without_a_folder_for_compiled_code_the_variable_is_named():
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", NO_FOLDER], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("UMAP cannot be compiled: neither its package nor the home folder")
    assert "set NUMBA_CACHE_DIR to a folder that can be written, before Python starts" in done.stdout
