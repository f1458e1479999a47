"""The neighbor graph of a labeled set: exact for few images, from an inverted file of faiss for many."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from fiftyone_deepcluster.core.progress import Silent, in_parts
from fiftyone_deepcluster.metrics.knn import exact_neighbors

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch
    from numpy.typing import NDArray

    from fiftyone_deepcluster.analysis.label_audit.logistic import FeatureRows
    from fiftyone_deepcluster.core.progress import Observer

_EXACT = 20_000
"""Maximum number of images for exact search; more are searched with an inverted file."""

_SEARCHED = 4_096
"""Images whose neighbors are searched at once; between, progress is reported and a cancel is noticed."""

_LISTS_PER_ROOT = 4
_PROBED = 24
_TRAINED_ON = 48
"""Inverted file: number of lists divided by sqrt(N), lists searched for a query, training vectors for each list."""


NOTHING_STORED = "cancelled; nothing of the audit was stored"
"""Text of the error if an audit is cancelled."""

_Search: TypeAlias = "Callable[[slice], tuple[NDArray[np.int64], NDArray[np.float32]]]"
"""From B rows to rows (B, k) and distances (B, k) of their nearest images, themselves included."""


@dataclass(frozen=True)
class NeighborGraph:
    """The nearest other images of N images, nearest first.

    Attributes:
        rows: (N, k) int32.
        distances: (N, k) float32, between vectors of length 1: 0 to 2.
    """

    rows: NDArray[np.int32]
    distances: NDArray[np.float32]

    def voters(self, rows: slice, most: int, groups: NDArray[np.int64] | None = None) -> NDArray[np.bool_]:
        """(B, k) which neighbors of the images ``rows`` vote: the nearest ``most`` of other groups.

        Args:
            rows: consecutive images.
            most: number of votes of an image.
            groups: (N,) group of every image; images of one group, such as slices of one series, do not vote for
                each other, since they share their errors. None: every image is a group of its own.
        """
        near = self.rows[rows]
        if groups is None:
            return np.broadcast_to(np.arange(near.shape[1]) < most, near.shape)
        other = groups[near] != groups[rows, None]
        return np.asarray(other & (other.cumsum(axis=1) <= most))

    def votes(
        self,
        rows: slice,
        voters: NDArray[np.bool_],
        classes: NDArray[np.int64],
        weights: NDArray[np.float32],
        k: int,
    ) -> NDArray[np.float32]:
        """(B, K) sum of the weights of the neighbors of the images ``rows`` by class.

        Args:
            rows: consecutive images.
            voters: (B, k) which neighbors vote.
            classes: (N,) class of every image.
            weights: (N,) weight of every image.
            k: number of classes.
        """
        near = self.rows[rows]
        places = np.arange(len(near))[:, None] * k + classes[near]
        counted = np.where(voters, weights[near], 0.0)
        return np.bincount(places.ravel(), counted.ravel(), len(near) * k).reshape(-1, k).astype(np.float32)


def neighbor_graph(features: FeatureRows, k: int, observer: Observer | None = None) -> NeighborGraph:
    """The ``k`` nearest other images of every image, by the angle of the standardized vectors.

    Args:
        features: N images, 2 or more.
        k: number of neighbors; N - 1 at most are found.
        observer: receives progress events; can cancel.

    Raises:
        CancelledError: the observer requested cancellation.
    """
    import torch

    k, watcher = min(k, len(features) - 1), Silent() if observer is None else observer
    units = [torch.nn.functional.normalize(part, dim=1) for _, part in features.chunks(features.width)]
    vectors = torch.cat(units)
    del units  # on a GPU, both would be kept during the search
    exact = len(vectors) <= _EXACT or vectors.device.type != "cpu"
    search = _exact_search(vectors, k + 1) if exact else _inverted_file(vectors, k + 1)
    found = [
        search(part)
        for part in in_parts(watcher, "neighbors", len(vectors), size=_SEARCHED, why=NOTHING_STORED)
    ]
    rows, distances = (np.concatenate(column) for column in zip(*found, strict=True))
    return NeighborGraph(*_without_self(rows, distances, k))


def _exact_search(vectors: torch.Tensor, k: int) -> _Search:
    import torch

    every = torch.arange(len(vectors))
    return lambda rows: exact_neighbors(vectors, k, every[rows])


def _inverted_file(vectors: torch.Tensor, k: int) -> _Search:
    import faiss

    values = vectors.numpy()
    n, width = values.shape
    quantizer = faiss.IndexFlatL2(width)
    index = faiss.IndexIVFFlat(quantizer, width, int(_LISTS_PER_ROOT * n**0.5))
    index.cp.niter, index.cp.max_points_per_centroid = 4, _TRAINED_ON
    index.cp.min_points_per_centroid = 1
    index.train(values)
    index.add(values)
    index.nprobe = _PROBED

    def search(asked: slice) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        squared, rows = index.search(values[asked], k)
        missing = rows < 0  # the searched lists hold fewer than k vectors: repeat the nearest one
        rows = np.where(missing, rows[:, :1], rows)
        squared = np.where(missing, squared[:, :1], squared)
        return rows, np.sqrt(np.maximum(squared, 0))

    return search


def _without_self(
    rows: NDArray[np.int64], distances: NDArray[np.float32], k: int
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Drop each image from its own neighbors. It may be at any place among duplicates, or missing."""
    other = rows != np.arange(len(rows))[:, None]
    full = other.sum(axis=1) > k
    last = other.shape[1] - 1 - other[:, ::-1].argmax(axis=1)
    other[full, last[full]] = False
    short = other.sum(axis=1) < k  # the image itself was also the filler
    if short.any():
        order = np.argsort(~other, axis=1, kind="stable")[:, :k]
        picked = np.take_along_axis(rows, order, 1), np.take_along_axis(distances, order, 1)
        return picked[0].astype(np.int32), picked[1].astype(np.float32)
    shape = (len(rows), k)
    return rows[other].reshape(shape).astype(np.int32), distances[other].reshape(shape).astype(np.float32)
