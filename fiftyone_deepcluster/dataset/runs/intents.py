"""Changes of a run that survive a crash: each is recorded first, and completed or undone by the next call.

A change of a run takes many writes to the database and the file system. Before the first, an ``Intent`` is stored;
after the last, it is removed. Every step can be repeated. If the process dies in between, the next call that lists,
loads or changes runs of the dataset finds the intent and, once it has the lock of the run, repeats the steps:

======= ======================================== =======================================================
verb    change                                   after a crash
======= ======================================== =======================================================
write   the results of a run are written         finished if the record was stored; else ``resume`` continues
assign  clusters are written to another dataset  finished if the record was stored; else undone
audit   the results of an audit are written      finished if the record was stored; else undone
delete  a run is deleted                         completed
replace a run is removed for its replacement     completed; ``resume`` then writes the replacement
rename  a run gets another key                   completed
======= ======================================== =======================================================
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from fiftyone_deepcluster.core.disk import change_problem
from fiftyone_deepcluster.core.process_state import first_time
from fiftyone_deepcluster.dataset.io.fields import (
    FieldNames,
    changing,
    check_absent,
    declare,
    declare_missing,
)
from fiftyone_deepcluster.dataset.runs import lock, removal, renaming, run_files, storage
from fiftyone_deepcluster.dataset.runs.database import DatabaseWatch, is_away, until_kept
from fiftyone_deepcluster.dataset.runs.kv import find, find_everywhere, run_store
from fiftyone_deepcluster.dataset.runs.orphans import jobless_folders
from fiftyone_deepcluster.errors import DiskError, RunError, RunLockedError

if TYPE_CHECKING:
    from pathlib import Path

    import fiftyone as fo

    from fiftyone_deepcluster.dataset.io.layouts import RunKind

logger = logging.getLogger(__name__)

Verb = Literal["write", "assign", "audit", "delete", "replace", "rename"]
_NOTE = "change:"
_OF_FILES = ("delete", "replace", "rename")
"""Changes that move or delete files."""


@dataclass(frozen=True)
class Intent:
    """An unfinished change of a run.

    Attributes:
        verb: what is done, see above.
        key: key of the run.
        uid: unique id of the run; empty if it was never stored.
        patches_field: Detections field whose objects were clustered, or None.
        new_key: key after a rename.
        kind: kind of the run.
    """

    verb: Verb
    key: str
    uid: str
    patches_field: str | None
    new_key: str = ""
    kind: RunKind = "clusters"

    @property
    def names(self) -> FieldNames:
        """Names of the fields of the run."""
        return FieldNames(self.key, self.patches_field, self.kind)

    @property
    def keys(self) -> list[str]:
        """Keys whose locks the change needs."""
        return [self.key, *([self.new_key] if self.new_key else [])]


def carry_out(dataset: fo.Dataset, intent: Intent, folder: Path | None = None) -> None:
    """Delete, replace or rename a run; the caller holds the locks of ``intent.keys``.

    Args:
        dataset: dataset of the run.
        intent: the change.
        folder: folder with the files of the replacement, if the caller has just fitted it.
    """
    _store(dataset, intent)
    until_kept(dataset, lambda: _take_steps(dataset, intent, folder))
    _remove(dataset, intent)


@contextmanager
def writing(dataset: fo.Dataset, intent: Intent) -> Iterator[None]:
    """Declare the fields of a run, and remove them if the block, which must store the run, fails.

    Raises:
        RunExistsError: the dataset has such fields.
    """
    check_absent(dataset, intent.names)
    _store(dataset, intent)
    try:
        _declare(dataset, intent.names)
        yield
    except BaseException as error:
        if not is_away(error):  # else the next call cleans up
            _withdraw(dataset, intent)
        raise
    _remove(dataset, intent)


def _declare(dataset: fo.Dataset, names: FieldNames) -> None:
    """Declare the fields of a run, and again those that a restarted database has lost."""
    watch = DatabaseWatch()
    declare(dataset, names)
    while not watch.all_kept():
        dataset.reload()
        with changing(dataset):
            declare_missing(dataset, names)


def complete_unfinished(dataset: fo.Dataset) -> list[Intent]:
    """Complete or undo the changes that ended processes left unfinished; reload the dataset if others changed runs.

    Two queries if there are none.

    Returns:
        The changes that are still unfinished: those in progress, those whose files this user may not change, and
        interrupted runs.
    """
    left = []
    storage.look_again(dataset)
    _remove_jobless(dataset)
    for intent in unfinished(dataset):
        if intent.verb == "write" and not storage.is_stored(dataset, intent.key, intent.uid, intent.kind):
            left.append(intent)  # in progress, or kept for resume: nothing to do, so its lock is not acquired
            continue
        if any(lock.is_held(dataset, key) for key in intent.keys) or not _settled(dataset, intent):
            left.append(intent)
    return left


def _settled(dataset: fo.Dataset, intent: Intent) -> bool:
    """Complete or undo a change, unless it is in progress, or its files belong to another user, who completes it."""
    try:
        _check_files(dataset, intent)  # first: without locks, which other processes would see
        with ExitStack() as locks:
            for key in intent.keys:
                locks.enter_context(lock.acquire(dataset, key))
            return settle(dataset, intent.key)
    except RunLockedError:
        return False
    except Exception as error:
        if is_away(error):
            raise
        if first_time((dataset._doc.id, intent)):  # the panel asks every second
            logger.warning(
                "run %r of %r: its %s is not completed: %s", intent.key, dataset.name, intent.verb, error,
                exc_info=not isinstance(error, DiskError | RunError),
            )  # fmt: skip
        return False  # whatever it is, the other runs of the dataset can be used


def _check_files(dataset: fo.Dataset, intent: Intent) -> None:
    """Raise DiskError if a change moves or deletes files that cannot be changed."""
    if intent.verb in _OF_FILES:
        run_files.check_files(dataset, intent.key)


def _remove_jobless(dataset: fo.Dataset) -> None:
    """Remove folders of runs whose process was killed before it stored the job; a living one holds the lock."""
    for key, found in jobless_folders(dataset).items():
        if any(change_problem(folder) for folder in found):  # of another user
            continue
        with suppress(RunLockedError), lock.acquire(dataset, key):
            for folder in jobless_folders(dataset).get(key, ()):  # again, with the lock
                run_files.clean_dir(folder)


def settle(dataset: fo.Dataset, key: str) -> bool:
    """Complete or undo the change of one run; the caller holds its lock.

    Returns:
        False if the run is interrupted, so that its fields are kept for ``resume``.

    Raises:
        DiskError: its files cannot be changed; nothing was done.
    """
    value = run_store(dataset).get(_NOTE + key)
    if value is None:  # another process was faster
        return True
    intent = Intent(**value)
    dataset.reload()
    if intent.verb in _OF_FILES:
        _check_files(dataset, intent)
        logger.warning("run %r of %r: an interrupted %s is completed", key, dataset.name, intent.verb)
        carry_out(dataset, intent)
    elif storage.is_stored(dataset, key, intent.uid, intent.kind):
        # it died just before the intent was removed
        run_files.adopt_files(dataset, key, intent.uid)
        _remove(dataset, intent)
    elif intent.verb in ("assign", "audit"):
        logger.warning("run %r of %r: an interrupted %s is undone; repeat it", key, dataset.name, intent.verb)
        _withdraw(dataset, intent)
    else:
        return False
    return True


def clear_remains(dataset: fo.Dataset, key: str) -> None:
    """Remove whatever an ended process left of a run under this key; the caller holds its lock."""
    if not settle(dataset, key):
        _withdraw(dataset, Intent(**run_store(dataset).get(_NOTE + key)))


def unfinished(dataset: fo.Dataset) -> list[Intent]:
    """Unfinished changes, including those in progress. One query."""
    return list(read_intents(find(dataset, f"^{_NOTE}")).values())


def read_intents(values: dict[str, Any]) -> dict[str, Intent]:
    """Intents by key, among values of the execution store."""
    found = [Intent(**value) for name, value in values.items() if name.startswith(_NOTE)]
    return {intent.key: intent for intent in found}


def _take_steps(dataset: fo.Dataset, intent: Intent, folder: Path | None) -> None:
    if intent.verb == "rename":
        renaming.rename(dataset, intent.names, replace(intent.names, key=intent.new_key))
    elif intent.verb == "replace":
        removal.give_way(dataset, intent.names, intent.uid, folder)
    else:
        removal.delete(dataset, intent.names, intent.uid)


def find_datasets() -> list[str]:
    """Names of the datasets with a change to complete or undo; runs that wait for ``resume`` are none."""
    from fiftyone.core.odm import get_db_conn

    ids = [
        dataset_id
        for dataset_id, values in find_everywhere(f"^({_NOTE}|lock:)").items()
        if any(_left(intent, values) for intent in read_intents(values).values())
    ]
    return sorted(get_db_conn().datasets.distinct("name", {"_id": {"$in": ids}}))


def _left(intent: Intent, values: dict[str, Any]) -> bool:
    """Whether a change must be completed or undone, and no living process works on it."""
    return intent.verb != "write" and not any(lock.in_use(values.get(f"lock:{key}")) for key in intent.keys)


def _withdraw(dataset: fo.Dataset, intent: Intent) -> None:
    removal.erase(dataset, intent.names, intent.uid)
    _remove(dataset, intent)


def _store(dataset: fo.Dataset, intent: Intent) -> None:
    until_kept(dataset, lambda: run_store(dataset).set(_NOTE + intent.key, asdict(intent)))


def _remove(dataset: fo.Dataset, intent: Intent) -> None:
    run_store(dataset).delete(_NOTE + intent.key)
