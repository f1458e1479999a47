"""Progress without printing: the loop tells an ``Observer``, and the observer decides.

The same protocol carries cancellation back: the loop asks ``cancelled()`` between batches.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from fiftyone_deepcluster.core.arguments import short
from fiftyone_deepcluster.errors import InputError

if TYPE_CHECKING:
    from fiftyone_deepcluster.core.record import Round

PREPARING = ("decode", "embeddings")
"""Phases before the first round."""
CLOSING = ("baselines", "write", "brain")
"""Phases after the last."""

_ROUNDS_LOOKED_BACK = 3


@runtime_checkable
class Observer(Protocol):
    """Told what happens while images are read, clustered and learned from."""

    def phase(self, name: str, total: int) -> None:
        """A phase begins (``decode``, ``embed``, ``cluster``, ``train`` ...) with ``total`` steps."""

    def advance(self, steps: int) -> None:
        """``steps`` more steps of the current phase are done."""

    def round_done(self, entry: Round, rounds: int) -> None:
        """A round is complete; ``rounds`` are planned in all."""

    def cancelled(self) -> bool:
        """Whether the run should stop at the next batch."""
        ...


def check_observer(observer: Any) -> None:
    """Raise InputError unless the value can be told of progress, or is None."""
    if isinstance(observer, type) or not isinstance(observer, Observer | None):
        raise InputError(
            f"observer={short(observer)} cannot be told of progress; give an object with phase, advance, "
            "round_done and cancelled, or None"
        )


class Silent:
    """Hears everything, says nothing, never cancels."""

    def phase(self, name: str, total: int) -> None:
        """Ignore."""

    def advance(self, steps: int) -> None:
        """Ignore."""

    def round_done(self, entry: Round, rounds: int) -> None:
        """Ignore."""

    def cancelled(self) -> bool:
        """Never."""
        return False


class Fanout:
    """Tells several observers; cancels when any of them does."""

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._observers = tuple(observers)

    def phase(self, name: str, total: int) -> None:
        """Pass on."""
        for observer in self._observers:
            observer.phase(name, total)

    def advance(self, steps: int) -> None:
        """Pass on."""
        for observer in self._observers:
            observer.advance(steps)

    def round_done(self, entry: Round, rounds: int) -> None:
        """Pass on."""
        for observer in self._observers:
            observer.round_done(entry, rounds)

    def cancelled(self) -> bool:
        """Whether any observer wants to stop."""
        return any(observer.cancelled() for observer in self._observers)


class Tqdm:
    """A progress bar on stderr, one line a round, and how long the rest may take.

    Args:
        rounds: planned; where it is not given, the first round's end tells.
    """

    def __init__(self, rounds: int | None = None) -> None:
        self._bar = None
        self._rounds = rounds
        self._done = 0
        self._spent: deque[float] = deque(maxlen=_ROUNDS_LOOKED_BACK)
        self._began = time.monotonic()
        self._preparing = False

    def phase(self, name: str, total: int) -> None:
        """Begin a new bar."""
        from tqdm.auto import tqdm

        self.close()
        if self._preparing:  # what happens once says nothing of how long a round takes
            self._began = time.monotonic()
        self._preparing = name in PREPARING
        self._bar = tqdm(total=total, desc=self._title(name), leave=False, dynamic_ncols=True)
        self._report_rest()

    def advance(self, steps: int) -> None:
        """Move the bar."""
        if self._bar is not None:
            self._report_rest()
            self._bar.update(steps)

    def round_done(self, entry: Round, rounds: int) -> None:
        """Write the round's line above the bar."""
        from tqdm.auto import tqdm

        self.close()
        now = time.monotonic()
        self._spent.append(now - self._began)
        self._began, self._done, self._rounds = now, entry.index + 1, rounds
        tqdm.write(entry.line(rounds))

    def cancelled(self) -> bool:
        """Never: Ctrl-C is an exception."""
        return False

    def close(self) -> None:
        """Remove the bar."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def seconds_left(self) -> float | None:
        """Until the last planned round is done, if it takes as long as the last few; None: nobody knows.

        A run that settles ends sooner.
        """
        if not self._spent or self._rounds is None:
            return None
        usual = sum(self._spent) / len(self._spent)
        under_way = max(0.0, usual - (time.monotonic() - self._began))
        return under_way + usual * (self._rounds - self._done - 1) if self._done < self._rounds else 0.0

    def _title(self, name: str) -> str:
        if name in (*PREPARING, *CLOSING) or (self._rounds is not None and self._done >= self._rounds):
            return name
        planned = "" if self._rounds is None else f" of {self._rounds}"
        return f"round {self._done + 1}{planned} · {name}"

    def _report_rest(self) -> None:
        left = self.seconds_left()
        if left and self._bar is not None:
            self._bar.set_postfix_str(f"about {duration_text(left)} to go", refresh=False)


def duration_text(seconds: float) -> str:
    """A length of time as a person says it: ``40 s``, ``3 min``, ``2 h 5 min``."""
    if seconds < 100:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"


class Stopwatch:
    """An observer that passes on what it hears, and adds up the seconds of every phase."""

    def __init__(self, listener: Observer) -> None:
        self.listener = listener
        self._seconds: dict[str, float] = {}
        self._phase: str | None = None
        self._since = time.perf_counter()

    def phase(self, name: str, total: int) -> None:
        """A phase begins, so the last one is over."""
        self._turn(name)
        self.listener.phase(name, total)

    def advance(self, steps: int) -> None:
        """Pass on."""
        self.listener.advance(steps)

    def round_done(self, entry: Round, rounds: int) -> None:
        """Pass on."""
        self.listener.round_done(entry, rounds)

    def cancelled(self) -> bool:
        """Pass on."""
        return self.listener.cancelled()

    def lap(self) -> dict[str, float]:
        """Seconds by phase since the last lap."""
        self._turn(None)
        seconds, self._seconds = self._seconds, {}
        return seconds

    def _turn(self, name: str | None) -> None:
        now = time.perf_counter()
        if self._phase is not None:
            self._seconds[self._phase] = self._seconds.get(self._phase, 0.0) + now - self._since
        self._phase, self._since = name, now
