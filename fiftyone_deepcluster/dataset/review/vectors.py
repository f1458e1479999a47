"""Stored vectors of the images of some clusters."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fiftyone_deepcluster.dataset.review.clusters import aggregate, check_there, image_stages

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from fiftyone_deepcluster.dataset.review.clusters import Stage
    from fiftyone_deepcluster.dataset.runs.kept_run import KeptRun


def vectors_of(
    run: KeptRun, clusters: Sequence[str], most: int | None = None
) -> tuple[list[Stage], NDArray[np.float32]]:
    """Images of some clusters that have a vector, and the (N, D) vectors, in the order of their ids.

    Args:
        run: the run.
        clusters: names of clusters.
        most: number of images to read, at most.

    Returns:
        Documents as in ``image_stages``, with the image, its sample and its label; and the vectors.

    Raises:
        RunError: the field of the vectors was deleted.
    """
    import fiftyone.core.utils as fou
    import numpy as np

    check_there(run, "embedding")
    stages = image_stages(run.fields, {"$in": list(clusters)}, ("label", "embedding"))
    stages.append({"$match": {"embedding": {"$ne": None}}})
    if most is not None:
        stages.append({"$limit": most})
    found = sorted(aggregate(run, stages), key=lambda document: document["image"])
    vectors = [fou.deserialize_numpy_array(document.pop("embedding")) for document in found]
    width = vectors[0].size if vectors else 0  # none: others may have emptied the cluster meanwhile
    return found, np.asarray(vectors, np.float32).reshape(len(found), width)
