"""Kill points: the changes of the database and the file system that a process is about to make, counted.

``Points`` receives every write command before it is sent (from MongoDB's driver) and every file call before it is made
(Python's audit events), and calls ``at`` before one of them.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from pymongo import monitoring

if TYPE_CHECKING:
    from collections.abc import Callable

_WRITES = {
    "insert", "update", "delete", "findAndModify", "create", "createIndexes", "drop", "dropIndexes", "renameCollection",
}  # fmt: skip
_FILE_EVENTS = {"os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.truncate", "os.link", "os.symlink"}
_FOR_WRITING = os.O_WRONLY | os.O_RDWR


class Points(monitoring.CommandListener):
    """Counts changes once it is armed; made once in a process, before FiftyOne connects.

    Args:
        root: folder whose files count.
    """

    def __init__(self, root: str) -> None:
        self._root = root
        self._at: tuple[int, Callable[[], None]] | None = None
        self.seen: list[str] = []
        monitoring.register(self)
        sys.addaudithook(self._audit)

    def arm(self, number: int, act: Callable[[], None]) -> None:
        """Call ``act`` before change ``number``, from 0; the changes are listed in ``seen``."""
        self.seen, self._at = [], (number, act)

    def disarm(self) -> None:
        """Count no more."""
        self._at = None

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        """Called before a command is sent."""
        name = event.command_name
        merges = name == "aggregate" and any(
            {"$out", "$merge"} & set(step) for step in event.command["pipeline"]
        )
        if name in _WRITES or merges:
            self._count(f"{name} {event.command[name]}")

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        """Nothing to do."""

    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        """Nothing to do."""

    def _audit(self, event: str, values: tuple[Any, ...]) -> None:
        if self._at is None:
            return
        changes = event in _FILE_EVENTS or (event == "open" and bool((values[2] or 0) & _FOR_WRITING))
        # Files below a folder that is open are named alone; only folders of the runs are removed that way
        if changes and (str(values[0]).startswith(self._root) or not os.path.isabs(str(values[0]))):  # noqa: PTH117
            self._count(f"{event} {os.path.basename(str(values[0]))}")  # noqa: PTH119

    def _count(self, what: str) -> None:
        if self._at is None:
            return
        self.seen.append(what)
        number, act = self._at
        if len(self.seen) == number + 1:
            act()
