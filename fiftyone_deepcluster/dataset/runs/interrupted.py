"""Interrupted runs: what a process that was killed left of a run that it had not stored yet.

Its fields and files are identified by its intent (see ``intents``), the folder with its checkpoint, and a mark on its
fields, which clones of the dataset also have.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fiftyone_deepcluster.core import checkpoints
from fiftyone_deepcluster.core.disk import is_readable_file
from fiftyone_deepcluster.dataset.io.fields import FieldNames, marked
from fiftyone_deepcluster.dataset.runs import lock, storage
from fiftyone_deepcluster.dataset.runs.intents import read_intents
from fiftyone_deepcluster.dataset.runs.kv import find
from fiftyone_deepcluster.dataset.runs.orphans import job_folders
from fiftyone_deepcluster.errors import RunNotFoundError

if TYPE_CHECKING:
    import fiftyone as fo

_PATTERN = "^(change|live|lock):"


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
    def progress(self) -> str:
        """When it was interrupted: ``after 1 of 2 rounds``."""
        return f"after {self.rounds} of {self.planned} rounds" if self.planned else "before it was complete"

    @property
    def message(self) -> str:
        """Description of the state, and the ways out."""
        remove = f"delete_run(samples, {self.key!r}) removes its fields and files"
        if self.copied:
            return (
                f"the fields of a run {self.key!r} exist without the run, as after cloning a dataset "
                f"during the run; {remove}"
            )
        again = "continues it" if self.resumable else "repeats it from the start"
        return f"run {self.key!r} was interrupted {self.progress}; resume(samples, {self.key!r}) {again}, {remove}"


def find_interrupted(dataset: fo.Dataset) -> dict[str, Interrupted]:
    """Interrupted runs by key; running ones are excluded."""
    values = find(dataset, _PATTERN)
    found = _traces(dataset, values)
    if found:  # another process may have completed one since the last reload
        dataset.reload()
        found = _traces(dataset, values)
    return {key: left for key, left in found.items() if not _busy(values, key)}


def not_there(dataset: fo.Dataset, key: str) -> RunNotFoundError:
    """Error for a missing run that says why: still running, interrupted, or never made."""
    values = find(dataset, _PATTERN)
    left = _traces(dataset, values).get(key)
    if left is None:
        return storage.no_such_run(dataset, key)
    if _busy(values, key):
        holder = lock.Holder(**values[f"lock:{key}"])
        return RunNotFoundError(f"run {key!r} of {dataset.name!r} is still running ({holder}); wait for it")
    return RunNotFoundError(f"{dataset.name!r}: {left.message}")


def find_remains(dataset: fo.Dataset, key: str) -> FieldNames | None:
    """Names of the fields of an interrupted run, or a run of which a live state is left; None if there is none."""
    values = find(dataset, _PATTERN)
    if key not in _traces(dataset, values) and f"live:{key}" not in values:
        return None
    known = {names.key: names for names in marked(dataset) if names.kind == "clusters"}
    known |= {name: intent.names for name, intent in read_intents(values).items()}
    return known.get(key, FieldNames(key))


def _traces(dataset: fo.Dataset, values: dict[str, Any]) -> dict[str, Interrupted]:
    """Runs with an intent, fields or files but no record, running or not."""
    noted = {key: intent.names for key, intent in read_intents(values).items() if intent.kind == "clusters"}
    fields = {names.key: names for names in marked(dataset) if names.kind == "clusters"}
    folders = job_folders(dataset)
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
            resumable=any(
                is_readable_file(folder / checkpoints.CHECKPOINT) for folder in folders.get(key, ())
            ),
            copied=key not in noted and key not in folders,
            fields=() if names is None else tuple(existing_fields(dataset, names)),
        )
    return found


def existing_fields(dataset: fo.Dataset, names: FieldNames) -> list[str]:
    """Fields of a run that exist on the dataset."""
    return [root for root in names.roots() if dataset.get_field(root) is not None]


def _busy(values: dict[str, Any], key: str) -> bool:
    return lock.in_use(values.get(f"lock:{key}"))
