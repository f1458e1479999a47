"""Write decided labels to a field."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from fiftyone_deepcluster.core.words import counted
from fiftyone_deepcluster.dataset.audit.decisions import read_decision
from fiftyone_deepcluster.dataset.audit.queue import find_documents
from fiftyone_deepcluster.dataset.io.read_fields import facts_of_samples
from fiftyone_deepcluster.dataset.review.apply import stored_label
from fiftyone_deepcluster.dataset.review.edit_log import EditLog, Entry
from fiftyone_deepcluster.dataset.review.members import members_of
from fiftyone_deepcluster.dataset.review.own_field import own_field
from fiftyone_deepcluster.errors import InputError

if TYPE_CHECKING:
    from fiftyone_deepcluster.dataset.audit.audit import Audit
    from fiftyone_deepcluster.dataset.review.old_values import Old


@dataclass(frozen=True)
class CommitDraft:
    """What writing the decided labels to a field would do.

    Attributes:
        entry: the edit as it will be logged.
        images: images whose value changes, with their current values.
        n_kept: number of images that keep a label that somebody else has written.
        n_replaced: number of ``images`` with such a label.
    """

    entry: Entry
    images: list[Old] = field(default_factory=list)
    n_kept: int = 0
    n_replaced: int = 0


def commit_draft(audit: Audit, target: str | None, *, overwrite: bool) -> CommitDraft:
    """The edit that writes the decided labels to a field; arguments and errors as ``LabelReview.commit``."""
    draft = _draft(audit, target, overwrite)
    if not draft.entry.written:
        raise InputError(
            f"field={target or audited_field(audit)!r}: nothing to write, because the decisions of audit "
            f"{audit.key!r} change no label of this field; decide, then commit"
        )
    return draft


def count_commit(audit: Audit, target: str | None, *, overwrite: bool) -> dict[str, Any]:
    """What writing to a field would do, see ``LabelReview.preview_commit``."""
    draft = _draft(audit, target, overwrite)
    entry, olds = draft.entry, draft.images
    given = {image: before for image, (before, _) in _labels(audit, same_field=False).items()}
    pairs = Counter((given[str(old.image_id)], entry.written[old.which]) for old in olds)
    changed = [(one, other, n) for (one, other), n in pairs.items() if one != other]
    changed.sort(key=lambda pair: (-pair[2], pair[:2]))
    return {
        "n": len(olds),
        "pairs": [{"given": one, "label": other, "n": n} for one, other, n in changed],
        "n_as_given": sum(n for (one, other), n in pairs.items() if one == other),
        "n_kept": draft.n_kept,
        "n_replaced": draft.n_replaced,
        "made_field": entry.made_field,
    }


def _draft(audit: Audit, target: str | None, overwrite: bool) -> CommitDraft:
    """The edit; empty if the field already holds all labels that would be written."""
    own = audited_field(audit)
    target = own if target is None else target
    path, missing = own_field(audit, target, texts=True)
    _check_field(audit, path, target)
    same_field = path == audit.fields.prefix + own.removeprefix(audit.fields.prefix)
    pairs = _labels(audit, same_field)
    labels = {image: label for image, (_, label) in pairs.items()}
    texts = sorted(set(labels.values()))
    number = {text: which for which, text in enumerate(texts)}
    found = members_of(audit, list(labels), path) if labels else []
    olds = [replace(old, which=number[labels[str(old.image_id)]]) for old in found]
    others = [old for old in olds if stored_label(old.value) != texts[old.which]]
    before = {image: given if same_field else None for image, (given, _) in pairs.items()}
    known = _replaceable(others, before, _committed(audit, path))
    chosen = others if overwrite else known
    text = f"wrote {counted(len(chosen), 'label')} to {target!r}"
    entry = Entry("commit", text, texts, field=path, made_field=missing)
    return CommitDraft(entry, chosen, len(others) - len(chosen), len(chosen) - len(known))


def _check_field(audit: Audit, path: str, target: str) -> None:
    """Raise InputError if the audited field was deleted, or the field holds no labels but files or facts of samples."""
    dataset = audit.dataset
    if target == audited_field(audit) and dataset.get_field(path) is None:
        raise InputError(f"field={target!r}, which was audited, was deleted; restore it, or give a new field")
    if path in facts_of_samples(dataset):
        raise InputError(
            f"field={target!r} holds files or facts of the samples, not labels; choose another field, or a new name"
        )


def _replaceable(olds: list[Old], before: dict[str, str | None], committed: dict[str, str]) -> list[Old]:
    """Images whose label is the one before the audit, or one that the audit has written; others are somebody else's."""

    def is_known(old: Old) -> bool:
        image, label = str(old.image_id), stored_label(old.value)
        return label == before[image] or (label is not None and label == committed.get(image))

    return [old for old in olds if is_known(old)]


def _committed(audit: Audit, path: str) -> dict[str, str]:
    """Id of each image -> label that the newest commit of the audit to a field wrote."""
    log = EditLog(audit.dataset, audit.uid)
    return {
        str(old.image_id): entry.written[old.which]
        for entry in log.entries()
        if entry.verb == "commit" and entry.field == path and not entry.undone
        for olds in log.olds(entry)
        for old in olds
    }


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
