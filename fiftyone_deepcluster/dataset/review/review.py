"""User edits of the clusters of a run: each can be counted in advance, is logged, and can be undone."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from fiftyone_deepcluster.core import arguments
from fiftyone_deepcluster.dataset.display.brain import refresh_map
from fiftyone_deepcluster.dataset.display.sidebar import show_label
from fiftyone_deepcluster.dataset.io.fields import FieldNames, changing, check_key, marked
from fiftyone_deepcluster.dataset.io.read_images import flat
from fiftyone_deepcluster.dataset.io.write import NOISE, set_values
from fiftyone_deepcluster.dataset.review.clusters import check_there
from fiftyone_deepcluster.dataset.review.edit_log import Edit, EditLog, Entry, Old
from fiftyone_deepcluster.dataset.runs import lock, storage
from fiftyone_deepcluster.dataset.runs.run import Run, load_run
from fiftyone_deepcluster.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import fiftyone as fo

__all__ = ["Change", "Edit", "Review", "review"]

_CLASSIFICATION = "Classification"
_LONGEST_NAME = 200
_UNSHOWN = ("Cc", "Cs", "Zl", "Zp")
"""Unicode categories that names may not contain: control, surrogate, line and paragraph separator."""


@dataclass(frozen=True)
class Change:
    """Effect of an edit, or with ``dry_run`` the effect that it would have.

    Attributes:
        n_changed: number of images whose value changes.
        n_kept: number of images left unchanged because they already have a label.
        text: description of the edit.
    """

    n_changed: int
    n_kept: int
    text: str


class Review:
    """Edits of one run; created by ``review()``.

    Args:
        run: the run.
        user: user name for the log; the system user by default.
    """

    def __init__(self, run: Run, user: str | None = None) -> None:
        self.run = run
        self._log = EditLog(run.dataset, run.uid, user)

    def names(self) -> list[str]:
        """Current cluster names, sorted.

        Raises:
            RunNotFoundError: the run was deleted or renamed since it was loaded. Every edit raises it, too.
        """
        check_there(self.run)
        return self.run.names()

    def rename(self, cluster: str, new_name: str, *, dry_run: bool = False) -> Change:
        """Rename a cluster.

        Raises:
            InputError: no such cluster (similar names are listed), an empty name, or the name of another
                cluster (use ``merge`` to join the two).
        """
        arguments.yes_or_no(dry_run=dry_run)
        self._check(cluster)
        new_name = _cluster_name(new_name, "new_name")
        if new_name != cluster and new_name in self.names():
            raise InputError(
                f"there is already a cluster {new_name!r}; choose another name, or join the two: "
                f"merge([{cluster!r}, {new_name!r}], into={new_name!r})"
            )
        draft = _draft("rename", f"renamed {cluster!r} to {new_name!r}")
        return self._relabel([cluster], new_name, draft, dry_run)

    def merge(self, clusters: Sequence[str], into: str, *, dry_run: bool = False) -> Change:
        """Join clusters under one name: the name of one of them, or a new name.

        Raises:
            InputError: no such cluster, fewer than two clusters, not a list of names, or ``into`` is the
                name of a cluster that is not in ``clusters``.
        """
        arguments.yes_or_no(dry_run=dry_run)
        chosen = _several(clusters)
        into = _cluster_name(into, "into")
        self._check(*chosen)
        if len(chosen) < 2:
            raise InputError(
                f"clusters={chosen}: give two or more clusters to join (to rename one, use rename)"
            )
        if into not in chosen and into in self.names():
            raise InputError(f"into={into!r} is another cluster; to join it as well, add it to clusters")
        draft = _draft("merge", f"merged {', '.join(map(repr, chosen))} into {into!r}")
        return self._relabel(chosen, into, draft, dry_run)

    def label_cluster(
        self, cluster: str, field: str, label: str, *, overwrite: bool = False, dry_run: bool = False
    ) -> Change:
        """Write ``label`` to a Classification field of the cluster's images; a missing field is created.

        For patches, ``field`` is an attribute of the objects; ``"label"`` is their class.

        Args:
            cluster: name of the cluster.
            field: a field that belongs to no run.
            label: label to write.
            overwrite: replace existing labels; otherwise they are kept.
            dry_run: only count the images that would change.

        Raises:
            InputError: no such cluster, an empty label, or a field of another type.
        """
        arguments.yes_or_no(overwrite=overwrite, dry_run=dry_run)
        label = _clean(label, "label")
        self._check(cluster)
        path, missing = self._own_field(field)
        olds = _members(self.run, [cluster], path)
        labeled = [old for old in olds if _label_of(old.value) is not None]
        changing = olds
        if not overwrite:
            changing = [old for old in olds if _label_of(old.value) is None]
        changing = [old for old in changing if _label_of(old.value) != label]
        kept = len(labeled) - sum(_label_of(old.value) is not None for old in changing)
        text = f"labeled {cluster!r} as {label!r} in {field!r}"
        change = Change(len(changing), kept, text)
        if dry_run or not changing:
            return change
        draft = _draft("label", text, field=path, made_field=missing)
        with lock.acquire(self.run.dataset, self.run.key):
            if missing:
                self._add_field(path)
            self._log.add(_sized(draft, changing), changing)
            self._set(path, changing, [self._new_value(label) for _ in changing])
        return change

    def undo(self, steps: int = 1) -> list[Edit]:
        """Undo the last edits, newest first; every value is restored.

        Returns:
            The edits undone; fewer than ``steps`` if the log is shorter.
        """
        steps = arguments.whole_number("steps", steps, 1)
        check_there(self.run)
        with lock.acquire(self.run.dataset, self.run.key):
            last = [entry for entry in self._log.entries() if not entry.undone][-steps:]
            return [self._restore(entry).shown() for entry in reversed(last)]

    def log(self) -> list[Edit]:
        """All edits, oldest first, including undone edits."""
        return [entry.shown() for entry in self._log.entries()]

    def _check(self, *clusters: str) -> None:
        """Raise unless the run and these clusters exist."""
        check_there(self.run)
        self.run.check_names(clusters)

    def _relabel(self, clusters: list[str], name: str, draft: Entry, dry_run: bool) -> Change:
        path = self.run.fields.path("label")
        olds = [old for old in _members(self.run, clusters, path) if old.value != name]
        change = Change(len(olds), 0, draft.text)
        if dry_run or not olds:
            return change
        with lock.acquire(self.run.dataset, self.run.key):
            self._log.add(_sized(draft, olds), olds)
            self._set(path, olds, [name] * len(olds))
        return change

    def _restore(self, entry: Entry) -> Entry:
        path = self.run.fields.path(entry.value) if entry.value else entry.field
        dataset = self.run.dataset
        if dataset.get_field(path) is not None:
            for olds in self._log.olds(entry):
                self._set(path, olds, [old.value for old in olds])
            if entry.made_field and not flat(dataset).count(path):
                with changing(dataset):
                    dataset.delete_sample_field(path)
        return self._log.mark_undone(entry)

    def _set(self, path: str, olds: Sequence[Old], values: Sequence[object]) -> None:
        places = [(old.sample_id, old.image_id) for old in olds]
        set_values(self.run.dataset, path, self.run.fields, places, values)
        refresh_map(self.run.dataset, self.run.fields)

    def _own_field(self, field: str) -> tuple[str, bool]:
        """Path of a user field, and whether the field is missing."""
        names, dataset = self.run.fields, self.run.dataset
        arguments.one_name("field", field, "ground_truth")
        path = names.prefix + field.removeprefix(names.prefix)
        runs = [*marked(dataset), *(storage.fields_of(dataset, key) for key in storage.keys(dataset))]
        if any(path in run.roots() for run in runs):
            raise InputError(
                f"field={field!r} belongs to a run; choose another field, such as 'ground_truth'"
            )
        known = dataset.get_field(path)
        if known is None:
            check_key(path.removeprefix(names.prefix), "field")
        elif not _fits(known, names):
            kind = getattr(known, "document_type", type(known)).__name__
            need = "a string attribute" if names.patches_field else "a Classification field"
            raise InputError(
                f"field={field!r} is a {kind}; {need} is needed: choose such a field, or a new name"
            )
        return path, known is None

    def _add_field(self, path: str) -> None:
        import fiftyone as fo

        dataset, whole = self.run.dataset, self.run.patches_field is None
        with changing(dataset):
            if whole:
                dataset.add_sample_field(path, fo.EmbeddedDocumentField, embedded_doc_type=fo.Classification)
            else:
                dataset.add_sample_field(path, fo.StringField)
        if whole:
            show_label(dataset, path)

    def _new_value(self, label: str) -> object:
        from bson import ObjectId

        if self.run.patches_field is not None:
            return label
        return {"_id": ObjectId(), "_cls": _CLASSIFICATION, "tags": [], "label": label}


def review(samples: fo.core.collections.SampleCollection, key: str, *, user: str | None = None) -> Review:
    """Edit the clusters of the run under ``key``.

    Raises:
        RunNotFoundError: no such run.
    """
    return Review(load_run(samples, key), user)


def _members(run: Run, clusters: Sequence[str], path: str) -> list[Old]:
    """Images of the given clusters with their current values of ``path``."""
    names = run.fields
    label = names.path("label")
    match = {"$match": {label: {"$in": list(clusters)}}}
    steps: list[dict[str, Any]] = [match]
    if names.patches_field is not None:
        steps += [{"$unwind": f"${names.prefix[:-1]}"}, match]
    steps.append({"$project": {"image": f"${names.prefix}_id", "value": f"${path}"}})
    found = run.dataset._sample_collection.aggregate(steps)
    return [Old(item["_id"], item["image"], item.get("value")) for item in found]


def _draft(verb: str, text: str, field: str = "", made_field: bool = False) -> Entry:
    value = "" if field else "label"
    return Entry(0, verb, text, "", 0.0, 0, False, 0, value=value, field=field, made_field=made_field)


def _sized(draft: Entry, olds: Sequence[Old]) -> Entry:
    return replace(draft, n_changed=len(olds))


def _label_of(value: Any) -> str | None:
    return value.get("label") if isinstance(value, dict) else value


def _fits(field: fo.Field, names: FieldNames) -> bool:
    import fiftyone as fo

    if names.patches_field is not None:
        return isinstance(field, fo.StringField)
    return isinstance(field, fo.EmbeddedDocumentField) and issubclass(field.document_type, fo.Classification)


def _several(clusters: Sequence[str]) -> list[str]:
    """Distinct names. A plain string is rejected: it would be read as a list of characters."""
    if isinstance(clusters, str):
        raise InputError(
            f"clusters={clusters!r} is one name; give a list of two or more: [{clusters!r}, ...]"
        )
    return list(dict.fromkeys(arguments.names("clusters", clusters, "cluster-00")))


def _cluster_name(name: str, option: str) -> str:
    """``_clean``, and reject the name reserved for noise."""
    text = _clean(name, option)
    if text == NOISE:
        raise InputError(
            f"{option}={NOISE!r} is reserved for images in no cluster; choose another name, such as 'rest'"
        )
    return text


def _clean(name: str, option: str) -> str:
    if not isinstance(name, str):
        raise InputError(
            f"{option}={arguments.short(name)} is not a string; give a name such as 'ankle boot'"
        )
    text = name.strip()
    if not text:
        raise InputError(f"{option} is empty; give a name")
    if len(text) > _LONGEST_NAME or any(unicodedata.category(letter) in _UNSHOWN for letter in text):
        raise InputError(
            f"{option}={arguments.short(text)} has more than {_LONGEST_NAME} characters, or contains unprintable ones; "
            "give a single-line name"
        )
    return text
