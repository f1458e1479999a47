"""The fields of a run: names, declaration, removal.

For key ``dc`` on samples:

=================== =============== ====================================================================
field               type            meaning
=================== =============== ====================================================================
``dc``              Classification  ``label``, ``confidence``; attributes ``cluster`` (int, number in the
                                    run, not changed by edits), ``distance`` to the cluster center,
                                    ``margin`` to the second nearest center
``dc_embedding``    VectorField     last features, float32 (float16 on request)
``dc_round_labels`` VectorField     cluster in every round
``dc_round_losses`` VectorField     loss in every round, NaN in rounds in which the image was not drawn
``dc_changes``      int             number of cluster changes between rounds
``dc_stability``    float           share of its final cluster-mates kept over the last rounds
``dc_loss``         float           last loss
``dc_error``        string          reason why the image could not be read; only on such images
``dc_category``     list of strings groups of similar clusters with the image, widest first (``build_tree``)
=================== =============== ====================================================================

All are declared before the run, so that their names are taken. A field without any value is removed after it.

For patches the same values are stored on the objects, as plain attributes of each Detection: ``dc`` (the
label, a string), ``dc_confidence``, ``dc_cluster``, ``dc_distance``, ``dc_margin``, and the others as above.

For a label audit with key ``audit`` they are ``audit_p_wrong`` and the others of ``layouts``, also on objects.
"""

from __future__ import annotations

import keyword
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fiftyone_deepcluster.core import arguments
from fiftyone_deepcluster.core.words import counted, named
from fiftyone_deepcluster.dataset.io.layouts import LAYOUTS, RunKind, RunLayout, value_kind
from fiftyone_deepcluster.dataset.runs import lock
from fiftyone_deepcluster.errors import InputError, RunExistsError

if TYPE_CHECKING:
    import fiftyone as fo


@dataclass(frozen=True)
class FieldNames:
    """Paths of the values of a run, as accepted by ``values()`` and ``set_values()``.

    Attributes:
        key: key of the run.
        patches_field: the Detections field, or None for whole images.
        kind: kind of the run, which decides on its values.
    """

    key: str
    patches_field: str | None = None
    kind: RunKind = "clusters"

    @property
    def layout(self) -> RunLayout:
        """Values of the run."""
        return LAYOUTS[self.kind]

    def path(self, name: str) -> str:
        """Path of one value.

        Args:
            name: name of a value of this kind of run, see ``layouts``.
        """
        layout = self.layout
        if name not in layout.meanings:
            raise InputError(f"a run has no value {name!r}; it has: {', '.join(layout.meanings)}")
        if name not in layout.in_label:
            return self.prefix + f"{self.key}_{name}"
        if self.patches_field is None:
            return f"{self.key}.{name}"
        return self.prefix + (self.key if name == "label" else f"{self.key}_{name}")

    def view_path(self, name: str) -> str:
        """Path of one value in a view of the images, see ``path_in_images``."""
        return self.path_in_images(self.path(name))

    def path_in_images(self, path: str) -> str:
        """Path in a view of the images: of the samples, or of the patches, which hold one object each.

        Args:
            path: path in the dataset, of a value of the run or of another one.
        """
        if self.patches_field is None:
            return path
        return f"{self.patches_field}.{path.removeprefix(self.prefix)}"

    @property
    def prefix(self) -> str:
        """Prefix of every path, see ``objects_prefix``."""
        return objects_prefix(self.patches_field)

    @property
    def unit(self) -> str:
        """What one image of the run is called: "image", or "object" for patches."""
        return "image" if self.patches_field is None else "object"

    def counted(self, n: int) -> str:
        """A number of images, such as "1 image" or "2,000 objects"."""
        return counted(n, self.unit)

    def roots(self) -> list[str]:
        """Fields (or attributes) of the run, the label first."""
        layout = self.layout
        if self.patches_field is None:
            return [*([self.key] if layout.in_label else []), *(self.path(name) for name in layout.beside)]
        return [self.path(name) for name in (*layout.in_label, *layout.beside)]

    @property
    def viz_key(self) -> str:
        """Brain key of the 2-D map."""
        return f"{self.key}_viz"

    @property
    def sim_key(self) -> str:
        """Brain key of the similarity index."""
        return f"{self.key}_sim"

    def brain_keys(self) -> tuple[str, ...]:
        """Keys of the brain runs of this kind of run."""
        return (self.viz_key, self.sim_key) if self.kind == "clusters" else ()


def objects_prefix(patches_field: str | None) -> str:
    """Prefix of the paths of objects in a Detections field: that of their list and a dot; empty for whole images."""
    return "" if patches_field is None else f"{patches_field}.detections."


_LONGEST_KEY = 64
_ATTEMPTS = 8
_SCHEMA_LOCK = "fields of samples"
_INFO_KEY = "deepcluster"  # key in the info of every field of a run; its value is the name of the run's value


