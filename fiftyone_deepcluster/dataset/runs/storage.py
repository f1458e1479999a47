"""How a run is stored on a dataset: a plain FiftyOne custom run, and a folder of files.

The custom run's config says what the run is; its results hold the record. Both are JSON, and no class
of this package is named in the user's database, so a dataset opens where the package is missing.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import threading
import uuid
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fiftyone_deepcluster import __version__
from fiftyone_deepcluster.core.record import RunRecord
from fiftyone_deepcluster.dataset.io.fields import FieldNames
from fiftyone_deepcluster.errors import RunNotFoundError

if TYPE_CHECKING:
    from datetime import datetime

    import fiftyone as fo

    from fiftyone_deepcluster.dataset.io.source import SampleSource

PACKAGE = "fiftyone_deepcluster"
JOB_FILE = "job.json"
_NEXT = ".next"


_READING = threading.Lock()
"""FiftyOne has one open file a run for all threads of a process: where two seek and read at once, one reads nothing."""


@dataclass(frozen=True)
class RunHeader:
    """What the config of a stored run says.

    Attributes:
        method: name of the method.
        options: as given, by name.
        settings: how it was called: truth_field, embeddings_field, model, half_precision.
        patches_field: Detections field whose objects were clustered, or None.
        n_samples: images the run was given, unreadable ones included.
        uid: of this run; renaming keeps it.
        version: of the package that wrote it.
    """

    method: str
    options: dict[str, object]
    settings: dict[str, object]
    patches_field: str | None
    n_samples: int
    uid: str = field(default_factory=lambda: uuid.uuid4().hex)
    version: str = __version__


@dataclass(frozen=True)
class ClusterJob:
    """What a call of ``cluster`` was asked to do: enough to go on after the process died.

    Attributes:
        header: of the run to be.
        ids: of the images, in their order.
    """

    header: RunHeader
    ids: list[str]

    def same_work(self, other: ClusterJob) -> bool:
        """Whether a checkpoint of the other call may serve this one."""
        mine, theirs = self.header, other.header
        return (mine.options, mine.settings, self.ids) == (theirs.options, theirs.settings, other.ids)


def register_run(source: SampleSource, key: str, header: RunHeader, record: RunRecord) -> None:
    """Store a run; the caller has made sure that the key is free."""
    samples = source.dataset if source.patches_field is None and is_whole(source) else source.samples
    config = samples.init_run(package=PACKAGE, **asdict(header))
    samples.register_run(key, config)
    results = samples.init_run_results(key, record=record.model_dump(mode="json"))
    samples.save_run_results(key, results)


def is_whole(source: SampleSource) -> bool:
    """Whether the source is the plain dataset."""
    import fiftyone as fo

    return isinstance(source.samples, fo.Dataset)


def header_of(dataset: fo.Dataset, key: str) -> tuple[RunHeader, datetime]:
    """The config of a stored run, and when it was stored (UTC).

    Raises:
        RunNotFoundError: no run of this package under this key; the known ones are listed.
    """
    if key not in keys(dataset):
        dataset.reload()  # another process may have stored it since
    if key not in keys(dataset):
        raise no_such_run(dataset, key)
    info = dataset.get_run_info(key)
    names = RunHeader.__dataclass_fields__
    return RunHeader(**{name: getattr(info.config, name) for name in names}), info.timestamp


def no_such_run(dataset: fo.Dataset, key: str) -> RunNotFoundError:
    """The error that names the runs there are."""
    known = keys(dataset)
    there = f"choose one of: {', '.join(known)}" if known else "no run has been made on it yet"
    return RunNotFoundError(f"{dataset.name!r} has no deep-clustering run {key!r}; {there}")


def record_of(dataset: fo.Dataset, key: str) -> RunRecord:
    """The record of a stored run."""
    results = _results(dataset, key)
    if results is None:
        raise RunNotFoundError(f"run {key!r} of {dataset.name!r} was stored only in part; delete it")
    return RunRecord.model_validate(results.record)


def is_complete(dataset: fo.Dataset, key: str) -> bool:
    """Whether a run is stored with its record, which comes last."""
    return key in keys(dataset) and _results(dataset, key) is not None


def _results(dataset: fo.Dataset, key: str) -> Any:
    """What was stored with a run; None where nothing was."""
    with _READING:
        return dataset.load_run_results(key, cache=False, load_view=False)


def keys(dataset: fo.Dataset) -> list[str]:
    """Keys of this package's runs, oldest first."""
    documents = {key: dataset.get_run_info(key) for key in dataset.list_runs(package=PACKAGE)}
    return sorted(documents, key=lambda key: documents[key].timestamp)


def run_dir(dataset: fo.Dataset, key: str) -> Path:
    """Where checkpoint and model of a run lie."""
    return dataset_dir(dataset) / key


def next_dir(dataset: fo.Dataset, key: str) -> Path:
    """Where the files of a run lie that is to replace the one under ``key`` once it is done."""
    return dataset_dir(dataset) / f"{key}{_NEXT}"


def dataset_dir(dataset: fo.Dataset) -> Path:
    """Where the files of all runs of a dataset lie."""
    return runs_folder() / str(dataset._doc.id)


def runs_folder() -> Path:
    """Where the files of all runs of all datasets lie."""
    import fiftyone as fo

    return Path(fo.config.default_dataset_dir) / ".deepcluster"


def database_mark() -> str:
    """Tells FiftyOne's databases apart, which may share the folder; an address may hold a password."""
    import fiftyone as fo

    where = fo.config.database_uri or fo.config.database_dir
    return hashlib.sha256(f"{where}/{fo.config.database_name}".encode()).hexdigest()[:16]


def save_job(folder: Path, job: ClusterJob) -> None:
    """Note what is being done in ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / f"{JOB_FILE}.partial"
    value = {"database": database_mark(), "header": asdict(job.header), "ids": job.ids}
    partial.write_text(json.dumps(value))
    partial.replace(folder / JOB_FILE)


def load_job(folder: Path) -> ClusterJob | None:
    """What was being done in ``folder``; None where nothing is noted."""
    try:
        value: dict[str, Any] = json.loads((folder / JOB_FILE).read_text())
    except FileNotFoundError:
        return None
    return ClusterJob(RunHeader(**value["header"]), value["ids"])


def job_folders(dataset: fo.Dataset) -> dict[str, list[Path]]:
    """The folders in which something was or is being done, by key."""
    found: dict[str, list[Path]] = {}
    for job in sorted(dataset_dir(dataset).glob(f"*/{JOB_FILE}")):
        found.setdefault(job.parent.name.removesuffix(_NEXT), []).append(job.parent)
    return found


def clean_dir(folder: Path) -> None:
    """Remove a folder of run files, and the dataset's folder with its last."""
    shutil.rmtree(folder, ignore_errors=True)
    if folder.parent.is_dir() and not any(folder.parent.iterdir()):
        folder.parent.rmdir()


def move_dir(old: Path, new: Path) -> None:
    """Put a folder of run files in the place of another."""
    if old == new:
        return
    shutil.rmtree(new, ignore_errors=True)
    if old.is_dir():
        old.replace(new)


def fields_of(dataset: fo.Dataset, key: str) -> FieldNames:
    """Where the values of a stored run lie."""
    return FieldNames(key, header_of(dataset, key)[0].patches_field)
