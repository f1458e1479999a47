"""Images that centers begin with, found without looking over the whole set."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch

from fiftyone_deepcluster.clusterers.base import ClusterRequest
from fiftyone_deepcluster.clusterers.kmeans.clusterer import KMeans
from fiftyone_deepcluster.core.seeds import derive, rng
from fiftyone_deepcluster.errors import ImagesError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from fiftyone_deepcluster.features.corpus import Corpus

InitName = Literal["sample", "kmeans"]
"""First centers: the features of images by chance (Hsu and Lin), or k-means on those of a larger sample."""

SAMPLE = 16_384
"""Images of a sample at most: what is computed from it takes the same memory for any number of images."""


def first_features(corpus: Corpus, n_clusters: int, init: InitName, seed: int) -> torch.Tensor:
    """(K, D) float32 features of K different images, by the network as it is.

    Raises:
        ImagesError: there are fewer than K different images.
    """
    rows = different_rows(corpus, n_clusters, seed)
    if init == "kmeans":
        rows = np.union1d(rows, draw_rows(len(corpus), seed))
    corpus.network.eval()
    corpus.observer.phase("first centers", len(rows))
    with torch.inference_mode(), corpus.compute.autocast():
        features = torch.cat(
            [corpus.network.features(batch.images).float() for batch in corpus.plain_batches(rows)]
        )
    if init == "sample":
        return features
    found = (
        KMeans().cluster(features.clone(), ClusterRequest(n_clusters, derive(seed, "first centres"))).centers
    )
    corpus.compute.broadcast([found])
    return found


def draw_rows(n: int, seed: int) -> NDArray[np.int64]:
    """At most ``SAMPLE`` of ``n`` rows by chance, in order."""
    return np.sort(rng(seed, "sample").permutation(n)[:SAMPLE])


def different_rows(corpus: Corpus, n_wanted: int, seed: int) -> NDArray[np.int64]:
    """Rows by chance whose pixels differ: a duplicate is drawn again.

    Raises:
        ImagesError: there are fewer different images.
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
        f"{n_wanted} clusters begin with as many different images, and the {len(corpus)} images show only "
        f"{len(rows)} different ones; lower n_clusters or add images"
    )


def _shuffled(corpus: Corpus, at_once: int, seed: int) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    order = rng(seed, "first images").permutation(len(corpus))
    for at in range(0, len(order), at_once):
        rows = order[at : at + at_once]
        yield from zip(rows.tolist(), corpus.store.read(rows), strict=True)
