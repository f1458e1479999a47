"""Runs stored on a dataset: load, list, rename, delete.

A run is a plain FiftyOne custom run; ``dataset.list_runs()`` lists it, too.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain, count
from typing import TYPE_CHECKING, Any, get_args

from fiftyone_deepcluster.core import arguments
from fiftyone_deepcluster.core.option_errors import suggest
from fiftyone_deepcluster.core.process_state import changed
from fiftyone_deepcluster.core.words import counted
from fiftyone_deepcluster.dataset.io.fields import (
    FieldNames,
    check_apart,
    check_free,
    check_key,
    has_values,
    is_key,
)
from fiftyone_deepcluster.dataset.io.read_images import flat, root_dataset
from fiftyone_deepcluster.dataset.review.clusters import (
    ClusterInfo,
    Drawn,
    check_there,
    summarize,
    with_random,
)
from fiftyone_deepcluster.dataset.runs import intents, lock, run_files, status, storage
from fiftyone_deepcluster.dataset.runs.completeness import count_lost, way_back
from fiftyone_deepcluster.dataset.runs.database import all_need_database, database_needed
from fiftyone_deepcluster.dataset.runs.interrupted import (
    Interrupted,
    find_interrupted,
    find_remains,
    not_there,
)
from fiftyone_deepcluster.errors import InputError, RunExistsError, RunNotFoundError
from fiftyone_deepcluster.methods.base import Options, parse_options

if TYPE_CHECKING:
    from datetime import datetime

    import fiftyone as fo
    import pandas as pd

    from fiftyone_deepcluster.core.record import Round, RunRecord, StopReason

logger = logging.getLogger(__name__)


@all_need_database("repeat the call")
@dataclass(frozen=True)
class Run:
    """A run and its results.

    Attributes:
        key: key of the run.
        dataset: dataset that the run is stored on.
        record: metrics of every round, baselines, and the stop reason.
        patches_field: Detections field whose objects were clustered, or None.
        created: time of registration, UTC.
        n_samples: number of images, including unreadable ones.
        settings: other arguments of the call: truth_field, media_field, embeddings_field, model, half_precision.
        uid: unique id of the run; unchanged by renaming.
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
        """Short form; the repr of the dataset takes a page."""
        rounds = len(self.record.rounds)
        what = f"{self.record.method}, {counted(self.n_clusters, 'cluster')}, {counted(rounds, 'round')}"
        return f"Run({self.key!r} on {self.dataset.name!r}: {what})"

    @cached_property
    def options(self) -> Options:
        """Options as given; ``cluster(samples, run.options, key)`` repeats the run."""
        return parse_options(self.record.method, self.record.options)

    @property
    def resolved_options(self) -> Options:
        """Options with every automatic value replaced; those of the chosen method if it was ``auto``."""
        values = dict(self.record.resolved)
        return parse_options(str(values.get("name", self.record.method)), values)

    @property
    def only_vectors(self) -> bool:
        """Whether the run clustered precomputed vectors instead of images, so that it has no network."""
        given = self.settings.get("embeddings_field") or self.settings.get("model")
        return bool(given) and self.options.accepts_features

    @property
    def rounds(self) -> list[Round]:
        """One entry per round."""
        return self.record.rounds

    @property
    def stop_reason(self) -> StopReason | None:
        """Why the run stopped."""
        return self.record.stop_reason

    @property
    def n_clusters(self) -> int:
        """Number of clusters found by the run; not changed by edits."""
        return self.record.n_clusters

    @property
    def fields(self) -> FieldNames:
        """Names of the fields of the run."""
        return FieldNames(self.key, self.patches_field)

    def to_dataframe(self) -> pd.DataFrame:
        """One row per round: loss, agreement with the previous round and the truth (if given), sizes, seconds."""
        import pandas as pd

        return pd.DataFrame([_row(entry) for entry in self.rounds])

    def clusters(
        self, n_exemplars: int = 12, exemplars: Drawn = "nearest", seed: int | None = None
    ) -> list[ClusterInfo]:
        """The clusters under their current names, largest first.

        Args:
            n_exemplars: number of exemplar images per cluster.
            exemplars: "nearest": images nearest to the center; "random": images drawn at random, which also
                shows the edge of the cluster.
            seed: random seed of the draw; by default the seed of the run.

        Raises:
            InputError: a wrong argument.
            RunNotFoundError: the run, or its dataset, was deleted since it was loaded.
            RunError: its label field was deleted since it was loaded.
        """
        n_exemplars = arguments.whole_number("n_exemplars", n_exemplars, 0)
        arguments.one_of("exemplars", exemplars, get_args(Drawn))
        seed = None if seed is None else arguments.whole_number("seed", seed, 0)
        check_there(self)
        if exemplars == "random":
            return with_random(self, summarize(self, 0), n_exemplars, seed)
        return summarize(self, n_exemplars)

    def names(self) -> list[str]:
        """Current cluster names, sorted.

        Raises:
            RunNotFoundError: the run, or its dataset, was deleted since it was loaded.
            RunError: its label field was deleted since it was loaded.
        """
        check_there(self)
        label = self.fields.path("label")
        return sorted(name for name in flat(self.dataset).distinct(label) if name is not None)

    def view(self) -> fo.DatasetView:
        """The images of the run that have a cluster, cluster by cluster; a patches view for patches."""
        return self.cluster_view(*self.names())

    def cluster_view(self, *names: str) -> fo.DatasetView:
        """The images of one or more clusters, nearest to their center first within each.

        Raises:
            InputError: no cluster of that name; similar names are listed.
        """
        from fiftyone import ViewField

        self.check_names(names)
        samples = flat(self.dataset)
        if self.patches_field is None:
            # a plain query uses the index of the label; a ViewField expression would scan every sample
            chosen = samples.match({self.fields.path("label"): {"$in": list(names)}})
        else:
            chosen = samples.filter_labels(self.patches_field, ViewField(self.key).is_in(list(names)))
            chosen = chosen.to_patches(self.patches_field)
        return chosen.sort_by([(self.fields.view_path(name), 1) for name in ("label", "distance")])

    def check_names(self, names: tuple[str, ...] | list[str]) -> None:
        """Raise InputError if a cluster does not exist."""
        if not isinstance(names, list | tuple):
            raise InputError(
                f"names={arguments.short(names)} is not a list of names; give one, such as ['cluster-00']"
            )
        for name in names:
            arguments.one_name("names", name, "cluster-00")
        known = self.names()
        for name in names:
            if name not in known:
                raise InputError(
                    f"run {self.key!r} has no cluster {arguments.short(name)}; {suggest(name, known)}"
                )


