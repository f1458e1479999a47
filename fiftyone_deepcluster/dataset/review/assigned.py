"""Include images that are assigned to a run in its edits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fiftyone_deepcluster.dataset.review.apply import complete_edits
from fiftyone_deepcluster.dataset.review.edit_log import EditLog

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from fiftyone_deepcluster.dataset.io.source import SampleSource
    from fiftyone_deepcluster.dataset.runs.run import Run


def join_edits(run: Run, source: SampleSource, labels: NDArray[np.int64]) -> None:
    """Add images that are about to be assigned to the edits in effect. The caller holds the lock.

    Args:
        run: run on the dataset of the images.
        source: the N images.
        labels: (N,) their cluster numbers.
    """
    from bson import ObjectId

    log = EditLog(run.dataset, run.uid)
    complete_edits(run, log)
    images = [(ObjectId(s), ObjectId(i)) for s, i in zip(source.sample_ids, source.ids, strict=True)]
    log.join(images, labels.tolist())
