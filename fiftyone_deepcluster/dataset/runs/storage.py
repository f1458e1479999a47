"""Storage of a run in the database: a plain FiftyOne custom run. ``run_files`` has its files.

The config of the custom run holds the header; its results hold the record. Both are JSON without references to
classes of this package, so the dataset can be opened where the package is not installed.
"""

from __future__ import annotations

import threading
import uuid
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from fiftyone_deepcluster import __version__
from fiftyone_deepcluster.core import arguments
from fiftyone_deepcluster.core.record import RunRecord
from fiftyone_deepcluster.dataset.io.fields import FieldNames
from fiftyone_deepcluster.errors import RunExistsError, RunNotFoundError

if TYPE_CHECKING:
    from datetime import datetime

    import fiftyone as fo
    from pydantic import BaseModel

    from fiftyone_deepcluster.dataset.io.layouts import RunKind
    from fiftyone_deepcluster.dataset.io.source import SampleSource

PACKAGE = "fiftyone_deepcluster"
AGAIN = "cluster again with overwrite=True (under another key if the run has edits)"
"""Way out for a run whose files are lost, in messages."""
AUDIT_METHOD = "label_audit"
"""Method in the header of a label audit."""
_LONGEST_VIEW = 15_000_000  # bytes

_READING = threading.Lock()
"""FiftyOne shares one open file per run between threads: if two seek and read at once, one reads nothing."""


def new_uid() -> str:
    """A new unique id."""
    return uuid.uuid4().hex


@dataclass(frozen=True)
class RunHeader:
    """Config of a stored run.

    Attributes:
        method: name of the method.
        options: options as given, by name.
        settings: other arguments of the call, as in ``CheckedCall``, or of ``audit_labels``.
        patches_field: Detections field whose objects were clustered, or None.
        n_samples: number of images, including unreadable ones.
        uid: unique id of the run; unchanged by renaming.
        version: version of the package that stored the run.
    """

    method: str
    options: dict[str, object]
    settings: dict[str, object]
    patches_field: str | None
    n_samples: int
    uid: str = field(default_factory=new_uid)
    version: str = __version__


def register_run(source: SampleSource, key: str, header: RunHeader, record: BaseModel) -> None:
    """Store a run; the caller must have checked that the key is free."""
    samples = storable(source.samples)
    config = samples.init_run(package=PACKAGE, **asdict(header))
    samples.register_run(key, config)
    results = samples.init_run_results(key, record=record.model_dump(mode="json"))
    samples.save_run_results(key, results)


def replace_record(dataset: fo.Dataset, key: str, record: dict[str, Any]) -> None:
    """Replace the record of a stored run by JSON values; the old one is deleted later than in FiftyOne: at the end."""
    from bson import json_util
    from fiftyone.core.odm import get_db_conn

    results = dataset.init_run_results(key, record=record)
    content = json_util.dumps(results.serialize()).encode()
    with _READING:
        document = _documents(dataset)[key]
        document.reload()  # another process may have replaced it
        files, old = document.results.fs, document.results.grid_id
        new = files.put(content, content_type="application/json")
        get_db_conn().runs.update_one({"_id": document.id}, {"$set": {"results": new}})
        document.reload()
        files.delete(old)


def look_again(dataset: fo.Dataset) -> None:
    """Reload the dataset if another process has stored, replaced or deleted runs since. One query if not."""
    from fiftyone.core.odm import get_db_conn

    own = {"_dataset_id": dataset._doc.id, "config.package": PACKAGE}
    found = get_db_conn().runs.find(own, {"key": 1, "results": 1})
    stored = {(each["key"], each["_id"], each.get("results")) for each in found}
    if stored != {(key, each.id, each.results.grid_id) for key, each in own_documents(dataset).items()}:
        dataset.reload()


def storable(samples: fo.core.collections.SampleCollection) -> fo.core.collections.SampleCollection:
    """The collection, or its dataset where FiftyOne cannot store the view with a run.

    FiftyOne stores the stages of a view in one document of MongoDB, 16 MB at most: about 600,000 selected ids.
    """
    import fiftyone as fo
    from bson import json_util

    if isinstance(samples, fo.Dataset):
        return samples
    fits = sum(len(json_util.dumps(stage)) for stage in samples._serialize()) < _LONGEST_VIEW
    return samples if fits else samples._root_dataset


def header_of(dataset: fo.Dataset, key: str, kind: RunKind = "clusters") -> tuple[RunHeader, datetime]:
    """Config of a stored run, and the time it was stored (UTC).

    Raises:
        RunNotFoundError: no run of this kind under this key; the existing keys are listed.
    """
    if key not in keys(dataset, kind):
        dataset.reload()  # another process may have stored it since
    if key not in keys(dataset, kind):
        raise no_such_run(dataset, key, kind)
    info = dataset.get_run_info(key)
    names = RunHeader.__dataclass_fields__
    return RunHeader(**{name: getattr(info.config, name) for name in names}), info.timestamp


