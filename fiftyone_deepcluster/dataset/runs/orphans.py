"""Files of runs whose dataset is gone: FiftyOne deletes a dataset without asking, its runs' files stay."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fiftyone_deepcluster.dataset.runs.storage import JOB_FILE, database_mark, runs_folder

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class RunFiles:
    """The files of all runs of one dataset.

    Attributes:
        folder: that holds them.
        n_bytes: they take.
    """

    folder: Path
    n_bytes: int


def find_run_files() -> list[RunFiles]:
    """The files of all runs, a dataset each; asks no database."""
    from bson import ObjectId

    base = runs_folder()
    folders = sorted(base.iterdir()) if base.is_dir() else []
    return [
        RunFiles(folder, sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()))
        for folder in folders
        if folder.is_dir() and ObjectId.is_valid(folder.name)
    ]


def find_leftovers() -> list[RunFiles]:
    """Those whose dataset is not in the database any more; files of another database are none."""
    from fiftyone.core.odm import get_db_conn

    known = {str(name) for name in get_db_conn().datasets.distinct("_id")}
    return [
        files
        for files in find_run_files()
        if files.folder.name not in known and _databases(files.folder) <= {database_mark()}
    ]


def remove_leftovers() -> list[RunFiles]:
    """Delete the files that ``find_leftovers`` names, and return them."""
    found = find_leftovers()
    for files in found:
        shutil.rmtree(files.folder)
    return found


def _databases(folder: Path) -> set[str]:
    """Marks of the databases that the runs of a folder belong to."""
    jobs = [json.loads(path.read_text()) for path in folder.glob(f"*/{JOB_FILE}")]
    return {job["database"] for job in jobs if "database" in job}
