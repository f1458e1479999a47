"""Where the images of a cluster were in every round of its run."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from fiftyone_deepcluster.dataset.review.clusters import aggregate, image_stages

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from fiftyone_deepcluster.dataset.runs.kept_run import KeptRun

_MOST_IMAGES, _MOST_ROUNDS, _MOST_GROUPS = 5_000, 8, 6
OTHERS = -1
"""Number of the group of all images that are in none of the largest clusters of a round."""


@dataclass(frozen=True)
class Flow:
    """Clusters of some images in some rounds, and how many images passed from each to each in the next round.

    Attributes:
        n_images: number of images counted.
        rounds: (R,) the rounds, from 1; the first and the last are among them.
        groups: for each round: (number of a cluster of that round, number of images in it), largest first, ``OTHERS``
            last. Numbers of two rounds are not related.
        links: for each round but the last: (cluster, cluster in the next round, number of images).
    """

    n_images: int
    rounds: tuple[int, ...]
    groups: tuple[tuple[tuple[int, int], ...], ...]
    links: tuple[tuple[tuple[int, int, int], ...], ...]


def cluster_flow(run: KeptRun, cluster: str) -> Flow | None:
    """Flow of the images of a cluster through the rounds; None if they were in one round or none."""
    import numpy as np

    labels = _round_labels(run, cluster)
    n_images, n_rounds = labels.shape
    if n_rounds < 2:
        return None
    chosen = np.unique(np.linspace(0, n_rounds - 1, min(n_rounds, _MOST_ROUNDS)).round().astype(int)).tolist()
    columns = [_largest(labels[:, at]) for at in chosen]
    links = tuple(_links(before, after) for before, after in pairwise(columns))
    return Flow(n_images, tuple(at + 1 for at in chosen), tuple(map(_sizes, columns)), links)


def _round_labels(run: KeptRun, cluster: str) -> NDArray[np.int64]:
    """(N, R) clusters in every round of at most ``_MOST_IMAGES`` images; images assigned later have none."""
    import fiftyone.core.utils as fou
    import numpy as np

    if run.dataset.get_field(run.fields.path("round_labels")) is None:
        return np.zeros((0, 0), np.int64)
    stages = [
        *image_stages(run.fields, {"$in": [cluster]}, ("label", "round_labels")),
        {"$match": {"round_labels": {"$ne": None}}},
        {"$limit": _MOST_IMAGES},
    ]
    rows = [fou.deserialize_numpy_array(document["round_labels"]) for document in aggregate(run, stages)]
    return np.asarray(rows, np.int64).reshape(len(rows), -1) if rows else np.zeros((0, 0), np.int64)


def _largest(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """The same clusters, with ``OTHERS`` for all but the largest."""
    import numpy as np

    kept = [number for number, _ in Counter(labels.tolist()).most_common(_MOST_GROUPS)]
    return np.where(np.isin(labels, kept), labels, OTHERS)


def _sizes(labels: NDArray[np.int64]) -> tuple[tuple[int, int], ...]:
    counts = Counter(labels.tolist())
    return tuple(sorted(counts.items(), key=lambda item: (item[0] == OTHERS, -item[1], item[0])))


def _links(before: NDArray[np.int64], after: NDArray[np.int64]) -> tuple[tuple[int, int, int], ...]:
    pairs = Counter(zip(before.tolist(), after.tolist(), strict=True))
    return tuple((here, there, n) for (here, there), n in pairs.most_common())
