"""Clusters of a run under their current names: sizes, statistics, and exemplar images."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from fiftyone_deepcluster.core.seeds import rng
from fiftyone_deepcluster.dataset.io.fields import has_values
from fiftyone_deepcluster.dataset.io.lost_fields import declare_lost
from fiftyone_deepcluster.dataset.runs import storage
from fiftyone_deepcluster.dataset.runs.completeness import way_back
from fiftyone_deepcluster.errors import RunError, RunNotFoundError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from fiftyone_deepcluster.dataset.io.fields import FieldNames
    from fiftyone_deepcluster.dataset.runs.kept_run import KeptRun

Drawn = Literal["nearest", "random"]
Stage = dict[str, Any]
VALUES = ("label", "cluster", "distance", "stability")
_MOST = 2**31 - 1
"""Largest number of exemplars that is passed to MongoDB, whose integers have 8 bytes."""
_IMAGE = ["$image", "$sample", "$filepath", "$box"]


@dataclass(frozen=True)
class ClusterInfo:
    """One cluster under its current name.

    Attributes:
        name: label of its images.
        ids: cluster numbers of the run; several after a merge.
        size: number of images.
        share: fraction of all clustered images of the run, 0..1.
        cohesion: mean distance of its images to the cluster center; smaller is tighter. None for noise.
        stability: mean over its images of the share of cluster-mates kept in the last rounds; None if
            the run has one round.
        exemplars: ids of some of its images (for patches, ids of the objects): nearest to the center first, or
            in the order drawn.
        exemplar_samples: ids of the samples of the exemplars; equal to ``exemplars`` except for patches.
        exemplar_paths: file paths of the exemplars.
        exemplar_boxes: relative x, y, width, height of each exemplar in its file; None for a whole image.
    """

    name: str
    ids: tuple[int, ...]
    size: int
    share: float
    cohesion: float | None
    stability: float | None
    exemplars: tuple[str, ...]
    exemplar_samples: tuple[str, ...]
    exemplar_paths: tuple[str, ...]
    exemplar_boxes: tuple[tuple[float, ...] | None, ...]


def check_stored(run: KeptRun) -> None:
    """Raise RunNotFoundError if the run was deleted, renamed or replaced by another since it was loaded."""
    dataset, kind = run.dataset, run.fields.kind
    what = "run" if kind == "clusters" else "audit"
    if not storage.in_database(dataset):
        raise RunNotFoundError(
            f"dataset {dataset.name!r} was deleted since {what} {run.key!r} was loaded; load a {what} of an existing "
            "dataset"
        )
    storage.look_again(dataset)
    if run.key not in storage.keys(dataset, kind):
        known = ", ".join(storage.keys(dataset, kind)) or "none"
        raise RunNotFoundError(
            f"{what} {run.key!r} of {dataset.name!r} was deleted or renamed since it was loaded; load an existing "
            f"{what} with load_{what}: {known}"
        )
    if not storage.is_stored(dataset, run.key, run.uid, kind):
        raise RunNotFoundError(
            f"{what} {run.key!r} of {dataset.name!r} was replaced since it was loaded; load it again with load_{what}"
        )


def check_there(run: KeptRun, value: str | None = None) -> None:
    """Raise unless the run and the fields of its values still exist.

    Args:
        run: run to check.
        value: name of a value, see ``io.layouts``; by default those that every call needs.

    Raises:
        RunNotFoundError: the run was deleted, renamed or replaced by another.
        RunError: the field of a value was deleted from the dataset.
    """
    check_stored(run)
    for name in run.fields.layout.needed if value is None else (value,):
        _check_field(run, run.fields.path(name))


def _check_field(run: KeptRun, path: str) -> None:
    dataset, kind = run.dataset, run.fields.kind
    if dataset.get_field(path) is not None:
        return
    dataset.reload()  # another process may have added it since
    if dataset.get_field(path) is None and has_values(dataset, run.fields, path):
        declare_lost(dataset, run.fields)  # another program removed it from the schema by accident
    if dataset.get_field(path) is None:
        what = "run" if kind == "clusters" else "audit"
        raise RunError(
            f"the field {path} of {what} {run.key!r} was deleted from {dataset.name!r}; "
            f"{way_back(dataset, run.key, run.uid, kind)}"
        )


def summarize(run: KeptRun, n_exemplars: int) -> list[ClusterInfo]:
    """All clusters, largest first, with the images nearest to their centers. Takes one database query.

    Raises:
        RunNotFoundError: the run was deleted since it was loaded.
        RunError: its label field was deleted since it was loaded.
    """
    nearest = {"n": min(max(1, n_exemplars), _MOST), "sortBy": {"distance": 1}, "output": _IMAGE}
    group = {
        "_id": "$label",
        "ids": {"$addToSet": "$cluster"},
        "size": {"$sum": 1},
        "cohesion": {"$avg": "$distance"},
        "stability": {"$avg": "$stability"},
        "exemplars": {"$topN": nearest},
    }
    groups = aggregate(run, [*image_stages(run.fields, {"$ne": None}), {"$group": group}])
    if not groups:
        check_there(run)
    total = sum(group["size"] for group in groups)
    infos = [_info(group, total, n_exemplars) for group in groups]
    return sorted(infos, key=lambda info: (-info.size, info.name))


def names_by_number(run: KeptRun) -> dict[int, str]:
    """Cluster number of the run -> current name; if its images have several names, the most frequent."""
    group = {"_id": {"number": "$cluster", "name": "$label"}, "size": {"$sum": 1}}
    clustered: Stage = {"$match": {"cluster": {"$gte": 0}}}
    found = aggregate(run, [*image_stages(run.fields, {"$ne": None}), clustered, {"$group": group}])
    found.sort(key=lambda group: (group["size"], group["_id"]["name"]))
    return {group["_id"]["number"]: group["_id"]["name"] for group in found}


def with_random(
    run: KeptRun, infos: Sequence[ClusterInfo], n_exemplars: int, seed: int | None = None
) -> list[ClusterInfo]:
    """The same clusters with exemplars drawn uniformly without replacement from each cluster.

    A seed draws the same images as long as the cluster's images are the same. Takes two database queries.

    Args:
        run: run of the clusters.
        infos: the clusters.
        n_exemplars: number of images per cluster; all images of a smaller cluster.
        seed: random seed; by default the seed of the run.
    """
    drawn = _draw(run, [info.name for info in infos], n_exemplars, run.options.seed if seed is None else seed)
    return [_show(info, drawn.get(info.name, [])) for info in infos]


def _draw(run: KeptRun, names: list[str], n_exemplars: int, seed: int) -> dict[str, list[list[Any]]]:
    """Id, sample, file and box of each drawn image, by cluster name."""
    members: dict[str, list[Any]] = defaultdict(list)
    only = {"_id": 0, "label": 1, "image": 1, "sample": 1}
    for found in aggregate(run, [*image_stages(run.fields, {"$in": names}), {"$project": only}]):
        members[found["label"]].append((found["image"], found["sample"]))
    drawn: dict[str, list[Any]] = {}
    for name, pairs in members.items():
        pairs.sort()
        rows = rng(seed, "exemplars", name).choice(len(pairs), min(n_exemplars, len(pairs)), replace=False)
        drawn[name] = [pairs[row] for row in rows.tolist()]
    chosen = [pair for pairs in drawn.values() for pair in pairs]
    stages = [
        {"$match": {"_id": {"$in": [sample for _, sample in chosen]}}},
        *image_stages(run.fields, {"$in": names}),
        {"$match": {"image": {"$in": [image for image, _ in chosen]}}},
        {"$project": {"image": 1, "as_output": _IMAGE}},
    ]
    rows_by_image = {found["image"]: found["as_output"] for found in aggregate(run, stages)}
    return {name: [rows_by_image[image] for image, _ in pairs] for name, pairs in drawn.items()}


def aggregate(run: KeptRun, stages: list[Stage]) -> list[Stage]:
    """Results of an aggregation over the samples of the run's dataset."""
    return list(run.dataset._sample_collection.aggregate(stages, allowDiskUse=True))


