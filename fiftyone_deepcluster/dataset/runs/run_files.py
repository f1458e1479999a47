"""Files of a run: a folder with its job, checkpoint and model, beside FiftyOne's datasets.

A run in progress that replaces another one has a folder of its own until it is stored.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
import shutil
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fiftyone_deepcluster.core import arguments
from fiftyone_deepcluster.core.disk import change_problem, disk_errors, is_refused, new_file, subfolders
from fiftyone_deepcluster.dataset.runs.storage import AGAIN, RunHeader, no_such_run
from fiftyone_deepcluster.errors import DiskError, RunError

if TYPE_CHECKING:
    import fiftyone as fo

logger = logging.getLogger(__name__)

JOB_FILE = "job.json"
MODEL_VECTORS = "model_vectors.pt"
ELSEWHERE = "set FIFTYONE_DEFAULT_DATASET_DIR to a folder on another disk"
"""How to choose another folder for the files of runs; for errors."""
_NEXT = ".next"
_ID_LENGTH, _ID_DIGITS = 24, re.compile("[0-9a-f]*")


class DamagedJobError(RunError):
    """The file of a job is cut, or holds something else."""


@dataclass(frozen=True)
class Decided:
    """What the review of a run says about N images, for ``refine``.

    Attributes:
        names: (K,) name of each cluster; after a merge several may have the same.
        labels: (N,) cluster of each image, None for those in no cluster.
        fixed: (N,) whether a person has decided this.
    """

    names: list[str]
    labels: list[int | None]
    fixed: list[bool]


@dataclass(frozen=True)
class ClusterJob:
    """A call of ``cluster`` or ``refine``, stored so that it can be resumed after the process died.

    Attributes:
        header: header of the future run.
        ids: ids of the images, in order.
        decided: for ``refine``, what the review says about these images.
    """

    header: RunHeader
    ids: list[str]
    decided: Decided | None = None

    def same_work(self, other: ClusterJob) -> bool:
        """Whether a checkpoint of the other call can be used for this one."""
        return self._work == other._work

    @property
    def _work(self) -> tuple[object, ...]:
        return self.header.options, self.header.settings, self.ids, self.decided


def run_dir(dataset: fo.Dataset, key: str) -> Path:
    """Folder with the checkpoint and model of a run.

    Raises:
        RunNotFoundError: no run can have this key; with ``../`` it would be the folder of another dataset.
    """
    if not isinstance(key, str) or not key.isidentifier():
        raise no_such_run(dataset, key)
    return dataset_dir(dataset) / key


def next_dir(dataset: fo.Dataset, key: str) -> Path:
    """Folder of a run in progress that will replace the run under ``key``; raises as ``run_dir``."""
    return run_dir(dataset, key).with_name(f"{key}{_NEXT}")


def dataset_dir(dataset: fo.Dataset) -> Path:
    """Folder with the files of all runs of a dataset."""
    return runs_folder() / str(dataset._doc.id)


def run_folders(dataset: fo.Dataset) -> list[Path]:
    """Folders of all runs of a dataset, also of interrupted ones, as far as this user may look."""
    return subfolders(dataset_dir(dataset))


def runs_folder() -> Path:
    """Folder with the files of all runs of all datasets."""
    import fiftyone as fo

    return Path(fo.config.default_dataset_dir) / ".deepcluster"


def database_mark() -> str:
    """Id of the FiftyOne database, since several may share the folder; hashed, as the URI may contain a password."""
    import fiftyone as fo

    where = fo.config.database_uri or fo.config.database_dir
    return hashlib.sha256(f"{where}/{fo.config.database_name}".encode()).hexdigest()[:16]


def save_job(folder: Path, job: ClusterJob) -> None:
    """Store the job whose files are in ``folder``.

    Raises:
        DiskError: the folder cannot be written.
    """
    decided = None if job.decided is None else vars(job.decided)
    value = {
        "database": database_mark(),
        "header": asdict(job.header),
        "ids": job.ids,
        "decided": decided,
    }
    content = json.dumps(value).encode()
    with new_file(
        folder / JOB_FILE, "the file of the run", after="call again", elsewhere=ELSEWHERE, need=len(content)
    ) as file:
        file.write(content)


def load_job(folder: Path) -> ClusterJob | None:
    """Job stored in ``folder``; None if there is none.

    Raises:
        DamagedJobError: its file is damaged.
        RunError: it belongs to another user, or the disk does not give it.
    """
    path, what = folder / JOB_FILE, f"which lists the images of run {key_of_folder(folder)!r},"
    try:
        value = json.loads(path.read_text())
        if not isinstance(value, dict):
            raise TypeError(f"a {type(value).__name__} in place of an object")
        return _job_of(value)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except PermissionError as error:
        raise RunError(
            f"{path}, {what} cannot be read by this user ({error.strerror}); make the folder readable, or cluster "
            "under another key"
        ) from error
    except OSError as error:
        raise RunError(
            f"{path}, {what} cannot be read now ({error.strerror}); repeat the call once its disk works"
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise DamagedJobError(
            f"{path}, {what} cannot be read ({error}); restore the file, or {AGAIN}"
        ) from error


def _job_of(value: dict[str, Any]) -> ClusterJob:
    """Job from the content of its file; raises KeyError or ValueError if it has other values."""
    from pydantic import ValidationError

    parts = {name: value[name] for name in ("header", "ids")} | {"decided": value.get("decided")}
    try:
        job: ClusterJob = _job_adapter().validate_python(parts)
    except ValidationError as error:
        first = error.errors()[0]
        raise ValueError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    if not _are_ids(job.ids):
        wrong = next(name for name in job.ids if not _are_ids([name]))
        raise ValueError(f"ids: {arguments.short(wrong)} is not the id of an image")
    return job


@cache
def _job_adapter() -> Any:
    """What checks the content of a file; it takes long to build."""
    from pydantic import TypeAdapter

    return TypeAdapter(ClusterJob)


def _are_ids(names: list[str]) -> bool:
    """Whether all are ids of images; at once, since there may be a million, and the panel asks often."""
    return set(map(len, names)) <= {_ID_LENGTH} and _ID_DIGITS.fullmatch("".join(names)) is not None


def readable_job(folder: Path) -> ClusterJob | None:
    """Job stored in ``folder``; None if there is none, or it cannot be read."""
    try:
        return load_job(folder)
    except RunError:
        return None


def key_of_folder(folder: Path) -> str:
    """Key of the run whose files are in a folder."""
    return folder.name.removesuffix(_NEXT)


def clean_dir(folder: Path) -> None:
    """Delete a folder of run files, and the dataset's folder if it is then empty; what cannot be deleted stays."""
    shutil.rmtree(folder, ignore_errors=True)
    with suppress(OSError):  # not empty, or read-only
        folder.parent.rmdir()


