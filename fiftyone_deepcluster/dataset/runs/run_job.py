"""Execution of a run, from fitting to writing fields: either all is written, or only the checkpoint remains."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from fiftyone_deepcluster.api.given_weights import lost_files, stored_network
from fiftyone_deepcluster.core import checkpoints
from fiftyone_deepcluster.core.progress import Fanout, Silent, Tqdm
from fiftyone_deepcluster.core.record import StopReason
from fiftyone_deepcluster.dataset.display.brain import add_brain_runs
from fiftyone_deepcluster.dataset.display.sidebar import add_group
from fiftyone_deepcluster.dataset.io.fields import check_free, drop_empty
from fiftyone_deepcluster.dataset.io.lost_fields import declare_lost
from fiftyone_deepcluster.dataset.io.vectors import model_vectors
from fiftyone_deepcluster.dataset.io.write import Columns, write
from fiftyone_deepcluster.dataset.runs import intents, lock, run_files, status, storage
from fiftyone_deepcluster.dataset.runs.checked_call import CheckedCall, as_begun, followed
from fiftyone_deepcluster.dataset.runs.completeness import check_kept
from fiftyone_deepcluster.dataset.runs.database import DatabaseWatch, database_needed, is_away
from fiftyone_deepcluster.dataset.runs.kept_edits import check_may_replace
from fiftyone_deepcluster.dataset.runs.kept_rounds import adopt_replacement, check_discards_nothing
from fiftyone_deepcluster.dataset.runs.processes import rank, wait_for_all
from fiftyone_deepcluster.dataset.runs.references import followed_meanwhile, names_kept
from fiftyone_deepcluster.dataset.runs.refine_job import REVIEWED_WEIGHT, known_with, network_of
from fiftyone_deepcluster.dataset.runs.run import Run, load_run
from fiftyone_deepcluster.errors import DiskError, InputError, RunError
from fiftyone_deepcluster.methods.base import FIELD_SUFFIX
from fiftyone_deepcluster.metrics.matching import cluster_names

if TYPE_CHECKING:
    import fiftyone as fo
    import numpy as np
    from numpy.typing import NDArray

    from fiftyone_deepcluster.api.fit import FitResult
    from fiftyone_deepcluster.core.progress import Observer
    from fiftyone_deepcluster.core.record import RunRecord
    from fiftyone_deepcluster.core.types import Known


logger = logging.getLogger(__name__)

_MAP_SECONDS, _MAP_SECONDS_PER_IMAGE = 8.0, 0.004
"""Time of the 2-D map on two cores: 16 s for 1,797 digits, of which most is compilation."""


def run_call(call: CheckedCall, observer: Observer | None, progress: bool) -> Run:
    """Execute a call, with a progress bar if no observer is given."""
    way_out = f"continue with resume(samples, {call.key!r}), or repeat the call if nothing was stored yet"
    with database_needed(way_out, call.key):
        if observer is not None or not progress:
            return execute(call, observer or Silent())
        with closing(Tqdm(call.options.planned_rounds)) as bar:
            return execute(call, bar)


def execute(call: CheckedCall, observer: Observer) -> Run:
    """Execute a call while holding the lock of its key; progress goes to ``observer`` and to the live state.

    With several processes, the first one holds the lock and writes; the others only fit.
    """
    if rank():
        return _follow(call, observer)
    with lock.acquire(call.dataset, call.key) as held:
        call = call if call.again is None else call.again(call)
        run_files.check_files(call.dataset, call.key)
        _keep_interrupted(call)
        intents.clear_remains(call.dataset, call.key)
        call.dataset.reload()
        if call.folder is None:
            adopt_replacement(call.dataset, call.key)
        replacing = _check_key_free(call)
        live = status.LiveObserver(
            call.dataset, call.key, call.options.name, call.options.planned_rounds, _closing_seconds(call)
        )
        with live.recording_failure():
            stop_reason = _fit_and_write(call, held, Fanout([live, observer]), replacing)
            live.finish("cancelled" if stop_reason == StopReason.CANCELLED else "finished")
    wait_for_all()
    return load_run(call.dataset, call.key)


def _follow(call: CheckedCall, observer: Observer) -> Run:
    """Execute the call in a process other than the first: only fit, once the folder is prepared."""
    wait_for_all()
    call.dataset.reload()
    folder = call.folder or _folder(call, replacing=call.key in storage.keys(call.dataset))
    _fit(as_begun(call, folder), folder, observer)
    wait_for_all()
    call.dataset.reload()
    return load_run(call.dataset, call.key)


def _keep_interrupted(call: CheckedCall) -> None:
    """Refuse to replace an interrupted run that can be resumed by a different call.

    Raises:
        RunExistsError: there is such a run, and ``overwrite`` is not set.
    """
    if not call.replaces and call.folder is None:
        check_discards_nothing(call.dataset, call.job, call.key)


def _check_key_free(call: CheckedCall) -> bool:
    """Whether an existing run under the key will be replaced.

    Raises:
        RunExistsError: the key is taken by a run or field that may not be replaced, or the run has edits.
    """
    dataset, key = call.dataset, call.key
    if key not in storage.keys(dataset):
        check_free(dataset, call.names)
        return False
    if not call.replaces:
        raise storage.run_exists(dataset, key)
    if call.folder is None:  # resume has checked it
        check_may_replace(dataset, key)
    check_free(dataset, call.names, but=storage.fields_of(dataset, key))
    return True


def _fit_and_write(
    call: CheckedCall, held: lock.RunLock, observer: Observer, replacing: bool
) -> StopReason | None:
    """Fit, then write.

    The fields are declared before fitting, to reserve their names. A run that is replaced is unchanged
    until the new run has been fitted.
    """
    before = None if call.folder is None else run_files.load_job(call.folder)
    call, folder = _prepare_folder(call, replacing)
    try:
        if replacing:
            result = _fit(call, folder, observer)
            held.check()
            _replace_run(call, folder)
            with intents.writing(call.dataset, call.intent):
                _store(call, result, observer, folder)
        else:
            with intents.writing(call.dataset, call.intent):
                result = _fit(call, folder, observer)
                held.check()
                _store(call, result, observer, folder)
    except BaseException as error:
        if not (folder / checkpoints.CHECKPOINT).exists():
            if not is_away(error):  # else its fields stay, and resume needs the job
                run_files.clean_dir(folder)
        elif before is not None and isinstance(error, InputError):
            _restore_options(call.dataset, folder, before)
        raise
    return result.record.stop_reason


def _restore_options(dataset: fo.Dataset, folder: Path, before: run_files.ClusterJob) -> None:
    """Undo changed options that were rejected."""
    with names_kept(dataset):
        now = run_files.readable_job(folder) or before  # its field names may have followed a rename
        fields = {name: value for name, value in now.header.options.items() if name.endswith(FIELD_SUFFIX)}
        header = replace(now.header, options={**before.header.options, **fields})
        run_files.save_job(folder, replace(before, header=header))


def _replace_run(call: CheckedCall, folder: Path) -> None:
    """Remove the run that is replaced; from now on, ``resume`` writes the new one."""
    header, _ = storage.header_of(call.dataset, call.key)
    intent = intents.Intent("replace", call.key, header.uid, header.patches_field)
    intents.carry_out(call.dataset, intent, folder)


def _prepare_folder(call: CheckedCall, replacing: bool) -> tuple[CheckedCall, Path]:
    """The call with the names of now, and its folder with its job; a checkpoint of a different call is removed."""
    folder = call.folder or _folder(call, replacing)
    with names_kept(call.dataset):
        call = followed(call)
        if call.folder is None:
            left = _left_job(folder)
            if left is None or not left.same_work(call.job):
                run_files.clean_dir(folder)
        with suppress(OSError):  # of a disk that cannot be written, which save_job explains
            for unfinished in folder.glob("*.partial"):  # by a process that was killed
                unfinished.unlink()
        run_files.save_job(folder, call.job)
    wait_for_all()
    return call, folder


def _left_job(folder: Path) -> run_files.ClusterJob | None:
    """Job that an interrupted call left; None if there is none, or it is damaged."""
    try:
        return run_files.load_job(folder)
    except run_files.DamagedJobError as error:
        path = folder / run_files.JOB_FILE
        logger.warning("an interrupted run is removed: %s cannot be read (%s)", path, error.__cause__)
        return None


def _folder(call: CheckedCall, replacing: bool) -> Path:
    return (run_files.next_dir if replacing else run_files.run_dir)(call.dataset, call.key)


def _fit(call: CheckedCall, folder: Path, observer: Observer) -> FitResult:
    from fiftyone_deepcluster.api.fit import fit

    inputs = call.inputs
    features, missing, known = inputs.features, inputs.missing, _known(call)
    with _resume_advice(call, folder):
        if call.model is not None and call.options.joins_vectors:
            features = _kept_model_vectors(call, folder, observer)
        elif call.model is not None:
            features, missing = model_vectors(call.source, call.model, observer)
        if call.options.joins_vectors and features is not None:
            features, missing, known = None, {}, replace(known, other_vectors=features)
        result = fit(
            call.source.images,
            call.options,
            truth=inputs.truth,
            observer=observer,
            run_dir=folder,
            features=features,
            known=known,
        )
    assignment = replace(result.assignment, errors={**result.errors, **missing})
    if call.decided is None:
        return replace(result, assignment=assignment)
    record = result.record.model_copy(update={"names": call.decided.names})
    return replace(result, assignment=assignment, record=record)


def _kept_model_vectors(call: CheckedCall, folder: Path, observer: Observer) -> NDArray[np.float32]:
    """Embeddings of the call's model, kept in the folder of the run: ``resume`` needs the same ones."""
    import torch

    path = folder / run_files.MODEL_VECTORS
    if call.folder is not None and path.exists():
        return checkpoints.load(path)["vectors"].numpy()  # type: ignore[no-any-return]
    vectors = model_vectors(call.source, call.model, observer)[0]
    if not rank():
        checkpoints.save(path, {"vectors": torch.from_numpy(vectors)})
    return vectors


