"""Nearest clusters of each cluster as the run found them."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from fiftyone_deepcluster.core import checkpoints
from fiftyone_deepcluster.dataset.review.clusters import Stage, aggregate, image_stages
from fiftyone_deepcluster.dataset.runs import own_files, run_files
from fiftyone_deepcluster.errors import CheckpointError

if TYPE_CHECKING:
    from datetime import datetime

    import numpy as np
    from numpy.typing import NDArray

    from fiftyone_deepcluster.dataset.runs.run import Run

N_NEAREST = 10
_IMAGES, _IMAGES_PER_CLUSTER = 5_000, 50
"""Images whose vectors are read, in all and of each cluster, where the centers of the run are not on this machine."""


def nearest_numbers(run: Run) -> dict[int, list[int]]:
    """Cluster number -> numbers of the clusters with the nearest centers, nearest first, at most ``N_NEAREST``.

    The centers are those of the run. Where they are not on this machine, as for runs on given vectors, each is the mean
    of the stored vectors of some images of the cluster.

    Empty if the run has no stored vectors either.
    """
    folder = run_files.run_dir(run.dataset, run.key)
    path = folder / checkpoints.MODEL
    try:
        if own_files.is_own(folder, run.uid):
            return _by_centers(str(path), path.stat().st_mtime_ns)
    except (OSError, CheckpointError):
        pass
    return _by_vectors(run.dataset.name, run.key, run.uid, run.created)


@lru_cache(maxsize=8)
def _by_centers(path: str, changed: int) -> dict[int, list[int]]:
    model = checkpoints.load(Path(path), mmap=True)
    return _nearest(model["ids"].numpy(), model["centers"].float().numpy())


@lru_cache(maxsize=8)  # a run is asked for whenever the panel loads it
def _by_vectors(dataset: str, key: str, uid: str, created: datetime) -> dict[int, list[int]]:
    import fiftyone as fo
    import fiftyone.core.utils as fou
    import numpy as np

    from fiftyone_deepcluster.dataset.runs.run import load_run

    run = load_run(fo.load_dataset(dataset), key)
    if run.n_clusters < 2 or run.dataset.get_field(run.fields.path("embedding")) is None:
        return {}
    n_images = max(1, min(_IMAGES_PER_CLUSTER, _IMAGES // run.n_clusters))
    clustered: Stage = {"$match": {"cluster": {"$gte": 0}, "embedding": {"$ne": None}}}
    some: Stage = {"$firstN": {"input": "$embedding", "n": n_images}}
    stages = [
        *image_stages(run.fields, {"$ne": None}, ("label", "cluster", "embedding")),
        clustered,
        {"$group": {"_id": "$cluster", "vectors": some}},
    ]
    found = aggregate(run, stages)
    centers = [
        np.mean([fou.deserialize_numpy_array(each) for each in group["vectors"]], axis=0, dtype=np.float32)
        for group in found
    ]
    return _nearest(np.asarray([group["_id"] for group in found]), np.asarray(centers))


def _nearest(ids: NDArray[np.int64], centers: NDArray[np.float32]) -> dict[int, list[int]]:
    """Numbers of the nearest others of (K, D) centers with the (K,) numbers ``ids``."""
    import numpy as np

    if not len(ids):
        return {}
    squares = (centers**2).sum(axis=1)
    distances = squares[:, None] + squares[None, :] - 2 * centers @ centers.T
    np.fill_diagonal(distances, np.inf)
    order = distances.argsort(axis=1)[:, : min(N_NEAREST, len(ids) - 1)]
    return {int(number): ids[row].tolist() for number, row in zip(ids, order, strict=True)}
