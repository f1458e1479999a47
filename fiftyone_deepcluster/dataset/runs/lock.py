"""One run per key and dataset at a time: a lock in FiftyOne's execution store.

A thread writes a heartbeat every few seconds. A lock is taken over if its process has ended (detected on the
same host) or its heartbeat is too old (detected on any host), as after a power cut.
"""

from __future__ import annotations

import logging
import os
import platform
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from fiftyone_deepcluster.dataset.runs.database import OUTAGES
from fiftyone_deepcluster.dataset.runs.job_names import in_words, is_run
from fiftyone_deepcluster.dataset.runs.kv import delete_lock, run_store
from fiftyone_deepcluster.errors import RunLockedError

if TYPE_CHECKING:
    from types import TracebackType

    import fiftyone as fo

logger = logging.getLogger(__name__)

_HEARTBEAT_SECONDS = 10.0
_DEAD_AFTER_SECONDS = 180.0
_WAIT_SECONDS = _DEAD_AFTER_SECONDS + 60
"""Longer, so that the lock of a process that died on another host is taken over meanwhile."""
_POLL_SECONDS = 0.05

_HELD: set[str] = set()
"""Tokens of the locks that this process holds or is acquiring."""


@dataclass(frozen=True)
class Holder:
    """The process that holds a lock.

    Attributes:
        token: unique id, which distinguishes two locks of one process.
        pid: id of the process.
        born: start time of the process, seconds since the epoch, because a pid can be reused.
        host: host name.
        since: time when the lock was acquired, seconds since the epoch.
        heartbeat: time of the last heartbeat, seconds since the epoch.
    """

    token: str
    pid: int
    born: float
    host: str
    since: float
    heartbeat: float

    def alive(self) -> bool:
        """Whether the process is alive, or must be assumed to be alive."""
        if time.time() - self.heartbeat > _DEAD_AFTER_SECONDS:
            return False
        return self.host != platform.node() or _start_time(self.pid) == self.born

    def __str__(self) -> str:
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(self.since))
        return f"process {self.pid} on {self.host}, since {since}"


class RunLock:
    """Lock on one key of one dataset; a context manager, created by ``acquire``."""

    def __init__(self, dataset: fo.Dataset, key: str, own: Holder) -> None:
        self._dataset = dataset
        self._store = run_store(dataset)
        self._name = _lock_name(key)
        self._key = key
        self._outage = dataset._doc.id, key
        self._holder = own
        self._lost = False
        self._stop = threading.Event()
        self._thread = threading.Thread(
            target=self._send_heartbeats, name=f"deepcluster lock {key}", daemon=True
        )
        self._thread.start()

    def __enter__(self) -> RunLock:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def check(self) -> None:
        """Raise RunLockedError if another process has taken over the lock."""
        if self._lost:
            raise RunLockedError(
                f"the lock of {_named(self._key)} was taken over by another process, as after a pause of this one of "
                f"more than {_DEAD_AFTER_SECONDS / 60:.0f} minutes; nothing more is written. Look at what the other "
                "process has stored, then repeat the call"
            )

    def confirm(self) -> None:
        """``check`` according to the database, which knows it before the next heartbeat."""
        other = holder(self._dataset, self._key)
        self._lost = self._lost or other is None or other.token != self._holder.token
        self.check()

    def release(self) -> None:
        """Release the lock; can be called repeatedly. If the database does not respond, released once it does."""
        from pymongo.errors import PyMongoError

        if self._stop.is_set():
            return
        self._stop.set()
        self._thread.join()
        try:
            self._delete()
        except PyMongoError as error:
            OUTAGES.notice(self._outage, f"the lock of {_named(self._key)} is released once it does", error)
            threading.Thread(
                target=self._release_later, name=f"deepcluster lock {self._key}, late", daemon=True
            ).start()

    def _delete(self) -> None:
        delete_lock(self._dataset, self._name, self._holder.token)
        OUTAGES.over(self._outage)
        _HELD.discard(self._holder.token)

    def _release_later(self) -> None:
        from pymongo.errors import PyMongoError

        while True:
            try:  # the driver waits until the database responds
                self._delete()
                return
            except PyMongoError:
                time.sleep(_POLL_SECONDS)

    def _send_heartbeats(self) -> None:
        from pymongo.errors import PyMongoError

        while not self._stop.wait(_HEARTBEAT_SECONDS):
            now = replace(self._holder, heartbeat=time.time())
            try:
                kept = self._store.compare_and_set(self._name, asdict(self._holder), asdict(now))
            except PyMongoError as error:  # the next heartbeat may succeed
                OUTAGES.notice(self._outage, f"the work on {_named(self._key)} continues", error)
                continue
            OUTAGES.over(self._outage)
            if not kept:
                self._lost = True
                return
            self._holder = now