def is_key(key: object) -> bool:
    """Whether a value can be the key of a run."""
    try:
        check_key(key)
    except InputError:
        return False
    return True


def check_key(key: object, what: str = "key") -> None:
    """Raise InputError unless ``key`` is a valid name of fields and runs; ``what`` is the name of the argument."""
    if not isinstance(key, str) or not key.isidentifier():
        raise InputError(
            f"{what}={arguments.short(key)} cannot be the name of a field; use letters, digits and _, and no digit "
            "first, such as 'dc2'"
        )
    if keyword.iskeyword(key):
        raise InputError(f"{what}={key!r} is a reserved word; use another name, such as '{key}_2'")
    if len(key) > _LONGEST_KEY:
        raise InputError(f"{what}={key[:20]!r}... has {len(key):,} characters; use at most {_LONGEST_KEY}")
    if key.startswith("_"):
        raise InputError(
            f"{what}={key!r} starts with _, which FiftyOne reserves; use another name, such as {key.strip('_')!r}"
        )


def check_free(dataset: fo.Dataset, names: FieldNames, but: FieldNames | None = None) -> None:
    """Raise RunExistsError if a field, a run or a brain run already has one of the names.

    Args:
        dataset: dataset to check.
        names: names needed.
        but: names that may exist: those of the run to be replaced or renamed.
    """
    own = set() if but is None else {*but.roots(), but.key, *but.brain_keys()}
    taken = {
        "field": _there(dataset, names),
        "run": [key for key in (names.key,) if dataset.has_run(key)],
        "brain run": [key for key in names.brain_keys() if dataset.has_brain_run(key)],
    }
    clashes = {kind: [name for name in there if name not in own] for kind, there in taken.items()}
    if any(clashes.values()):
        shown = " and ".join(named(kind, there) for kind, there in clashes.items() if there)
        raise RunExistsError(
            f"key={names.key!r} is taken: {dataset.name!r} already has {shown}; choose another key"
            f"{_way_out(dataset, names)}"
        )


def _there(dataset: fo.Dataset, names: FieldNames) -> list[str]:
    """Fields of the names that the dataset has."""
    return [root for root in names.roots() if dataset.get_field(root) is not None]


def check_apart(old: FieldNames, new: FieldNames) -> None:
    """Raise RunExistsError if a new field of a renamed run has the name of an old one: values could not be moved."""
    both = [root for root in new.roots() if root in old.roots()]
    if both:
        raise RunExistsError(
            f"new_key={new.key!r} is the name of a field of {old.key!r}, {both[0]!r}; choose another key"
        )


def _way_out(dataset: fo.Dataset, names: FieldNames) -> str:
    """Another remedy for the error message, if the fields belong to a run that does not exist."""
    if dataset.has_run(names.key) or all(known != names for known in marked(dataset)):
        return ""
    verb = "delete_run" if names.kind == "clusters" else "delete_audit"
    return f", or remove these fields of a run that no longer exists: {verb}(samples, {names.key!r})"


@contextmanager
def changing(dataset: fo.Dataset) -> Iterator[None]:
    """Lock for adding, renaming and deleting fields, held by one process at a time; reloads the schema first.

    FiftyOne stores changes of the schema by position in the list of fields known to this process: two processes
    that add fields at once overwrite each other's, and values without a field make samples unloadable.
    """
    with lock.wait_for(dataset, _SCHEMA_LOCK, "changing fields"):
        dataset.reload()
        yield


def declare(dataset: fo.Dataset, names: FieldNames) -> None:
    """Add all fields of a run to the schema, with descriptions, before anything is written.

    Undeclared values would make samples unloadable. On failure the fields added so far are removed again.

    Raises:
        RunExistsError: one of the fields already exists; nothing was added.
    """
    with changing(dataset):
        check_absent(dataset, names)
        try:
            declare_missing(dataset, names)
        except BaseException:
            _remove(dataset, names)
            raise


def declare_missing(
    dataset: fo.Dataset, names: FieldNames, values: Collection[str] | None = None
) -> list[str]:
    """Add the fields of some values that are not in the schema, and the indexes; within ``changing``.

    A reload of the dataset by another thread, such as FiftyOne's server does at every request, drops fields that are
    not stored yet; these are added again.

    Returns:
        Paths of the fields that were added.
    """
    values = tuple(names.layout.meanings) if values is None else values
    added: list[str] = []
    for attempt in range(_ATTEMPTS):
        try:
            new = _add_missing(dataset, names, values)
        except ValueError:  # a reload dropped the parent of a field
            if attempt == _ATTEMPTS - 1:
                raise
            new = None
        added += [path for path in new or [] if path not in added]
        dataset.reload()
        if new is not None and all(dataset.get_field(names.path(name)) is not None for name in values):
            break
    for name in names.layout.indexed:
        dataset.create_index(names.path(name))
    return added


