"""Compare the clusters of a run with another run or with a label field of the same dataset, or several runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fiftyone_deepcluster.analysis.compare import Comparison, Ranking, compare_labelings, rank_labelings
from fiftyone_deepcluster.core import arguments
from fiftyone_deepcluster.dataset.io.read_fields import with_fields
from fiftyone_deepcluster.dataset.io.read_images import flat, root_dataset
from fiftyone_deepcluster.dataset.review.clusters import check_there
from fiftyone_deepcluster.dataset.review.overview import label_fields, label_path
from fiftyone_deepcluster.dataset.runs import storage
from fiftyone_deepcluster.dataset.runs.database import database_needed
from fiftyone_deepcluster.dataset.runs.run import Run, finished_runs, load_run
from fiftyone_deepcluster.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import fiftyone as fo


@database_needed("repeat the call")
def compare_runs(samples: fo.core.collections.SampleCollection, key: str, other: str) -> Comparison:
    """Contingency table and agreement of two runs, or of a run and a label field, under their current names.

    Args:
        samples: the dataset, or a view of it, to which the comparison is limited.
        key: key of a run.
        other: key of another run of the same images, or the name of a label field.

    Raises:
        RunNotFoundError: no run ``key``.
        InputError: ``other`` is neither a run nor a label field, or a run of other objects.
    """
    run = load_run(samples, key)
    check_there(run)
    return compare_labelings(*_labels(samples, run, [run.fields.view_path("label"), _other_path(run, other)]))


MIN_RUNS = 3
"""Minimum number of runs to rank: of two, each agrees with the other as much."""


@database_needed("repeat the call")
def rank_runs(samples: fo.core.collections.SampleCollection, keys: Sequence[str] | None = None) -> Ranking:
    """Rank runs of the same images by how much they agree with each other, under the current names of the clusters.

    For runs of one method that differ in the seed: a run that ended in a poor optimum agrees less with the others, so
    ``best`` of the result is the run to review. No labels are used.

    Args:
        samples: the dataset, or a view of it, to which the comparison is limited.
        keys: keys of three or more finished runs with the same number of clusters; None: all finished runs of whole
            images.

    Raises:
        RunNotFoundError: there is no run of such a key.
        InputError: fewer than three runs, a key given twice, runs of other objects, or no image has a label in all of
            the runs.
    """
    given = finished_runs(samples) if keys is None else arguments.names("keys", keys, "dc", once=True)
    runs = [load_run(samples, key) for key in given]
    runs = [run for run in runs if keys is not None or run.patches_field is None]
    names = [run.key for run in runs]
    if len(runs) < MIN_RUNS:
        raise InputError(
            f"keys={names} {'is one run' if len(runs) == 1 else f'are {len(runs)} runs'}, but the agreement of a run "
            f"with the others needs {MIN_RUNS} or more; cluster with other seeds"
        )
    for run in runs:
        check_there(run)
    paths = [runs[0].fields.view_path("label"), *(_other_path(runs[0], name) for name in names[1:])]
    ranking = rank_labelings(dict(zip(names, _labels(samples, runs[0], paths), strict=True)))
    if not ranking.n_images:
        raise InputError(
            f"no image has a cluster in each of the runs {', '.join(names)}; give runs of the same images"
        )
    return ranking


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
    from fiftyone.core.patches import PatchesView

    everything = flat(samples)
    if run.patches_field is None or isinstance(samples, PatchesView):
        return everything
    return everything.to_patches(run.patches_field)


def _other_path(run: Run, other: str) -> str:
    dataset = root_dataset(run.dataset)
    arguments.one_name("other", other, "dc2")
    if other in storage.keys(dataset):
        second = load_run(dataset, other)
        if second.patches_field != run.patches_field:
            raise InputError(
                f"run {run.key!r} clustered {run.patches_field or 'whole images'}, run {other!r} "
                f"{second.patches_field or 'whole images'}; compare runs of the same objects"
            )
        return second.fields.view_path("label")
    if other not in label_fields(run):
        known = [key for key in storage.keys(dataset) if key != run.key] + label_fields(run)
        raise InputError(
            f"other={arguments.short(other)} is neither a run nor a label field; choose one of: "
            f"{', '.join(known) or 'none'}"
        )
    path = label_path(run, other)
    return (
        path if run.patches_field is None else f"{run.patches_field}.{path.removeprefix(run.fields.prefix)}"
    )
