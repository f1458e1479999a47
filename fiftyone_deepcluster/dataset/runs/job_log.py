"""Log file with the output of a job's separate process, kept if the job failed."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from fiftyone_deepcluster.dataset.runs.job_names import is_run, job_name
from fiftyone_deepcluster.dataset.runs.run_files import dataset_dir, run_dir

if TYPE_CHECKING:
    from pathlib import Path

    import fiftyone as fo


def log_file(dataset: fo.Dataset, name: str) -> Path:
    """File with the output of a job; for a run raises as ``run_dir``."""
    folder = run_dir(dataset, name).parent if is_run(name) else dataset_dir(dataset)
    return folder / f"{name}.log"


def drop_log(dataset: fo.Dataset, name: str) -> None:
    """Delete the output of a job, and the dataset's folder if it is then empty."""
    log = log_file(dataset, name)
    with suppress(OSError):  # read-only, or not empty
        log.unlink(missing_ok=True)
        log.parent.rmdir()


def drop_logs_about(dataset: fo.Dataset, key: str) -> None:
    """Delete the output of a run, or of an audit, and of the jobs about it."""
    others = dataset_dir(dataset).glob(f"{job_name('*', key)}.log")
    for name in [key, *(log.stem for log in others)]:
        drop_log(dataset, name)
