"""Runs kept on a dataset: load, list, rename, delete.

A run is a plain FiftyOne custom run (``dataset.list_runs()`` shows it, too).
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from fiftyone_deepcluster.dataset import live, lock, stored
from fiftyone_deepcluster.dataset.brain import rename_brain_runs
from fiftyone_deepcluster.dataset.fields import FieldNames, check_free, check_key, rename
from fiftyone_deepcluster.dataset.remains import (
    Interrupted,
    erase,
    find_interrupted,
    not_there,
    remove_interrupted,
)
from fiftyone_deepcluster.dataset.sidebar import add_group, remove_group
from fiftyone_deepcluster.dataset.source import flat, root_dataset
from fiftyone_deepcluster.errors import InputError, RunNotFoundError
from fiftyone_deepcluster.recipes.base import Options, parse_options

if TYPE_CHECKING:
    from datetime import datetime

    import fiftyone as fo
    import pandas as pd

    from fiftyone_deepcluster.record import Round, RunRecord, StopReason


@dataclass(frozen=True)
class ClusterInfo:
    """One cluster as it is named now.

    Attributes:
        name: label of its images.
        ids: cluster numbers of the run in it; several after a merge.
        size: number of images.
        share: of all clustered images of the run, 0..1.
        cohesion: mean distance of its images to their centre; smaller is tighter. None for noise.
        stability: mean over its images of the share of cluster-mates kept in the last rounds; None in
            a run of one round.
        exemplars: ids of the images nearest to the centre, nearest first (objects' ids for patches).
        exemplar_samples: ids of their samples; the same but for patches.
        exemplar_paths: their files.
        exemplar_boxes: x, y, width and height of each in its file, relative; None for a whole image.
    """

    name: str
    ids: tuple[int, ...]
    size: int
    share: float
    cohesion: float | None
    stability: float | None
    exemplars: tuple[str, ...]
    exemplar_samples: tuple[str, ...]
    exemplar_paths: tuple[str, ...]
    exemplar_boxes: tuple[tuple[float, ...] | None, ...]


@dataclass(frozen=True)
class Run:
    """A run and its results.

    Attributes:
        key: of the run.
        dataset: that it is kept on.
        record: figures of every round, baselines, why it stopped.
        patches_field: Detections field whose objects were clustered, or None.
        created: when it was registered, UTC.
        n_samples: images the run was given, unreadable ones included.
        settings: how it was called: truth_field, embeddings_field, model, half_precision.
        uid: of the run; renaming keeps it.
    """

    key: str
    dataset: fo.Dataset
    record: RunRecord
    patches_field: str | None
    created: datetime
    n_samples: int
    settings: dict[str, object]
    uid: str

    def __repr__(self) -> str:
        """Short: a dataset's own repr is a page."""
        rounds = len(self.record.rounds)
        what = f"{self.record.method}, {self.n_clusters} clusters, {rounds} rounds"
        return f"Run({self.key!r} on {self.dataset.name!r}: {what})"

    @cached_property
    def options(self) -> Options:
        """As given; ``cluster(samples, run.options, key)`` repeats the run."""
        return parse_options(self.record.method, self.record.options)

    @property
    def rounds(self) -> list[Round]:
        """One entry a round."""
        return self.record.rounds

    @property
    def stop_reason(self) -> StopReason | None:
        """Why it stopped."""
        return self.record.stop_reason

    @property
    def n_clusters(self) -> int:
        """Clusters that the run found; edits do not change it."""
        return self.record.n_clusters

    @property
    def fields(self) -> FieldNames:
        """Where its values lie."""
        return FieldNames(self.key, self.patches_field)

    def to_dataframe(self) -> pd.DataFrame:
        """One row a round: loss, agreement with the last round, sizes, truth where known, seconds."""
        import pandas as pd

        return pd.DataFrame([_row(entry) for entry in self.rounds])

    def clusters(self, n_exemplars: int = 12) -> list[ClusterInfo]:
        """The clusters as they are named now, largest first. One database query."""
        groups = list(self.dataset._sample_collection.aggregate(_summarise(self.fields, n_exemplars)))
        total = sum(group["size"] for group in groups)
        infos = [_info(group, total, n_exemplars) for group in groups]
        return sorted(infos, key=lambda info: (-info.size, info.name))

    def names(self) -> list[str]:
        """Names of the clusters as they are now, sorted."""
        label = self.fields.path("label")
        return sorted(name for name in flat(self.dataset).distinct(label) if name is not None)

    def view(self) -> fo.DatasetView:
        """The images of the run that have a cluster, cluster by cluster; a patches view for patches."""
        return self.cluster_view(*self.names())

    def cluster_view(self, *names: str) -> fo.DatasetView:
        """The images of one or more clusters, nearest to their centre first within each.

        Raises:
            InputError: no cluster of that name; near names are listed.
        """
        from fiftyone import ViewField

        self.check_names(names)
        paths = self.fields
        samples = flat(self.dataset)
        if self.patches_field is None:
            # a plain query uses the label's index, a ViewField expression would read every sample
            chosen = samples.match({paths.path("label"): {"$in": list(names)}})
            return chosen.sort_by([(paths.path("label"), 1), (paths.path("distance"), 1)])
        chosen = samples.filter_labels(self.patches_field, ViewField(self.key).is_in(list(names)))
        patch = f"{self.patches_field}.{self.key}"
        return chosen.to_patches(self.patches_field).sort_by([(patch, 1), (f"{patch}_distance", 1)])

    def check_names(self, names: tuple[str, ...] | list[str]) -> None:
        """Raise InputError where a cluster is not there."""
        known = self.names()
        for name in names:
            if name not in known:
                near = difflib.get_close_matches(str(name), known, n=3) or known[:5]
                raise InputError(
                    f"run {self.key!r} has no cluster {name!r}; did you mean {' or '.join(map(repr, near))}?"
                    if near
                    else f"run {self.key!r} has no clusters"
                )


def list_runs(samples: fo.core.collections.SampleCollection) -> list[str]:
    """Keys of this package's runs on the dataset, oldest first; then those that broke off.

    ``interrupted_runs`` says of the latter how far they came; ``load_run`` gives the others only.
    """
    dataset = root_dataset(samples)
    left = find_interrupted(dataset)
    return [*finished_runs(dataset), *left]


def finished_runs(samples: fo.core.collections.SampleCollection) -> list[str]:
    """Keys of the runs that ``load_run`` gives, oldest first."""
    return stored.keys(root_dataset(samples))


def interrupted_runs(samples: fo.core.collections.SampleCollection) -> dict[str, Interrupted]:
    """Runs that broke off, by key: how far they came, and whether ``resume`` can go on from there.

    ``delete_run`` removes what they left.
    """
    return find_interrupted(root_dataset(samples))


def load_run(samples: fo.core.collections.SampleCollection, key: str) -> Run:
    """The run under ``key``.

    Raises:
        RunNotFoundError: no complete run of this package under this key; says what there is instead.
    """
    dataset = root_dataset(samples)
    header, created = _header(dataset, key)
    record = stored.record_of(dataset, key)
    return Run(
        key, dataset, record, header.patches_field, created, header.n_samples, header.settings, header.uid
    )


def rename_run(samples: fo.core.collections.SampleCollection, key: str, new_key: str) -> Run:
    """Give a run another key: its fields, index, brain runs, sidebar group and files follow.

    Raises:
        RunNotFoundError: no such run.
        RunExistsError: a field or run has the new key.
        RunLockedError: the run is being worked on.
    """
    dataset = root_dataset(samples)
    check_key(new_key)
    old = FieldNames(key, _header(dataset, key)[0].patches_field)
    new = replace(old, key=new_key)
    with lock.acquire(dataset, key), lock.acquire(dataset, new_key):
        dataset.reload()
        check_free(dataset, new)
        remove_group(dataset, old)
        rename(dataset, old, new)
        rename_brain_runs(dataset, old, new)
        dataset.rename_run(key, new_key)
        add_group(dataset, new)
        stored.move_dir(stored.run_dir(dataset, key), stored.run_dir(dataset, new_key))
        live.forget(dataset, key)
    return load_run(dataset, new_key)


def delete_run(samples: fo.core.collections.SampleCollection, key: str) -> None:
    """Remove a run and exactly what it made: fields, index, brain runs, sidebar group, files, edits' log.

    Also a run that broke off, or was killed. Labels that a person wrote to a field of their own stay.

    Raises:
        RunNotFoundError: no such run.
        RunLockedError: the run is being worked on.
    """
    dataset = root_dataset(samples)
    with lock.acquire(dataset, key):
        dataset.reload()
        if key in stored.keys(dataset):
            erase(dataset, key)
        elif not remove_interrupted(dataset, key):
            raise stored.no_such_run(dataset, key)
        stored.clean_dir(stored.next_dir(dataset, key))
        stored.clean_dir(stored.run_dir(dataset, key))
        live.forget(dataset, key)


def _header(dataset: fo.Dataset, key: str) -> tuple[stored.Header, datetime]:
    try:
        return stored.header_of(dataset, key)
    except RunNotFoundError:
        raise not_there(dataset, key) from None


def _row(entry: Round) -> dict[str, Any]:
    row: dict[str, Any] = {
        "round": entry.index + 1,
        "loss": entry.loss,
        "clusters_in_use": entry.clusters_in_use,
        "largest_share": entry.largest_share,
        "entropy": entry.entropy,
    }
    for what, agreement in (("change", entry.change), ("truth", entry.truth)):
        if agreement is not None:
            row |= {f"{what}_{name}": value for name, value in agreement.model_dump().items()}
    row |= {"seconds": sum(entry.seconds.values()), "images_per_second": entry.images_per_second}
    row |= {f"seconds_{name}": value for name, value in entry.seconds.items()}
    return row | entry.scores


def _summarise(names: FieldNames, n_exemplars: int) -> list[dict[str, Any]]:
    """One group a cluster, with the images nearest to its centre."""
    unwind: list[dict[str, Any]] = []
    image: object = "$_id"
    box: object = {"$literal": None}
    if names.patches_field is not None:
        unwind = [{"$unwind": f"${names.prefix[:-1]}"}]
        image, box = f"${names.prefix}_id", f"${names.prefix}bounding_box"
    values = {name: f"${names.path(name)}" for name in ("label", "cluster", "distance", "stability")}
    nearest = {
        "n": max(1, n_exemplars),
        "sortBy": {"distance": 1},
        "output": ["$image", "$sample", "$filepath", "$box"],
    }
    group = {
        "_id": "$label",
        "ids": {"$addToSet": "$cluster"},
        "size": {"$sum": 1},
        "cohesion": {"$avg": "$distance"},
        "stability": {"$avg": "$stability"},
        "exemplars": {"$topN": nearest},
    }
    return [
        {"$match": {names.path("label"): {"$ne": None}}},
        *unwind,
        {"$project": {"_id": 0, "image": image, "sample": "$_id", "filepath": 1, "box": box, **values}},
        {"$match": {"label": {"$ne": None}}},
        {"$group": group},
    ]


def _info(group: dict[str, Any], total: int, n_exemplars: int) -> ClusterInfo:
    exemplars = group["exemplars"][:n_exemplars]
    return ClusterInfo(
        name=group["_id"],
        ids=tuple(sorted(group["ids"])),
        size=group["size"],
        share=group["size"] / total,
        cohesion=group["cohesion"],
        stability=group["stability"],
        exemplars=tuple(str(image) for image, *_ in exemplars),
        exemplar_samples=tuple(str(sample) for _, sample, *_ in exemplars),
        exemplar_paths=tuple(path for _, _, path, _ in exemplars),
        exemplar_boxes=tuple(None if box is None else tuple(box) for *_, box in exemplars),
    )
