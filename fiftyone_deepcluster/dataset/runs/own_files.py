"""Files of a stored run on this machine, and only of that run.

The folder of a key may have the files of another run: of an earlier one, if another user of the database, whose
files are elsewhere, has replaced it since. Such files are never used for the run that has the key now.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from fiftyone_deepcluster.core import checkpoints
from fiftyone_deepcluster.core.disk import is_readable_file
from fiftyone_deepcluster.dataset.runs import run_files
from fiftyone_deepcluster.errors import RunError

if TYPE_CHECKING:
    import fiftyone as fo


def network_folder(dataset: fo.Dataset, key: str, uid: str) -> Path:
    """Folder with the network of a run.

    Args:
        dataset: its dataset.
        key: its key.
        uid: its unique id.

    Raises:
        RunError: the network is not on this machine, this user may not read it, or the files are those of another run.
    """
    folder = run_files.run_dir(dataset, key)
    file = folder / checkpoints.MODEL
    run_files.check_readable(file, f"the network of run {key!r}")
    if not is_readable_file(file):
        raise RunError(
            f"the network of run {key!r} is not in {folder}: the run was made on another machine, assigned from "
            "another dataset (use the run there), or its files were deleted; cluster again under another key"
        )
    check_own(folder, key, uid)
    return folder


def has_network(dataset: fo.Dataset, key: str, uid: str) -> bool:
    """Whether ``network_folder`` finds the network of a run."""
    folder = run_files.run_dir(dataset, key)
    return is_readable_file(folder / checkpoints.MODEL) and is_own(folder, uid)


def own_job(dataset: fo.Dataset, key: str, uid: str) -> run_files.ClusterJob | None:
    """Job of a run; None if it is not on this machine.

    Raises:
        DamagedJobError: its file is damaged.
        RunError: it belongs to another user, or the disk does not give it.
    """
    job = run_files.load_job(run_files.run_dir(dataset, key))
    return job if job is not None and job.header.uid == uid else None


def readable_own_job(dataset: fo.Dataset, key: str, uid: str) -> run_files.ClusterJob | None:
    """Job of a run; None if it is not on this machine, or cannot be read."""
    try:
        return own_job(dataset, key, uid)
    except RunError:
        return None


def is_own(folder: Path, uid: str) -> bool:
    """Whether the files in the folder of a run are its own, as far as its job can be read."""
    try:
        changed = (folder / run_files.JOB_FILE).stat().st_mtime_ns
        return _uid_in(str(folder), changed) in (uid, None)
    except (OSError, RunError):
        return True


@lru_cache(maxsize=64)  # the panel asks often, and the file of a million images takes a second to read
def _uid_in(folder: str, changed: int) -> str | None:
    job = run_files.load_job(Path(folder))
    return None if job is None else job.header.uid


def check_own(folder: Path, key: str, uid: str) -> None:
    """Raise RunError if the files in the folder of a run are those of another run."""
    if not is_own(folder, uid):
        raise RunError(
            f"the files in {folder} are those of an earlier run {key!r}, which was replaced by a user whose files are "
            "elsewhere; use the new run there, or cluster again under another key"
        )
