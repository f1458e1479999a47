"""Folders of run files: with a stored job, without one because the process was killed, and of deleted datasets."""

from __future__ import annotations

import json
import shutil
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fiftyone_deepcluster.dataset.runs.storage import (
    JOB_FILE,
    database_mark,
    dataset_dir,
    key_of_folder,
    keys,
    runs_folder,
)

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

    base = runs_folder()
    folders = sorted(base.iterdir()) if base.is_dir() else []
    return [
        RunFiles(folder, sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()))
        for folder in folders
        if folder.is_dir() and ObjectId.is_valid(folder.name)
    ]


def find_leftovers() -> list[RunFiles]:
    """Run files whose dataset is no longer in the database; files of other databases are excluded."""
    from fiftyone.core.odm import get_db_conn

    known = {str(name) for name in get_db_conn().datasets.distinct("_id")}
    return [
        files
        for files in find_run_files()
        if files.folder.name not in known and _databases(files.folder) <= {database_mark()}
    ]


def remove_leftovers() -> list[RunFiles]:
    """Delete the files found by ``find_leftovers``, and return their entries."""
    found = find_leftovers()
    for files in found:
        shutil.rmtree(files.folder)
    return found


def job_folders(dataset: fo.Dataset) -> dict[str, list[Path]]:
    """Folders with a job, running or not, by key."""
    found: dict[str, list[Path]] = {}
    for job in sorted(dataset_dir(dataset).glob(f"*/{JOB_FILE}")):
        found.setdefault(key_of_folder(job.parent), []).append(job.parent)
    return found


def jobless_folders(dataset: fo.Dataset) -> dict[str, list[Path]]:
    """Folders in which no job is stored, or not yet, by key; without those of stored runs."""
    found: dict[str, list[Path]] = {}
    with suppress(OSError):  # no folder, or one that cannot be read
        for folder in sorted(dataset_dir(dataset).iterdir()):
            if folder.is_dir() and all(file.match(f"{JOB_FILE}.*.partial") for file in folder.iterdir()):
                found.setdefault(key_of_folder(folder), []).append(folder)
    return {key: folders for key, folders in found.items() if key not in keys(dataset)} if found else {}


def _databases(folder: Path) -> set[str]:
    """Ids of the databases that the runs in a folder belong to."""
    jobs = [json.loads(path.read_text()) for path in folder.glob(f"*/{JOB_FILE}")]
    return {job["database"] for job in jobs if "database" in job}
