"""The public calls on FiftyOne collections: ``cluster``, ``resume``, ``assign``.

``cluster`` and ``resume`` validate all arguments, store them in a ``CheckedCall``, and execute it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fiftyone_deepcluster.core import arguments, checkpoints
from fiftyone_deepcluster.core.progress import check_observer
from fiftyone_deepcluster.dataset.display.sidebar import add_group
from fiftyone_deepcluster.dataset.io.fields import (
    FieldNames,
    changing,
    check_free,
    check_key,
    declare_missing,
    drop_empty,
)
from fiftyone_deepcluster.dataset.io.inputs import read_inputs
from fiftyone_deepcluster.dataset.io.lost_fields import declare_lost
from fiftyone_deepcluster.dataset.io.read_fields import without_cluster
from fiftyone_deepcluster.dataset.io.read_images import collect_images, media_field_of, root_dataset
from fiftyone_deepcluster.dataset.io.vectors import check_given, field_names
from fiftyone_deepcluster.dataset.io.write import Columns, write
from fiftyone_deepcluster.dataset.review.assigned import join_edits
from fiftyone_deepcluster.dataset.review.clusters import check_stored, names_by_number
from fiftyone_deepcluster.dataset.runs import intents, lock, own_files, storage
from fiftyone_deepcluster.dataset.runs.checked_call import CheckedCall, settings_of
from fiftyone_deepcluster.dataset.runs.completeness import check_kept, count_clustered
from fiftyone_deepcluster.dataset.runs.database import DatabaseWatch, database_needed
from fiftyone_deepcluster.dataset.runs.given_weights import check_weights
from fiftyone_deepcluster.dataset.runs.kept_edits import check_may_replace
from fiftyone_deepcluster.dataset.runs.references import RunNames
from fiftyone_deepcluster.dataset.runs.resume_job import prepare_resume
from fiftyone_deepcluster.dataset.runs.run import load_run
from fiftyone_deepcluster.dataset.runs.run_job import names_of_clusters, run_call
from fiftyone_deepcluster.errors import RunError, RunExistsError
from fiftyone_deepcluster.methods.base import Options, parse_options

if TYPE_CHECKING:
    from collections.abc import Sequence

    import fiftyone as fo

    from fiftyone_deepcluster.api.fit import FitResult
    from fiftyone_deepcluster.core.progress import Observer
    from fiftyone_deepcluster.dataset.io.source import SampleSource
    from fiftyone_deepcluster.dataset.runs.run import Run

_ORIGIN = "assigned_from"
_REPEAT = "repeat assign, which skips images that have a cluster"


@database_needed("continue with resume(samples, key), or repeat the call if nothing was stored yet")
def cluster(
    samples: fo.core.collections.SampleCollection,
    method: str | Options = "deepcluster",
    key: str = "dc",
    *,
    overwrite: bool = False,
    truth_field: str | None = None,
    patches_field: str | None = None,
    media_field: str | None = None,
    embeddings_field: str | list[str] | None = None,
    model: Any = None,
    half_precision: bool = False,
    observer: Observer | None = None,
    progress: bool = True,
    compute_brain: bool = True,
    **options: Any,
) -> Run:
    """Cluster the images of a collection and write the clusters to its dataset.

    The fields written are listed in ``fiftyone_deepcluster.dataset.io.fields``. If an earlier call with the
    same images and options was interrupted, this call resumes from its last completed round.

    Args:
        samples: dataset, view, patches view (``to_patches``) or group slice of images.
        method: name of a method (``list_methods()``) or an Options object.
        key: name of the run and prefix of its fields; a Python identifier.
        overwrite: replace the run stored under this key and delete its fields. If fitting the new run fails, the old
            run is unchanged. A run with edits is not replaced, as they would be lost: delete it first.
        truth_field: field with known classes; used for evaluation only, never for training.
        patches_field: a Detections field whose objects are the images.
        media_field: field with the paths of the files to read; by default the original DICOM files for samples
            created by ``add_dicom``, and ``filepath`` for all others. ``"filepath"``: the images shown in the App.
        embeddings_field: field with vectors to cluster instead of network features, for ``frozen``, or together with
            them, for ``self-training``; or several fields, which get the same weight. A field with several vectors for
            each image suits the encoder ``view-whitened``.
        model: a FiftyOne model or the name of a model in its zoo, whose embeddings are used in the same way.
        half_precision: store embeddings as float16.
        observer: receives progress events; can cancel.
        progress: show a progress bar on stderr if no observer is given.
        compute_brain: also compute the 2-D map and the similarity index.
        **options: options of the method.

    Returns:
        The run, as returned by ``load_run``.

    Raises:
        InputError: invalid options, images or fields; raised before training, and no field remains.
        RunExistsError: the key is taken and ``overwrite`` is not set, or the run has edits.
        RunLockedError: another process is working on this key.
        DatabaseAwayError: FiftyOne's database was stopped, or cannot be reached.
        CancelledError: cancelled before the first round was completed. ``resume`` continues it if the first
            clustering was completed; else call ``cluster`` again.
    """
    chosen = parse_options(method, options)
    check_key(key)
    check_observer(observer)
    arguments.yes_or_no(
        overwrite=overwrite, half_precision=half_precision, progress=progress, compute_brain=compute_brain
    )
    vectors_field = field_names(embeddings_field)
    settings = settings_of(
        truth_field=truth_field,
        media_field=media_field,
        embeddings_field=vectors_field,
        model=model,
        half_precision=half_precision,
    )
    check_given(chosen, vectors_field, model)
    source = collect_images(samples, patches_field, media_field)
    intents.complete_unfinished(source.dataset)
    if key in storage.keys(source.dataset):
        if not overwrite:
            raise storage.run_exists(source.dataset, key)
        check_may_replace(source.dataset, key)
    others = RunNames.read(source.dataset)
    call = CheckedCall(
        source,
        key,
        chosen,
        settings,
        inputs=read_inputs(source, chosen, settings),
        others=others,
        model=model,
        replaces=overwrite,
        compute_brain=compute_brain,
    )
    return run_call(call, observer, progress)


@database_needed("repeat the call, which resumes from the last completed round")
def resume(
    samples: fo.core.collections.SampleCollection,
    key: str = "dc",
    *,
    observer: Observer | None = None,
    progress: bool = True,
    compute_brain: bool = True,
    **changes: Any,
) -> Run:
    """Continue a run that was cancelled, reached its time limit, or whose process died.

    Args:
        samples: the dataset, or any view of it; the images of the run are stored with the run.
        key: key of the run.
        observer: receives progress events; can cancel.
        progress: show a progress bar on stderr if no observer is given.
        compute_brain: also compute the 2-D map and the similarity index.
        **changes: options that may differ from the first call: ``rounds``, ``max_minutes``, ``device``,
            ``precision``, ``baselines``.

    Raises:
        RunNotFoundError: neither a run nor a checkpoint exists under this key.
        RunError: the run has edits, which resuming would discard; or images of the run were deleted.
        CheckpointError: an option was given that cannot change.
        RunLockedError: another process works on this key.
        DatabaseAwayError: FiftyOne's database was stopped, or cannot be reached.
    """
    arguments.one_name("key", key, "dc")
    check_observer(observer)
    arguments.yes_or_no(progress=progress, compute_brain=compute_brain)
    dataset = root_dataset(samples)
    dataset.reload()
    intents.complete_unfinished(dataset)
    call = prepare_resume(dataset, key, changes, compute_brain=compute_brain)
    return run_call(call, observer, progress)


@database_needed("repeat the call; images that have a cluster keep it")
def assign(
    new_samples: fo.core.collections.SampleCollection,
    key: str,
    *,
    from_dataset: fo.core.collections.SampleCollection | None = None,
    patches_field: str | None = None,
    observer: Observer | None = None,
) -> int:
    """Assign new images to the clusters of a finished run.

    Images that already have a cluster are unchanged.

    Args:
        new_samples: images of any dataset.
        key: key of the run; the same fields are written to the new samples.
        from_dataset: dataset on which the run is stored; by default the dataset of the new samples.
        patches_field: a Detections field whose objects are the images.
        observer: receives progress events; can cancel.

    Returns:
        Number of images that were given a cluster.

    Raises:
        RunNotFoundError: the run does not exist.
        RunError: the run clustered precomputed vectors, so it has no network to apply; or its network is not on this
            machine.
        RunExistsError: the key or its fields are used otherwise on the new samples' dataset.
        RunLockedError: another process works on this key.
        DatabaseAwayError: FiftyOne's database was stopped, or cannot be reached.
    """
    check_observer(observer)
    target = root_dataset(new_samples)
    origin = target if from_dataset is None else root_dataset(from_dataset)
    run = load_run(origin, key)
    if run.only_vectors:
        raise RunError(
            f"run {key!r} clustered precomputed vectors, so it has no network to apply to new "
            "images; cluster all images together"
        )
    source = collect_images(new_samples, patches_field, media_field_of(run.settings))
    return assign_clusters(source, run, observer)


def assign_clusters(source: SampleSource, run: Run, observer: Observer | None) -> int:
    """Write the clusters of ``run`` to the images of ``source`` that have none.

    If ``source`` belongs to another dataset than the run, the first call registers a run with the same key
    there, so that it can be reviewed and deleted there; later calls add to it.

    Returns:
        Number of images that were given a cluster.
    """
    dataset, names = source.dataset, FieldNames(run.key, source.patches_field)
    with lock.acquire(dataset, run.key):
        intents.clear_remains(dataset, run.key)
        dataset.reload()
        check_stored(run)
        own = None
        if run.key in storage.keys(dataset):
            _check_same_run(source, run)
            source = without_cluster(source, names)
            own = load_run(dataset, run.key)
        else:
            _check_room(dataset, names)
        if not len(source):
            return 0
        result = _predict(source, run, observer)
        now = _names_now([run, *([own] if own else [])], result)
        check_stored(run)  # else its names may have been read from fields that are gone
        filled = Columns(result, now, half_precision=bool(run.settings["half_precision"]))
        if own is None:
            _write_and_register(source, names, filled, _header(source, run))
        else:
            join_edits(own, source, result.labels)
            _write_more(source, names, filled)
        return int((result.labels >= 0).sum())


def _write_more(source: SampleSource, names: FieldNames, filled: Columns) -> None:
    """Add the clusters of ``source`` to a run that is registered on its dataset."""
    dataset, watch = source.dataset, DatabaseWatch()
    n_clustered = len(source) - len(filled.result.errors) + count_clustered(dataset, names)
    with changing(dataset):
        declare_missing(dataset, names)
    _write_fields(source, names, filled)
    check_kept(dataset, names, watch, n_clustered, _REPEAT)


def _write_and_register(
    source: SampleSource, names: FieldNames, filled: Columns, header: storage.RunHeader
) -> None:
    """Write the first clusters on the dataset of ``source`` and register a run there."""
    dataset, watch = source.dataset, DatabaseWatch()
    n_clustered = len(source) - len(filled.result.errors)
    with intents.writing(dataset, intents.Intent("assign", names.key, header.uid, names.patches_field)):
        _write_fields(source, names, filled)
        add_group(dataset, names)
        storage.register_run(source, names.key, header, filled.result.record)
        check_kept(dataset, names, watch, n_clustered, _REPEAT)


def _write_fields(source: SampleSource, names: FieldNames, filled: Columns) -> None:
    write(source, names, filled)
    declare_lost(source.dataset, names)
    drop_empty(source.dataset, names)


def _check_room(dataset: fo.Dataset, names: FieldNames) -> None:
    """Raise RunExistsError if the field names of the run are taken by other fields."""
    try:
        check_free(dataset, names)
    except RunExistsError as error:
        raise RunExistsError(
            f"{error}. To change the key of the run, call rename_run(samples, {names.key!r}, new_key) on its dataset"
        ) from error


def _predict(source: SampleSource, run: Run, observer: Observer | None) -> FitResult:
    from fiftyone_deepcluster.api.fit import FitResult
    from fiftyone_deepcluster.api.predict import predict
    from fiftyone_deepcluster.core.history import RoundHistory

    folder = own_files.network_folder(run.dataset, run.key, run.uid)
    check_weights(run.key, run.resolved_options, folder / checkpoints.MODEL)
    found = predict(folder, source.images, observer=observer)
    n, failed = len(source), len(found.errors)
    return FitResult(
        found,
        RoundHistory(n),
        record=run.record.model_copy(update={"n_images": n - failed, "n_failed": failed}),
    )


def _names_now(runs: Sequence[Run], result: FitResult) -> list[str]:
    """Current name of each cluster number; where several runs have one, that of the last."""
    names = names_of_clusters(runs[0].record, result.labels)
    for run in runs:
        for number, name in names_by_number(run).items():
            if number < len(names):
                names[number] = name
    return names


def _check_same_run(source: SampleSource, run: Run) -> None:
    header, _ = storage.header_of(source.dataset, run.key)
    if run.uid not in (header.uid, header.settings.get(_ORIGIN)):
        raise RunExistsError(
            f"{source.dataset.name!r} has a different run with the key {run.key!r}; rename or delete that run first"
        )
    if header.patches_field != source.patches_field:
        raise RunExistsError(
            f"run {run.key!r} of {source.dataset.name!r} clusters "
            f"{'objects of ' + header.patches_field if header.patches_field else 'whole images'}; give the same kind"
        )


def _header(source: SampleSource, run: Run) -> storage.RunHeader:
    settings = {**run.settings, "truth_field": None, _ORIGIN: run.uid}
    return storage.RunHeader(
        run.record.method, run.record.options, settings, source.patches_field, len(source)
    )