def no_such_run(dataset: fo.Dataset, key: str, kind: RunKind = "clusters") -> RunNotFoundError:
    """Error for a missing run, which lists the existing runs."""
    known = keys(dataset, kind)
    what, many = ("deep-clustering run", "runs") if kind == "clusters" else ("label audit", "audits")
    there = f"choose one of: {', '.join(known)}" if known else f"it has no {many} yet"
    return RunNotFoundError(f"{dataset.name!r} has no {what} {arguments.short(key)}; {there}")


def run_exists(dataset: fo.Dataset, key: str) -> RunExistsError:
    """Error for a key under which a run is stored that may not be replaced."""
    return RunExistsError(
        f"{dataset.name!r} already has a run {key!r}; choose another key, or overwrite=True to replace it "
        "unless it has edits"
    )


def in_database(dataset: fo.Dataset) -> bool:
    """Whether a dataset still exists: another process may have deleted it, or deleted and created it again."""
    from fiftyone.core.odm import get_db_conn

    if dataset.deleted:
        return False
    return get_db_conn().datasets.find_one({"_id": dataset._doc.id}, {"_id": 1}) is not None


def record_of(dataset: fo.Dataset, key: str) -> RunRecord:
    """Record of a stored clustering run."""
    return RunRecord.model_validate(raw_record(dataset, key))


def raw_record(dataset: fo.Dataset, key: str) -> dict[str, Any]:
    """Record of a stored run as JSON values.

    Raises:
        RunNotFoundError: another process has just deleted the run.
    """
    from gridfs.errors import GridFSError

    kind = kind_of(_documents(dataset)[key])
    with _READING:
        try:
            return _read_record(dataset, key)
        except (AttributeError, GridFSError):
            # another process has just replaced the record, or deleted the run
            dataset.reload()
            if key not in keys(dataset, kind):
                raise no_such_run(dataset, key, kind) from None
            return _read_record(dataset, key)


def _read_record(dataset: fo.Dataset, key: str) -> dict[str, Any]:
    found: dict[str, Any] = dataset.load_run_results(key, cache=False, load_view=False).record
    return found


def keys(dataset: fo.Dataset, kind: RunKind = "clusters") -> list[str]:
    """Keys of this package's runs, oldest first; without those whose record, which is written last, is missing."""
    found = {
        key: document
        for key, document in own_documents(dataset).items()
        if document.results and kind_of(document) == kind
    }
    return sorted(found, key=lambda key: found[key].timestamp)


def kind_of(document: Any) -> RunKind:
    """Kind of the run of a document."""
    return "audit" if document.config.get("method") == AUDIT_METHOD else "clusters"


def is_there(document: Any) -> bool:
    """Whether the document of a run is still in the database: another process may have deleted it."""
    from fiftyone.core.odm import get_db_conn

    return get_db_conn().runs.find_one({"_id": document.id}, {"_id": 1}) is not None


def is_stored(dataset: fo.Dataset, key: str, uid: str | None = None, kind: RunKind = "clusters") -> bool:
    """Whether a run, or the run with this id, is stored with its record."""
    return key in keys(dataset, kind) and uid in (None, own_documents(dataset)[key].config.get("uid"))


def key_of_run(dataset: fo.Dataset, uid: str) -> str | None:
    """Key of the stored run with this id; None if there is none."""
    look_again(dataset)
    return next((key for key, each in own_documents(dataset).items() if each.config.get("uid") == uid), None)


def rename_record(dataset: fo.Dataset, key: str, new_key: str) -> None:
    """Give the record of a run another key; nothing if that is done."""
    if dataset.has_run(key):
        dataset.rename_run(key, new_key)


def unregister(dataset: fo.Dataset, key: str) -> None:
    """Delete the record of a run, if there is one."""
    drop_dangling(dataset, dataset._doc.runs, key)
    if dataset.has_run(key):
        dataset.delete_run(key)


def drop_dangling(dataset: fo.Dataset, documents: Any, key: str) -> None:
    """Remove a reference to a document that was deleted: FiftyOne deletes documents before their references."""
    from bson import DBRef

    if isinstance(documents.get(key), DBRef):
        del documents[key]
        dataset.save()


def _documents(dataset: fo.Dataset) -> dict[str, Any]:
    """Documents of all custom runs by key."""
    from bson import DBRef

    return {key: found for key, found in dataset._doc.runs.items() if not isinstance(found, DBRef)}


def own_documents(dataset: fo.Dataset) -> dict[str, Any]:
    """Documents of this package's runs by key."""
    return {key: each for key, each in _documents(dataset).items() if each.config.get("package") == PACKAGE}


def fields_of(dataset: fo.Dataset, key: str, kind: RunKind = "clusters") -> FieldNames:
    """Field names of a stored run."""
    return FieldNames(key, header_of(dataset, key, kind)[0].patches_field, kind)
