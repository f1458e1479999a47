"""Removal of runs: erase finished runs; find and remove the fields and files of interrupted runs.

A process that is killed cannot clean up. Its fields and files are identified by a note in the execution store
(set before the run's fields are declared, deleted once the run is stored), the folder with its checkpoint,
and a mark on its fields, which clones of the dataset also have.
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
    """An interrupted run: its process was killed, it failed, or was cancelled before its first round was complete.

    Attributes:
        key: key of the run.
        method: name of the method; empty if unknown.
        rounds: number of completed rounds.
        planned: number of planned rounds; 0 if unknown.
        resumable: whether there is a checkpoint, so that ``resume`` continues from its last round.
        copied: whether only the fields exist, as after cloning a dataset during a run.
        fields: its fields on the dataset.
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
        """Short description of the state."""
        if self.copied:
            return "fields without a run"
        return f"interrupted, {'can be resumed' if self.resumable else 'no checkpoint'}"

    @property
    def message(self) -> str:
        """Description of the state, and the ways out."""
        remove = f"delete_run(samples, {self.key!r}) removes its fields and files"
        if self.copied:
            return (
                f"the fields of a run {self.key!r} exist without the run, as after cloning a dataset "
                f"during the run; {remove}"
            )
        done = f"after {self.rounds} of {self.planned} rounds" if self.planned else "before it was complete"
        again = "continues it" if self.resumable else "repeats it from the start"
        return f"run {self.key!r} was interrupted {done}; resume(samples, {self.key!r}) {again}, {remove}"


def find_interrupted(dataset: fo.Dataset) -> dict[str, Interrupted]:
    """Interrupted runs by key; running ones are excluded."""
    values = find(dataset, "^(open|live|lock):")
    found = _traces(dataset, values)
    if found:  # another process may have completed one since the last reload
        dataset.reload()
        found = _traces(dataset, values)
    return {key: left for key, left in found.items() if not _busy(values, key)}


def not_there(dataset: fo.Dataset, key: str) -> RunNotFoundError:
    """Error for a missing run that says why: still running, interrupted, or never made."""
    values = find(dataset, "^(open|live|lock):")
    left = _traces(dataset, values).get(key)
    if left is None:
        return storage.no_such_run(dataset, key)
    if _busy(values, key):
        holder = lock.Holder(**values[f"lock:{key}"])
        return RunNotFoundError(f"run {key!r} of {dataset.name!r} is still running ({holder}); wait for it")
    return RunNotFoundError(f"{dataset.name!r}: {left.message}")


def clear_remains(dataset: fo.Dataset, key: str) -> None:
    """Remove the fields of a run whose process died; the caller holds the lock."""
    noted = run_store(dataset).get(_note(key))
    if noted is None:
        return
    dataset.reload()
    if storage.is_complete(dataset, key):  # it died just before deleting the note
        run_store(dataset).delete(_note(key))
    else:
        withdraw(dataset, FieldNames(key, noted["patches_field"]))


def remove_interrupted(dataset: fo.Dataset, key: str) -> bool:
    """Remove the fields of an interrupted run. The caller holds the lock.

    Returns:
        Whether there was such a run.
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
    """Declare a run's fields, and remove them if the block fails.

    A note in the execution store outlives the process, so that fields of a killed run can be distinguished from user
    fields.
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
    """Remove the fields of an incomplete run, and then its note."""
    if dataset.has_run(names.key):
        erase(dataset, names.key)
    else:
        remove_brain_runs(dataset, names)
        remove(dataset, names)
        remove_group(dataset, names)
    run_store(dataset).delete(_note(names.key))


def erase(dataset: fo.Dataset, key: str) -> None:
    """Remove a run from the database; the caller holds its lock.

    The custom run is deleted last, so that an interrupted removal can be repeated.
    """
    header, _ = storage.header_of(dataset, key)
    names = FieldNames(key, header.patches_field)
    remove_brain_runs(dataset, names)
    remove(dataset, names)
    remove_group(dataset, names)
    forget_edits(dataset, header.uid)
    dataset.delete_run(key)


def _traces(dataset: fo.Dataset, values: dict[str, Any]) -> dict[str, Interrupted]:
    """Runs with a note, fields or files that are not stored, running or not."""
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
            fields=() if names is None else tuple(existing_fields(dataset, names)),
        )
    return found


def existing_fields(dataset: fo.Dataset, names: FieldNames) -> list[str]:
    """Fields of a run that exist on the dataset."""
    return [root for root in names.roots() if dataset.get_field(root) is not None]


def _busy(values: dict[str, Any], key: str) -> bool:
    held = values.get(f"lock:{key}")
    return held is not None and lock.Holder(**held).alive()


def _note(key: str) -> str:
    return f"open:{key}"
