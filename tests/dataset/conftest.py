"""Results to write, computed by scikit-learn's k-means from real digits."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from fiftyone_deepcluster.api.fit import FitResult
from fiftyone_deepcluster.core.history import RoundHistory
from fiftyone_deepcluster.core.record import Round, RunRecord, StopReason
from fiftyone_deepcluster.core.types import Assignment
from fiftyone_deepcluster.dataset.display.sidebar import add_group
from fiftyone_deepcluster.dataset.io.fields import FieldNames, declare
from fiftyone_deepcluster.dataset.io.read_images import collect_images
from fiftyone_deepcluster.dataset.io.write import Columns, write
from fiftyone_deepcluster.dataset.runs import storage
from fiftyone_deepcluster.metrics.matching import cluster_names
from tests.dataset.other_process import OtherProcess

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import fiftyone as fo
    from numpy.typing import NDArray

SETTINGS: dict[str, object] = {
    "truth_field": None,
    "embeddings_field": None,
    "model": None,
    "half_precision": False,
}


def kmeans_result(n: int, k: int = 4, rounds: int = 3, errors: dict[int, str] | None = None) -> FitResult:
    """N digits clustered by k-means, as a run of several rounds with different seeds."""
    from sklearn.cluster import KMeans
    from sklearn.datasets import load_digits

    vectors = load_digits().data[:n].astype(np.float32)
    fits = [KMeans(k, n_init=1, random_state=seed).fit(vectors) for seed in range(rounds)]
    history = np.stack([fit.labels_ for fit in fits], 1).astype(np.int32)
    apart = np.sort(fits[-1].transform(vectors), 1).astype(np.float32)
    labels = history[:, -1].astype(np.int64)
    losses = np.random.default_rng(0).random((n, rounds)).astype(np.float32)
    confidence, distance, margin = 1 - apart[:, 0] / apart[:, 1], apart[:, 0], apart[:, 1] - apart[:, 0]
    for row in errors or {}:
        labels[row], history[row] = -1, -1
        for column in (confidence, distance, margin, losses):
            column[row] = np.nan
        vectors[row] = 0
    record = RunRecord(
        method="frozen",
        options={"name": "frozen", "n_clusters": k},
        resolved={"n_clusters": k},
        rounds=[Round(index=index, clusters_in_use=k) for index in range(rounds)],
        stop_reason=StopReason.ROUNDS_DONE,
        n_images=n - len(errors or {}),
        n_failed=len(errors or {}),
        n_clusters=k,
    )
    centers = fits[-1].cluster_centers_.astype(np.float32)
    found = Assignment(labels, confidence, distance, margin, vectors, centers, errors=errors or {})
    return FitResult(found, history_of(history, losses), record)


def history_of(labels: NDArray[np.int64], losses: NDArray[np.float32]) -> RoundHistory:
    """History of (N, R) values."""
    history = RoundHistory(len(labels))
    for round_labels, round_losses in zip(labels.T, losses.T, strict=True):
        history.append(round_labels, round_losses)
    return history


@pytest.fixture
def stored_run() -> Callable[..., FitResult]:
    """Write a k-means result to a collection as a run, without fitting; returns the result."""

    def make(samples: object, key: str = "dc", k: int = 4, **settings: object) -> FitResult:
        source = collect_images(samples)
        names = FieldNames(key, source.patches_field)
        result = kmeans_result(len(source), k)
        declare(source.dataset, names)
        write(source, names, Columns(result, cluster_names(k)))
        add_group(source.dataset, names)
        header = storage.RunHeader(
            "frozen", result.record.options, {**SETTINGS, **settings}, source.patches_field, len(source)
        )
        storage.register_run(source, key, header, result.record)
        return result

    return make


@pytest.fixture(scope="session")
def other(fiftyone_home: Any) -> Iterator[OtherProcess]:
    """A second process, which takes seconds to start."""
    process = OtherProcess()
    yield process
    process.close()


@pytest.fixture
def dataset(fiftyone_home: Any) -> Iterator[fo.Dataset]:
    """An empty dataset; modules that need more override the fixture."""
    import fiftyone as fo

    made = fo.Dataset(f"empty-{uuid.uuid4().hex[:8]}")
    yield made
    if not made.deleted:
        made.delete()
