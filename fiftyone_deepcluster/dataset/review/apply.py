"""Apply and undo logged edits. An image is changed only if nobody has changed its value in between.

Both can be repeated if the process died in the middle.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from fiftyone_deepcluster.dataset.display.brain import refresh_map
from fiftyone_deepcluster.dataset.display.sidebar import show_label
from fiftyone_deepcluster.dataset.io.fields import changing, has_values
from fiftyone_deepcluster.dataset.io.write import set_values
from fiftyone_deepcluster.dataset.review.reviewed import set_reviewed
from fiftyone_deepcluster.dataset.runs.database import until_kept

if TYPE_CHECKING:
    from collections.abc import Sequence

    import fiftyone as fo
    from bson import ObjectId

    from fiftyone_deepcluster.dataset.io.fields import FieldNames
    from fiftyone_deepcluster.dataset.review.edit_log import EditLog, Entry
    from fiftyone_deepcluster.dataset.review.old_values import Old
    from fiftyone_deepcluster.dataset.runs.kept_run import KeptRun

_CLASSIFICATION = "Classification"
_MISSING = object()


def complete_edits(run: KeptRun, log: EditLog) -> list[Entry]:
    """Complete an edit or an undo whose process died. The caller holds the lock of the run.

    Returns:
        All entries of the log, oldest first.
    """
    entries = log.entries()
    for place, entry in enumerate(entries):
        if entry.state == "begun":
            entries[place] = apply_edit(run, log, entry)
        elif entry.state == "undoing":
            entries[place] = restore(run, log, entry)
    return entries


def apply_edit(run: KeptRun, log: EditLog, entry: Entry) -> Entry:
    """Write the values of a logged edit, where the old ones are unchanged; they are then on disk."""
    return until_kept(run.dataset, lambda: _apply(run, log, entry))


def _apply(run: KeptRun, log: EditLog, entry: Entry) -> Entry:
    if entry.state != "begun":
        entry = log.note(replace(entry, state="begun"))
    path = edited_path(run, entry)
    if entry.made_field:
        _add_field(run, path)
    for olds in log.olds(entry):
        now = _current(run, path, olds)
        rows = [old for old in olds if same(now.get(old.image_id, _MISSING), old.value)]
        _set(run, path, rows, [_written(run, entry, old) for old in rows])
    if entry.made_field:
        _add_field(run, path)  # again, if another program removed it from the schema in between
    set_reviewed(run, add=entry.marked, remove=entry.unmarked)
    if entry.chunks:
        refresh_map(run.dataset, run.fields)
    return log.note(replace(entry, state="made"))


def restore(run: KeptRun, log: EditLog, entry: Entry) -> Entry:
    """Restore the old values where the values of the edit are unchanged; others stay and are counted.

    A field that the edit created is removed, unless it has values. What is restored is then on disk.
    """
    return until_kept(run.dataset, lambda: _restore(run, log, entry))


def _restore(run: KeptRun, log: EditLog, entry: Entry) -> Entry:
    entry = log.note(replace(entry, state="undoing", n_kept=0))
    dataset, path = run.dataset, edited_path(run, entry)
    n_kept = 0
    set_reviewed(run, add=entry.unmarked, remove=entry.marked)
    if entry.chunks and dataset.get_field(path) is None:
        dataset.reload()  # another process may have created it since
    if entry.chunks and dataset.get_field(path) is not None:
        for olds in log.olds(entry):
            now = _current(run, path, olds)
            rows = [old for old in olds if same(now.get(old.image_id, _MISSING), _written(run, entry, old))]
            n_kept += _n_changed_since(now, olds, rows)
            for which, text in enumerate(entry.written):
                some = [old for old in rows if old.which == which]
                _set(run, path, some, [old.value for old in some], only=text)
        refresh_map(dataset, run.fields)
        if entry.made_field and not has_values(dataset, run.fields, path):
            with changing(dataset):
                dataset.delete_sample_field(path)
    return log.note(replace(entry, state="undone", n_kept=n_kept))


def edited_path(run: KeptRun, entry: Entry) -> str:
    """Path of the values that an edit changes."""
    return run.fields.path(entry.value) if entry.value else entry.field


def stored_label(value: Any) -> str | None:
    """Label of a stored value: a Classification, or a string."""
    return value.get("label") if isinstance(value, dict) else value


def same(one: Any, other: Any) -> bool:
    """Whether two stored values are equal; FiftyOne may store an empty attribute or omit it."""
    if isinstance(one, dict) and isinstance(other, dict):
        return _filled(one) == _filled(other)
    return bool(one == other)


def _filled(value: dict[str, Any]) -> dict[str, Any]:
    return {name: content for name, content in value.items() if content not in (None, [], {})}


def _written(run: KeptRun, entry: Entry, old: Old) -> object:
    """The value that an edit writes to an image; the same at every call."""
    import fiftyone as fo
    from bson import ObjectId

    text = entry.written[old.which]
    if entry.value or run.fields.patches_field is not None:
        return text
    if isinstance(run.dataset.get_field(entry.field), fo.StringField):
        return text
    digest = hashlib.sha256(f"{entry.token}:{old.image_id}".encode()).digest()
    return {"_id": ObjectId(digest[:12]), "_cls": _CLASSIFICATION, "tags": [], "label": text}


def _n_changed_since(now: dict[ObjectId, Any], olds: Sequence[Old], restored: Sequence[Old]) -> int:
    """Number of images whose value is neither the edit's nor the one before it."""
    known = {old.image_id for old in restored}
    others = [old for old in olds if old.image_id in now and old.image_id not in known]
    return len({old.image_id for old in others if not same(now[old.image_id], old.value)})


def _current(run: KeptRun, path: str, olds: Sequence[Old]) -> dict[ObjectId, Any]:
    """Image id -> stored value of a path, None where it has none; without images that were deleted."""
    names: FieldNames = run.fields
    stages: list[dict[str, Any]] = [{"$match": {"_id": {"$in": list({old.sample_id for old in olds})}}}]
    if names.patches_field is not None:
        stages += [
            {"$unwind": f"${names.prefix[:-1]}"},
            {"$match": {f"{names.prefix}_id": {"$in": [old.image_id for old in olds]}}},
        ]
    stages.append({"$project": {"image": f"${names.prefix}_id", "value": f"${path}"}})
    found = run.dataset._sample_collection.aggregate(stages)
    return {item["image"]: item.get("value") for item in found}


def _set(
    run: KeptRun, path: str, olds: Sequence[Old], values: Sequence[object], only: str | None = None
) -> None:
    places = [(old.sample_id, old.image_id) for old in olds]
    set_values(run.dataset, path, run.fields, places, values, only=only)


def _add_field(run: KeptRun, path: str) -> None:
    """Add the field of a person's labels, unless it is there."""
    import fiftyone as fo

    dataset: fo.Dataset = run.dataset
    whole = run.fields.patches_field is None
    with changing(dataset):
        if dataset.get_field(path) is None:
            if whole:
                dataset.add_sample_field(path, fo.EmbeddedDocumentField, embedded_doc_type=fo.Classification)
            else:
                dataset.add_sample_field(path, fo.StringField)
    if whole:
        show_label(dataset, path)