def acquire(dataset: fo.Dataset, key: str) -> RunLock:
    """Acquire the lock of a key.

    Raises:
        RunLockedError: a living process holds it; the message says where, since when, and how to clear it.
    """
    own = holder_of(os.getpid())
    _HELD.add(own.token)
    try:
        _store(dataset, key, own)
    except BaseException:
        _HELD.discard(own.token)
        raise
    return RunLock(dataset, key, own)


def _store(dataset: fo.Dataset, key: str, own: Holder) -> None:
    """Store the holder of a lock, unless another one uses it."""
    locks, name = run_store(dataset), _lock_name(key)
    while not locks.set_if_absent(name, asdict(own)):
        other = holder(dataset, key)
        if other is None:  # released in the meantime
            continue
        if not _in_use(other) and locks.compare_and_set(name, asdict(other), asdict(own)):
            logger.warning(
                "the lock of %s of %r is taken over from a process that died: %s",
                _named(key),
                dataset.name,
                other,
            )
            return
        raise _locked(dataset, key, other)


def in_use(stored: dict[str, Any] | None) -> bool:
    """Whether the lock whose stored value is given is held; None: there is none."""
    return stored is not None and _in_use(Holder(**stored))


def _in_use(found: Holder) -> bool:
    """Whether a lock is held. The release of a lock is lost if the database is killed within 100 ms."""
    here = found.host == platform.node() and found.pid == os.getpid() and found.born == _start_time(found.pid)
    return found.token in _HELD if here else found.alive()


def _locked(dataset: fo.Dataset, key: str, other: Holder) -> RunLockedError:
    instead = "; for a new run, choose another key" if is_run(key) else ""
    return RunLockedError(
        f"{_named(key)} of {dataset.name!r} is locked by {other}, which is working on it. Wait until it has finished, "
        f"or cancel it or end that process, then repeat the call{instead}"
    )


def _named(key: str) -> str:
    """What a lock is held for, for messages."""
    return f"key={key!r}" if is_run(key) else in_words(key)


@contextmanager
def wait_for(dataset: fo.Dataset, what: str, work: str) -> Iterator[None]:
    """Wait for a lock and hold it during the block, for short operations that must not run concurrently.

    Args:
        dataset: dataset that the operation changes.
        what: name of the lock; not an identifier, so that it differs from all keys.
        work: what processes do that hold it, for the message.

    Raises:
        RunLockedError: the lock was not released within four minutes.
    """
    try:
        held = acquire_within(dataset, what, _WAIT_SECONDS)
    except RunLockedError:
        other = holder(dataset, what)
        who = "" if other is None else f" ({other})"
        raise RunLockedError(
            f"another process is {work} of {dataset.name!r}{who}; wait until it has finished, then repeat the call"
        ) from None
    with held:
        yield


def acquire_within(dataset: fo.Dataset, key: str, seconds: float) -> RunLock:
    """Acquire the lock of a key, and wait some seconds for another holder.

    Raises:
        RunLockedError: it was not released in that time.
    """
    until = time.monotonic() + seconds
    while True:
        try:
            return acquire(dataset, key)
        except RunLockedError:
            if time.monotonic() > until:
                raise
            time.sleep(_POLL_SECONDS)


def holder_of(pid: int) -> Holder:
    """A process of this host as the holder of a new lock."""
    now = time.time()
    return Holder(uuid.uuid4().hex, pid, _start_time(pid), platform.node(), now, now)


def holder(dataset: fo.Dataset, key: str) -> Holder | None:
    """Holder of the lock of a key, None if it is free."""
    value = run_store(dataset).get(_lock_name(key))
    return None if value is None else Holder(**value)


def is_held(dataset: fo.Dataset, key: str) -> bool:
    """Whether a living process holds the lock of a key."""
    found = holder(dataset, key)
    return found is not None and _in_use(found)


def _lock_name(key: str) -> str:
    return f"lock:{key}"


def _start_time(pid: int) -> float:
    """Start time of a process of this host; 0 if it does not exist or is a zombie."""
    import psutil

    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return 0.0
        return float(process.create_time())
    except psutil.Error:
        return 0.0
