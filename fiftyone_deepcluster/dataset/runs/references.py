"""Names of a run, and of its fields, in what other runs, audits and forms store; they follow when it is renamed.

They are in the settings and options of stored runs and audits, in the records, in the jobs of interrupted runs, and in
the forms that are kept to be opened again. Every step may be repeated.

A run that has begun, and is not stored yet, follows by itself: it reads all names at its start (``RunNames``), and
follows what was renamed since when it stores them. So does a job that waits in the queue, when its turn comes.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

from fiftyone_deepcluster.dataset.io.fields import FieldNames
from fiftyone_deepcluster.dataset.runs import lock, run_files, status, storage
from fiftyone_deepcluster.dataset.runs.job_names import is_run
from fiftyone_deepcluster.errors import DiskError, RunError, RunNotFoundError
from fiftyone_deepcluster.methods.base import FIELD_SUFFIX

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import fiftyone as fo

    from fiftyone_deepcluster.core.record import RunRecord

logger = logging.getLogger(__name__)

Stored = TypeVar("Stored")

_RUN = "run"
"""Setting with the key of another run."""
_NAMES_LOCK = "names of runs"


@dataclass(frozen=True)
class Renamed:
    """A run, or an audit, that gets another key.

    Attributes:
        dataset: its dataset.
        old: names of its fields.
        new: their new names.
    """

    dataset: fo.Dataset
    old: FieldNames
    new: FieldNames

    def follow(self, values: Mapping[str, Any], patches_field: str | None) -> dict[str, Any]:
        """Settings or options with the new names.

        Args:
            values: settings by name: names of fields if their name ends so, and ``run``, the key of a run.
            patches_field: Detections field of the images that they are about, or None for whole images.
        """
        return {name: self._value(name, value, patches_field) for name, value in values.items()}

    def _value(self, name: str, value: Any, patches_field: str | None) -> Any:
        if isinstance(value, dict):
            return self.follow(value, patches_field)
        if isinstance(value, list):
            return [self._value(name, item, patches_field) for item in value]
        if not isinstance(value, str):
            return value
        if name == _RUN:
            return self.new.key if (value, self.old.kind) == (self.old.key, "clusters") else value
        return self._field(value, patches_field) if name.endswith(FIELD_SUFFIX) else value

    def _field(self, field: str, patches_field: str | None) -> str:
        """New name of a field: a path of the dataset or, for objects, also the name of one of their attributes."""
        if patches_field is not None:
            start = next(
                (
                    each
                    for each in (f"{patches_field}.detections.", f"{patches_field}.")
                    if field.startswith(each)
                ),
                "",
            )
            objects = f"{patches_field}.detections."
            inside = objects + field.removeprefix(start)
            found = self._path(inside)
            if found != inside:
                return start + found.removeprefix(objects)
            if not start and self.dataset.get_field(inside) is not None:
                return field  # an attribute of the objects with the name of a field of the run
        return self._path(field)

    def _path(self, path: str) -> str:
        for before, after in zip(self.old.roots(), self.new.roots(), strict=True):
            if path == before or path.startswith(f"{before}."):
                return after + path.removeprefix(before)
        return path


@contextmanager
def names_kept(dataset: fo.Dataset) -> Iterator[None]:
    """Lock during which no run or audit gets another key; for a block that stores names of others, or their files.

    Raises:
        RunLockedError: another process has held it for minutes.
    """
    with lock.wait_for(dataset, _NAMES_LOCK, "renaming or storing a run"):
        yield


@dataclass(frozen=True)
class RunNames:
    """Names of the fields of all runs and audits of a dataset at one time.

    Attributes:
        by_uid: names by unique id, which no rename changes.
    """

    by_uid: dict[str, FieldNames]

    def to_json(self) -> dict[str, Any]:
        """The names as JSON values."""
        return {uid: asdict(names) for uid, names in self.by_uid.items()}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> RunNames:
        """The names that ``to_json`` returned."""
        return cls({uid: FieldNames(**names) for uid, names in value.items()})

    @classmethod
    def read(cls, dataset: fo.Dataset) -> RunNames:
        """The names of now, after a rename that is in progress."""
        with names_kept(dataset):
            return cls(_names_by_uid(dataset))

    @classmethod
    def read_with(cls, dataset: fo.Dataset, read: Callable[[], Stored]) -> tuple[RunNames, Stored]:
        """The names of now, and what ``read`` returns: settings that are stored, which follow every rename.

        It is repeated if runs are renamed meanwhile, since names that have followed must not follow again.
        """
        names = cls.read(dataset)
        while True:
            found, now = read(), cls.read(dataset)
            if now == names:
                return names, found
            names = now

    def follow(
        self, dataset: fo.Dataset, values: Mapping[str, Any], patches_field: str | None
    ) -> dict[str, Any]:
        """Settings or options of that time with the names of now; within ``names_kept``; as ``Renamed.follow``.

        What it returns must not follow the same names again: another run may have the old name of one by now.
        """
        now = _names_by_uid(dataset)
        changed = [(old, now[uid], uid) for uid, old in self.by_uid.items() if now.get(uid, old) != old]
        followed = dict(values)
        # first to names that are nobody's: one may have the old name of another now
        for old, _, uid in changed:
            followed = Renamed(dataset, old, replace(old, key=f"run_{uid}")).follow(followed, patches_field)
        for _, new, uid in changed:
            followed = Renamed(dataset, replace(new, key=f"run_{uid}"), new).follow(followed, patches_field)
        return followed

    def key_now(self, dataset: fo.Dataset, key: str) -> str:
        """Key that the run ``key`` of that time has now; ``key`` if there was none; within ``names_kept``.

        Raises:
            RunNotFoundError: the run was deleted or replaced since; another may have its key.
        """
        uid = next(
            (uid for uid, run in self.by_uid.items() if (run.key, run.kind) == (key, "clusters")), None
        )
        if uid is None:
            return key
        now = _names_by_uid(dataset).get(uid)
        if now is None:
            raise RunNotFoundError(
                f"run {key!r} of {dataset.name!r} was deleted or replaced before this call was executed; call it again "
                f"for an existing run: {', '.join(storage.keys(dataset)) or 'none'}"
            )
        return now.key


def follow_rename(dataset: fo.Dataset, old: FieldNames, new: FieldNames) -> None:
    """Replace the old names of a run in all that others store on the dataset and in its folder."""
    renamed = Renamed(dataset, old, new)
    storage.look_again(dataset)
    for key in storage.own_documents(dataset):
        _follow_stored(dataset, key, renamed)
    for folder in run_files.run_folders(dataset):
        _follow_job(renamed, run_files.key_of_folder(folder), folder)
    for key, form in status.kept_forms(dataset).items():
        params = form["params"]
        now = {**form, "params": renamed.follow(params, params.get("patches_field") or None)}
        about_a_run = "new_key" in params or not is_run(key)  # the run that is refined or analyzed
        if old.kind == "clusters" and key != old.key and params.get("key") == old.key and about_a_run:
            now["params"]["key"] = new.key
        if now != form:
            status.keep_form(dataset, key, now)


def followed_meanwhile(
    folder: Path, header: storage.RunHeader, record: RunRecord
) -> tuple[storage.RunHeader, RunRecord]:
    """Header and record of a run that has ended, with the names in its job, which follow renames during the run.

    Within ``names_kept``, in which the caller stores them.

    Args:
        folder: folder of its job.
        header: its header when it began.
        record: its record.
    """
    job = run_files.readable_job(folder)
    header = header if job is None or job.header.uid != header.uid else job.header
    fields = {name: value for name, value in header.options.items() if name.endswith(FIELD_SUFFIX)}
    resolved = {**record.resolved, **{name: fields[name] for name in fields.keys() & record.resolved.keys()}}
    return header, record.model_copy(update={"options": header.options, "resolved": resolved})


def _follow_stored(dataset: fo.Dataset, key: str, renamed: Renamed) -> None:
    """Replace names in a stored run, unless it was deleted meanwhile."""
    document = storage.own_documents(dataset).get(key)
    if document is None or "settings" not in document.config:  # deleted, or not stored by this package
        return
    try:
        _replace_names(dataset, document, renamed)
    except Exception:  # which one depends on the step that finds nothing
        if storage.is_there(document):
            raise


def _replace_names(dataset: fo.Dataset, document: Any, renamed: Renamed) -> None:
    """First in the record, since a change of the settings is looked for."""
    from fiftyone.core.odm import get_db_conn

    where = document.config["patches_field"]
    before = {part: dict(document.config[part]) for part in ("settings", "options")}
    now = {part: renamed.follow(values, where) for part, values in before.items()}
    if now["options"] != before["options"] and document.results:
        record = storage.raw_record(dataset, document.key)
        parts: dict[str, Any] = {
            part: renamed.follow(record[part], where) for part in ("options", "resolved") if part in record
        }
        storage.replace_record(dataset, document.key, {**record, **parts})
    if now != before:
        changes = {f"config.{part}": values for part, values in now.items()}
        get_db_conn().runs.update_one({"_id": document.id}, {"$set": changes})
        document.reload()


def _names_by_uid(dataset: fo.Dataset) -> dict[str, FieldNames]:
    storage.look_again(dataset)
    found = {}
    for key, document in storage.own_documents(dataset).items():
        if "uid" in document.config:  # else not stored by this package
            kind = storage.kind_of(document)
            found[document.config["uid"]] = FieldNames(key, document.config["patches_field"], kind)
    return found


def _follow_job(renamed: Renamed, key: str, folder: Path) -> None:
    """Replace names in the job of a run, from which it is resumed; its files may belong to another user."""
    try:
        job = run_files.load_job(folder)
        if job is None:
            return
        header, where = job.header, job.header.patches_field
        now = replace(
            header,
            settings=renamed.follow(header.settings, where),
            options=renamed.follow(header.options, where),
        )
        if now != header:
            run_files.save_job(folder, replace(job, header=now))
    except (RunError, DiskError) as error:
        logger.warning(
            "the fields of run %r are now those of %r; run %r may still ask for the old ones when it is resumed, since "
            "its file cannot be changed: %s",
            renamed.old.key, renamed.new.key, key, error,
        )  # fmt: skip
