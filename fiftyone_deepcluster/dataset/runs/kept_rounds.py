"""What a call of ``cluster`` does with an interrupted run under its key: resume it, replace it, or refuse."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

from fiftyone_deepcluster.core import checkpoints
from fiftyone_deepcluster.dataset.io.read_images import collect_images, media_field_of
from fiftyone_deepcluster.dataset.runs import run_files, status, storage
from fiftyone_deepcluster.errors import RunExistsError

if TYPE_CHECKING:
    from pathlib import Path

    import fiftyone as fo

    from fiftyone_deepcluster.methods.base import Options

Fate: TypeAlias = Literal["none", "resumed", "replaced", "kept"]
"""Fate of an interrupted run: there is none, or it is resumed, or replaced, or kept and the call is refused."""


def fate_of(dataset: fo.Dataset, job: run_files.ClusterJob, key: str) -> Fate:
    """What becomes of the interrupted run ``key``, if the job is executed without ``overwrite``.

    Completed rounds are never discarded unasked: a run with some is kept, unless the job goes on with it.
    """
    if key in storage.keys(dataset):
        return "none"
    left, state = _find_left(dataset, key), status.read_states(dataset).get(key)
    if left is None:
        return "none"
    folder, old = left
    if not (folder / checkpoints.CHECKPOINT).exists():
        return "replaced"
    if old.same_work(job):
        return "resumed"
    return "kept" if state is not None and state.round else "replaced"


def _find_left(dataset: fo.Dataset, key: str) -> tuple[Path, run_files.ClusterJob] | None:
    """Folder and job of the interrupted run: of a replacement if the run that it replaces was removed already.

    Raises:
        RunError: the job of the run cannot be read.
    """
    if run_files.has_replacement(dataset, key):
        folder = run_files.next_dir(dataset, key)
    else:
        folder = run_files.run_dir(dataset, key)
    job = run_files.load_job(folder)
    return None if job is None else (folder, job)


def adopt_replacement(dataset: fo.Dataset, key: str) -> None:
    """Move the files of an interrupted replacement to their place, if the run that it replaces was removed already."""
    if key not in storage.keys(dataset) and run_files.has_replacement(dataset, key):
        run_files.move_dir(run_files.next_dir(dataset, key), run_files.run_dir(dataset, key))


def check_discards_nothing(dataset: fo.Dataset, job: run_files.ClusterJob, key: str) -> None:
    """Raise RunExistsError if the job would discard completed rounds of an interrupted run."""
    if fate_of(dataset, job, key) != "kept":
        return
    left, state = _find_left(dataset, key), status.read_states(dataset).get(key)
    if left is None or state is None:  # deleted since
        return
    raise RunExistsError(
        f"{dataset.name!r} has a run {key!r} ({left[1].header.method}) that was interrupted after round {state.round}; "
        f"continue it with resume(samples, {key!r}), discard it with delete_run(samples, {key!r}) or overwrite=True, "
        "or choose another key"
    )


def planned_job(
    samples: fo.core.collections.SampleCollection,
    options: Options,
    settings: dict[str, object],
    patches_field: str | None = None,
) -> run_files.ClusterJob:
    """The job of a call of ``cluster``, before its inputs are read.

    Args:
        samples: dataset or view.
        options: the method's options.
        settings: the other arguments, as ``checked_call.settings_of`` gives them.
        patches_field: Detections field whose objects are the images, or None.

    Raises:
        ImagesError, InputError: the images cannot be clustered.
    """
    source = collect_images(samples, patches_field, media_field_of(settings))
    header = storage.RunHeader(
        options.name, options.as_given(), settings, source.patches_field, len(source), uid=""
    )
    return run_files.ClusterJob(header, source.ids)
