"""Folders of run files: with a stored job, without one because the process was killed, and of deleted datasets."""

from __future__ import annotations

import json
import shutil
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fiftyone_deepcluster.core.disk import (
    change_problem,
    folder_bytes,
    is_readable_file,
    is_refused,
    subfolders,
)
from fiftyone_deepcluster.dataset.runs.run_files import (
    JOB_FILE,
    database_mark,
    key_of_folder,
    run_folders,
    runs_folder,
)
from fiftyone_deepcluster.dataset.runs.storage import keys

if TYPE_CHECKING:
    from pathlib import Path

    import fiftyone as fo


@dataclass(frozen=True)
class RunFiles:
    """Files of all runs of one dataset.

    Attributes:
        folder: folder with the files.
        n_bytes: their total size.
    """

    folder: Path
    n_bytes: int


def find_run_files() -> list[RunFiles]:
    """Files of all runs, one entry per dataset; does not query the database."""
    from bson import ObjectId

    folders = subfolders(runs_folder())
    return [RunFiles(folder, folder_bytes(folder)) for folder in folders if ObjectId.is_valid(folder.name)]


def find_leftovers() -> list[RunFiles]:
    """Run files whose dataset is no longer in the database, of this database and that this user may delete."""
    from fiftyone.core.odm import get_db_conn

    known = {str(name) for name in get_db_conn().datasets.distinct("_id")}
    return [
        files
        for files in find_run_files()
        if files.folder.name not in known
        and _databases(files.folder) <= {database_mark()}
        and change_problem(files.folder) is None
    ]


def remove_leftovers() -> list[RunFiles]:
    """Delete the files found by ``find_leftovers``, and return their entries."""
    found = find_leftovers()
    for files in found:
        shutil.rmtree(files.folder)
    return found


def job_folders(dataset: fo.Dataset) -> dict[str, list[Path]]:
    """Folders with a job that this user may read, running or not, by key."""
    found: dict[str, list[Path]] = {}
    for folder in run_folders(dataset):
        if is_readable_file(folder / JOB_FILE):
            found.setdefault(key_of_folder(folder), []).append(folder)
    return found


def jobless_folders(dataset: fo.Dataset) -> dict[str, list[Path]]:
    """Folders in which no job is stored, or not yet, by key; without those of stored runs."""
    found: dict[str, list[Path]] = {}
    for folder in run_folders(dataset):
        with suppress(OSError):  # that of another user
            if all(file.match(f"{JOB_FILE}.*.partial") for file in folder.iterdir()):
                found.setdefault(key_of_folder(folder), []).append(folder)
    return {key: folders for key, folders in found.items() if key not in keys(dataset)} if found else {}


def _databases(folder: Path) -> set[str]:
    """Ids of the databases that the runs in a folder belong to; empty text for a job that cannot be read."""
    found = {""} if is_refused(folder) else set()
    for path in (each / JOB_FILE for each in subfolders(folder)):
        try:
            found |= {str(mark) for name, mark in json.loads(path.read_text()).items() if name == "database"}
        except FileNotFoundError:
            continue
        except (OSError, ValueError, AttributeError):  # of another user, or damaged
            found.add("")
    return found
