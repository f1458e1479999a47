"""Clusters of a run with statistics that show whether they are mixed, and pages of their images.

Every query reads only the clusters asked for: the index of the label finds their images.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from fiftyone_deepcluster.core.arguments import short
from fiftyone_deepcluster.core.seeds import rng
from fiftyone_deepcluster.dataset.io.write import NOISE
from fiftyone_deepcluster.dataset.review.clusters import aggregate, check_there, image_stages
from fiftyone_deepcluster.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import fiftyone as fo

    from fiftyone_deepcluster.dataset.review.clusters import Stage
    from fiftyone_deepcluster.dataset.review.old_values import Old
    from fiftyone_deepcluster.dataset.runs.kept_run import KeptRun

UNCERTAIN = 0.5
"""An image with a lower confidence counts as uncertain."""
_OUTLIER, _FEWEST = 2.0, 10
"""An image is an outlier if it is this many standard deviations farther from the center than the mean, in clusters of
at least so many images."""
_MEANS = ("distance", "confidence", "changes", "stability")
PICTURE_VALUES = ("label", "distance", "confidence", "margin", "changes")
"""Values of the run that ``picture_of`` needs."""

ImageOrder = Literal["nearest", "farthest", "uncertain", "random", "moved"]
_ORDERS: dict[str, tuple[str, int]] = {
    "nearest": ("distance", 1),
    "farthest": ("distance", -1),
    "uncertain": ("confidence", 1),
    "moved": ("changes", -1),
}


@dataclass(frozen=True)
class ClusterRow:
    """One cluster under its current name.

    Attributes:
        name: label of its images.
        numbers: cluster numbers of the run -> number of images; several after a merge, -1 for noise.
        size: number of images.
        distance: mean distance of its images to the center; smaller is tighter. None for noise.
        confidence: mean confidence of its images, 0..1; None if the run has none.
        uncertain: number of images with a confidence below ``UNCERTAIN``.
        changes: mean number of cluster changes of its images between rounds; None if the run has one round.
        stability: mean share of cluster-mates that its images kept over the last rounds, 0..1; None as above.
        outlier_from: images farther from the center are outliers; None for noise and for small clusters.
        majority: most frequent value of the label field among its images; None without a label field or labels.
        majority_share: share of that value among its labeled images, 0..1.
    """

    name: str
    numbers: Mapping[int, int]
    size: int
    distance: float | None
    confidence: float | None
    uncertain: int
    changes: float | None
    stability: float | None
    outlier_from: float | None
    majority: str | None
    majority_share: float | None

    @property
    def is_noise(self) -> bool:
        """Whether these are the images in no cluster."""
        return self.name == NOISE


@dataclass(frozen=True)
class Picture:
    """One image, or one object in its image.

    Attributes:
        image_id: id of the object; the sample id for whole images.
        sample_id: id of the sample.
        path: path of the file.
        box: relative x, y, width, height of the object; None for whole images.
        values: name of the cluster, confidence, distance, margin, changes, and the label of the label field.
    """

    image_id: str
    sample_id: str
    path: str
    box: tuple[float, ...] | None
    values: Mapping[str, Any]


def cluster_rows(
    run: KeptRun, label_field: str | None = None, names: Sequence[str] | None = None
) -> list[ClusterRow]:
    """Clusters of a run, largest first.

    Args:
        run: the run.
        label_field: field whose most frequent value is counted in each cluster; for patches, an attribute.
        names: only these clusters; missing names are skipped. By default all.

    Raises:
        InputError: ``label_field`` is not a field of labels.
        RunNotFoundError: the run was deleted since it was loaded.
        RunError: its label field was deleted since it was loaded.
    """
    label: Stage = {"$ne": None} if names is None else {"$in": list(names)}
    stages = image_stages(run.fields, label, ("label", "cluster", *_MEANS))
    group: Stage = {
        "_id": {"name": "$label", "number": "$cluster"},
        "size": {"$sum": 1},
        **{value: {"$sum": f"${value}"} for value in _MEANS},
        **{f"n_{value}": {"$sum": {"$cond": [{"$isNumber": f"${value}"}, 1, 0]}} for value in _MEANS},
        "squares": {"$sum": {"$multiply": ["$distance", "$distance"]}},
        "uncertain": {
            "$sum": {
                "$cond": [{"$and": [{"$isNumber": "$confidence"}, {"$lt": ["$confidence", UNCERTAIN]}]}, 1, 0]
            }
        },
    }
    groups = aggregate(run, [*stages, {"$group": group}])
    if not groups and names is None:
        check_there(run)
    majorities = _majorities(run, label, label_field) if label_field else {}
    by_name: dict[str, list[Stage]] = defaultdict(list)
    for found in groups:
        by_name[found["_id"]["name"]].append(found)
    rows = [_row(name, parts, majorities.get(name)) for name, parts in by_name.items()]
    return sorted(rows, key=lambda row: (-row.size, row.name))


def _row(name: str, parts: list[Stage], majority: Counter[str] | None) -> ClusterRow:
    def mean(value: str) -> float | None:
        count = sum(part[f"n_{value}"] for part in parts)
        return sum(part[value] for part in parts) / count if count else None

    def outlier_from() -> float | None:
        average, count = mean("distance"), sum(part["n_distance"] for part in parts)
        if name == NOISE or average is None or count < _FEWEST:
            return None
        variance = sum(part["squares"] for part in parts) / count - average**2
        return average + _OUTLIER * math.sqrt(max(variance, 0.0))

    best, share = None, None
    if majority:
        best, most = max(majority.items(), key=lambda item: (item[1], item[0]))
        share = most / majority.total()
    return ClusterRow(
        name=name,
        numbers={part["_id"].get("number", -1): part["size"] for part in parts},
        size=sum(part["size"] for part in parts),
        distance=None if name == NOISE else mean("distance"),
        confidence=None if name == NOISE else mean("confidence"),
        uncertain=sum(part["uncertain"] for part in parts),
        changes=mean("changes"),
        stability=mean("stability"),
        outlier_from=outlier_from(),
        majority=best,
        majority_share=share,
    )


def _majorities(run: KeptRun, label: Stage, label_field: str) -> dict[str, Counter[str]]:
    """Number of images with each value of the label field, by cluster."""
    extra = {"truth": f"${label_path(run, label_field)}"}
    stages = image_stages(run.fields, label, ("label",), extra)
    group = {"_id": {"name": "$label", "truth": "$truth"}, "size": {"$sum": 1}}
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for found in aggregate(run, [*stages, {"$group": group}]):
        if found["_id"].get("truth") is not None:
            counts[found["_id"]["name"]][str(found["_id"]["truth"])] += found["size"]
    return counts


def label_path(run: KeptRun, field: str) -> str:
    """Path in MongoDB of the string that a label field holds.

    Raises:
        InputError: no such field, or a field that holds no single label.
    """
    import fiftyone as fo

    names = run.fields
    path = names.prefix + field.removeprefix(names.prefix)
    known = run.dataset.get_field(path)
    if isinstance(known, fo.EmbeddedDocumentField) and issubclass(known.document_type, fo.Classification):
        return f"{path}.label"
    if isinstance(known, (fo.StringField, fo.BooleanField, fo.IntField)):
        return path
    raise InputError(
        f"label_field={short(field)} is not a field of labels; choose one of: {', '.join(label_fields(run)) or 'none'}"
    )


def label_fields(run: KeptRun) -> list[str]:
    """Fields that hold one label for each image of the run, other than those of runs; for patches, attributes."""
    import fiftyone as fo

    from fiftyone_deepcluster.dataset.io.fields import marked

    dataset, names = run.dataset, run.fields
    roots = {root for known in marked(dataset) for root in known.roots()}
    found = []
    if names.patches_field is None:
        for path, field in dataset.get_field_schema().items():
            if (
                isinstance(field, fo.EmbeddedDocumentField)
                and issubclass(field.document_type, fo.Classification)
                and path not in roots
            ):
                found.append(path)
        strings = dataset.get_field_schema(ftype=fo.StringField)
        found += [path for path in strings if path not in roots and path != "filepath"]
        return found
    schema = dataset.get_field_schema(flat=True)
    for path, field in schema.items():
        name = path.removeprefix(names.prefix)
        if (
            path.startswith(names.prefix)
            and "." not in name
            and isinstance(field, fo.StringField)
            and path not in roots
        ):
            found.append(name)
    return found


def strips(run: KeptRun, names: Sequence[str], n: int) -> dict[str, list[Picture]]:
    """The ``n`` images nearest to the center of each cluster, nearest first; noise by id."""
    found = {}
    for name in names:
        found[name], _ = page(run, name, "nearest", limit=n, count=False)
    return found


def page(
    run: KeptRun,
    name: str,
    order: ImageOrder,
    *,
    offset: int = 0,
    limit: int,
    label_field: str | None = None,
    count: bool = True,
) -> tuple[list[Picture], int]:
    """Some images of a cluster, in order, and their number in all.

    Args:
        run: the run.
        name: name of the cluster.
        order: "nearest" or "farthest" to the center, "uncertain": least confident first, "moved": most cluster
            changes first, "random": in an order that depends on the seed of the run.
        offset: number of images to skip.
        limit: number of images, at most.
        label_field: field whose value is read, too.
        count: count the images; otherwise the number is 0.

    Raises:
        InputError: another order, or ``label_field`` is not a field of labels.
    """
    if order != "random" and order not in _ORDERS:
        raise InputError(f"order={short(order)}: give one of {', '.join([*_ORDERS, 'random'])}")
    stages = image_stages(run.fields, {"$in": [name]}, PICTURE_VALUES, truth_of(run, label_field))
    if order == "random":
        drawn = _random_ids(run, name)
        chosen = drawn[offset : offset + limit]
        found = aggregate(run, [*stages, {"$match": {"image": {"$in": chosen}}}])
        place = {image: at for at, image in enumerate(chosen)}
        found.sort(key=lambda document: place[document["image"]])
        return [picture_of(document) for document in found], len(drawn)
    value, direction = _ORDERS[order]
    sort: Stage = {"$sort": {value: direction, "image": 1}}
    found = aggregate(run, [*stages, sort, {"$skip": offset}, {"$limit": limit}])
    total = _count(run, name) if count else 0
    return [picture_of(document) for document in found], total


def truth_of(run: KeptRun, label_field: str | None) -> dict[str, object]:
    """Further values of ``image_stages``: the value of a label field, if there is one."""
    return {"truth": f"${label_path(run, label_field)}"} if label_field else {}


def _random_ids(run: KeptRun, name: str) -> list[Any]:
    """Ids of all images of a cluster in random order, the same at each call."""
    stages = [*image_stages(run.fields, {"$in": [name]}, ("label",)), {"$project": {"image": 1}}]
    ids = sorted(document["image"] for document in aggregate(run, stages))
    return [ids[at] for at in rng(run.options.seed, "exemplars", name).permutation(len(ids)).tolist()]


def pictures(run: KeptRun, images: Sequence[Old]) -> list[Picture]:
    """Some images, in the given order."""
    ids = [image.image_id for image in images]
    stages = [
        {"$match": {"_id": {"$in": [image.sample_id for image in images]}}},
        *image_stages(run.fields, {"$ne": None}, ("label",)),
        {"$match": {"image": {"$in": ids}}},
    ]
    found = {document["image"]: picture_of(document) for document in aggregate(run, stages)}
    return [found[image] for image in ids if image in found]


def picture_of(document: Stage) -> Picture:
    """Image of one document of ``image_stages``; values that it does not have are None."""
    box = document.get("box")
    values = {name: document.get(name) for name in ("confidence", "distance", "margin", "changes")}
    values["cluster"] = document.get("label")
    values["label"] = None if document.get("truth") is None else str(document["truth"])
    return Picture(
        str(document["image"]),
        str(document["sample"]),
        document["filepath"],
        None if box is None else tuple(box),
        values,
    )


def _count(run: KeptRun, name: str) -> int:
    if run.fields.patches_field is None:
        return int(run.dataset._sample_collection.count_documents({run.fields.path("label"): name}))
    stages = [*image_stages(run.fields, {"$in": [name]}, ("label",)), {"$count": "n"}]
    found = aggregate(run, stages)
    return int(found[0]["n"]) if found else 0


def counts_in(run: KeptRun, samples: fo.core.collections.SampleCollection) -> dict[str, int] | None:
    """Number of images of each cluster in a view; None if the view has no images of the run, such as patches."""
    path = path_in_view(run, samples)
    if samples.get_field(path) is None:
        return None
    counted: dict[str, int] = samples.count_values(path)
    return {name: count for name, count in counted.items() if name is not None}


def path_in_view(run: KeptRun, samples: fo.core.collections.SampleCollection) -> str:
    """Path of the cluster in a view: of patches, an attribute of the one object of each."""
    from fiftyone.core.patches import PatchesView

    return run.fields.view_path("label") if isinstance(samples, PatchesView) else run.fields.path("label")
