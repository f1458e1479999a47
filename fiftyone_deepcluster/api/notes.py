"""What a reader of a run's record should know before trusting it, in sentences."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from fiftyone_deepcluster.core.record import StopReason

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from fiftyone_deepcluster.core.record import Round
    from fiftyone_deepcluster.images.store import ImageStore

SETTLED_NMI = 0.92
"""Agreement of the last two rounds from which on clusters count as settled: digits end at .98, clothes at .85."""


def unread(store: ImageStore) -> list[str]:
    """That some images could not be read, and why one of them."""
    errors = store.errors
    if not errors:
        return []
    n, first = len(errors) + len(store.kept), min(errors)
    reason = f"{len(errors)} of {n} images could not be read and have no cluster, such as number {first}"
    return [f"{reason}: {errors[first]}"]


def in_no_cluster(labels: NDArray[np.int64]) -> list[str]:
    """That most images are noise, -1 in (N,), or all of them."""
    noise, n = int((labels < 0).sum()), len(labels)
    if 2 * noise < n or not n:
        return []
    reason = "all images are" if noise == n else f"{noise} of {n} images are"
    way = "lower the clusterer's min_cluster_size, cluster after reducer='umap', or choose one that takes every image"
    return [f"{reason} noise and in no cluster; {way}, such as 'kmeans'"]


def not_held_out(groups: NDArray[np.int64], rounds: Sequence[Round]) -> list[str]:
    """That groups (M,), -1 unknown, left nothing to test the network on."""
    without = sum("test_top1" not in entry.scores for entry in rounds)
    if not without:
        return []
    n_groups = len(np.unique(groups[groups >= 0]))
    reason = f"in {without} of {len(rounds)} rounds nothing was held out to test the network"
    return [
        f"{reason}: its images are of {n_groups} groups, never parted, too few or too uneven for the shares asked for"
    ]


def doubts(rounds: Sequence[Round], stop_reason: StopReason | None) -> list[str]:
    """That the clusters had not settled; judged without any truth."""
    change = rounds[-1].change if rounds else None
    if change is None or change.nmi >= SETTLED_NMI or stop_reason == StopReason.CANCELLED:
        return []
    reached = math.floor(1000 * change.nmi) / 1000  # rounded up it could read like the bound it fell short of
    doubt = (
        f"the clusters had not settled: those of the last two rounds agree to NMI {reached:.3f} "
        f"(settled runs reach {SETTLED_NMI}); look at them as groups, not as classes, and try more rounds, "
        "another n_clusters or other augmentation"
    )
    return [doubt]
