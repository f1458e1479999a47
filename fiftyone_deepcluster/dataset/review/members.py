"""The images that an edit is about: whole clusters, single images, or a cluster without some images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fiftyone_deepcluster.core.arguments import listed, short
from fiftyone_deepcluster.core.words import none_of
from fiftyone_deepcluster.dataset.review.clusters import aggregate
from fiftyone_deepcluster.dataset.review.old_values import Old
from fiftyone_deepcluster.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    import fiftyone as fo
    from bson import ObjectId

    from fiftyone_deepcluster.dataset.runs.kept_run import KeptRun


def members(run: KeptRun, clusters: Sequence[str], path: str) -> list[Old]:
    """Images of the given clusters with their current values of ``path``."""
    condition = {"$in": list(clusters)}
    names = run.fields
    label = names.path("label")
    match: dict[str, Any] = {label: condition}
    steps: list[dict[str, Any]] = [{"$match": match}]
    if names.patches_field is not None:
        steps += [{"$unwind": f"${names.prefix[:-1]}"}, {"$match": match}]
    return _olds(run, steps, path)


def members_without(run: KeptRun, cluster: str, besides: Sequence[str]) -> list[Old]:
    """Images of a cluster except those with the given ids, with their current label."""
    left_out = set(object_ids(besides, "besides"))
    return [old for old in members(run, [cluster], run.fields.path("label")) if old.image_id not in left_out]


def members_of(
    run: KeptRun, samples: fo.core.collections.SampleCollection | Sequence[str], path: str | None = None
) -> list[Old]:
    """The run's images in a view, or with the given ids, with their current value of a path.

    Args:
        run: the run.
        samples: a view, or ids of samples; for patches a patches view or ids of objects. A view of samples stands
            for all their objects.
        path: path of the value; by default that of the run's anchor, such as the label of the cluster.

    Raises:
        InputError: there are none, or none of them is an image of the run.
    """
    from bson import ObjectId
    from fiftyone.core.collections import SampleCollection
    from fiftyone.core.patches import PatchesView

    names = run.fields
    anchor = names.path(names.layout.anchor)
    by_sample = names.patches_field is None
    if isinstance(samples, SampleCollection):
        by_sample = by_sample or not isinstance(samples, PatchesView)
        ids = [ObjectId(name) for name in samples.values("id")]
    else:
        ids = object_ids(samples, "samples")
    if not ids:
        raise InputError(f"samples is empty; give images that run {run.key!r} has clustered")
    steps: list[dict[str, Any]] = []
    if by_sample:
        steps.append({"$match": {"_id": {"$in": ids}}})
    else:
        steps.append({"$match": {f"{names.prefix}_id": {"$in": ids}}})
    if names.patches_field is not None:
        steps.append({"$unwind": f"${names.prefix[:-1]}"})
        if not by_sample:
            steps.append({"$match": {f"{names.prefix}_id": {"$in": ids}}})
    steps.append({"$match": {anchor: {"$ne": None}}})
    found = _olds(run, steps, path or anchor)
    if not found:
        what, done = (
            ("run", "run has clustered") if names.kind == "clusters" else ("audit", "audit has judged")
        )
        raise InputError(
            f"{none_of(len(ids), names.unit)} belongs to {what} {run.key!r}; choose {names.unit}s that the {done}"
        )
    return found


def object_ids(ids: Collection[str], what: str) -> list[ObjectId]:
    """Ids as MongoDB stores them; ``what`` is the name of the argument.

    Raises:
        InputError: a value that is not an id.
    """
    from bson import ObjectId

    if isinstance(ids, str):
        raise InputError(f"{what}={short(ids)} is one id; give a list of ids, or a view")
    given = listed(ids)
    if given is None:
        raise InputError(f"{what}={short(ids)} is not a list of ids; give ids, or a view")
    wrong = [name for name in given if not isinstance(name, ObjectId) and not _is_id(name)]
    if wrong:
        raise InputError(
            f"{what}: {short(wrong[0])} is not an id; give ids such as those of view.values('id')"
        )
    return [ObjectId(name) for name in given]


def _is_id(name: object) -> bool:
    from bson import ObjectId

    return isinstance(name, str) and ObjectId.is_valid(name)


def _olds(run: KeptRun, steps: list[dict[str, Any]], path: str) -> list[Old]:
    image = f"${run.fields.prefix}_id"
    found = aggregate(run, [*steps, {"$project": {"image": image, "value": f"${path}"}}])
    return [Old(item["_id"], item["image"], item.get("value")) for item in found]
