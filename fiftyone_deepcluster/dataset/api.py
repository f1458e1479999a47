"""The public calls on FiftyOne collections: ``cluster``, ``resume``, ``assign``."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from fiftyone_deepcluster.api.fit import MAY_CHANGE
from fiftyone_deepcluster.core import arguments
from fiftyone_deepcluster.core.progress import Tqdm, check_observer
from fiftyone_deepcluster.dataset.display.sidebar import add_group
from fiftyone_deepcluster.dataset.io.fields import FieldNames, check_free, check_key
from fiftyone_deepcluster.dataset.io.read_images import (
    collect_images,
    flat,
    media_field_of,
    read_truth,
    root_dataset,
    without_cluster,
)
from fiftyone_deepcluster.dataset.io.side_fields import read_known
from fiftyone_deepcluster.dataset.io.vectors import check_given, model_name, stored_vectors
from fiftyone_deepcluster.dataset.io.write import columns, write
from fiftyone_deepcluster.dataset.review.edit_log import EditLog
from fiftyone_deepcluster.dataset.runs import lock, storage
from fiftyone_deepcluster.dataset.runs.interrupted import clear_remains, declared_fields, find_interrupted
from fiftyone_deepcluster.dataset.runs.run import list_runs, load_run
from fiftyone_deepcluster.dataset.runs.run_job import CheckedCall, execute, names_of_clusters
from fiftyone_deepcluster.errors import (
    CheckpointError,
    OptionsError,
    RunError,
    RunExistsError,
    RunNotFoundError,
)
from fiftyone_deepcluster.methods.base import Options, parse_options

if TYPE_CHECKING:
    from pathlib import Path

    import fiftyone as fo

    from fiftyone_deepcluster.api.fit import FitResult
    from fiftyone_deepcluster.core.progress import Observer
    from fiftyone_deepcluster.dataset.io.source import SampleSource
    from fiftyone_deepcluster.dataset.runs.run import Run

logger = logging.getLogger(__name__)

_ORIGIN = "assigned_from"


def cluster(
    samples: fo.core.collections.SampleCollection,
    method: str | Options = "deepcluster",
    key: str = "dc",
    *,
    overwrite: bool = False,
    truth_field: str | None = None,
    patches_field: str | None = None,
    media_field: str | None = None,
    embeddings_field: str | None = None,
    model: Any = None,
    half_precision: bool = False,
    observer: Observer | None = None,
    progress: bool = True,
    compute_brain: bool = True,
    **options: Any,
) -> Run:
    """Cluster the images of a collection and write the clusters to it.

    Fields written are listed in ``fiftyone_deepcluster.dataset.io.fields``. Where an earlier call with the
    same images and options was killed, this one goes on from its last finished round.

    Args:
        samples: dataset, view, patches view (``to_patches``) or group slice of images.
        method: a method's name (``list_methods()``) or an Options object.
        key: name of the run and of its fields; a Python identifier.
        overwrite: replace the run under this key; its fields and edits go. It stays as it was where
            fitting the new run fails.
        truth_field: known classes, measured in the record and never used.
        patches_field: a Detections field whose objects are the images.
        media_field: a field with the files to read; by default the DICOM originals of samples that
            ``add_dicom`` made, and ``filepath`` of all others. ``"filepath"``: the pictures that the App shows.
        embeddings_field: vectors to cluster in place of a network's, for ``frozen``.
        model: a FiftyOne model or the name of one in its zoo, for ``frozen``.
        half_precision: store embeddings as float16.
        observer: told of progress; may cancel.
        progress: a progress bar on stderr where no observer is given.
        compute_brain: also make the 2-D map and the similarity index.
        **options: of the method.

    Returns:
        The run, as ``load_run`` gives it.

    Raises:
        InputError: options, images or fields that cannot work, before anything is done.
        RunExistsError: the key is taken and ``overwrite`` is not set.
        RunLockedError: another process works on this key.
        CancelledError: cancelled before the first round was done; ``resume`` goes on.
    """
    chosen = parse_options(method, options)
    check_key(key)
    arguments.yes_or_no(overwrite=overwrite, half_precision=half_precision)
    check_given(chosen.name, embeddings_field, model)
    source = collect_images(samples, patches_field, media_field)
    if not overwrite and key in storage.keys(source.dataset):
        raise RunExistsError(
            f"{source.dataset.name!r} already has a run {key!r}; choose another key, or overwrite=True to "
            "replace it"
        )
    settings: dict[str, object] = {
        "truth_field": truth_field,
        "media_field": media_field,
        "embeddings_field": embeddings_field,
        "model": model_name(model),
        "half_precision": half_precision,
    }
    header = storage.RunHeader(
        chosen.name, chosen.model_dump(mode="json"), settings, source.patches_field, len(source)
    )
    plan = replace(_plan(source, key, chosen, header), model=model, replaces=overwrite)
    return _carry_out(plan, observer, progress, compute_brain)


def resume(
    samples: fo.core.collections.SampleCollection,
    key: str = "dc",
    *,
    observer: Observer | None = None,
    progress: bool = True,
    compute_brain: bool = True,
    **changes: Any,
) -> Run:
    """Go on with a run that was cancelled, ran out of time, or whose process died.

    Args:
        samples: the dataset, or any view of it: the run remembers its images.
        key: of the run.
        observer: told of progress; may cancel.
        progress: a progress bar on stderr where no observer is given.
        compute_brain: also make the 2-D map and the similarity index.
        **changes: options that may differ from the first call: ``rounds``, ``max_minutes``, ``device``,
            ``precision``, ``baselines``.

    Raises:
        RunNotFoundError: neither a run nor a checkpoint under this key.
        RunError: the run was edited, which going on would lose; or images of it were deleted.
        CheckpointError: other options than those that may change.
    """
    dataset = root_dataset(samples)
    dataset.reload()
    arguments.one_name("key", key, "dc")
    folder, job = _find_job(dataset, key)
    header = job.header
    _check_unedited(dataset, key, header)
    if header.settings["model"] is not None:
        check_given(header.method, None, header.settings["model"])
    refused = [name for name in changes if name not in MAY_CHANGE]
    if refused:
        raise CheckpointError(
            f"{', '.join(refused)} cannot change while run {key!r} goes on; only {', '.join(MAY_CHANGE)} can. For "
            "other options cluster again with overwrite=True, or under another key"
        )
    options = parse_options(header.method, {**header.options, **changes})
    header = replace(header, options=options.model_dump(mode="json"))
    plan = _plan(_select(dataset, job), key, options, header)
    _warn_of_assigned(dataset, key, job)
    plan = replace(plan, model=header.settings["model"], replaces=True, folder=folder)
    return _carry_out(plan, observer, progress, compute_brain)


def assign(
    new_samples: fo.core.collections.SampleCollection,
    key: str,
    *,
    from_dataset: fo.core.collections.SampleCollection | None = None,
    patches_field: str | None = None,
    observer: Observer | None = None,
) -> int:
    """Give images that a finished run never saw the clusters of that run.

    Images that have a cluster already are left alone.

    Args:
        new_samples: images of any dataset.
        key: of the run; the same fields are written on the new samples.
        from_dataset: where the run is kept; the new samples' own dataset by default.
        patches_field: a Detections field whose objects are the images.
        observer: told of progress; may cancel.

    Returns:
        Number of images that were given a cluster.
    """
    target = root_dataset(new_samples)
    origin = target if from_dataset is None else root_dataset(from_dataset)
    run = load_run(origin, key)
    if run.settings.get("embeddings_field") or run.settings.get("model"):
        raise RunError(
            f"run {key!r} clustered vectors that were given to it, so it has no network to apply to new "
            "images; cluster all images together"
        )
    source = collect_images(new_samples, patches_field, media_field_of(run.settings))
    return assign_clusters(source, run, observer)


def _plan(source: SampleSource, key: str, options: Options, header: storage.RunHeader) -> CheckedCall:
    """The parts of a call that are read from the dataset, checked."""
    if options.n_clusters is not None and options.n_clusters > len(source):
        raise OptionsError(
            f"n_clusters={options.n_clusters} is more than the {len(source)} images; lower it or add images"
        )
    plan = CheckedCall(source, key, options, header, known=read_known(source, options))
    truth_field, field = header.settings["truth_field"], header.settings["embeddings_field"]
    if truth_field is not None:
        plan = replace(plan, truth=read_truth(source, cast("str", truth_field)))
    if field is not None:
        features, missing = stored_vectors(source, cast("str", field))
        plan = replace(plan, features=features, missing=missing)
    return plan


def _carry_out(plan: CheckedCall, observer: Observer | None, progress: bool, compute_brain: bool) -> Run:
    arguments.yes_or_no(progress=progress, compute_brain=compute_brain)
    check_observer(observer)
    bar = Tqdm(plan.options.rounds) if observer is None and progress else None
    observers = tuple(entry for entry in (observer, bar) if entry is not None)
    try:
        return execute(replace(plan, observers=observers, compute_brain=compute_brain))
    finally:
        if bar is not None:
            bar.close()


def _find_job(dataset: fo.Dataset, key: str) -> tuple[Path, storage.ClusterJob]:
    """The folder to go on in, and what was being done there; a replacement under way comes first."""
    for folder in (storage.next_dir(dataset, key), storage.run_dir(dataset, key)):
        job = storage.load_job(folder)
        if job is not None:
            return folder, job
    if key in storage.keys(dataset):
        raise RunNotFoundError(
            f"the files of run {key!r} are not in {storage.run_dir(dataset, key)}: it was made on another "
            "machine, or assigned; cluster again with overwrite=True"
        )
    left = find_interrupted(dataset).get(key)
    if left is not None:
        raise RunNotFoundError(
            f"run {key!r} of {dataset.name!r} left fields, but no files here to go on from; "
            f"delete_run(samples, {key!r}) removes them"
        )
    known = list_runs(dataset)
    there = f"its runs: {', '.join(known)}" if known else "no run has been made on it yet"
    raise RunNotFoundError(f"{dataset.name!r} has neither a run nor a checkpoint {key!r}; {there}")


def _check_unedited(dataset: fo.Dataset, key: str, header: storage.RunHeader) -> None:
    entries = [entry for entry in EditLog(dataset, header.uid).entries() if not entry.undone]
    if entries and key in storage.keys(dataset):
        raise RunError(
            f"run {key!r} has {len(entries)} edits, which going on would lose; undo them "
            f"(review(samples, {key!r}).undo({len(entries)})), or cluster under another key"
        )


def _warn_of_assigned(dataset: fo.Dataset, key: str, job: storage.ClusterJob) -> None:
    """Warn of images that were given clusters by ``assign``: going on makes other clusters, without them."""
    if key not in storage.keys(dataset):
        return
    everything, field = flat(dataset), job.header.patches_field
    own = everything.select(job.ids) if field is None else everything.select_labels(ids=job.ids, fields=field)
    path = FieldNames(key, field).path("label")
    lost = everything.count(path) - own.count(path)
    if lost:
        logger.warning(
            "%d images that were assigned to clusters of run %r are not among its own and lose theirs, since it goes "
            "on to others: assign them again",
            lost, key,
        )  # fmt: skip


def _select(dataset: fo.Dataset, job: storage.ClusterJob) -> SampleSource:
    """The images of a job, in its order."""
    field = job.header.patches_field
    everything = flat(dataset) if field is None else flat(dataset).to_patches(field)
    if everything.values("id") == job.ids:
        return collect_images(everything, media_field=media_field_of(job.header.settings))
    source = collect_images(
        everything.select(job.ids, ordered=True), media_field=media_field_of(job.header.settings)
    )
    if len(source) < len(job.ids):
        raise RunError(
            f"{len(job.ids) - len(source)} of the run's {len(job.ids)} images were deleted from "
            f"{dataset.name!r}, so its checkpoint does not fit any more; cluster again with overwrite=True"
        )
    return source


def assign_clusters(source: SampleSource, run: Run, observer: Observer | None) -> int:
    """Write the clusters of ``run`` on the images of ``source`` that have none.

    On another dataset than the run's a run of the same key is registered, so that it can be reviewed
    and deleted there. The first call makes it, later calls add to it.

    Returns:
        Number of images that were given a cluster.
    """
    dataset, names = source.dataset, FieldNames(run.key, source.patches_field)
    with lock.acquire(dataset, run.key):
        clear_remains(dataset, run.key)
        dataset.reload()
        there = run.key in storage.keys(dataset)
        if there:
            _check_same_run(source, run)
            source = without_cluster(source, names)
        else:
            _check_room(dataset, names)
        if not len(source):
            return 0
        result = _predict(source, run, observer)
        filled = columns(result, _names_now(run, result), half_precision=bool(run.settings["half_precision"]))
        if there:
            write(source, names, filled)
        else:
            with declared_fields(dataset, names):
                write(source, names, filled)
                add_group(dataset, names)
                storage.register_run(source, run.key, _header(source, run), result.record)
        return int((result.labels >= 0).sum())


def _check_room(dataset: fo.Dataset, names: FieldNames) -> None:
    """Raise RunExistsError where fields that are not the run's have the names it needs."""
    try:
        check_free(dataset, names)
    except RunExistsError as error:
        raise RunExistsError(
            f"{error}. The key is the run's: rename_run(samples, {names.key!r}, new_key) where it is kept changes it"
        ) from error


