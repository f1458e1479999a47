"""End a command that runs until it is stopped, so that it closes what it has started."""

from __future__ import annotations

import os
import signal
from contextlib import contextmanager
from threading import Timer
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

_SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)  # Windows has no SIGHUP


@contextmanager
def interrupted_by_signals(again_after: float | None = None) -> Iterator[None]:
    """Let SIGTERM, and SIGHUP of a closed terminal, raise KeyboardInterrupt as Ctrl-C does; in the main thread only.

    Ctrl-C gets the same handler: FiftyOne runs operations with ``asyncio.run``, which since Python 3.11 converts the
    first Ctrl-C to a cancellation that waits for the operation to end, but does not replace a custom handler. A signal
    that is ignored, such as SIGHUP under ``nohup``, stays ignored.

    Args:
        again_after: seconds after which a signal is sent again if the block has not ended: an exception that is raised
            in a destructor, or in code that catches all, is lost.
    """
    timers: list[Timer] = []

    def interrupt(number: int, _frame: FrameType | None) -> None:
        if again_after is not None:
            timers.append(Timer(again_after, os.kill, (os.getpid(), number)))
            timers[-1].daemon = True
            timers[-1].start()
        raise KeyboardInterrupt

    before = {number: signal.getsignal(number) for number in _SIGNALS}
    changed = {number: handler for number, handler in before.items() if handler is not signal.SIG_IGN}
    for number in changed:
        signal.signal(number, interrupt)
    try:
        yield
    finally:
        for timer in timers:
            timer.cancel()
        for number, handler in changed.items():
            signal.signal(number, handler)