def drop_empty(dataset: fo.Dataset, names: FieldNames) -> None:
    """Remove the fields of a run that no image has a value of: the App would show them as empty rows."""
    with changing(dataset):
        paths = [names.path(name) for name in names.layout.beside]
        there = [path for path in paths if dataset.get_field(path) is not None]
        empty = [path for path in there if not has_values(dataset, names, path)]
        if any(dataset._sample_collection.find_one({path: {"$exists": True}}) for path in empty):
            dataset.delete_sample_fields(empty)
        elif empty:
            _undeclare(dataset, empty)


def _undeclare(dataset: fo.Dataset, paths: list[str]) -> None:
    """Remove fields that no sample has from the schema.

    FiftyOne's ``delete_sample_fields`` would change ``last_modified_at`` of every sample.
    """
    from fiftyone.core.sample import Sample

    for path in paths:
        dataset._sample_doc_cls._delete_field_schema(path)
    dataset._doc.app_config._delete_paths(paths)
    dataset._doc.save()
    top = [path for path in paths if "." not in path]
    if top:
        Sample._purge_fields(dataset._sample_collection_name, top)
    Sample._reload_docs(dataset._sample_collection_name)
    dataset.reload()


def _add_missing(dataset: fo.Dataset, names: FieldNames, values: Collection[str]) -> list[str]:
    """Add the fields that the dataset does not have; return their paths.

    Fields beside the label are added in one step, since ``add_sample_field`` stores and reloads the dataset each time.
    """
    import fiftyone as fo

    added = []
    layout = names.layout
    if layout.in_label and names.patches_field is None and dataset.get_field(names.key) is None:
        added.append(names.key)
        dataset.add_sample_field(
            names.key,
            fo.EmbeddedDocumentField,
            embedded_doc_type=fo.Classification,
            description=layout.meanings["label"],
            info={_INFO_KEY: "label"},
        )
    schema = {}
    for name, meaning in layout.meanings.items():
        path = names.path(name)
        if name not in values or dataset.get_field(path) is not None:
            continue
        kind = value_kind(name)
        inner = {"subfield": fo.StringField} if kind is fo.ListField else {}
        schema[path] = dataset._sample_doc_cls._create_field(
            path, kind, description=meaning, info={_INFO_KEY: name}, **inner
        )
    dataset._merge_sample_field_schema(schema)
    return [*added, *schema]


def check_absent(dataset: fo.Dataset, names: FieldNames) -> None:
    """Raise RunExistsError if the dataset has one of the fields."""
    there = _there(dataset, names)
    if there:
        raise RunExistsError(f"{dataset.name!r} already has {named('field', there)}; choose another key")


def marked(dataset: fo.Dataset) -> list[FieldNames]:
    """Names of the runs with an anchor field on the dataset, found by the mark set in ``declare``."""
    found = []
    for path, field in dataset.get_field_schema(flat=True).items():
        mark = (getattr(field, "info", None) or {}).get(_INFO_KEY)
        holder, _, name = path.rpartition(".")
        patches_field = holder.removesuffix(".detections") or None
        if mark == LAYOUTS["clusters"].anchor:
            found.append(FieldNames(name, patches_field))
        elif mark == LAYOUTS["audit"].anchor:
            found.append(FieldNames(name.removesuffix(f"_{mark}"), patches_field, "audit"))
    return found


def remove(dataset: fo.Dataset, names: FieldNames) -> None:
    """Delete the fields of a run, its indexes, and values whose field no longer exists.

    Missing fields are skipped.
    """
    with changing(dataset):
        _remove(dataset, names)


def _remove(dataset: fo.Dataset, names: FieldNames) -> None:
    drop_indexes(dataset, names)
    there = _there(dataset, names)
    if there:
        dataset.delete_sample_fields(there)
    if names.patches_field is None:
        _unset(dataset, names.roots())


def drop_indexes(dataset: fo.Dataset, names: FieldNames) -> None:
    """Drop the indexes of a run that are there."""
    known = dataset.list_indexes()
    for name in names.layout.indexed:
        if names.path(name) in known:
            dataset.drop_index(names.path(name))


def _unset(dataset: fo.Dataset, roots: Sequence[str]) -> None:
    """Remove values of fields that are not in the schema: samples with such values cannot be loaded."""
    dataset._sample_collection.update_many(
        {"$or": [{root: {"$exists": True}} for root in roots]}, {"$unset": dict.fromkeys(roots, "")}
    )


def has_values(dataset: fo.Dataset, names: FieldNames, path: str) -> bool:
    """Whether any image of the dataset has a value at a path, in any slice of a group, declared or not.

    Args:
        dataset: dataset to look at.
        names: field names of a run, which say whether images are samples or objects.
        path: path of the value.
    """
    query: dict[str, object] = {path: {"$ne": None}}
    if names.patches_field is not None:
        query = {names.prefix[:-1]: {"$elemMatch": {path.removeprefix(names.prefix): {"$ne": None}}}}
    return dataset._sample_collection.find_one(query, {"_id": 1}) is not None
