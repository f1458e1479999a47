"""A finished run applied to images of a dataset that it never saw."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from fiftyone_deepcluster.dataset import lock, stored
from fiftyone_deepcluster.dataset.execution import names_of_clusters
from fiftyone_deepcluster.dataset.fields import FieldNames, check_free
from fiftyone_deepcluster.dataset.remains import clear_remains, opened
from fiftyone_deepcluster.dataset.sidebar import add_group
from fiftyone_deepcluster.dataset.source import Source, read
from fiftyone_deepcluster.dataset.writing import columns, write
from fiftyone_deepcluster.errors import RunExistsError

if TYPE_CHECKING:
    import fiftyone as fo

    from fiftyone_deepcluster.api.fit import FitResult
    from fiftyone_deepcluster.core.progress import Observer
    from fiftyone_deepcluster.dataset.runs import Run

_ORIGIN = "assigned_from"


def assign_to(source: Source, run: Run, observer: Observer | None) -> int:
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
        there = run.key in stored.keys(dataset)
        if there:
            _check_same_run(source, run)
            source = _without_cluster(source, names)
        else:
            _check_room(dataset, names)
        if not len(source):
            return 0
        result = _predict(source, run, observer)
        filled = columns(result, _names_now(run, result), half_precision=bool(run.settings["half_precision"]))
        if there:
            write(source, names, filled)
        else:
            with opened(dataset, names):
                write(source, names, filled)
                add_group(dataset, names)
                stored.register(source, run.key, _header(source, run), result.record)
        return int((result.labels >= 0).sum())


def _check_room(dataset: fo.Dataset, names: FieldNames) -> None:
    """Raise RunExistsError where fields that are not the run's have the names it needs."""
    try:
        check_free(dataset, names)
    except RunExistsError as error:
        raise RunExistsError(
            f"{error}. The key is the run's: rename_run(samples, {names.key!r}, new_key) where it is kept changes it"
        ) from error


def _predict(source: Source, run: Run, observer: Observer | None) -> FitResult:
    import numpy as np

    from fiftyone_deepcluster.api.fit import FitResult
    from fiftyone_deepcluster.api.predict import predict

    found = predict(stored.run_dir(run.dataset, run.key), source.images, observer=observer)
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


def _check_same_run(source: Source, run: Run) -> None:
    header, _ = stored.header_of(source.dataset, run.key)
    if run.uid not in (header.uid, header.settings.get(_ORIGIN)):
        raise RunExistsError(
            f"{source.dataset.name!r} has another run {run.key!r}; rename or delete that one first"
        )
    if header.patches_field != source.patches_field:
        raise RunExistsError(
            f"run {run.key!r} of {source.dataset.name!r} clusters "
            f"{'objects of ' + header.patches_field if header.patches_field else 'whole images'}; give the same"
        )


def _without_cluster(source: Source, names: FieldNames) -> Source:
    """The images whose label and error are empty."""
    inner = (names.patches_field + ".") if names.patches_field is not None else ""
    paths = [inner + names.path(name)[len(names.prefix) :] for name in ("label", "error")]
    labels, errors = (read(source, path) for path in paths)
    rows = [row for row in range(len(source)) if labels[row] is None and errors[row] is None]
    return replace(
        source,
        ids=[source.ids[row] for row in rows],
        sample_ids=[source.sample_ids[row] for row in rows],
        images=[source.images[row] for row in rows],
    )


def _header(source: Source, run: Run) -> stored.Header:
    settings = {**run.settings, "truth_field": None, _ORIGIN: run.uid}
    return stored.Header(run.record.method, run.record.options, settings, source.patches_field, len(source))
