"""What runs leave on a dataset: erased whole where a run is complete, found and removed where one broke off.

A process that is killed cannot clean up. What it left is told by its marks: a note in the execution store
(set before the run's fields are declared, dropped once the run is stored), the folder with its checkpoint,
and a mark on its fields, which a clone of the dataset carries, too.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fiftyone_deepcluster.core import checkpoints
from fiftyone_deepcluster.dataset.display.brain import remove_brain_runs
from fiftyone_deepcluster.dataset.display.sidebar import remove_group
from fiftyone_deepcluster.dataset.io.fields import FieldNames, check_absent, declare, marked, remove
from fiftyone_deepcluster.dataset.review.edit_log import forget_edits
from fiftyone_deepcluster.dataset.runs import lock, storage
from fiftyone_deepcluster.dataset.runs.kv import find, run_store
from fiftyone_deepcluster.errors import RunNotFoundError

if TYPE_CHECKING:
    import fiftyone as fo


@dataclass(frozen=True)
class Interrupted:
    """A run that broke off: its process was killed, it failed, or was cancelled before its first round.

    Attributes:
        key: of the run.
        method: name of the method; empty where nobody knows.
        rounds: that were done.
        planned: rounds in all; 0 where nobody knows.
        resumable: whether there is a checkpoint, so that ``resume`` goes on from its last round.
        copied: whether only fields are here, as after cloning a dataset during a run.
        fields: that it left on the dataset.
    """

    key: str
    method: str
    rounds: int
    planned: int
    resumable: bool
    copied: bool
    fields: tuple[str, ...]

    @property
    def state(self) -> str:
        """How it stands, in a few words."""
        if self.copied:
            return "fields without a run"
        return f"interrupted, {'resume goes on' if self.resumable else 'nothing to go on from'}"

    @property
    def message(self) -> str:
        """What it is, and what can be done."""
        remove = f"delete_run(samples, {self.key!r}) removes what it left"
        if self.copied:
            return (
                f"the fields of a run {self.key!r} are here without the run, as after cloning a dataset "
                f"while it ran; {remove}"
            )
        done = f"after {self.rounds} of {self.planned} rounds" if self.planned else "before it was done"
        again = "goes on from there" if self.resumable else "starts it anew"
        return f"run {self.key!r} was interrupted {done}; resume(samples, {self.key!r}) {again}, {remove}"


def find_interrupted(dataset: fo.Dataset) -> dict[str, Interrupted]:
    """Runs that broke off, by key; those at work are none."""
    values = find(dataset, "^(open|live|lock):")
    found = _traces(dataset, values)
    if found:  # another process may have completed one since this one last looked
        dataset.reload()
        found = _traces(dataset, values)
    return {key: left for key, left in found.items() if not _busy(values, key)}


def not_there(dataset: fo.Dataset, key: str) -> RunNotFoundError:
    """Why there is no run under ``key``: at work, interrupted, or never made."""
    values = find(dataset, "^(open|live|lock):")
    left = _traces(dataset, values).get(key)
    if left is None:
        return storage.no_such_run(dataset, key)
    if _busy(values, key):
        holder = lock.Holder(**values[f"lock:{key}"])
        return RunNotFoundError(f"run {key!r} of {dataset.name!r} is still at work ({holder}); wait for it")
    return RunNotFoundError(f"{dataset.name!r}: {left.message}")


def clear_remains(dataset: fo.Dataset, key: str) -> None:
    """Remove the fields that a process which died left under a key; the caller holds the lock."""
    noted = run_store(dataset).get(_note(key))
    if noted is None:
        return
    dataset.reload()
    if storage.is_complete(dataset, key):  # it died just before it would have dropped the note
        run_store(dataset).delete(_note(key))
    else:
        withdraw(dataset, FieldNames(key, noted["patches_field"]))


def remove_interrupted(dataset: fo.Dataset, key: str) -> bool:
    """Remove what a run that broke off left: fields, files, state. The caller holds the lock.

    Returns:
        Whether there was anything.
    """
    values = find(dataset, "^(open|live):")
    left = key in _traces(dataset, values) or f"live:{key}" in values
    clear_remains(dataset, key)
    for names in marked(dataset):
        if names.key == key:
            withdraw(dataset, names)
    return left


@contextmanager
def declared_fields(dataset: fo.Dataset, names: FieldNames) -> Iterator[None]:
    """Declare a run's fields, and withdraw them where the block fails.

    A note outlives the process, so that what a killed one left can be told from a person's fields.
    """
    check_absent(dataset, names)
    run_store(dataset).set(_note(names.key), {"patches_field": names.patches_field})
    try:
        declare(dataset, names)
        yield
    except BaseException:
        withdraw(dataset, names)
        raise
    run_store(dataset).delete(_note(names.key))


def withdraw(dataset: fo.Dataset, names: FieldNames) -> None:
    """Remove what a run that is not complete has written so far, and its note last."""
    if dataset.has_run(names.key):
        erase(dataset, names.key)
    else:
        remove_brain_runs(dataset, names)
        remove(dataset, names)
        remove_group(dataset, names)
    run_store(dataset).delete(_note(names.key))


def erase(dataset: fo.Dataset, key: str) -> None:
    """Remove a run from the database; the caller holds its lock. The custom run goes last, so that an
    interrupted erasing can be repeated.
    """  # noqa: D205
    header, _ = storage.header_of(dataset, key)
    names = FieldNames(key, header.patches_field)
    remove_brain_runs(dataset, names)
    remove(dataset, names)
    remove_group(dataset, names)
    forget_edits(dataset, header.uid)
    dataset.delete_run(key)


def _traces(dataset: fo.Dataset, values: dict[str, Any]) -> dict[str, Interrupted]:
    """Runs that left something and are not stored, at work or not."""
    noted = {
        name.removeprefix("open:"): FieldNames(name.removeprefix("open:"), value["patches_field"])
        for name, value in values.items()
        if name.startswith("open:")
    }
    fields = {names.key: names for names in marked(dataset)}
    folders = storage.job_folders(dataset)
    complete = set(storage.keys(dataset))
    found = {}
    for key in sorted({*noted, *fields, *folders} - complete):
        state = values.get(f"live:{key}", {})
        names = noted.get(key) or fields.get(key)
        found[key] = Interrupted(
            key=key,
            method=state.get("method", ""),
            rounds=state.get("round", 0),
            planned=state.get("rounds", 0),
            resumable=any((folder / checkpoints.CHECKPOINT).exists() for folder in folders.get(key, ())),
            copied=key not in noted and key not in folders,
            fields=() if names is None else tuple(there(dataset, names)),
        )
    return found


def there(dataset: fo.Dataset, names: FieldNames) -> list[str]:
    """The fields of a run that the dataset has."""
    return [root for root in names.roots() if dataset.get_field(root) is not None]


def _busy(values: dict[str, Any], key: str) -> bool:
    held = values.get(f"lock:{key}")
    return held is not None and lock.Holder(**held).alive()


def _note(key: str) -> str:
    return f"open:{key}"
