"""Baselines of a run, computed after it; an error in them does not fail the run."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from fiftyone_deepcluster.api.notes import not_computed

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

    from fiftyone_deepcluster.core.progress import Observer
    from fiftyone_deepcluster.core.record import RunRecord
    from fiftyone_deepcluster.core.types import Assignment
    from fiftyone_deepcluster.features.corpus import Corpus
    from fiftyone_deepcluster.methods.base import Options

logger = logging.getLogger(__name__)


def clusters_first(options: Options) -> bool:
    """Whether the baselines cluster features of the network with the given weights, before training."""
    return options.baselines and options.trains and not options.starts_from_pixels


def baseline_features(options: Options, corpus: Corpus) -> tuple[str, torch.Tensor] | None:
    """Description and vectors that the baselines cluster: pixels, or features of the pre-trained network.

    None without baselines, and for a method that trains nothing, whose vectors they cluster.

    Args:
        options: resolved options.
        corpus: of the network before training.
    """
    import torch

    from fiftyone_deepcluster.analysis.baselines import baseline_rows, pixel_features

    if not options.baselines or not options.trains:
        return None
    rows = baseline_rows(len(corpus), options.seed)
    if clusters_first(options):
        features = torch.nn.functional.normalize(corpus.features_at(rows)).cpu()
        return "features of the given weights", features
    return "pixels", pixel_features(corpus.store.read, rows)


def add_baselines(
    record: RunRecord,
    assignment: Assignment,
    first: tuple[str, torch.Tensor] | None,
    truth: NDArray[np.int64] | None,
    observer: Observer,
) -> None:
    """Add to a record k-means and UMAP + GMM on the input of the run's first round, and a comparison in words.

    An error becomes a note of the record.

    Args:
        record: record of the run, which is changed.
        assignment: its N images.
        first: description of the vectors to cluster, and these (M, D) float32 vectors of the sampled images. None, if
            the run trained nothing: the vectors that the run clustered.
        truth: (N,) known classes, -1 unknown; None without.
        observer: receives progress events.
    """
    import torch

    from fiftyone_deepcluster.analysis.baselines import (
        BaselineSettings,
        baseline_rows,
        measure,
        same_baseline,
        verdict,
    )

    if observer.cancelled():
        record.notes.append("the baselines were left out, since the run was cancelled after its last round")
        return
    seed = int(str(record.resolved["seed"]))
    rows = baseline_rows(len(assignment.labels), seed)
    settings = BaselineSettings(
        max(2, record.n_clusters),
        seed,
        None if truth is None else truth[rows],
        assignment.labels[rows],
        skip=same_baseline(record.resolved) if first is None else (),
    )
    features, vectors = first or ("the same vectors", torch.from_numpy(assignment.embeddings[rows]))
    observer.phase("baselines", 1)
    with _noted(record, f"the baselines on {features}"):
        record.baselines += measure(vectors, features, settings)
    observer.advance(1)
    with _noted(record, "the comparison with the baselines"):
        record.verdict, record.beaten = verdict(record)


def expected_seconds(n: int) -> float:
    """Estimated seconds for the baselines of ``n`` images on two cores."""
    from fiftyone_deepcluster.analysis.baselines import LIMIT_SECONDS, MAX_IMAGES

    return min(2 * LIMIT_SECONDS, 5.0 + min(n, MAX_IMAGES) * 0.006)


@contextmanager
def _noted(record: RunRecord, what: str) -> Iterator[None]:
    """Turn an error of the block into a note of the record: the clusters are complete and must be kept."""
    try:
        yield
    except Exception as error:  # clusterers, UMAP and the memory of the machine may raise anything
        record.notes.append(not_computed(what, error))
        logger.warning(record.notes[-1], exc_info=True)
