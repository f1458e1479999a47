"""Initial cluster centers, computed without a pass over all images."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch

from fiftyone_deepcluster.clusterers.base import ClusterRequest
from fiftyone_deepcluster.clusterers.kmeans.clusterer import KMeans
from fiftyone_deepcluster.core.seeds import derive, rng
from fiftyone_deepcluster.core.words import counted
from fiftyone_deepcluster.errors import ImagesError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from fiftyone_deepcluster.features.corpus import Corpus

InitName = Literal["sample", "kmeans"]
"""Initial centers: the features of random images (Hsu and Lin), or k-means on those of a larger sample."""

SAMPLE = 16_384
"""Maximum sample size, so that memory does not grow with the number of images."""


def first_features(corpus: Corpus, n_clusters: int, init: InitName, *, seed: int) -> torch.Tensor:
    """(K, D) float32 centers from features of the current network: of K distinct images, or by k-means.

    Raises:
        ImagesError: there are fewer than K distinct images.
    """
    rows = different_rows(corpus, n_clusters, seed)
    if init == "kmeans":
        rows = np.union1d(rows, draw_rows(len(corpus), seed))
    corpus.observer.phase("first centers", len(rows))
    features = corpus.features_at(rows)
    if init == "sample":
        return features
    # "first centres" is part of the seed: another spelling would give other centers
    found = (
        KMeans().cluster(features.clone(), ClusterRequest(n_clusters, derive(seed, "first centres"))).centers
    )
    corpus.compute.broadcast([found])
    return found


def draw_rows(n: int, seed: int) -> NDArray[np.int64]:
    """At most ``SAMPLE`` of ``n`` rows, drawn at random, sorted."""
    return np.sort(rng(seed, "sample").permutation(n)[:SAMPLE])


def different_rows(corpus: Corpus, n_wanted: int, seed: int) -> NDArray[np.int64]:
    """Random rows with distinct pixels: duplicates are skipped.

    Raises:
        ImagesError: there are too few distinct images.
    """
    known: set[bytes] = set()
    rows: list[int] = []
    for row, pixels in _shuffled(corpus, n_wanted, seed):
        mark = hashlib.sha256(pixels.tobytes()).digest()
        if mark not in known:
            known.add(mark)
            rows.append(row)
        if len(rows) == n_wanted:
            return np.array(rows)
    raise ImagesError(
        f"{n_wanted:,} clusters need as many different images as initial centers, and "
        f"{counted(len(corpus), 'image has', 'images have')} only {counted(len(rows), 'different one')}; "
        "lower n_clusters or add images"
    )


def _shuffled(corpus: Corpus, at_once: int, seed: int) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    order = rng(seed, "first images").permutation(len(corpus))
    for at in range(0, len(order), at_once):
        rows = order[at : at + at_once]
        yield from zip(rows.tolist(), corpus.store.read(rows), strict=True)
