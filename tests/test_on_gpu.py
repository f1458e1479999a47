"""Every method, clusterer and encoder on a GPU: a pretended one, or a real one (see ``tests.pretend_cuda``)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

import fiftyone_deepcluster as fdc
from fiftyone_deepcluster.clusterers.base import CLUSTERERS
from fiftyone_deepcluster.clusterers.kmeans.lloyd import LloydSettings, lloyd
from fiftyone_deepcluster.errors import PartError
from fiftyone_deepcluster.features.base import ENCODERS
from fiftyone_deepcluster.methods.base import METHODS, parse_options
from tests.gpu_waits import CUDA, Gpu, Watching
from tests.pretend_cuda import REAL, pretended_gpu

if TYPE_CHECKING:
    from collections.abc import Iterator

BASE = {"n_clusters": 10, "rounds": 2, "baselines": False, "image_size": 16, "batch_size": 32, "seed": 3}
SMALL = {"backbone": {"name": "small", "width": 8}, "min_steps": 6}
TINY_UCNN = {"backbone": {"name": "ucnn", "maps": 16, "dim": 12, "width": 0.125, "adapted": 1 / 128}}

RUNS: dict[str, dict[str, Any]] = {
    "deepcluster": {**BASE, **SMALL},
    "deepcluster-manifold": {**BASE, **SMALL, "n_clusters": 5},
    "deepcluster-v2": {**BASE, **SMALL, "pseudo_clusters": 20},
    "cardiac-mr": {**BASE, **SMALL},
    "ldpo": {**BASE, **SMALL},
    "dac": {**BASE, "width": 4, "init": "random"},
    "dac pixels": {**BASE, "width": 4, "init": "pixels"},
    "dac released": {**BASE, "width": 4, "init": "random", "variant": "released", "inner_epochs": 1, "rounds": 1},
    "dac released star": {
        **BASE, "width": 4, "init": "random", "variant": "released", "star": True, "inner_epochs": 1, "rounds": 1,
    },
    "ucnn": {**BASE, **TINY_UCNN, "pixel_epochs": 1},
    "ucnn older": {**BASE, **TINY_UCNN, "pixel_epochs": 0, "compensation": "older"},
    "ucnn baseline-1": {**BASE, **TINY_UCNN, "pixel_epochs": 0, "variant": "baseline-1"},
    "ucnn baseline-2": {**BASE, **TINY_UCNN, "pixel_epochs": 0, "variant": "baseline-2"},
    "self-training": {**BASE, **SMALL, "clusterer": {"name": "consensus", "reducer": "identity", "runs": 2}},
    "frozen": {"n_clusters": 10, "baselines": False, "reducer": "umap"},
    "auto": {"n_clusters": 10, "rounds": 1, "baselines": False, "image_size": 16, "backbone": SMALL["backbone"]},
}  # fmt: skip
FROZEN = {"n_clusters": 10, "baselines": False, "image_size": 16, "backbone": {"name": "small", "width": 8}}
ENCODER_OPTIONS: dict[str, dict[str, Any]] = {
    "pooled": {"bands": 2},
    "vlad": {"words": 8, "pca": 16},
    "fisher": {"words": 8, "pca": 16},
    "ensemble-projection": {"sets": 3, "classes": 5},
    "patch-mining": {"patches": "maps", "mined_patches": 2000, "scales": (0.5,)},
}
CLUSTERER_OPTIONS: dict[str, dict[str, Any]] = {
    "consensus": {"reducer": "identity", "runs": 3},
    "turtle": {"init": "kmeans", "steps": 5, "min_per_dimension": 0},
    "temi": {"init": "kmeans", "epochs": 2, "hidden": 8, "min_per_dimension": 0},
}
"""Options by which a part is fast on small images; a part that is not here is run with its defaults."""


@pytest.fixture
def gpu() -> Iterator[Gpu]:
    """The GPU of the tests; counts are empty."""
    if REAL:
        yield Gpu(CUDA, pretended=False)
        return
    with pretended_gpu(free=2**33) as pretended:
        yield pretended


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    """(150, 8, 8) uint8."""
    return (load_digits().images[:150] * 15.9375).astype(np.uint8)


def fitted(gpu: Gpu, images: np.ndarray, method: str, values: dict[str, Any]) -> fdc.FitResult:
    options = parse_options(method, {**values, "device": "cuda", "precision": "float32"})
    others = np.random.default_rng(0).normal(size=(len(images), 3)).astype(np.float32)
    known = fdc.Known(other_vectors=others) if options.joins_vectors else None
    try:
        found = fdc.fit(images, options, observer=Watching(gpu), known=known)
    except (ImportError, PartError) as error:
        missing = isinstance(error, ImportError) or isinstance(error.__cause__, ImportError)
        if REAL and missing:  # a machine with a GPU need not have everything
            pytest.skip(str(error))
        raise
    assert found.record.environment["device"] == str(CUDA)
    assert (found.labels >= -1).all()
    assert np.isfinite(found.embeddings).all()
    return found


def test_every_method_is_run() -> None:
    assert {name.split()[0] for name in RUNS} == set(METHODS.names())


@pytest.mark.slow  # all of them together
@pytest.mark.parametrize("run", RUNS)
def test_methods(gpu: Gpu, images: np.ndarray, run: str) -> None:
    found = fitted(gpu, images, run.split(maxsplit=1)[0], RUNS[run])

    assert found.record.n_clusters > 1


@pytest.mark.parametrize("name", CLUSTERERS.names())
def test_clusterers(gpu: Gpu, images: np.ndarray, name: str) -> None:
    clusterer = {"name": name, **CLUSTERER_OPTIONS.get(name, {})}
    fitted(gpu, images, "frozen", {**FROZEN, "clusterer": clusterer})


@pytest.mark.parametrize("name", ENCODERS.names())
def test_encoders(gpu: Gpu, images: np.ndarray, name: str) -> None:
    encoder = {"name": name, **ENCODER_OPTIONS.get(name, {})}
    fitted(gpu, images, "frozen", {**FROZEN, "encoder": encoder})


# ---------------------------------------------------------------- what waits for the GPU

BUDGETS = {"deepcluster": 1.0, "deepcluster-v2": 1.0, "cardiac-mr": 1.0, "dac": 1.0, "ucnn": 2.0}
"""Waits for the GPU per training step, at most."""

counted = pytest.mark.skipif(REAL, reason="waits are counted on the pretended GPU")


@counted
@pytest.mark.parametrize("free", [0, 2**33], ids=["images read", "images on the GPU"])
@pytest.mark.parametrize("method", BUDGETS)
def test_training_steps_wait_rarely(images: np.ndarray, method: str, free: int) -> None:
    with pretended_gpu(free=free) as gpu:
        fitted(gpu, images, method, RUNS[method])

    waits, places = gpu.per_batch("train")
    assert gpu.batches["train"] >= 10
    assert waits <= BUDGETS[method], places


@counted
@pytest.mark.parametrize(("n_clusters", "n"), [(8, 200), (600, 2400)], ids=["plain", "bounds"])
def test_iterations_of_kmeans_wait_rarely(n_clusters: int, n: int) -> None:
    vectors = torch.randn(n, 12, generator=torch.Generator().manual_seed(1))
    found = []
    for max_iter in (2, 5):
        with pretended_gpu() as gpu:
            there = vectors.to("cuda")
            centers, done = lloyd(there, there[:n_clusters].clone(), LloydSettings(max_iter, 0.0, False, 1))
        assert done == max_iter, "the iteration ended early"
        assert centers.device == CUDA
        found.append(gpu.waits.total())

    assert found[1] - found[0] <= 3 * 3


@counted
def test_embedding_waits_for_no_batch(images: np.ndarray) -> None:
    with pretended_gpu(free=2**23) as gpu:  # too little for the images, enough for the features
        fitted(gpu, np.repeat(images, 30, axis=0), "frozen", {**FROZEN, "image_size": 32})

    waits, places = gpu.per_batch("embed")
    assert gpu.batches["embed"] >= 10
    assert waits == 0, places


def test_convolutions_keep_channels_last(gpu: Gpu, images: np.ndarray) -> None:
    kept: list[bool] = []

    def note(module: torch.nn.Module, given: object, output: object) -> None:
        if isinstance(module, torch.nn.Conv2d) and isinstance(output, torch.Tensor):
            kept.append(output.is_contiguous(memory_format=torch.channels_last))

    handle = torch.nn.modules.module.register_module_forward_hook(note)
    try:
        fitted(gpu, images, "deepcluster", {**RUNS["deepcluster"], "rounds": 1})
    finally:
        handle.remove()

    assert len(kept) > 10
    assert all(kept)


# ---------------------------------------------------------------- label audit


@pytest.mark.parametrize("device", ["auto", "cuda"])
def test_a_label_audit_is_that_of_the_cpu(gpu: Gpu, device: str) -> None:
    digits = load_digits()
    vectors, labels = digits.data[:400].astype(np.float32), digits.target[:400].copy()
    labels[:30] = (labels[:30] + 1) % 10
    there = fdc.audit_vectors(vectors, labels.tolist(), device=device)
    if not REAL:
        assert gpu.waits.total() > 20, "computed on the CPU"
    here = fdc.audit_vectors(vectors, labels.tolist(), device="cpu")

    np.testing.assert_allclose(there.p_wrong, here.p_wrong, atol=0.05)
    assert (np.sort(there.rank[:30]) < 60).mean() > 0.9
