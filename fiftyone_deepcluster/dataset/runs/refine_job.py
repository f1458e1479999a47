"""Preparation of ``refine``: the images of a run, and what its review says about each of them."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING

from fiftyone_deepcluster.dataset.io.read_fields import read_values
from fiftyone_deepcluster.dataset.io.read_images import all_images, collect_images, media_field_of
from fiftyone_deepcluster.dataset.io.write import NOISE
from fiftyone_deepcluster.dataset.review.apply import complete_edits
from fiftyone_deepcluster.dataset.review.clusters import check_there
from fiftyone_deepcluster.dataset.review.edit_log import EditLog
from fiftyone_deepcluster.dataset.review.overview import cluster_rows
from fiftyone_deepcluster.dataset.review.reviewed import reviewed
from fiftyone_deepcluster.dataset.runs import lock, own_files, run_files, storage
from fiftyone_deepcluster.errors import InputError, RunError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    import fiftyone as fo

    from fiftyone_deepcluster.core.types import Known
    from fiftyone_deepcluster.dataset.io.source import SampleSource
    from fiftyone_deepcluster.dataset.runs.run import Run

REFINES = "refines"
"""Key in the settings of a run: id of the run that it refines."""

REVIEWED_WEIGHT = "reviewed_weight"
"""Key in the settings of such a run: weight of the reviewed images in the loss."""

_LEAST_CLUSTERS = 2


def _clustered_images(run: Run) -> SampleSource:
    """The images of a run that have a label; raises RunError if there are none."""
    images = all_images(run.dataset, run.patches_field)
    source = collect_images(images, media_field=media_field_of(run.settings))
    labels = read_values(source, run.fields.view_path("label"))
    rows = [row for row, label in enumerate(labels) if label is not None]
    if not rows:
        raise RunError(f"run {run.key!r} has no images with a cluster; {storage.AGAIN}")
    return source.choose([source.ids[row] for row in rows])


def read_decided(run: Run, *, by_number: bool) -> tuple[SampleSource, run_files.Decided]:
    """The N images of a run that have a label, also those assigned to it later, and what its review says about them.

    A person has decided about the images of reviewed clusters, and about those that were moved or rejected, unless a
    split has changed them since; also about images that the run itself kept from an earlier review.

    Args:
        run: the run.
        by_number: keep clusters of the run that were merged under one name as separate clusters, if most of their
            images have that name. Needed without training, since the mean of several clusters represents none of them.

    Raises:
        RunNotFoundError: the run was deleted, renamed or replaced meanwhile.
        InputError: fewer than two clusters, or nothing was reviewed.
    """
    with lock.acquire(run.dataset, run.key):
        check_there(run)
        source = _clustered_images(run)
        log = EditLog(run.dataset, run.uid)
        complete_edits(run, log)
        placed, marked = _placed(run, log), set(reviewed(run))
        labels, numbers = (read_values(source, run.fields.view_path(name)) for name in ("label", "cluster"))
    names = [str(label) for label in labels]
    fixed = [
        image in placed or name in marked or (name == NOISE and isinstance(number, int) and number >= 0)
        for image, name, number in zip(source.ids, names, numbers, strict=True)
    ]
    _check_enough(run, len({*names} - {NOISE}), any(fixed))
    found, own = _own_numbers(names, numbers if by_number else [None] * len(names))
    return source, run_files.Decided(found, own, fixed)


def check_decided(run: Run) -> None:
    """Refuse what ``read_decided`` refuses, by the sizes of the clusters and the log only.

    Raises:
        InputError: fewer than two clusters, or nothing was reviewed.
    """
    rows, marked = cluster_rows(run), set(reviewed(run))
    n_clusters = sum(not row.is_noise for row in rows)
    kept = any(row.name in marked or (row.is_noise and _has_clustered(row.numbers)) for row in rows)
    _check_enough(run, n_clusters, kept or bool(_placed(run, EditLog(run.dataset, run.uid))))


def _has_clustered(numbers: Iterable[int | None]) -> bool:
    """Whether there are images that the run had put into a cluster."""
    return any(number is not None and number >= 0 for number in numbers)


def _check_enough(run: Run, n_clusters: int, decided: bool) -> None:
    if n_clusters < _LEAST_CLUSTERS:
        raise InputError(f"run {run.key!r} has fewer than two clusters; refining needs two or more")
    if not decided:
        raise InputError(
            f"nothing of run {run.key!r} was reviewed; mark clusters as reviewed: "
            f"review(samples, {run.key!r}).mark_reviewed([...]), or move and reject images"
        )


def known_with(decided: run_files.Decided, known: Known, network: Path | None, weight: float) -> Known:
    """The side information of a fit, with the labels that the review gives and those that it fixes.

    Args:
        decided: what the review says.
        known: side information of the run that is refined.
        network: see ``Known``.
        weight: weight of the fixed images in the loss.
    """
    width = len(str(len(decided.names)))  # labels are numbered in the order of their names
    initial = [None if label is None else f"{label:0{width}d}" for label in decided.labels]
    return replace(known, initial=initial, fixed=decided.fixed, fixed_weight=weight, network=network)


def network_of(dataset: fo.Dataset, settings: dict[str, object]) -> Path:
    """Folder with the network of the run that is refined.

    Raises:
        RunError: the run was deleted, or as ``own_files.network_folder``.
    """
    uid = str(settings[REFINES])
    for key in storage.keys(dataset):
        if storage.header_of(dataset, key)[0].uid == uid:
            return own_files.network_folder(dataset, key, uid)
    raise RunError("the run that this one refines was deleted; refine another run")


def _placed(run: Run, log: EditLog) -> set[str]:
    """Ids of images whose cluster a person has chosen individually: moved or rejected, and not split since."""
    job = own_files.own_job(run.dataset, run.key, run.uid)
    placed: set[str] = set()
    if job is not None and job.decided is not None:
        pairs = zip(job.ids, job.decided.fixed, strict=True)
        placed = {image for image, fixed in pairs if fixed}
    for entry in log.entries():
        if entry.undone or entry.verb not in ("move", "reject", "split"):
            continue
        images = {str(old.image_id) for olds in log.olds(entry) for old in olds}
        placed = placed - images if entry.verb == "split" else placed | images
    return placed


def _own_numbers(names: Sequence[str], numbers: Sequence[object]) -> tuple[list[str], list[int | None]]:
    """Clusters by (name, number in the run), renumbered: the name of each, and the cluster of every image.

    A number belongs to the name that most of its images have; its other images join the largest part of their name.
    """
    pairs = [pair for pair in zip(names, numbers, strict=True) if pair[0] != NOISE]
    largest_first = [pair for pair, _ in Counter(pairs).most_common()]
    home: dict[object, str] = {}
    parts: dict[str, list[tuple[str, object]]] = defaultdict(list)
    for name, number in largest_first:
        if number is not None and home.setdefault(number, name) == name:
            parts[name].append((name, number))
    for pair in largest_first:  # names to which no number belongs
        parts[pair[0]] = parts[pair[0]] or [pair]
    kept = sorted((part for some in parts.values() for part in some), key=_order)
    place = {part: at for at, part in enumerate(kept)}
    own = [
        None if name == NOISE else place.get((name, number), place[parts[name][0]])
        for name, number in zip(names, numbers, strict=True)
    ]
    return [name for name, _ in kept], own


def _order(part: tuple[str, object]) -> tuple[str, int]:
    return part[0], part[1] if isinstance(part[1], int) else -1
