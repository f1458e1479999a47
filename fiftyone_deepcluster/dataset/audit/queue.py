"""The queue of an audit: suspicious labels that nobody has decided yet, with the evidence for and against them.

Every answer consists of values that JSON has, and its size is bounded.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

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
        p_wrong: least probability.
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
        Documents with ``image``, ``sample``, ``filepath``, ``box``, and the values by name.
    """
    names = audit.fields
    values = {name: f"${names.path(name)}" for name in _VALUES}
    match = {names.path(name): condition for name, condition in conditions.items()}
    if ids is not None:
        match[f"{names.prefix}_id"] = {"$in": list(ids)}
    stages = [*_images(audit, match), {"$sort": {names.path("rank"): 1}}, *tail]
    image, box = _image_and_box(audit)
    shown = {"_id": 0, "sample": "$_id", "filepath": 1, "image": image, "box": box, **values}
    collection = audit.dataset._sample_collection
    return list(collection.aggregate([*stages, {"$project": shown}], allowDiskUse=True))


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
    """Number of labels in the queue."""
    return _count(audit, {"rank": {"$gte": 0}, "decision": None, **wanted.conditions()})


def queue_items(audit: Audit, wanted: QueueFilter, n: int, offset: int) -> list[Stage]:
    """The next labels of the queue, the most suspicious first, with their nearest neighbors."""
    conditions = {"rank": {"$gte": 0}, "decision": None, **wanted.conditions()}
    documents = find_documents(audit, conditions, [{"$skip": offset}, {"$limit": n}])
    return items_of(audit, documents)


def items_of(audit: Audit, documents: Sequence[Stage]) -> list[Stage]:
    """JSON of some images, with their neighbors."""
    near = _neighbors(audit, [name for found in documents for name in found.get("neighbors") or ()])
    items = []
    for found in documents:
        item = _picture(found)
        item |= {name: found.get(name) for name in _VALUES if name != "neighbors"}
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