def check_files(dataset: fo.Dataset, key: str) -> None:
    """Check, before a run is continued, replaced, renamed or deleted, that its files can be.

    Raises:
        DiskError: they are on a disk that cannot be written, or belong to another user.
    """
    for folder in (run_dir(dataset, key), next_dir(dataset, key)):
        problem = change_problem(folder)
        if problem is not None:
            raise DiskError(
                str(folder),
                f"the files of run {key!r} cannot be changed: {problem}; make it writable",
                "call again",
            )


def check_readable(path: Path, what: str) -> None:
    """Raise RunError if another user's file exists that this user may not read; ``what`` it is, for the message."""
    if is_refused(path):
        raise RunError(f"{what}, {path}, belongs to another user; make it readable, and its folders")


def move_dir(old: Path, new: Path) -> None:
    """Move a folder of run files, replacing ``new``; nothing if ``old`` is missing, as after an earlier call.

    Raises:
        DiskError: it cannot be moved; it stays where it was.
    """
    if old == new or not old.is_dir():
        return
    with disk_errors(new, "the folder of the run", after="call again", elsewhere=ELSEWHERE):
        shutil.rmtree(new, ignore_errors=True)
        old.replace(new)


def adopt_files(dataset: fo.Dataset, key: str, uid: str, folder: Path | None = None) -> None:
    """Move the files of a run that replaced another, once it is stored; nothing if that is done or not needed.

    Args:
        dataset: its dataset.
        key: its key.
        uid: its unique id.
        folder: folder with its files; None after a crash, when their job says whose they are.
    """
    new, old = next_dir(dataset, key), run_dir(dataset, key)
    if folder == new:
        move_dir(new, old)
        return
    try:
        job = load_job(new)
    except DamagedJobError as error:
        if old.is_dir():  # so the run has its files
            _drop_damaged(new, error)
        else:
            logger.warning("run %r cannot be resumed: %s", key, error)
            move_dir(new, old)
        return
    if job is not None and job.header.uid == uid:
        move_dir(new, old)


def has_replacement(dataset: fo.Dataset, key: str) -> bool:
    """Whether a run in progress has files to replace the run under ``key``; those with a damaged job are removed."""
    folder = next_dir(dataset, key)
    try:
        return load_job(folder) is not None
    except DamagedJobError as error:
        _drop_damaged(folder, error)
        return False


def _drop_damaged(folder: Path, error: DamagedJobError) -> None:
    logger.warning(
        "the interrupted replacement of run %r cannot be continued, and its files are removed: %s cannot be read (%s)",
        key_of_folder(folder), folder / JOB_FILE, error.__cause__,
    )  # fmt: skip
    clean_dir(folder)
