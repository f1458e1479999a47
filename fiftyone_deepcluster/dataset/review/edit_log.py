"""The log of user edits, with the previous value of every changed image, so that each edit can be undone.

An edit is stored as one entry and several chunks of old values, because a value of the execution store
must stay below 16 MB.
"""

from __future__ import annotations

import getpass
import time
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from fiftyone_deepcluster.dataset.runs.kv import drop, find, run_store

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import fiftyone as fo
    from bson import ObjectId

_CHUNK = 20_000
_ID_BYTES = 12


@dataclass(frozen=True)
class Edit:
    """One entry of the log.

    Attributes:
        number: number of the edit, from 1.
        verb: ``rename``, ``merge``, ``label`` ...
        text: description of the edit.
        who: user name.
        when: time of the edit, UTC.
        n_changed: number of images changed.
        undone: whether the edit was undone.
    """

    number: int
    verb: str
    text: str
    who: str
    when: datetime
    n_changed: int
    undone: bool


@dataclass(frozen=True)
class Old:
    """Value of one image before an edit.

    Attributes:
        sample_id: id of the sample.
        image_id: id of the object; the sample id for whole images.
        value: value as stored in MongoDB; None if there was none.
    """

    sample_id: ObjectId
    image_id: ObjectId
    value: Any


@dataclass(frozen=True)
class Entry:
    """An edit as stored.

    Attributes:
        number: number of the edit, from 1.
        verb: ``rename``, ``merge``, ``label`` ...
        text: description of the edit.
        who: user name.
        when: time of the edit, seconds since the epoch.
        n_changed: number of images changed.
        undone: whether the edit was undone.
        chunks: number of chunks of old values.
        value: name of the run's value that was changed (``label``), or "".
        field: user field that was changed, or "".
        made_field: whether the edit created that field.
    """

    number: int
    verb: str
    text: str
    who: str
    when: float
    n_changed: int
    undone: bool
    chunks: int
    value: str = ""
    field: str = ""
    made_field: bool = False

    def shown(self) -> Edit:
        """The entry as shown to users."""
        when = datetime.fromtimestamp(self.when, timezone.utc)
        return Edit(self.number, self.verb, self.text, self.who, when, self.n_changed, self.undone)


class EditLog:
    """The edits of one run.

    Args:
        dataset: dataset of the run.
        uid: unique id of the run; unchanged by renaming.
        user: user name for new entries; the system user by default.
    """

    def __init__(self, dataset: fo.Dataset, uid: str, user: str | None = None) -> None:
        self._dataset = dataset
        self._prefix = f"edit:{uid}:"
        self._user = user or _system_user()

    def entries(self) -> list[Entry]:
        """All entries, oldest first."""
        found = find(self._dataset, rf"^{self._prefix}\d+$").values()
        return sorted((Entry(**value) for value in found), key=lambda entry: entry.number)

    def add(self, draft: Entry, olds: Sequence[Old]) -> Entry:
        """Log an edit before it is applied: if the process dies in between, undoing it is harmless.

        Args:
            draft: the entry without number, who, when, and chunks.
            olds: current values of all images that will change.
        """
        store = run_store(self._dataset)
        number = max((entry.number for entry in self.entries()), default=0) + 1
        starts = range(0, len(olds), _CHUNK)
        for chunk, start in enumerate(starts):
            store.set(f"{self._prefix}{number}:{chunk}", _pack(olds[start : start + _CHUNK]))
        entry = replace(draft, number=number, who=self._user, when=time.time(), chunks=len(starts))
        store.set(f"{self._prefix}{number}", asdict(entry))
        return entry

    def olds(self, entry: Entry) -> Iterator[list[Old]]:
        """Values of the images before the edit, one chunk at a time."""
        store = run_store(self._dataset)
        for chunk in range(entry.chunks):
            yield _unpack(store.get(f"{self._prefix}{entry.number}:{chunk}"))

    def mark_undone(self, entry: Entry) -> Entry:
        """Mark an edit as undone and delete its old values."""
        done = replace(entry, undone=True, chunks=0)
        run_store(self._dataset).set(f"{self._prefix}{entry.number}", asdict(done))
        drop(self._dataset, rf"^{self._prefix}{entry.number}:\d+$")
        return done


def forget_edits(dataset: fo.Dataset, uid: str) -> None:
    """Remove the log of a run."""
    drop(dataset, rf"^edit:{uid}:")


def _pack(olds: Sequence[Old]) -> dict[str, Any]:
    return {
        "samples": b"".join(old.sample_id.binary for old in olds),
        "images": b"".join(old.image_id.binary for old in olds),
        "values": [old.value for old in olds],
    }


def _unpack(chunk: dict[str, Any]) -> list[Old]:
    pairs = zip(_ids(chunk["samples"]), _ids(chunk["images"]), chunk["values"], strict=True)
    return [Old(sample, image, value) for sample, image, value in pairs]


def _ids(packed: bytes) -> list[ObjectId]:
    from bson import ObjectId

    return [ObjectId(packed[start : start + _ID_BYTES]) for start in range(0, len(packed), _ID_BYTES)]


def _system_user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):  # in a container, the user may have no name
        return "unknown"
