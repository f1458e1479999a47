"""The fields of a run: their names, declaring and removing them.

For key ``dc`` on samples:

=================== =============== ====================================================================
field               type            meaning
=================== =============== ====================================================================
``dc``              Classification  ``label``, ``confidence``; attributes ``cluster`` (int, as the run
                                    numbered it; edits leave it), ``distance`` to the cluster's center,
                                    ``margin`` to the second nearest
``dc_embedding``    VectorField     last features, float32 (float16 on request)
``dc_round_labels`` VectorField     its cluster in every round
``dc_round_losses`` VectorField     its loss in every round, NaN where it was not drawn
``dc_changes``      int             how often it moved between rounds
``dc_stability``    float           share of its final cluster-mates kept over the last rounds
``dc_loss``         float           last loss
``dc_error``        string          only on images that could not be read: why
``dc_category``     list of strings groups of like clusters that it belongs to, widest first (``build_tree``)
=================== =============== ====================================================================

For patches the same values lie on the objects, as plain attributes of each Detection: ``dc`` (the label,
a string), ``dc_confidence``, ``dc_cluster``, ``dc_distance``, ``dc_margin``, and the others as above.
"""

from __future__ import annotations

import keyword
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fiftyone_deepcluster.dataset.runs import lock
from fiftyone_deepcluster.errors import InputError, RunExistsError

if TYPE_CHECKING:
    import fiftyone as fo

# What lies inside the Classification, and what beside it; in the order of the sidebar
IN_LABEL = ("label", "confidence", "cluster", "distance", "margin")
BESIDE = ("embedding", "round_labels", "round_losses", "changes", "stability", "loss", "error", "category")

_MEANINGS = {
    "label": "Cluster, or the name a person gave it",
    "confidence": "How surely the image belongs to its cluster, 0 to 1",
    "cluster": "Number of the cluster in the run; edits leave it",
    "distance": "Distance of the embedding to the center of its cluster",
    "margin": "Distance to the second nearest center, less distance",
    "embedding": "Features that were clustered",
    "round_labels": "Cluster in every round",
    "round_losses": "Training loss in every round, NaN where the image was not drawn",
    "changes": "How often the image moved to another cluster between rounds",
    "stability": "Share of its final cluster-mates kept over the last rounds",
    "loss": "Last training loss",
    "error": "Why the image could not be read",
    "category": "Groups of like clusters that the image belongs to, widest first",
}


@dataclass(frozen=True)
class FieldNames:
    """Where the values of a run lie: paths as ``values()`` and ``set_values()`` take them.

    Attributes:
        key: of the run.
        patches_field: the Detections field, or None for whole images.
    """

    key: str
    patches_field: str | None = None

    def path(self, name: str) -> str:
        """The path of one value.

        Args:
            name: one of ``IN_LABEL`` or ``BESIDE``.
        """
        if name not in _MEANINGS:
            raise InputError(f"a run has no value {name!r}; it has: {', '.join(_MEANINGS)}")
        if name in BESIDE:
            return self.prefix + f"{self.key}_{name}"
        if self.patches_field is None:
            return f"{self.key}.{name}"
        return self.prefix + (self.key if name == "label" else f"{self.key}_{name}")

    @property
    def prefix(self) -> str:
        """What comes before every path: empty, or the list that holds the objects, with a dot."""
        return "" if self.patches_field is None else f"{self.patches_field}.detections."

    def roots(self) -> list[str]:
        """The fields (or attributes) to declare and to delete, the label first."""
        if self.patches_field is None:
            return [self.key, *(self.path(name) for name in BESIDE)]
        return [self.path(name) for name in (*IN_LABEL, *BESIDE)]

    @property
    def viz_key(self) -> str:
        """The brain key of the 2-D map."""
        return f"{self.key}_viz"

    @property
    def sim_key(self) -> str:
        """The brain key of the similarity index."""
        return f"{self.key}_sim"


_LONGEST_KEY = 64
_TURN = "fields of samples"
_MARK = "deepcluster"  # in the info of every field of a run: which of its values it holds


def check_key(key: str, what: str = "key") -> None:
    """Raise InputError unless ``key`` can name fields and runs; ``what`` is the argument that it came by."""
    if not isinstance(key, str) or not key.isidentifier() or keyword.iskeyword(key):
        raise InputError(f"{what}={key!r} is no Python identifier; use letters, digits and _, such as 'dc2'")
    if len(key) > _LONGEST_KEY:
        raise InputError(f"{what}={key[:20]!r}... has {len(key)} characters; {_LONGEST_KEY} at most")
    if key.startswith("_"):
        raise InputError(
            f"{what}={key!r} starts with _, which FiftyOne keeps for itself; such as {key.strip('_')!r}"
        )


