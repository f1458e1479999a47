"""Compare the clusters of a run with another run or with a label field of the same dataset, or several runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fiftyone_deepcluster.analysis.compare import Comparison, Ranking, compare_labelings, rank_labelings
from fiftyone_deepcluster.core import arguments
from fiftyone_deepcluster.dataset.io.read_fields import with_fields
from fiftyone_deepcluster.dataset.io.read_images import flat, root_dataset
from fiftyone_deepcluster.dataset.io.write import NOISE
from fiftyone_deepcluster.dataset.review.clusters import check_there
from fiftyone_deepcluster.dataset.review.overview import label_fields, label_path
from fiftyone_deepcluster.dataset.runs import storage
from fiftyone_deepcluster.dataset.runs.database import database_needed
from fiftyone_deepcluster.dataset.runs.run import Run, finished_runs, load_run
from fiftyone_deepcluster.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import fiftyone as fo

_MIN_RUNS = 3
"""Minimum number of runs to rank: of two, each agrees with the other as much."""


@database_needed("repeat the call")
def compare_runs(samples: fo.core.collections.SampleCollection, key: str, other: str) -> Comparison:
    """Contingency table and agreement of two runs, or of a run and a label field, under their current names.

    Args:
        samples: the dataset, or a view of it, to which the comparison is limited.
        key: key of a run.
        other: key of another run of the same images, or the name of a label field.

    Raises:
        RunNotFoundError: no run ``key``.
        InputError: ``other`` is neither a run nor a label field, or a run of other objects; ``samples`` is a patches
            view of other objects.
    """
    run = load_run(samples, key)
    check_there(run)
    return compare_labelings(*_labels(samples, run, [run.fields.view_path("label"), _other_path(run, other)]))


@database_needed("repeat the call")
def rank_runs(samples: fo.core.collections.SampleCollection, keys: Sequence[str] | None = None) -> Ranking:
    """Rank runs of the same images by how much they agree with each other, under the current names of the clusters.

    For runs of one method and number of clusters that differ in the seed: a run that ended in a poor optimum agrees
    less with the others, so ``best`` of the result is the run to review. No known classes are used. Images that are in
    no cluster of one of the runs, such as rejected ones, are left out.

    Args:
        samples: the dataset, or a view of it, to which the comparison is limited.
        keys: keys of three or more finished runs; None: all finished runs of whole images or, for a patches view, of
            its objects.

    Raises:
        RunNotFoundError: there is no run of such a key.
        RunError: the label field of a run was deleted.
        InputError: fewer than three runs, a key given twice, runs of other objects, no image that is in a cluster of
            each run, or no run with more than one cluster.
    """
    runs = _runs_to_rank(samples, keys)
    _check_all_there(runs)
    try:
        columns = _labels(samples, runs[0], [run.fields.view_path("label") for run in runs])
    finally:
        _check_all_there(runs)  # another process may have deleted one while they were read
    names = [run.key for run in runs]
    ranking = rank_labelings(
        {
            name: [None if label == NOISE else label for label in labels]
            for name, labels in zip(names, columns, strict=True)
        }
    )
    if not ranking.n_images:
        raise InputError(
            f"no image of samples is in a cluster of each of the runs {', '.join(names)}; give runs of the same "
            "images, and the dataset or a view of these images"
        )
    if ranking.n_clusters.max() == 1:
        raise InputError(
            f"one cluster holds all images of samples ({ranking.n_images:,}) in each of the runs {', '.join(names)}; "
            "give more images, or runs with more clusters"
        )
    return ranking


def _runs_to_rank(samples: fo.core.collections.SampleCollection, keys: Sequence[str] | None) -> list[Run]:
    """The given runs, or all of the same objects as the samples: three or more."""
    if keys is not None:
        runs = [load_run(samples, key) for key in arguments.names("keys", keys, "dc", once=True)]
        for run in runs[1:]:
            _check_same_objects(runs[0], run)
        given = (
            f"keys={[run.key for run in runs]} {'is one run' if len(runs) == 1 else f'are {len(runs)} runs'}"
        )
    else:
        field = _patches_field_of(samples)
        every = [load_run(samples, key) for key in finished_runs(samples)]
        runs = [run for run in every if run.patches_field == field]
        found = "one finished run" if len(runs) == 1 else f"{len(runs):,} finished runs"
        given = f"{root_dataset(samples).name!r} has {found} of {_objects(field)}"
    if len(runs) < _MIN_RUNS:
        raise InputError(
            f"{given}, but the agreement of a run with the others needs {_MIN_RUNS} or more; cluster with other seeds, "
            "or give the keys of more runs"
        )
    return runs


def _check_all_there(runs: Sequence[Run]) -> None:
    for run in runs:
        check_there(run)


def _labels(
    samples: fo.core.collections.SampleCollection, run: Run, paths: list[str]
) -> list[list[str | None]]:
    """Labels at each of the paths, of the images of a view."""
    images = _images(samples, run)
    shown = set(images.values("id"))
    ids, *labels = with_fields(images, run.dataset, run.patches_field, paths).values(["id", *paths])
    rows = [row for row, name in enumerate(ids) if name in shown]
    return [[column[row] for row in rows] for column in labels]


@database_needed("repeat the call")
def pair_view(
    samples: fo.core.collections.SampleCollection, key: str, other: str, cluster: str, value: str
) -> fo.DatasetView:
    """The images of a cluster that have a value in another run or label field: those of one cell of the table."""
    from fiftyone import ViewField

    run = load_run(samples, key)
    images = _images(run.dataset, run)
    first, second = run.fields.view_path("label"), _other_path(run, other)
    return images.match((ViewField(first) == cluster) & (ViewField(second) == value))


def _images(samples: fo.core.collections.SampleCollection, run: Run) -> fo.core.collections.SampleCollection:
    """The samples; for a run of objects, a patches view of them."""
    everything, field = flat(samples), _patches_field_of(samples)
    if field not in (None, run.patches_field):
        raise InputError(
            f"samples is a patches view of {field}, but run {run.key!r} clustered {_objects(run.patches_field)}; give "
            "the dataset, or a view of whole images"
        )
    if field is not None or run.patches_field is None:
        return everything
    if everything.get_field(run.patches_field) is None:  # the view hides the objects
        everything = flat(root_dataset(samples)).select(everything.values("id"))
    return everything.to_patches(run.patches_field)


def _patches_field_of(samples: fo.core.collections.SampleCollection) -> str | None:
    """Field of the objects of a patches view; None for whole images."""
    from fiftyone.core.patches import PatchesView

    return str(samples.patches_field) if isinstance(samples, PatchesView) else None


def _objects(patches_field: str | None) -> str:
    return patches_field or "whole images"


def _check_same_objects(first: Run, second: Run) -> None:
    if first.patches_field != second.patches_field:
        raise InputError(
            f"run {first.key!r} clustered {_objects(first.patches_field)}, run {second.key!r} "
            f"{_objects(second.patches_field)}; compare runs of the same objects"
        )


def _other_path(run: Run, other: str) -> str:
    dataset = root_dataset(run.dataset)
    arguments.one_name("other", other, "dc2")
    if other in storage.keys(dataset):
        second = load_run(dataset, other)
        _check_same_objects(run, second)
        return second.fields.view_path("label")
    if other not in label_fields(run):
        known = [key for key in storage.keys(dataset) if key != run.key] + label_fields(run)
        raise InputError(
            f"other={arguments.short(other)} is neither a run nor a label field; choose one of: "
            f"{', '.join(known) or 'none'}"
        )
    return run.fields.path_in_images(label_path(run, other))
