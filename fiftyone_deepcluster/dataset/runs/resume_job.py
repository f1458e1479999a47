"""Preparation of ``resume``: find the folder and the images of a run, and check that no edits would be lost."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from fiftyone_deepcluster.api.resuming import MAY_CHANGE
from fiftyone_deepcluster.core import arguments, checkpoints
from fiftyone_deepcluster.core.words import counted, part_of
from fiftyone_deepcluster.dataset.io.fields import FieldNames, is_key
from fiftyone_deepcluster.dataset.io.inputs import read_inputs
from fiftyone_deepcluster.dataset.io.read_fields import NoFieldError
from fiftyone_deepcluster.dataset.io.read_images import all_images, collect_images, media_field_of
from fiftyone_deepcluster.dataset.io.vectors import check_given
from fiftyone_deepcluster.dataset.runs import run_files, storage
from fiftyone_deepcluster.dataset.runs.checked_call import CheckedCall
from fiftyone_deepcluster.dataset.runs.given_weights import ANOTHER_KEY, check_weights
from fiftyone_deepcluster.dataset.runs.interrupted import find_interrupted
from fiftyone_deepcluster.dataset.runs.kept_edits import find_edits
from fiftyone_deepcluster.dataset.runs.own_files import check_own
from fiftyone_deepcluster.dataset.runs.references import RunNames
from fiftyone_deepcluster.dataset.runs.refine_job import network_of
from fiftyone_deepcluster.dataset.runs.run import list_runs
from fiftyone_deepcluster.errors import CheckpointError, InputError, RunError, RunNotFoundError
from fiftyone_deepcluster.methods.base import parse_options

if TYPE_CHECKING:
    from pathlib import Path

    import fiftyone as fo

    from fiftyone_deepcluster.dataset.io.inputs import Inputs
    from fiftyone_deepcluster.dataset.io.source import SampleSource
    from fiftyone_deepcluster.methods.base import Options

logger = logging.getLogger(__name__)

_KEEP = "leave the run as it is until you can: its files have the labels of the review that it refines"
"""How to do without lost files of a run without clusters, and of one made by ``refine``."""


def check_resume(dataset: fo.Dataset, key: str, changes: dict[str, Any]) -> None:
    """Raise what ``resume`` raises of the run and the options that change, without a look at files and images."""
    job = find_job(dataset, key)[1]
    check_unedited(dataset, key, job)
    _changed(key, job.header, changes)


def prepare_resume(
    dataset: fo.Dataset, key: str, changes: dict[str, Any], *, compute_brain: bool
) -> CheckedCall:
    """The call that continues a run; arguments as in ``resume``, and the errors that it raises before it begins."""
    others, (folder, noted) = RunNames.read_with(dataset, lambda: find_job(dataset, key))
    settings = noted.header.settings
    check_unedited(dataset, key, noted)
    options = _changed(key, noted.header, changes)
    file = _network_file(dataset, options, folder, noted)
    check_weights(key, options, file, way=_way_without_files(dataset, key, folder, noted))
    if settings["model"] is not None and not (folder / run_files.MODEL_VECTORS).exists():
        check_given(options, None, settings["model"])
    source = select_images(dataset, noted)
    inputs = _inputs_again(source, options, settings, key)
    warn_of_assigned(dataset, key, noted)

    def again(call: CheckedCall) -> CheckedCall:
        """Another process may have edited, replaced or renamed the run before it was locked."""
        dataset.reload()
        if find_job(dataset, key) != (folder, noted):
            return prepare_resume(dataset, key, changes, compute_brain=compute_brain)
        check_unedited(dataset, key, noted)
        return call

    return CheckedCall(
        source,
        key,
        options,
        settings,
        inputs=inputs,
        others=others,
        model=settings["model"],
        replaces=True,
        compute_brain=compute_brain,
        folder=folder,
        uid=noted.header.uid,
        decided=noted.decided,
        again=again,
    )


def _network_file(dataset: fo.Dataset, options: Options, folder: Path, job: run_files.ClusterJob) -> Path:
    """File of the network that the run goes on from: its checkpoint; before it, of ``refine``, that of the other run.

    Raises:
        RunError: the network of the run that it refines is gone, and is trained on.
    """
    checkpoint = folder / checkpoints.CHECKPOINT
    if job.decided is None or checkpoint.exists():
        return checkpoint
    try:
        return network_of(dataset, job.header.settings) / checkpoints.MODEL
    except RunError:
        if options.trains:
            raise
        return checkpoint  # the network is built anew


def _way_without_files(dataset: fo.Dataset, key: str, folder: Path, job: run_files.ClusterJob) -> str:
    """How to do without lost files of weights; nothing that a person has reviewed gets lost."""
    if job.decided is not None:
        return _KEEP
    clustered = (folder / checkpoints.CHECKPOINT).exists() or key in storage.keys(dataset)
    return ANOTHER_KEY if clustered else storage.AGAIN


def _inputs_again(source: SampleSource, options: Options, settings: dict[str, Any], key: str) -> Inputs:
    """The inputs of the run; a field that is gone cannot be chosen anew, so the error says what to do."""
    try:
        return read_inputs(source, options, settings)
    except NoFieldError as error:
        raise InputError(
            f"{error}. Run {key!r} was made with this field: restore it or rename it back, or {storage.AGAIN}"
        ) from error


def find_job(dataset: fo.Dataset, key: str) -> tuple[Path, run_files.ClusterJob]:
    """Folder and job to resume; an interrupted replacement of the run comes first, unless its job is damaged.

    Raises:
        RunNotFoundError: there is nothing to resume; the message says why.
        RunError: the job cannot be read, or it is that of an earlier run.
    """
    found = _read_job(dataset, key) if is_key(key) else None
    stored = storage.header_of(dataset, key)[0] if key in storage.keys(dataset) else None
    if found is not None:
        folder, _ = found
        if stored is not None and folder == run_files.run_dir(dataset, key):
            check_own(folder, key, stored.uid)
        return found
    if stored is not None:
        raise RunNotFoundError(
            f"the files of run {key!r} are not in {run_files.run_dir(dataset, key)}: the run was made on another "
            f"machine, or assigned from another dataset; {storage.AGAIN}"
        )
    left = find_interrupted(dataset).get(key)
    if left is not None:
        raise RunNotFoundError(
            f"run {key!r} of {dataset.name!r} has fields, but no files on this machine to resume from; "
            f"delete_run(samples, {key!r}) removes the fields"
        )
    known = list_runs(dataset)
    there = f"its runs: {', '.join(known)}" if known else "it has no runs yet"
    raise RunNotFoundError(
        f"{dataset.name!r} has neither a run nor a checkpoint {arguments.short(key)}; {there}"
    )


def _read_job(dataset: fo.Dataset, key: str) -> tuple[Path, run_files.ClusterJob] | None:
    damaged = None
    for folder in (run_files.next_dir(dataset, key), run_files.run_dir(dataset, key)):
        try:
            job = run_files.load_job(folder)
        except run_files.DamagedJobError as error:
            damaged = damaged or error
            continue
        except RunError as error:
            raise RunError(f"run {key!r} cannot be resumed: {error}") from error
        if job is None:
            continue
        if damaged is not None:
            logger.warning(
                "the replacement of run %r is lost, and the run itself is resumed: %s", key, damaged
            )
        return folder, job
    if damaged is not None:
        raise RunError(f"run {key!r} cannot be resumed: {damaged}") from damaged
    return None


def check_unedited(dataset: fo.Dataset, key: str, job: run_files.ClusterJob) -> None:
    """Raise RunError if the run has edits, because resuming would discard them.

    Of a run that is being replaced, those of the run that is still there count.
    """
    if key not in storage.keys(dataset):
        return
    header, _ = storage.header_of(dataset, key)
    found = find_edits(dataset, FieldNames(key, header.patches_field), header.uid)
    if not found.n:
        return
    undo = f"undo the edits (review(samples, {key!r}).undo({found.n})), or " if found.undoable else ""
    if header.uid == job.header.uid:
        raise RunError(
            f"run {key!r} has {counted(found.n, 'edit')}, which resuming would discard; {undo}cluster under another key"
        )
    raise RunError(
        f"run {key!r} was edited since its replacement was interrupted, and resuming the replacement would discard "
        f"that; {undo}cluster under another key"
    )


def warn_of_assigned(dataset: fo.Dataset, key: str, job: run_files.ClusterJob) -> None:
    """Warn if images were assigned by ``assign``: resuming replaces the clusters, and they lose theirs."""
    if key not in storage.keys(dataset):
        return
    names = FieldNames(key, job.header.patches_field)
    everything = all_images(dataset, names.patches_field)
    if everything.get_field(names.view_path("label")) is None:
        return  # somebody deleted the field; resuming writes it again
    own = set(job.ids)
    pairs = zip(*everything.values(["id", names.view_path("label")]), strict=True)
    lost = sum(value is not None and name not in own for name, value in pairs)
    if lost:
        logger.warning(
            "%s assigned to run %r later and %s no cluster once it is resumed; assign them again",
            counted(lost, "image was", "images were"), key, "has" if lost == 1 else "have",
        )  # fmt: skip


def select_images(dataset: fo.Dataset, job: run_files.ClusterJob) -> SampleSource:
    """Images of a job, in its order.

    Raises:
        RunError: some of them were deleted.
    """
    everything = all_images(dataset, job.header.patches_field)
    source = collect_images(everything, media_field=media_field_of(job.header.settings), ids=job.ids)
    if len(source) < len(job.ids):
        raise RunError(
            f"{part_of(len(job.ids) - len(source), len(job.ids), 'image', 'was', 'were')} deleted from "
            f"{dataset.name!r}, so its checkpoint cannot be used; {storage.AGAIN}"
        )
    return source


def _changed(key: str, header: storage.RunHeader, changes: dict[str, Any]) -> Options:
    """Options of a run, updated with ``changes``."""
    refused = [name for name in changes if name not in MAY_CHANGE]
    if refused:
        raise CheckpointError(
            f"{', '.join(refused)} cannot change when run {key!r} is resumed; only {', '.join(MAY_CHANGE)} can. To "
            "change other options, cluster again with overwrite=True or under another key"
        )
    return parse_options(header.method, {**header.options, **changes})
