"""The clusters of a run with what shows whether they are mixed, and pages of their images.

Every query reads only the clusters asked for: the index of the label finds their images.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from fiftyone_deepcluster.core.seeds import rng
from fiftyone_deepcluster.dataset.io.write import NOISE
from fiftyone_deepcluster.dataset.review.clusters import aggregate, check_there, image_stages
from fiftyone_deepcluster.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import fiftyone as fo

    from fiftyone_deepcluster.dataset.review.clusters import KeptRun, Stage
    from fiftyone_deepcluster.dataset.review.old_values import Old

UNCERTAIN = 0.5
"""An image with a lower confidence counts as uncertain."""

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
        changes: mean number of cluster changes of its images between rounds; None without rounds.
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
        values: confidence, distance, margin, changes, and the label of the label field.
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
    stages = image_stages(run.fields, label, ("label", "cluster", "distance", "confidence", "changes"))
    group = {
        "_id": {"name": "$label", "number": "$cluster"},
        "size": {"$sum": 1},
        "n_distance": {"$sum": {"$cond": [{"$isNumber": "$distance"}, 1, 0]}},
        "distance": {"$sum": "$distance"},
        "n_confidence": {"$sum": {"$cond": [{"$isNumber": "$confidence"}, 1, 0]}},
        "confidence": {"$sum": "$confidence"},
        "n_changes": {"$sum": {"$cond": [{"$isNumber": "$changes"}, 1, 0]}},
        "changes": {"$sum": "$changes"},
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
        f"label_field={field!r} is not a field of labels; choose one of: {', '.join(label_fields(run)) or 'none'}"
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
        raise InputError(f"order={order!r}: give one of {', '.join([*_ORDERS, 'random'])}")
    extra: dict[str, object] = {"truth": f"${label_path(run, label_field)}"} if label_field else {}
    values = ("label", "distance", "confidence", "margin", "changes")
    stages = image_stages(run.fields, {"$in": [name]}, values, extra)
    if order == "random":
        drawn = _random_ids(run, name)
        chosen = drawn[offset : offset + limit]
        found = aggregate(run, [*stages, {"$match": {"image": {"$in": chosen}}}])
        place = {image: at for at, image in enumerate(chosen)}
        found.sort(key=lambda document: place[document["image"]])
        return [_picture(document) for document in found], len(drawn)
    value, direction = _ORDERS[order]
    sort: Stage = {"$sort": {value: direction, "image": 1}}
    found = aggregate(run, [*stages, sort, {"$skip": offset}, {"$limit": limit}])
    total = _count(run, name) if count else 0
    return [_picture(document) for document in found], total


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
    found = {document["image"]: _picture(document) for document in aggregate(run, stages)}
    return [found[image] for image in ids if image in found]


def _picture(document: Stage) -> Picture:
    box = document.get("box")
    values = {name: document.get(name) for name in ("confidence", "distance", "margin", "changes")}
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
    path = _path_in(run, samples)
    if samples.get_field(path) is None:
        return None
    counted: dict[str, int] = samples.count_values(path)
    return {name: count for name, count in counted.items() if name is not None}


def _path_in(run: KeptRun, samples: fo.core.collections.SampleCollection) -> str:
    from fiftyone.core.patches import PatchesView

    return run.fields.view_path("label") if isinstance(samples, PatchesView) else run.fields.path("label")
