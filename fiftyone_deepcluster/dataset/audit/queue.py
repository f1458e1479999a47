"""The queue of an audit: suspicious labels that nobody has decided yet, with the evidence for and against them.

All results are JSON values of bounded size.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from fiftyone_deepcluster.analysis.label_audit.noise import ISSUE_AT
from fiftyone_deepcluster.core import arguments
from fiftyone_deepcluster.dataset.review.members import object_ids
from fiftyone_deepcluster.dataset.runs import storage

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bson import ObjectId

    from fiftyone_deepcluster.dataset.audit.audit import Audit
    from fiftyone_deepcluster.dataset.review.clusters import Stage

MOST_ITEMS = 200
_VALUES = ("p_wrong", "given", "suggestion", "reason", "rank", "group", "issues", "decision", "neighbors")


@dataclass(frozen=True)
class QueueFilter:
    """Which labels of the queue are wanted; None: all.

    Attributes:
        given: given label.
        suggestion: suggested label.
        group: name of a group that is wrong as a whole.
        issue: kind of an issue.
        p_wrong: minimum probability.
    """

    given: str | None = None
    suggestion: str | None = None
    group: str | None = None
    issue: str | None = None
    p_wrong: float | None = None

    def conditions(self) -> Stage:
        """The filter on the values of an image."""
        chosen = {
            "given": self.given,
            "suggestion": self.suggestion,
            "group": self.group,
            "issues": self.issue,
        }
        found: Stage = {name: value for name, value in chosen.items() if value is not None}
        if self.p_wrong is not None:
            found["p_wrong"] = {"$gte": self.p_wrong}
        return found


def read_filter(wanted: Mapping[str, Any]) -> QueueFilter:
    """Create a filter from its attributes by name.

    Raises:
        InputError: no such attribute, or an invalid value.
    """
    known = asdict(QueueFilter())
    for name, value in wanted.items():
        arguments.one_of("filter", name, list(known))
        if name == "p_wrong":
            arguments.share_of(name, value, "1")
        else:
            arguments.one_name(name, value, "cat")
    return replace(QueueFilter(), **wanted)


ISSUES = QueueFilter(p_wrong=ISSUE_AT)
"""Labels that are more probably wrong than right."""


def find_documents(
    audit: Audit, conditions: Stage, tail: Sequence[Stage] = (), ids: Sequence[ObjectId] | None = None
) -> list[Stage]:
    """Documents of the images that meet conditions on their values, one each, the most suspicious first.

    Args:
        audit: the audit.
        conditions: name of a value -> condition.
        tail: further stages, such as ``$limit``.
        ids: only the images with these ids; None: all.

    Returns:
        Documents with ``image``, ``sample``, ``filepath``, ``box``, ``cluster``, and the values by name.
    """
    names = audit.fields
    values = {name: f"${names.path(name)}" for name in _VALUES}
    values |= _cluster(audit)
    match = {names.path(name): condition for name, condition in conditions.items()}
    if ids is not None:
        match[f"{names.prefix}_id"] = {"$in": list(ids)}
    stages = [*_images(audit, match), {"$sort": {names.path("rank"): 1}}, *tail]
    image, box = _image_and_box(audit)
    shown = {"_id": 0, "sample": "$_id", "filepath": 1, "image": image, "box": box, **values}
    collection = audit.dataset._sample_collection
    return list(collection.aggregate([*stages, {"$project": shown}], allowDiskUse=True))


def _cluster(audit: Audit) -> dict[str, str]:
    """The cluster of an image in the run of the audit, unless that run was deleted."""
    run = audit.settings_now["run"]
    if run is None or run not in storage.keys(audit.dataset):
        return {}
    return {"cluster": f"${storage.fields_of(audit.dataset, str(run)).path('label')}"}


def _images(audit: Audit, match: Stage) -> list[Stage]:
    """Stages that give one document for each image that matches."""
    if audit.patches_field is None:
        return [{"$match": match}]
    objects = audit.fields.prefix
    inner = {path.removeprefix(objects): condition for path, condition in match.items()}
    holders = {objects[:-1]: {"$elemMatch": inner}}
    return [{"$match": holders}, {"$unwind": f"${objects[:-1]}"}, {"$match": match}]


def _image_and_box(audit: Audit) -> tuple[object, object]:
    """Expressions for the id and the box of an image."""
    if audit.patches_field is None:
        return "$_id", {"$literal": None}
    return f"${audit.fields.prefix}_id", f"${audit.fields.prefix}bounding_box"


def _count(audit: Audit, conditions: Stage) -> int:
    match = {audit.fields.path(name): condition for name, condition in conditions.items()}
    collection = audit.dataset._sample_collection
    if audit.patches_field is None:
        return int(collection.count_documents(match))
    found = list(collection.aggregate([*_images(audit, match), {"$count": "n"}]))
    return int(found[0]["n"]) if found else 0


def count_decided(audit: Audit) -> int:
    """Number of judged labels with a decision."""
    return _count(audit, {"rank": {"$gte": 0}, "decision": {"$ne": None}})


def count_undecided(audit: Audit, wanted: QueueFilter) -> int:
    """Number of labels in the queue.

    Exactly the judged labels have ``p_wrong``. So a condition on ``p_wrong`` needs none on ``rank``, with which MongoDB
    might choose the index of ``rank``, which has all labels.
    """
    if wanted == QueueFilter():
        return audit.record.n_audited - count_decided(audit)
    judged = {} if wanted.p_wrong is not None else {"rank": {"$gte": 0}}
    conditions = {**judged, **wanted.conditions()}
    if audit.patches_field is None and wanted == QueueFilter(p_wrong=wanted.p_wrong):
        # both counts use an index alone; that a value is missing could only be read from every document
        return _count(audit, conditions) - _count(audit, {**conditions, "decision": {"$ne": None}})
    return _count(audit, {**conditions, "decision": None})


def count_texts(audit: Audit) -> dict[str, int]:
    """Decision as stored -> number of judged labels with it."""
    stages = _images(
        audit, {audit.fields.path("decision"): {"$ne": None}, audit.fields.path("rank"): {"$gte": 0}}
    )
    stages.append({"$group": {"_id": f"${audit.fields.path('decision')}", "n": {"$sum": 1}}})
    return {str(found["_id"]): found["n"] for found in audit.dataset._sample_collection.aggregate(stages)}


def suspicious_pairs(audit: Audit) -> list[tuple[str, str, int]]:
    """Given label, suggested label, and number of undecided labels that are more probably wrong than right."""
    path = audit.fields.path
    match = {path("p_wrong"): {"$gte": ISSUE_AT}, path("decision"): None, path("suggestion"): {"$ne": None}}
    pair = {"given": f"${path('given')}", "suggestion": f"${path('suggestion')}"}
    stages = [*_images(audit, match), {"$group": {"_id": pair, "n": {"$sum": 1}}}]
    found = audit.dataset._sample_collection.aggregate(stages)
    pairs = [(str(one["_id"]["given"]), str(one["_id"]["suggestion"]), int(one["n"])) for one in found]
    return sorted(pairs, key=lambda pair: (-pair[2], pair[:2]))


def queue_items(
    audit: Audit, wanted: QueueFilter, n: int, offset: int, first: str | None = None
) -> list[Stage]:
    """The next labels of the queue, the most suspicious first, with their nearest neighbors.

    Args:
        audit: the audit.
        wanted: which labels.
        n: number of labels.
        offset: number of labels to skip.
        first: id of an image that comes before the others, if its label is in the queue.
    """
    conditions = {"rank": {"$gte": 0}, "decision": None, **wanted.conditions()}
    documents = find_documents(audit, conditions, [{"$skip": offset}, {"$limit": n}])
    ids = [] if first is None else object_ids([first], "first")
    if ids and [str(found["image"]) for found in documents[:1]] != [str(ids[0])]:
        ahead = find_documents(audit, conditions, ids=ids)
        known = {found["image"] for found in ahead}
        documents = [*ahead, *(found for found in documents if found["image"] not in known)][:n]
    return items_of(audit, documents)


def items_of(audit: Audit, documents: Sequence[Stage]) -> list[Stage]:
    """JSON of some images, with their neighbors."""
    near = _neighbors(audit, [name for found in documents for name in found.get("neighbors") or ()])
    items = []
    for found in documents:
        item = _picture(found)
        item |= {name: found.get(name) for name in (*_VALUES, "cluster") if name != "neighbors"}
        item["neighbors"] = [near[name] for name in found.get("neighbors") or () if name in near]
        items.append(item)
    return items


def _neighbors(audit: Audit, ids: Sequence[str]) -> dict[str, Stage]:
    """Id of each neighbor -> its picture, label and decision."""
    from bson import ObjectId

    wanted: list[ObjectId] = [ObjectId(name) for name in dict.fromkeys(ids)]
    if not wanted:
        return {}
    names = audit.fields
    image, box = _image_and_box(audit)
    stages = _images(audit, {f"{names.prefix}_id": {"$in": wanted}})
    values = {"given": f"${names.path('given')}", "decision": f"${names.path('decision')}"}
    stages.append(
        {"$project": {"_id": 0, "image": image, "sample": "$_id", "filepath": 1, "box": box, **values}}
    )
    found = audit.dataset._sample_collection.aggregate(stages)
    return {
        str(other["image"]): {
            **_picture(other),
            "given": other.get("given"),
            "decision": other.get("decision"),
        }
        for other in found
    }


def _picture(found: Stage) -> Stage:
    return {
        "id": str(found["image"]),
        "sample_id": str(found["sample"]),
        "filepath": found["filepath"],
        "box": found.get("box"),
    }
