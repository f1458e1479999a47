"""Runs kept on a dataset: load, list, rename, delete.

A run is a plain FiftyOne custom run (``dataset.list_runs()`` shows it, too).
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from fiftyone_deepcluster.dataset.display.brain import rename_brain_runs
from fiftyone_deepcluster.dataset.display.sidebar import add_group, remove_group
from fiftyone_deepcluster.dataset.io.fields import FieldNames, check_free, check_key, rename
from fiftyone_deepcluster.dataset.io.read_images import flat, root_dataset
from fiftyone_deepcluster.dataset.review.clusters import (
    ClusterInfo,
    Drawn,
    check_there,
    summarize,
    with_random,
)
from fiftyone_deepcluster.dataset.runs import lock, status, storage
from fiftyone_deepcluster.dataset.runs.interrupted import (
    Interrupted,
    erase,
    find_interrupted,
    not_there,
    remove_interrupted,
)
from fiftyone_deepcluster.errors import InputError, RunExistsError, RunNotFoundError
from fiftyone_deepcluster.methods.base import Options, parse_options

if TYPE_CHECKING:
    from datetime import datetime

    import fiftyone as fo
    import pandas as pd

    from fiftyone_deepcluster.core.record import Round, RunRecord, StopReason


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

    def clusters(
        self, n_exemplars: int = 12, exemplars: Drawn = "nearest", seed: int | None = None
    ) -> list[ClusterInfo]:
        """The clusters as they are named now, largest first.

        Args:
            n_exemplars: images of each to name.
            exemplars: which: those "nearest" to the center, or some drawn at "random", which also shows what
                lies at the cluster's edge.
            seed: of the draw; by default the run's own.

        Raises:
            InputError: ``exemplars`` is neither.
        """
        if exemplars == "random":
            return with_random(self, summarize(self, 0), n_exemplars, seed)
        if exemplars != "nearest":
            raise InputError(f"exemplars={exemplars!r}: give 'nearest' or 'random'")
        return summarize(self, n_exemplars)

    def names(self) -> list[str]:
        """Names of the clusters as they are now, sorted.

        Raises:
            RunError: the run, or its label field, was deleted since it was loaded.
        """
        label = self.fields.path("label")
        if self.dataset.get_field(label) is None:
            check_there(self)
        return sorted(name for name in flat(self.dataset).distinct(label) if name is not None)

    def view(self) -> fo.DatasetView:
        """The images of the run that have a cluster, cluster by cluster; a patches view for patches."""
        return self.cluster_view(*self.names())

    def cluster_view(self, *names: str) -> fo.DatasetView:
        """The images of one or more clusters, nearest to their center first within each.

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
    return storage.keys(root_dataset(samples))


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
    record = storage.record_of(dataset, key)
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
    if new_key == key:
        raise RunExistsError(f"the run has the key {key!r} already; give another new_key")
    new = replace(old, key=new_key)
    with lock.acquire(dataset, key), lock.acquire(dataset, new_key):
        dataset.reload()
        check_free(dataset, new)
        remove_group(dataset, old)
        rename(dataset, old, new)
        rename_brain_runs(dataset, old, new)
        dataset.rename_run(key, new_key)
        add_group(dataset, new)
        storage.move_dir(storage.run_dir(dataset, key), storage.run_dir(dataset, new_key))
        status.forget(dataset, key)
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
        if key in storage.keys(dataset):
            erase(dataset, key)
        elif not remove_interrupted(dataset, key):
            raise storage.no_such_run(dataset, key)
        storage.clean_dir(storage.next_dir(dataset, key))
        storage.clean_dir(storage.run_dir(dataset, key))
        status.forget(dataset, key)


def _header(dataset: fo.Dataset, key: str) -> tuple[storage.RunHeader, datetime]:
    try:
        return storage.header_of(dataset, key)
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
