"""One run per key and dataset at a time: a lock in FiftyOne's execution store.

A lock is taken over where its process is gone or its heartbeat has stopped.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import TracebackType

    import fiftyone as fo


@dataclass(frozen=True)
class Holder:
    """The process that holds a lock.

    Attributes:
        token: tells two runs of one process apart.
        pid: of the process.
        host: where it runs.
        since: seconds since the epoch when the lock was taken.
        heartbeat: seconds since the epoch of the last sign of life.
    """

    token: str
    pid: int
    host: str
    since: float
    heartbeat: float

    def alive(self) -> bool:
        """Whether the process is known to be at work."""
        raise NotImplementedError


class Lock:
    """The right to work on one key of one dataset; a context manager. ``acquire`` makes it."""

    def __enter__(self) -> Lock:
        raise NotImplementedError

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        raise NotImplementedError

    def check(self) -> None:
        """Raise RunLockedError where another process has taken the lock over."""
        raise NotImplementedError

    def release(self) -> None:
        """Give the lock back; twice is harmless."""
        raise NotImplementedError


def acquire(dataset: fo.Dataset, key: str) -> Lock:
    """Take the lock of a key.

    Raises:
        RunLockedError: another run of this key is alive; says where, since when, and how to clear it.
    """
    raise NotImplementedError


def holder(dataset: fo.Dataset, key: str) -> Holder | None:
    """Who holds the lock of a key, None where it is free."""
    raise NotImplementedError


def clear(dataset: fo.Dataset, key: str) -> bool:
    """Remove the lock of a key whoever holds it. Returns whether there was one."""
    raise NotImplementedError
