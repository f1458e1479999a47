"""Nearest clusters of each cluster as the run found them, from the stored centers."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from fiftyone_deepcluster.core import checkpoints
from fiftyone_deepcluster.dataset.runs import run_files
from fiftyone_deepcluster.errors import CheckpointError

if TYPE_CHECKING:
    from fiftyone_deepcluster.dataset.runs.kept_run import KeptRun

N_NEAREST = 10


def nearest_numbers(run: KeptRun) -> dict[int, list[int]]:
    """Cluster number -> numbers of the clusters with the nearest centers, nearest first, at most ``N_NEAREST``.

    Empty if the centers are not on this machine.
    """
    path = run_files.run_dir(run.dataset, run.key) / checkpoints.MODEL
    try:
        return _nearest(str(path), path.stat().st_mtime_ns)
    except (OSError, CheckpointError):
        return {}


@lru_cache(maxsize=8)
def _nearest(path: str, changed: int) -> dict[int, list[int]]:
    import numpy as np

    model = checkpoints.load(Path(path), mmap=True)
    centers = model["centers"].float().numpy()
    ids = model["ids"].numpy()
    squares = (centers**2).sum(axis=1)
    distances = squares[:, None] + squares[None, :] - 2 * centers @ centers.T
    np.fill_diagonal(distances, np.inf)
    order = distances.argsort(axis=1)[:, : min(N_NEAREST, len(ids) - 1)]
    return {int(number): ids[row].tolist() for number, row in zip(ids, order, strict=True)}
