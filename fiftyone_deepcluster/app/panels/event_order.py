"""Serialize the events of an open panel.

The App sends events while responses to earlier ones are pending: a dropdown sends its value as soon as it is
rendered, a timer ticks, the user clicks. Each event carries the panel's state as known to the browser, and each
response renders the whole panel, so a late response to an early event would revert what a click has just changed.
Here the events of a panel are handled one after another, and each is rendered with the changes of the state that
the browser had not received when it sent the event.
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

STATE_TIME = "state_time"
_MAX_RESPONSE_SECONDS = 60.0  # maximum response time; older unconfirmed changes are dropped
_PANELS = 256  # maximum number of open panels to track
_MICROSECONDS = 1_000_000


@dataclass
class PanelEvents:
    """Event queue of one open panel.

    Attributes:
        lock: held by the event being handled.
        waiting: number of events that wait for the lock.
        changes: state changes that the browser may not have received, by time in microseconds.
    """

    lock: threading.Lock = field(default_factory=threading.Lock)
    waiting: int = 0
    changes: dict[int, dict[str, Any]] = field(default_factory=dict)

    @property
    def last(self) -> bool:
        """Whether no other event is waiting, so that the current one has to render the panel."""
        return self.waiting == 0

    def catch_up(self, ctx: foo.ExecutionContext) -> None:
        """Apply the changes to the state that the browser had not received when it sent the event."""
        for change in self.changes.values():
            for path, value in change.items():
                *parents, name = path.split(".")
                place = ctx.panel_state
                for parent in parents:
                    place = place.setdefault(parent, {})
                place[name] = value

    def forget_received(self, known: int) -> None:
        """Drop changes that the browser has received (up to time ``known``) or will never receive."""
        oldest = max(known, int((time.time() - _MAX_RESPONSE_SECONDS) * _MICROSECONDS))
        self.changes = {when: change for when, change in self.changes.items() if when > oldest}


_OPEN: OrderedDict[tuple[str, str], PanelEvents] = OrderedDict()
_OPENING = threading.Lock()


def _events(ctx: foo.ExecutionContext) -> PanelEvents:
    panel = (str(ctx.dataset_name), str(ctx.panel_id))
    with _OPENING:
        events = _OPEN.setdefault(panel, PanelEvents())
        _OPEN.move_to_end(panel)
        while len(_OPEN) > _PANELS:
            _OPEN.popitem(last=False)
        return events


@contextmanager
def wait_for_earlier(ctx: foo.ExecutionContext) -> Iterator[PanelEvents]:
    """Wait until earlier events of the panel are handled; hold the panel's lock inside the block."""
    events = _events(ctx)
    with _OPENING:
        events.waiting += 1
    with events.lock:
        with _OPENING:
            events.waiting -= 1
        if ctx.params.get("__method__") == "on_load":  # rendered from scratch with the browser's state
            events.changes.clear()
        events.forget_received(int(ctx.panel.get_state(STATE_TIME) or 0))
        yield events


def change_state(ctx: foo.ExecutionContext, change: dict[str, Any]) -> None:
    """Change the panel's state in the browser, and keep the change until the browser has confirmed it.

    Args:
        ctx: context of the event being handled.
        change: new values by path, such as ``{"edits.rename.name": ""}``.
    """
    now = time.time_ns() * _MICROSECONDS // 1_000_000_000
    _events(ctx).changes[now] = change
    ctx.panel.set_state({**change, STATE_TIME: now})