@database_needed("repeat the call")
def list_runs(samples: fo.core.collections.SampleCollection) -> list[str]:
    """Keys of this package's runs on the dataset: finished runs, oldest first, then interrupted runs.

    ``load_run`` loads finished runs only; ``interrupted_runs`` returns the progress of the others.
    """
    dataset = root_dataset(samples)
    finished = finished_runs(dataset)
    return [*finished, *find_interrupted(dataset)]


@database_needed("repeat the call")
def finished_runs(samples: fo.core.collections.SampleCollection) -> list[str]:
    """Keys of the finished runs, which ``load_run`` can load, oldest first."""
    dataset = root_dataset(samples)
    intents.complete_unfinished(dataset)
    return storage.keys(dataset)


@database_needed("repeat the call")
def interrupted_runs(samples: fo.core.collections.SampleCollection) -> dict[str, Interrupted]:
    """Interrupted runs by key, with their progress and whether ``resume`` can continue them.

    ``delete_run`` removes their fields and files.
    """
    dataset = root_dataset(samples)
    intents.complete_unfinished(dataset)
    return find_interrupted(dataset)


@database_needed("repeat the call")
def load_run(samples: fo.core.collections.SampleCollection, key: str) -> Run:
    """Load the finished run stored under ``key``.

    Raises:
        InputError: the key is not a string.
        RunNotFoundError: no finished run of this package under this key; the message says what exists instead.
    """
    dataset = root_dataset(samples)
    arguments.one_name("key", key, "dc")
    intents.complete_unfinished(dataset)
    header, created = _header(dataset, key)
    record = storage.record_of(dataset, key)
    _warn_of_lost(dataset, header.uid, FieldNames(key, header.patches_field), record.n_images)
    return Run(
        key, dataset, record, header.patches_field, created, header.n_samples, header.settings, header.uid
    )


