"""Renaming of a run: fields, index, brain runs, sidebar group, record, files.

Every step may be repeated. FiftyOne renames values first and their field later; a sample that is read in between
cannot be loaded. Here the new fields are added first, then the values are renamed, and then the old fields removed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fiftyone_deepcluster.dataset.display.brain import rename_brain_runs
from fiftyone_deepcluster.dataset.display.sidebar import add_group, remove_group
from fiftyone_deepcluster.dataset.io.fields import changing, drop_indexes
from fiftyone_deepcluster.dataset.runs import run_files, status, storage
from fiftyone_deepcluster.dataset.runs.database import utc_now
from fiftyone_deepcluster.dataset.runs.job_log import drop_logs_about
from fiftyone_deepcluster.dataset.runs.references import follow_rename, names_kept

if TYPE_CHECKING:
    import fiftyone as fo

    from fiftyone_deepcluster.dataset.io.fields import FieldNames


def rename(dataset: fo.Dataset, old: FieldNames, new: FieldNames) -> None:
    """Give a run and all that belongs to it another key."""
    with names_kept(dataset):
        _rename(dataset, old, new)


def _rename(dataset: fo.Dataset, old: FieldNames, new: FieldNames) -> None:
    remove_group(dataset, old)
    _rename_fields(dataset, old, new)
    if old.brain_keys():
        rename_brain_runs(dataset, old, new)
    follow_rename(dataset, old, new)
    storage.rename_record(dataset, old.key, new.key)  # last: by the key, other processes notice the change
    add_group(dataset, new)
    run_files.move_dir(run_files.run_dir(dataset, old.key), run_files.run_dir(dataset, new.key))
    run_files.move_dir(run_files.next_dir(dataset, old.key), run_files.next_dir(dataset, new.key))
    drop_logs_about(dataset, old.key)
    status.forget_ended(dataset, old.key)


def _rename_fields(dataset: fo.Dataset, old: FieldNames, new: FieldNames) -> None:
    with changing(dataset):
        roots = list(zip(old.roots(), new.roots(), strict=True))
        pairs = [(before, after) for before, after in roots if dataset.get_field(before) is not None]
        drop_indexes(dataset, old)
        _copy_schema(dataset, pairs)
        rename_values = _rename_in_samples if old.patches_field is None else _rename_in_objects
        rename_values(dataset, old, roots)
        if pairs:
            dataset._doc.app_config._rename_paths(*zip(*pairs, strict=True))
            dataset.save()
            dataset.delete_sample_fields([before for before, _ in pairs])
        for name in new.layout.indexed:
            if dataset.get_field(new.path(name)) is not None:  # else somebody has deleted it
                dataset.create_index(new.path(name))


def _copy_schema(dataset: fo.Dataset, pairs: list[tuple[str, str]]) -> None:
    """Add the new fields, like the old ones with all that a person added inside them, in one write."""
    for before, after in pairs:
        if dataset.get_field(after) is None:
            dataset._sample_doc_cls._clone_field_schema(before, after)
    dataset.save()
    dataset.reload()


def _rename_in_samples(dataset: fo.Dataset, _: FieldNames, roots: list[tuple[str, str]]) -> None:
    dataset._sample_collection.update_many(
        {"$or": [{before: {"$exists": True}} for before, _ in roots]},
        {"$rename": dict(roots), "$set": {"last_modified_at": utc_now()}},
    )


def _rename_in_objects(dataset: fo.Dataset, old: FieldNames, roots: list[tuple[str, str]]) -> None:
    """Rename attributes of the objects of a list: keys of its documents, since MongoDB renames none in arrays."""
    objects, start = old.prefix[:-1], len(old.prefix)
    cases: list[dict[str, Any]] = [
        {"case": {"$eq": ["$$pair.k", before[start:]]}, "then": after[start:]} for before, after in roots
    ]
    key = {"$switch": {"branches": cases, "default": "$$pair.k"}}
    pairs = {"input": {"$objectToArray": "$$object"}, "as": "pair", "in": {"k": key, "v": "$$pair.v"}}
    renamed = {"input": f"${objects}", "as": "object", "in": {"$arrayToObject": {"$map": pairs}}}
    dataset._sample_collection.update_many(
        {"$or": [{before: {"$exists": True}} for before, _ in roots]},
        [{"$set": {objects: {"$map": renamed}, "last_modified_at": utc_now()}}],
    )
