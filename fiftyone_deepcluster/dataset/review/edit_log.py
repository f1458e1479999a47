"""The log of user edits, with the previous value of every changed image, so that each edit can be undone.

An edit is one entry and several chunks of old values, as text: FiftyOne sends the values of its execution store to
browsers as JSON, and stores at most 16 MB under one key.

The entry is stored before anything is changed, and has the state of the edit: after a crash, the next process can
complete or undo it. The run itself lists the edits in effect, because a clone of the dataset has the run, but not the
execution store: the clone copies the log from the dataset that has it.
"""

from __future__ import annotations

import dataclasses
import getpass
import time
import uuid
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Literal

from fiftyone_deepcluster.dataset.review.old_values import Old, pack, unpack
from fiftyone_deepcluster.dataset.runs.database import until_kept
from fiftyone_deepcluster.dataset.runs.kv import drop, find, find_everywhere, run_store

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import fiftyone as fo
    from bson import ObjectId

EditState = Literal["begun", "made", "undoing", "undone", "dropped"]
"""``begun`` and ``undoing`` are states of an edit or undo in progress, or of one whose process died. An undone edit can
be redone until the next edit is made, which drops it."""

_STANDING = "edits"  # in the config of the run: the edits that are not undone, as "number:token"


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
        n_kept: number of images that an undo left unchanged, because their value was changed after the edit.
        clusters: names of the clusters that it changed, created or removed.
    """

    number: int
    verb: str
    text: str
    who: str
    when: datetime
    n_changed: int
    undone: bool
    n_kept: int = 0
    clusters: tuple[str, ...] = ()


@dataclass(frozen=True)
class Entry:
    """An edit as stored.

    Attributes:
        verb: ``rename``, ``merge``, ``label`` ...
        text: description of the edit.
        written: the names or labels that the edit writes; ``Old.which`` says which of them an image gets.
        value: name of the run's value that is changed (``label``), or "".
        field: user field that is changed, or "".
        made_field: whether the edit creates that field.
        names: for an edit of the run's labels: number of each cluster that gets another name -> its name before.
        joins: number of such a cluster -> index of its new name in ``written``; 0 if missing.
        marked: names of clusters that the edit marks as reviewed.
        unmarked: names of clusters that it marks as not reviewed.
        clusters: names of the clusters that it changes, creates or removes.
        number: number of the edit, from 1.
        token: unique id of the edit, which a clone of the dataset shares.
        who: user name.
        when: time of the edit, seconds since the epoch.
        n_changed: number of images changed.
        chunks: number of chunks of old values.
        state: state of the edit.
        n_kept: number of images that an undo left unchanged.
    """

    verb: str
    text: str
    written: list[str] = dataclasses.field(default_factory=list)
    value: str = ""
    field: str = ""
    made_field: bool = False
    names: dict[str, str] = dataclasses.field(default_factory=dict)
    joins: dict[str, int] = dataclasses.field(default_factory=dict)
    marked: list[str] = dataclasses.field(default_factory=list)
    unmarked: list[str] = dataclasses.field(default_factory=list)
    clusters: list[str] = dataclasses.field(default_factory=list)
    number: int = 0
    token: str = ""
    who: str = ""
    when: float = 0.0
    n_changed: int = 0
    chunks: int = 0
    state: EditState = "begun"
    n_kept: int = 0

    @property
    def undone(self) -> bool:
        """Whether the edit was undone."""
        return self.state in ("undone", "dropped")

    def shown(self) -> Edit:
        """The entry as shown to users."""
        when = datetime.fromtimestamp(self.when, timezone.utc)
        return Edit(
            self.number,
            self.verb,
            self.text,
            self.who,
            when,
            self.n_changed,
            self.undone,
            self.n_kept,
            tuple(self.clusters),
        )


@dataclass(frozen=True)
class LogState:
    """The log as it was read, once.

    Attributes:
        entries: all entries, oldest first.
        lost: numbers of edits in effect whose log could not be copied to this clone of the dataset.
    """

    entries: tuple[Entry, ...]
    lost: tuple[int, ...] = ()

    @property
    def version(self) -> int:
        """A number that changes with every edit, undo and redo."""
        states = [(entry.number, entry.token, entry.state) for entry in self.entries]
        return zlib.crc32(repr(states).encode())

    @property
    def next_undo(self) -> Edit | None:
        """The edit that would be undone."""
        return next((entry.shown() for entry in reversed(self.entries) if not entry.undone), None)

    @property
    def next_redo(self) -> Edit | None:
        """The edit that would be redone."""
        return next((entry.shown() for entry in self.entries if entry.state == "undone"), None)

    def noting(self, entry: Entry) -> LogState:
        """The state with an entry that was stored since."""
        others = [known for known in self.entries if known.number != entry.number]
        return replace(self, entries=tuple(sorted([*others, entry], key=lambda known: known.number)))


class EditLog:
    """The edits of one run.

    Args:
        dataset: dataset of the run.
        uid: unique id of the run; unchanged by renaming and cloning.
        user: user name for new entries; the system user by default.
    """

    def __init__(self, dataset: fo.Dataset, uid: str, user: str | None = None) -> None:
        self._dataset = dataset
        self._uid = uid
        self._prefix = f"edit:{uid}:"
        self._user = user or _system_user()
        self._known: LogState | None = None
        self._check: Callable[[], None] = lambda: None

    def state(self) -> LogState:
        """The log. In a clone, entries that are missing are copied from the other dataset."""
        return self._known or self._read()

    @contextmanager
    def held(self, check: Callable[[], None]) -> Iterator[None]:
        """Read the log once for the block: the caller holds the lock of the run, so nobody else writes to the log.

        Args:
            check: raises if somebody has taken over the lock; called before an edit gets its number.
        """
        self._known, self._check = self._read(), check
        try:
            yield
        finally:
            self._known, self._check = None, lambda: None

    def entries(self) -> list[Entry]:
        """All entries, oldest first."""
        return list(self.state().entries)

    def begin(self, draft: Entry, olds: Sequence[Old]) -> Entry:
        """Log an edit before it is carried out; the log is then on disk.

        Args:
            draft: the entry without number, token, who, when, and chunks.
            olds: current values of all images that will change.
        """
        state = self.state()
        self._check()
        numbers = [*(entry.number for entry in state.entries), *state.lost]
        entry = replace(
            draft,
            number=max(numbers, default=0) + 1,
            token=uuid.uuid4().hex,
            who=self._user,
            when=time.time(),
            n_changed=len(olds),
        )

        def store() -> Entry:
            for undone in state.entries:
                if undone.state == "undone":
                    self.note(replace(undone, state="dropped"))
            drop(self._dataset, rf"^{self._prefix}{entry.number}:\d+$")  # of a process that died here
            return self._add_olds(entry, olds)

        return until_kept(self._dataset, store)

    def join(self, images: Sequence[tuple[ObjectId, ObjectId]], clusters: Sequence[int]) -> None:
        """Add images that are assigned after edits, so that undoing and redoing the edits includes them.

        Args:
            images: sample id and image id of each image.
            clusters: number of the cluster of each image.
        """
        rows = [(image, str(number)) for image, number in zip(images, clusters, strict=True)]
        for entry in self.entries():
            if entry.state == "dropped":
                continue
            olds = [
                Old(*image, entry.names[number], entry.joins.get(number, 0))
                for image, number in rows
                if number in entry.names
            ]
            self._add_olds(entry, olds)

    def note(self, entry: Entry) -> Entry:
        """Store an entry; old values of an edit that cannot be redone are deleted."""
        if entry.state == "dropped":
            entry = replace(entry, chunks=0)
        run_store(self._dataset).set(f"{self._prefix}{entry.number}", asdict(entry))
        self._list(entry)
        if entry.state == "dropped":
            drop(self._dataset, rf"^{self._prefix}{entry.number}:\d+$")
        if self._known is not None:
            self._known = self._known.noting(entry)
        return entry

    def olds(self, entry: Entry) -> Iterator[list[Old]]:
        """Values of the images before the edit, one chunk at a time."""
        store = run_store(self._dataset)
        for chunk in range(entry.chunks):
            yield unpack(store.get(f"{self._prefix}{entry.number}:{chunk}"))

    def _add_olds(self, entry: Entry, olds: Sequence[Old]) -> Entry:
        """Add chunks of old values to an entry, and store it."""
        store, chunks = run_store(self._dataset), entry.chunks
        for text in pack(olds):
            store.set(f"{self._prefix}{entry.number}:{chunks}", text)
            chunks += 1
        return self.note(replace(entry, chunks=chunks))

    def _read(self) -> LogState:
        found, standing = self._found(), self._standing()
        missing = [(number, token) for number, token in standing if number not in found]
        copied = [self._copy_from_original(number, token) for number, token in missing]
        if any(copied):
            found = self._found()
        known = {(entry.number, entry.token) for entry in found.values()}
        lost = sorted(number for number, token in standing if (number, token) not in known)
        return LogState(tuple(found[number] for number in sorted(found)), tuple(lost))

    def _found(self) -> dict[int, Entry]:
        values = find(self._dataset, rf"^{self._prefix}\d+$").values()
        entries = [Entry(**value) for value in values]
        return {entry.number: entry for entry in entries}

    def _copy_from_original(self, number: int, token: str) -> bool:
        """Copy an edit from another dataset that has this run, of which this one is a clone, or the other way round.

        Returns:
            Whether its entry and all its old values were found.
        """
        name = f"{self._prefix}{number}"
        for dataset_id, values in find_everywhere(rf"^{name}(:\d+)?$").items():
            value = values.get(name)
            if dataset_id == self._dataset._doc.id or value is None or value["token"] != token:
                continue
            chunks = [f"{name}:{chunk}" for chunk in range(value["chunks"])]
            if value["state"] in ("undone", "dropped") or not values.keys() >= set(chunks):
                continue
            if value["state"] == "undoing":  # in the other dataset; here the edit is in effect
                value["state"] = "made"
            for key in [*chunks, name]:
                run_store(self._dataset).set(key, values[key])
            return True
        return False

    def _standing(self) -> list[tuple[int, str]]:
        """Number and token of each edit in effect, according to the run."""
        from fiftyone.core.odm import get_db_conn

        document = get_db_conn().runs.find_one(self._run(), {f"config.{_STANDING}": 1}) or {}
        pairs = (text.split(":") for text in document.get("config", {}).get(_STANDING, []))
        return [(int(number), token) for number, token in pairs]

    def _list(self, entry: Entry) -> None:
        """List an edit in the run, or remove it from the list if it is undone."""
        from fiftyone.core.odm import get_db_conn

        change = "$pull" if entry.undone else "$addToSet"
        text = f"{entry.number}:{entry.token}"
        get_db_conn().runs.update_one(self._run(), {change: {f"config.{_STANDING}": text}})

    def _run(self) -> dict[str, object]:
        return {"_dataset_id": self._dataset._doc.id, "config.uid": self._uid}


def forget_edits(dataset: fo.Dataset, uid: str) -> None:
    """Remove the log of a run."""
    drop(dataset, rf"^edit:{uid}:")


def _system_user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):  # in a container, the user may have no name
        return "unknown"
