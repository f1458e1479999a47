"""Runs kept on a dataset: load, list, rename, delete.

A run is a plain FiftyOne custom run (``dataset.list_runs()`` shows it): its config says what it is and
where, its results hold the record as JSON. No class of ours is stored in the user's database.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    import fiftyone as fo
    import pandas as pd

    from fiftyone_deepcluster.dataset.fields import FieldNames
    from fiftyone_deepcluster.recipes.base import Options
    from fiftyone_deepcluster.record import Round, RunRecord, StopReason


@dataclass(frozen=True)
class ClusterInfo:
    """One cluster as it is named now.

    Attributes:
        name: label of its images.
        ids: cluster numbers of the run in it; several after a merge.
        size: number of images.
        share: of all clustered images of the run, 0..1.
        cohesion: mean distance of its images to their centre; smaller is tighter.
        stability: mean over its images of the share of cluster-mates kept in the last rounds; None in
            a run of one round.
        exemplars: ids of the images nearest to the centre, nearest first (objects' ids for patches).
        exemplar_paths: their files.
    """

    name: str
    ids: tuple[int, ...]
    size: int
    share: float
    cohesion: float
    stability: float | None
    exemplars: tuple[str, ...]
    exemplar_paths: tuple[str, ...]


@dataclass(frozen=True)
class Run:
    """A run and its results.

    Attributes:
        key: of the run.
        dataset: that it is kept on.
        options: as given; ``cluster(samples, run.options, key)`` repeats it.
        record: figures of every round, baselines, why it stopped.
        patches_field: Detections field whose objects were clustered, or None.
        created: when it was registered, UTC.
        n_samples: images the run was given, unreadable ones included.
        settings: how it was called: truth_field, embeddings_field, model, half_precision.
    """

    key: str
    dataset: fo.Dataset
    options: Options
    record: RunRecord
    patches_field: str | None
    created: datetime
    n_samples: int
    settings: dict[str, object]

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
        raise NotImplementedError

    def to_dataframe(self) -> pd.DataFrame:
        """One row a round: loss, agreement with the last round, sizes, truth where known, seconds."""
        raise NotImplementedError

    def clusters(self, n_exemplars: int = 12) -> list[ClusterInfo]:
        """The clusters as they are named now, largest first. One database query."""
        raise NotImplementedError

    def view(self) -> fo.DatasetView:
        """The samples of the run, in the order of their clusters; a patches view for patches."""
        raise NotImplementedError

    def cluster_view(self, *names: str) -> fo.DatasetView:
        """The images of one or more clusters, nearest to their centre first.

        Raises:
            InputError: no cluster of that name; near names are listed.
        """
        raise NotImplementedError


def list_runs(samples: fo.core.collections.SampleCollection) -> list[str]:
    """Keys of this package's runs on the dataset, oldest first."""
    raise NotImplementedError


def load_run(samples: fo.core.collections.SampleCollection, key: str) -> Run:
    """The run under ``key``.

    Raises:
        RunNotFoundError: no run of this package under this key; the known ones are listed.
    """
    raise NotImplementedError


def rename_run(samples: fo.core.collections.SampleCollection, key: str, new_key: str) -> Run:
    """Give a run another key: its fields, index, brain runs, sidebar group and files follow.

    Raises:
        RunNotFoundError: no such run.
        RunExistsError: a field or run has the new key.
        RunLockedError: the run is being worked on.
    """
    raise NotImplementedError


def delete_run(samples: fo.core.collections.SampleCollection, key: str) -> None:
    """Remove a run and exactly what it made: fields, index, brain runs, sidebar group, files, edits' log.

    Labels that a person committed to a field of their own stay.

    Raises:
        RunNotFoundError: no such run.
        RunLockedError: the run is being worked on.
    """
    raise NotImplementedError
