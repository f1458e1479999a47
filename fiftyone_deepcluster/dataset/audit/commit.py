"""Write decided labels to a field."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from fiftyone_deepcluster.dataset.audit.decisions import read_decision
from fiftyone_deepcluster.dataset.audit.queue import find_documents
from fiftyone_deepcluster.dataset.review.apply import stored_label
from fiftyone_deepcluster.dataset.review.edit_log import Entry
from fiftyone_deepcluster.dataset.review.members import members_of
from fiftyone_deepcluster.dataset.review.own_field import own_field
from fiftyone_deepcluster.errors import InputError

if TYPE_CHECKING:
    from fiftyone_deepcluster.dataset.audit.audit import Audit
    from fiftyone_deepcluster.dataset.review.old_values import Old


def commit_draft(audit: Audit, field: str | None) -> tuple[Entry, list[Old]]:
    """The edit that writes the decided labels to a field; to another field than the audited one, all labels.

    Raises:
        InputError: a field that cannot hold the labels, or nothing to write.
    """
    entry, olds = _draft(audit, field)
    if not entry.written:
        raise InputError(
            f"field={field or audited_field(audit)!r}: nothing to write, because the decisions of audit "
            f"{audit.key!r} change no label of this field; decide, then commit"
        )
    return entry, olds


def count_commit(audit: Audit, field: str | None) -> dict[str, Any]:
    """What writing to a field would do, see ``LabelReview.preview_commit``."""
    entry, olds = _draft(audit, field)
    given = {image: before for image, (before, _) in _labels(audit, same_field=False).items()}
    pairs = Counter((given[str(old.image_id)], entry.written[old.which]) for old in olds)
    changed = [(one, other, n) for (one, other), n in pairs.items() if one != other]
    changed.sort(key=lambda pair: (-pair[2], pair[:2]))
    return {
        "n": len(olds),
        "pairs": [{"given": one, "label": other, "n": n} for one, other, n in changed],
        "n_as_given": sum(n for (one, other), n in pairs.items() if one == other),
        "made_field": entry.made_field,
    }


def _draft(audit: Audit, field: str | None) -> tuple[Entry, list[Old]]:
    """The edit; empty if the field already holds all labels that would be written."""
    own = audited_field(audit)
    target = own if field is None else field
    path, missing = own_field(audit, target, texts=True)
    same_field = path == audit.fields.prefix + own.removeprefix(audit.fields.prefix)
    labels = {image: label for image, (_, label) in _labels(audit, same_field).items()}
    texts = sorted(set(labels.values()))
    number = {text: which for which, text in enumerate(texts)}
    found = members_of(audit, list(labels), path) if labels else []
    olds = [replace(old, which=number[labels[str(old.image_id)]]) for old in found]
    olds = [old for old in olds if stored_label(old.value) != texts[old.which]]
    text = f"wrote {len(olds):,} label{'' if len(olds) == 1 else 's'} to {target!r}"
    return Entry("commit", text, texts, field=path, made_field=missing), olds


def audited_field(audit: Audit) -> str:
    """Name of the audited field; the attribute of objects that has their labels."""
    field, patches_field = audit.label_field, audit.patches_field
    if patches_field is None:
        return field
    return "label" if field in (patches_field, f"{patches_field}.detections") else field.rsplit(".", 1)[-1]


def _labels(audit: Audit, same_field: bool) -> dict[str, tuple[str, str]]:
    """Id of each image -> given label, and the label to write."""
    labels = {}
    conditions = {"given": {"$ne": None}} if not same_field else {"decision": {"$ne": None}}
    for found in find_documents(audit, conditions):
        decision = read_decision(found.get("decision"))
        if decision is not None and decision.label is not None:
            labels[str(found["image"])] = found["given"], decision.label
        elif not same_field and (decision is None or decision.verdict != "exclude"):
            labels[str(found["image"])] = found["given"], found["given"]
    return labels