def image_stages(
    names: FieldNames, label: Stage, values: Sequence[str] = VALUES, extra: Mapping[str, object] | None = None
) -> list[Stage]:
    """Stages that give one document per image whose label matches.

    Args:
        names: fields of the run.
        label: condition on the label, such as ``{"$in": [...]}``.
        values: values of the run that each document has, beside image, sample, filepath and box.
        extra: further values of each document: name -> expression.
    """
    holders: Stage = {names.path("label"): label}
    unwind: list[Stage] = []
    image: object = "$_id"
    box: object = {"$literal": None}
    if names.patches_field is not None:
        # a condition on the path of a list would have to hold for every object of a sample
        objects = names.prefix[:-1]
        holders = {objects: {"$elemMatch": {names.path("label").removeprefix(names.prefix): label}}}
        unwind = [{"$unwind": f"${objects}"}]
        image, box = f"${names.prefix}_id", f"${names.prefix}bounding_box"
    paths = {name: f"${names.path(name)}" for name in values}
    shown = {"_id": 0, "image": image, "sample": "$_id", "filepath": 1, "box": box, **paths, **(extra or {})}
    return [
        {"$match": holders},
        *unwind,
        {"$project": shown},
        {"$match": {"label": label}},
    ]


def _info(group: Stage, total: int, n_exemplars: int) -> ClusterInfo:
    info = ClusterInfo(
        name=group["_id"],
        ids=tuple(sorted(group["ids"])),
        size=group["size"],
        share=group["size"] / total,
        cohesion=group["cohesion"],
        stability=group["stability"],
        exemplars=(),
        exemplar_samples=(),
        exemplar_paths=(),
        exemplar_boxes=(),
    )
    return _show(info, group["exemplars"][:n_exemplars])


def _show(info: ClusterInfo, images: Iterable[list[Any]]) -> ClusterInfo:
    rows = list(images)
    return replace(
        info,
        exemplars=tuple(str(image) for image, *_ in rows),
        exemplar_samples=tuple(str(sample) for _, sample, *_ in rows),
        exemplar_paths=tuple(path for _, _, path, _ in rows),
        exemplar_boxes=tuple(None if box is None else tuple(box) for *_, box in rows),
    )