def free_key(dataset: fo.Dataset, like: str = "dc") -> str:
    """First of ``dc``, ``dc2``, ``dc3`` ... that is not in use by a field or run.

    Args:
        dataset: dataset of the new run.
        like: first key to try; the number at its end, if any, is then increased.
    """
    taken = {*dataset.list_runs(), *dataset.get_field_schema(flat=False), *interrupted_runs(dataset)}
    taken |= {key for key, state in status.read_states(dataset).items() if state.busy}
    stem = like.rstrip("0123456789")
    later = (f"{stem}{number}" for number in count(int(like[len(stem) :] or 1) + 1))
    return next(key for key in chain([like], later) if key not in taken)


@database_needed("repeat the call, which continues where it stopped")
def rename_run(samples: fo.core.collections.SampleCollection, key: str, new_key: str) -> Run:
    """Change the key of a run, and with it its fields, index, brain runs, sidebar group and files.

    Returns:
        The run under its new key.

    Raises:
        RunNotFoundError: no such run.
        RunExistsError: the new key is taken by a field or run.
        RunLockedError: another process is working on the run.
    """
    dataset = root_dataset(samples)
    arguments.one_name("key", key, "dc")
    check_key(new_key, "new_key")
    intents.complete_unfinished(dataset)
    header, _ = _header(dataset, key)
    if new_key == key:
        raise RunExistsError(f"the run already has the key {key!r}; give a different new_key")
    intent = intents.Intent("rename", key, header.uid, header.patches_field, new_key)
    left = find_interrupted(dataset).get(new_key)
    if left is not None:
        raise RunExistsError(f"{dataset.name!r}: {left.message}")
    new = replace(intent.names, key=new_key)
    check_apart(intent.names, new)
    with lock.acquire(dataset, key), lock.acquire(dataset, new_key):
        dataset.reload()
        check_free(dataset, new)
        run_files.check_files(dataset, key)
        intents.carry_out(dataset, intent)
    return load_run(dataset, new_key)


@database_needed("repeat the call, which continues where it stopped")
def delete_run(samples: fo.core.collections.SampleCollection, key: str) -> None:
    """Delete a run with everything it created: fields, index, brain runs, sidebar group, files, edit log.

    Interrupted runs can be deleted, too. Labels written to user fields (``label_cluster``) are kept.

    Raises:
        RunNotFoundError: no such run.
        RunLockedError: another process is working on the run.
    """
    dataset = root_dataset(samples)
    arguments.one_name("key", key, "dc")
    if not is_key(key):
        raise storage.no_such_run(dataset, key)
    with lock.acquire(dataset, key):
        dataset.reload()
        if key in storage.keys(dataset):
            header, _ = storage.header_of(dataset, key)
            intent = intents.Intent("delete", key, header.uid, header.patches_field)
        else:
            names = find_remains(dataset, key)
            if names is None:
                raise storage.no_such_run(dataset, key)
            intent = intents.Intent("delete", key, "", names.patches_field)
        run_files.check_files(dataset, key)
        intents.carry_out(dataset, intent)


def _header(dataset: fo.Dataset, key: str) -> tuple[storage.RunHeader, datetime]:
    try:
        return storage.header_of(dataset, key)
    except RunNotFoundError:
        raise not_there(dataset, key) from None


def _warn_of_lost(dataset: fo.Dataset, uid: str, names: FieldNames, n_images: int) -> None:
    """Warn of lost clusters, again only if there are more or fewer: the panel loads a run at every request."""
    found = _find_lost(dataset, uid, names, n_images)
    if changed((dataset._doc.id, uid, "lost clusters"), found) and found is not None:
        logger.warning("%s; %s", found, way_back(dataset, names.key, uid))


def _find_lost(dataset: fo.Dataset, uid: str, names: FieldNames, n_images: int) -> str | None:
    """What the database lost of the clusters, or that they were deleted with their field; None if neither."""
    lost, path = count_lost(dataset, names, uid, n_images), names.path("label")
    if not lost and dataset.get_field(path) is not None:
        return None
    dataset.reload()  # another process may have deleted the field, or added it
    if dataset.get_field(path) is None and not has_values(dataset, names, path):
        return f"the field {path} of run {names.key!r} was deleted from {dataset.name!r}"
    if lost:
        return f"the database lost the clusters of {lost:,} of the {counted(n_images, 'image')} of run {names.key!r}"
    return None


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
