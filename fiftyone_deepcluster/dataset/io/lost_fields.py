"""Fields that are lost from the schema of a dataset: their values would make samples unloadable.

FiftyOne stores the whole list of fields whenever one is added. Programs that do not take the lock of
``fields.changing``, such as plain FiftyOne, can so remove fields that were added at the same moment, and lose theirs.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from fiftyone_deepcluster.dataset.io.fields import changing, declare_missing, has_values

if TYPE_CHECKING:
    import fiftyone as fo

    from fiftyone_deepcluster.dataset.io.fields import FieldNames

logger = logging.getLogger(__name__)


def declare_lost(dataset: fo.Dataset, names: FieldNames) -> list[str]:
    """Declare again what is lost, after the values of a run were written: fields of the run, and of other programs.

    Args:
        dataset: dataset of the run; reloaded.
        names: fields of the run, all of which were declared.

    Returns:
        Paths of the fields that were declared again.
    """
    dataset.reload()
    layout = names.layout
    beside = [name for name in layout.beside if has_values(dataset, names, names.path(name))]
    filled = [*layout.in_label, *beside]
    if all(dataset.get_field(names.path(name)) for name in filled) and not _undeclared(dataset):
        return []  # the usual case: no lock to wait for
    with changing(dataset):
        found = declare_missing(dataset, names, filled)
        for name in _undeclared(dataset):
            if _declare_from_values(dataset, name):
                found.append(name)
    if found:
        logger.warning(
            "another program changed the fields of %r at the same time, so %s had to be declared again",
            dataset.name,
            ", ".join(found),
        )
    return found


def _undeclared(dataset: fo.Dataset) -> list[str]:
    """Names of values of samples that are in no field, in one pass of the database over the samples."""
    known = [field.db_field or name for name, field in dataset._sample_doc_cls._fields.items()]
    names = {"$map": {"input": {"$objectToArray": "$$ROOT"}, "in": "$$this.k"}}
    stages = [
        {"$project": {"_id": 0, "names": {"$setDifference": [names, ["_id", *known]]}}},
        {"$unwind": "$names"},
        {"$group": {"_id": "$names"}},
    ]
    found = dataset._sample_collection.aggregate(stages)
    return sorted(item["_id"] for item in found if not item["_id"].startswith("_"))


def _declare_from_values(dataset: fo.Dataset, name: str) -> bool:
    """Declare a field by the type of one of its values, as FiftyOne does; return whether that was possible."""
    from fiftyone.core.odm import deserialize_value, get_implied_field_kwargs

    sample = dataset._sample_collection.find_one({name: {"$ne": None}}, {name: 1})
    if sample is None:  # only empty values, which have no type
        dataset._sample_collection.update_many({name: None}, {"$unset": {name: ""}})
        return False
    try:
        kind = get_implied_field_kwargs(deserialize_value(sample[name]))
        dataset.add_sample_field(name, **kind)
    except (TypeError, ValueError, KeyError) as error:
        logger.warning("values of %r are in no field of %r: %s", name, dataset.name, error)
        return False
    return True