def _known(call: CheckedCall) -> Known:
    """Side information of the fit; for ``refine``, with the labels of the review and the network of the run."""
    if call.decided is None:
        return call.inputs.known
    started = call.folder is not None and (call.folder / checkpoints.CHECKPOINT).exists()
    network = None if started else _network_to_load(call)
    weight = call.settings.get(REVIEWED_WEIGHT, 1.0)  # a run of an older version has none
    return known_with(call.decided, call.inputs.known, network, float(str(weight)))


def _network_to_load(call: CheckedCall) -> Path | None:
    """Folder with the network that ``refine`` starts from; without training only if its files of weights are gone."""
    if call.options.trains:
        return network_of(call.dataset, call.settings)
    try:
        folder = network_of(call.dataset, call.settings)
    except RunError:  # it is built anew
        return None
    return folder if lost_files(call.options, stored_network(folder / checkpoints.MODEL)) else None


@contextmanager
def _resume_advice(call: CheckedCall, folder: Path) -> Iterator[None]:
    """Replace the advice in a DiskError about files of the run: calls of this layer have no ``run_dir``."""
    try:
        yield
    except DiskError as error:
        if Path(error.path).parent != folder:
            raise
        resume = f"call resume(samples, {call.key!r}), which resumes from the last checkpoint"
        after = resume if (folder / checkpoints.CHECKPOINT).exists() else "call cluster again"
        raise DiskError(error.path, error.problem, f"{after}, or {run_files.ELSEWHERE}") from error.__cause__


