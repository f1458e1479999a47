"""Removal of a run from its dataset: fields, index, brain runs, sidebar group, edit log, record, files.

Every function may be repeated: it skips what is no longer there. Values go before their field, so that every
sample can be loaded at any time in between.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fiftyone_deepcluster.dataset.display.brain import remove_brain_runs
from fiftyone_deepcluster.dataset.display.sidebar import remove_group
from fiftyone_deepcluster.dataset.io.fields import FieldNames, marked, remove
from fiftyone_deepcluster.dataset.review.edit_log import forget_edits
from fiftyone_deepcluster.dataset.runs import run_files, status, storage
from fiftyone_deepcluster.dataset.runs.job_log import drop_logs_about

if TYPE_CHECKING:
    from pathlib import Path

    import fiftyone as fo


def delete(dataset: fo.Dataset, names: FieldNames, uid: str) -> None:
    """Remove a run, interrupted or finished, with its files and its live state; arguments as in ``erase``."""
    erase(dataset, names, uid)
    for left in marked(dataset):
        if left.key == names.key:  # of another kind of images, left by a clone
            remove(dataset, left)
    drop_logs_about(dataset, names.key)
    run_files.clean_dir(run_files.next_dir(dataset, names.key))
    run_files.clean_dir(run_files.run_dir(dataset, names.key))
    status.forget(dataset, names.key)


def give_way(dataset: fo.Dataset, names: FieldNames, uid: str, folder: Path | None = None) -> None:
    """Remove a run whose replacement has been fitted, with its files unless the replacement uses them, too.

    Args:
        dataset: dataset of the run.
        names: names of its fields.
        uid: its unique id.
        folder: folder with the files of the replacement; None after a crash, when their job says whether it has some.
    """
    erase(dataset, names, uid)
    own = run_files.run_dir(dataset, names.key)
    if run_files.has_replacement(dataset, names.key) if folder is None else folder != own:
        run_files.clean_dir(own)


def erase(dataset: fo.Dataset, names: FieldNames, uid: str) -> None:
    """Remove a run from the database; the record is removed last.

    Args:
        dataset: dataset of the run.
        names: names of its fields.
        uid: its unique id; empty if it was never stored.
    """
    remove_brain_runs(dataset, names)
    remove(dataset, names)
    remove_group(dataset, names)
    if uid:
        forget_edits(dataset, uid)
    storage.unregister(dataset, names.key)