def _predict(source: SampleSource, run: Run, observer: Observer | None) -> FitResult:
    import numpy as np

    from fiftyone_deepcluster.api.fit import FitResult
    from fiftyone_deepcluster.api.predict import predict

    found = predict(storage.run_dir(run.dataset, run.key), source.images, observer=observer)
    n, failed = len(source), len(found.errors)
    return FitResult(
        labels=found.labels,
        confidence=found.confidence,
        distance=found.distance,
        margin=found.margin,
        embeddings=found.embeddings,
        round_labels=np.zeros((n, 0), np.int32),
        round_losses=np.zeros((n, 0), np.float32),
        errors=found.errors,
        record=run.record.model_copy(update={"n_images": n - failed, "n_failed": failed}),
    )


def _names_now(run: Run, result: FitResult) -> list[str]:
    """Names by cluster number as a person left them; that of most of its images where they differ."""
    names = names_of_clusters(run.record, result.labels)
    best = dict.fromkeys(range(len(names)), 0)
    for info in run.clusters(n_exemplars=0):
        for number in info.ids:
            if number in best and info.size > best[number]:
                names[number], best[number] = info.name, info.size
    return names


def _check_same_run(source: SampleSource, run: Run) -> None:
    header, _ = storage.header_of(source.dataset, run.key)
    if run.uid not in (header.uid, header.settings.get(_ORIGIN)):
        raise RunExistsError(
            f"{source.dataset.name!r} has another run {run.key!r}; rename or delete that one first"
        )
    if header.patches_field != source.patches_field:
        raise RunExistsError(
            f"run {run.key!r} of {source.dataset.name!r} clusters "
            f"{'objects of ' + header.patches_field if header.patches_field else 'whole images'}; give the same"
        )


def _header(source: SampleSource, run: Run) -> storage.RunHeader:
    settings = {**run.settings, "truth_field": None, _ORIGIN: run.uid}
    return storage.RunHeader(
        run.record.method, run.record.options, settings, source.patches_field, len(source)
    )