def _store(call: CheckedCall, result: FitResult, observer: Observer, folder: Path) -> None:
    """Write the fields, sidebar group and brain runs, then the run itself, and move its files to their place.

    Raises:
        RunError: the database was restarted meanwhile, and may have lost some of it.
    """
    watch = DatabaseWatch()
    names = names_of_clusters(result.record, result.labels)
    observer.phase("write", 1)
    filled = Columns(result, names, half_precision=bool(call.settings["half_precision"]))
    write(call.source, call.names, filled)
    declare_lost(call.dataset, call.names)
    drop_empty(call.dataset, call.names)
    observer.advance(1)
    add_group(call.dataset, call.names)
    notes = _add_brain_runs(call, result, observer)
    record = result.record.model_copy(update={"notes": [*result.record.notes, *notes]})
    n_clustered = len(call.source) - len(result.errors)
    way_out = f"resume(samples, {call.key!r}) writes them again, without training"
    check_kept(call.dataset, call.names, watch, n_clustered, way_out)
    with names_kept(call.dataset):
        header, record = followed_meanwhile(folder, call.job.header, record)
        storage.register_run(call.source, call.key, header, record)
    check_kept(call.dataset, call.names, watch, n_clustered, way_out)
    run_files.adopt_files(call.dataset, call.key, call.uid, folder)


def _add_brain_runs(call: CheckedCall, result: FitResult, observer: Observer) -> list[str]:
    """Compute the brain runs; return notes on those that failed.

    Not after a cancel, to return quickly: they are computed when the run is resumed.
    """
    import numpy as np

    if not call.compute_brain or result.record.stop_reason is StopReason.CANCELLED:
        return []
    if not result.embeddings.shape[1]:
        return ["no vectors of the images were kept, so there are no 2-D map and no similarity index"]
    if observer.cancelled():
        return [
            "the 2-D map and the similarity index were left out, since the run was cancelled after its last round"
        ]
    observer.phase("brain", 1)
    readable = np.setdiff1d(np.arange(len(call.source)), list(result.errors))
    notes = add_brain_runs(call.source, call.names, readable, result.embeddings)
    observer.advance(1)
    return notes


def _closing_seconds(call: CheckedCall) -> dict[str, float]:
    """Roughly estimated seconds of the phases after the last round, on two cores."""
    from fiftyone_deepcluster.api.baselines import expected_seconds

    n, options = len(call.source), call.options
    seconds = {"baselines": expected_seconds(n) if options.baselines else 0.0, "write": 1.0 + n / 2000}
    return seconds | ({"brain": _MAP_SECONDS + n * _MAP_SECONDS_PER_IMAGE} if call.compute_brain else {})


def names_of_clusters(record: RunRecord, labels: NDArray[np.int64]) -> list[str]:
    """Names by cluster number; the numbers of empty clusters are not reused."""
    if record.names:
        return record.names
    asked = record.resolved.get("n_clusters")
    most = max(int(labels.max(initial=0)) + 1, record.n_clusters, asked if isinstance(asked, int) else 0)
    return cluster_names(most)
