"""Whether the clusters of a run are all in the database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fiftyone_deepcluster.core.words import counted
from fiftyone_deepcluster.dataset.runs import storage
from fiftyone_deepcluster.dataset.runs.kept_edits import find_edits
from fiftyone_deepcluster.dataset.runs.own_files import readable_own_job
from fiftyone_deepcluster.errors import RunError

if TYPE_CHECKING:
    import fiftyone as fo

    from fiftyone_deepcluster.dataset.io.fields import FieldNames
    from fiftyone_deepcluster.dataset.io.layouts import RunKind
    from fiftyone_deepcluster.dataset.runs.database import DatabaseWatch

_BATCH = 100_000
"""Images per query, which must be smaller than 16 MB."""


def count_clustered(dataset: fo.Dataset, names: FieldNames) -> int:
    """Number of images with a label of the run; about 0.1 s for 100,000 images, from the index of the label."""
    clustered = {names.path("label"): {"$gte": ""}}  # every string
    if names.patches_field is None:
        return int(dataset._sample_collection.count_documents(clustered))
    return _count_objects(dataset, names, clustered)


def check_kept(
    dataset: fo.Dataset, names: FieldNames, watch: DatabaseWatch, n_clustered: int, way_out: str
) -> None:
    """Raise RunError unless everything written since ``watch`` was created is on the database's disk.

    Args:
        dataset: dataset of the run.
        names: names of the fields of the run.
        watch: created before the first write.
        n_clustered: number of images that must have a label of the run.
        way_out: how to write the clusters again, for the message.
    """
    if watch.all_kept() and count_clustered(dataset, names) >= n_clustered:
        return
    raise RunError(
        f"the database was restarted while the clusters of run {names.key!r} were written, and has lost some of "
        f"them; {way_out}"
    )


def count_lost(dataset: fo.Dataset, names: FieldNames, uid: str, n_images: int) -> int:
    """Number of images of a run that have neither a cluster nor an error, as after a crash of the database.

    Args:
        dataset: dataset of the run.
        names: names of the fields of the run.
        uid: its unique id.
        n_images: number of images that were clustered. If as many have a label, 0 is returned at once.
    """
    if count_clustered(dataset, names) >= n_images:
        return 0
    job = readable_own_job(dataset, names.key, uid)
    if job is None:  # assigned, or made elsewhere: whether images were deleted since is unknown
        return 0
    from bson import ObjectId

    empty = {names.path("label"): None, names.path("error"): None}
    lost = 0
    for start in range(0, len(job.ids), _BATCH):
        ids = [ObjectId(name) for name in job.ids[start : start + _BATCH]]
        match = {f"{names.prefix}_id": {"$in": ids}, **empty}
        if names.patches_field is None:
            lost += int(dataset._sample_collection.count_documents(match))
        else:
            lost += _count_objects(dataset, names, match)
    return lost


def way_back(dataset: fo.Dataset, key: str, uid: str, kind: RunKind = "clusters") -> str:
    """How to restore values of a run that were deleted or lost by the database; last part of an error message."""
    if kind == "clusters" and readable_own_job(dataset, key, uid) is not None:
        edits = find_edits(dataset, storage.fields_of(dataset, key), uid)
        if edits.n:
            return (
                f"cluster again under another key; resume would discard {counted(edits.n, 'edit')} of the run"
            )
        return f"resume(samples, {key!r}) writes it again, without training"
    what, again = ("run", "cluster") if kind == "clusters" else ("audit", "audit_labels")
    delete = f"delete_{what}(samples, {key!r})"
    anew = f"{again} with overwrite=True, or under another key if it has edits"
    return f"repeat the {what} ({anew}), or remove the rest of it with {delete}"


def _count_objects(dataset: fo.Dataset, names: FieldNames, match: dict[str, Any]) -> int:
    steps = [{"$match": match}, {"$unwind": f"${names.prefix[:-1]}"}, {"$match": match}, {"$count": "n"}]
    found = list(dataset._sample_collection.aggregate(steps))
    return int(found[0]["n"]) if found else 0
