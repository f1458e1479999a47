"""Order in the events of an open panel.

The App sends events while answers to earlier ones are still on their way: a menu tells of its value as
soon as it is drawn, a timer ticks, a person clicks. Each event carries the panel's state as the browser
knew it, and each answer draws the whole panel, so a late answer to an early event would undo on the
screen what a click has just changed. Here the events of a panel wait for each other, and every drawing
knows the changes that the browser had not heard of when it asked.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    import fiftyone.operators as foo

TURN = "turn"
_SECONDS_ON_THE_WAY = 60.0  # no answer takes longer; a change that was never heard of is let go
_PANELS = 256  # so many open panels are remembered
_MICROSECONDS = 1_000_000


@dataclass
class Turns:
    """Events of one open panel, one after another.

    Attributes:
        lock: held by the event that is being answered.
        waiting: number of events that have not had their turn yet.
        changes: of the state, by when they were made in microseconds, as far as a browser may not know them.
    """

    lock: threading.Lock = field(default_factory=threading.Lock)
    waiting: int = 0
    changes: dict[int, dict[str, Any]] = field(default_factory=dict)

    @property
    def last(self) -> bool:
        """Whether no other event waits, so that the one whose turn it is has to draw."""
        return self.waiting == 0

    def catch_up(self, ctx: foo.ExecutionContext) -> None:
        """Give the state the changes that the browser did not know of when it sent the event."""
        for change in self.changes.values():
            for path, value in change.items():
                *parents, name = path.split(".")
                place = ctx.panel_state
                for parent in parents:
                    place = place.setdefault(parent, {})
                place[name] = value

    def forget_what_is_known(self, known: int) -> None:
        """Let go of changes that the browser has made, or will never make."""
        oldest = max(known, int((time.time() - _SECONDS_ON_THE_WAY) * _MICROSECONDS))
        self.changes = {when: change for when, change in self.changes.items() if when > oldest}


_OPEN: OrderedDict[tuple[str, str], Turns] = OrderedDict()
_OPENING = threading.Lock()


def _turns(ctx: foo.ExecutionContext) -> Turns:
    panel = (str(ctx.dataset_name), str(ctx.panel_id))
    with _OPENING:
        turns = _OPEN.setdefault(panel, Turns())
        _OPEN.move_to_end(panel)
        while len(_OPEN) > _PANELS:
            _OPEN.popitem(last=False)
        return turns


@contextmanager
def take_turn(ctx: foo.ExecutionContext) -> Iterator[Turns]:
    """Wait until the panel's earlier events are answered; it is this event's turn inside the block."""
    turns = _turns(ctx)
    with _OPENING:
        turns.waiting += 1
    with turns.lock:
        with _OPENING:
            turns.waiting -= 1
        if ctx.params.get("__method__") == "on_load":  # drawn anew, from what the browser has
            turns.changes.clear()
        turns.forget_what_is_known(int(ctx.panel.get_state(TURN) or 0))
        yield turns


def change_state(ctx: foo.ExecutionContext, change: dict[str, Any]) -> None:
    """Change the panel's state in the browser, and remember it until the browser is known to have it.

    Args:
        ctx: of an event whose turn it is.
        change: new values by their paths, such as ``{"edits.rename.name": ""}``.
    """
    now = time.time_ns() * _MICROSECONDS // 1_000_000_000
    _turns(ctx).changes[now] = change
    ctx.panel.set_state({**change, TURN: now})