def check_free(dataset: fo.Dataset, names: FieldNames, but: FieldNames | None = None) -> None:
    """Raise RunExistsError where a field, a run or a brain run already has one of the names.

    Args:
        dataset: to look at.
        names: wanted.
        but: names that may be there: those of the run to be replaced or renamed.
    """
    own = set() if but is None else {*but.roots(), but.key, but.viz_key, but.sim_key}
    taken = [root for root in names.roots() if dataset.get_field(root) is not None]
    taken += [key for key in (names.key,) if dataset.has_run(key)]
    taken += [key for key in (names.viz_key, names.sim_key) if dataset.has_brain_run(key)]
    clashes = [name for name in dict.fromkeys(taken) if name not in own]
    if clashes:
        raise RunExistsError(
            f"key={names.key!r} is taken on {dataset.name!r}, which already has {', '.join(clashes)}; "
            f"choose another key{_way_out(dataset, names)}"
        )


def _way_out(dataset: fo.Dataset, names: FieldNames) -> str:
    """What else can be done where the fields were left by a run that is not here."""
    if dataset.has_run(names.key) or all(known != names for known in marked(dataset)):
        return ""
    return f", or remove these, which a run left that is not here: delete_run(samples, {names.key!r})"


@contextmanager
def changing(dataset: fo.Dataset) -> Iterator[None]:
    """The right to add, rename and delete fields, one process at a time; the fields that others made are read first.

    FiftyOne stores what changed in the list of fields by its place in the list as this process knows it: two who
    add at once overwrite each other's, and values without a field make samples unloadable.
    """
    with lock.turn(dataset, _TURN):
        dataset.reload()
        yield


def declare(dataset: fo.Dataset, names: FieldNames) -> None:
    """Add all fields of a run to the schema, with descriptions, before anything is written.

    Undeclared values would make samples unloadable, so everything is declared here. On failure the
    fields added so far are removed again.

    Raises:
        RunExistsError: one of the fields is there already; nothing was added.
    """
    with changing(dataset):
        check_absent(dataset, names)
        try:
            _declare(dataset, names)
        except BaseException:
            _remove(dataset, names)
            raise


def _declare(dataset: fo.Dataset, names: FieldNames) -> None:
    import fiftyone as fo

    if names.patches_field is None:
        dataset.add_sample_field(
            names.key,
            fo.EmbeddedDocumentField,
            embedded_doc_type=fo.Classification,
            description=_MEANINGS["label"],
            info={_MARK: "label"},
        )
    for name, meaning in _MEANINGS.items():
        if names.patches_field is not None or name not in ("label", "confidence"):
            kind = _kind(name)
            inner = {"subfield": fo.StringField} if kind is fo.ListField else {}
            dataset.add_sample_field(names.path(name), kind, description=meaning, info={_MARK: name}, **inner)
    dataset.create_index(names.path("label"))


def check_absent(dataset: fo.Dataset, names: FieldNames) -> None:
    """Raise RunExistsError where the dataset has a field of the names."""
    there = [root for root in names.roots() if dataset.get_field(root) is not None]
    if there:
        raise RunExistsError(f"{dataset.name!r} already has {', '.join(there)}; choose another key")


def marked(dataset: fo.Dataset) -> list[FieldNames]:
    """The runs whose label field is here, told by the mark that ``declare`` put on it."""
    found = []
    for path, field in dataset.get_field_schema(flat=True).items():
        if (getattr(field, "info", None) or {}).get(_MARK) == "label":
            holder, _, key = path.rpartition(".")
            found.append(FieldNames(key, holder.removesuffix(".detections") or None))
    return found


def remove(dataset: fo.Dataset, names: FieldNames) -> None:
    """Delete the fields of a run, its label index included, and values that have lost their field.

    Fields that are not there are passed over.
    """
    with changing(dataset):
        _remove(dataset, names)


def _remove(dataset: fo.Dataset, names: FieldNames) -> None:
    if names.path("label") in dataset.list_indexes():
        dataset.drop_index(names.path("label"))
    there = [root for root in names.roots() if dataset.get_field(root) is not None]
    if there:
        dataset.delete_sample_fields(there)
    if names.patches_field is None:
        _unset(dataset, names.roots())


def _unset(dataset: fo.Dataset, roots: Sequence[str]) -> None:
    """Remove values of fields that the dataset does not have: no sample that holds one can be loaded."""
    dataset._sample_collection.update_many(
        {"$or": [{root: {"$exists": True}} for root in roots]}, {"$unset": dict.fromkeys(roots, "")}
    )


def rename(dataset: fo.Dataset, old: FieldNames, new: FieldNames) -> None:
    """Move the fields of a run, its label index included, to the names of another key."""
    with changing(dataset):
        if old.path("label") in dataset.list_indexes():
            dataset.drop_index(old.path("label"))
        pairs = dict(zip(old.roots(), new.roots(), strict=True))
        dataset.rename_sample_fields(
            {before: after for before, after in pairs.items() if dataset.get_field(before) is not None}
        )
        dataset.create_index(new.path("label"))


def _kind(name: str) -> type[fo.Field]:
    import fiftyone as fo

    if name in ("embedding", "round_labels", "round_losses"):
        return fo.VectorField  # type: ignore[no-any-return]
    if name in ("cluster", "changes"):
        return fo.IntField  # type: ignore[no-any-return]
    if name == "category":
        return fo.ListField  # type: ignore[no-any-return]
    if name in ("label", "error"):
        return fo.StringField  # type: ignore[no-any-return]
    return fo.FloatField  # type: ignore[no-any-return]
