"""Progress reporting without printing: long-running code calls the methods of an ``Observer``.

The same protocol carries cancellation: ``cancelled()`` is polled between batches.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from fiftyone_deepcluster.core.arguments import short
from fiftyone_deepcluster.core.pace import CLOSING, PREPARING, Pace
from fiftyone_deepcluster.errors import CancelledError, InputError

if TYPE_CHECKING:
    from fiftyone_deepcluster.core.record import Round


@runtime_checkable
class Observer(Protocol):
    """Callbacks for the progress of decoding, clustering and training."""

    def phase(self, name: str, total: int) -> None:
        """Called when a phase (``decode``, ``embed``, ``cluster``, ``train``, ...) of ``total`` steps begins."""

    def advance(self, steps: int) -> None:
        """Called when ``steps`` more steps of the current phase are done."""

    def round_done(self, entry: Round, rounds: int) -> None:
        """Called when a round is complete; ``rounds`` is the total number planned."""

    def cancelled(self) -> bool:
        """Whether the run should stop at the next batch."""
        ...


def report_resumed(observer: Observer, entry: Round, rounds: int) -> None:
    """Call ``observer.resumed(entry, rounds)``, if it has the method: the run continues after the round ``entry``."""
    resumed = getattr(observer, "resumed", None)
    if resumed is not None:
        resumed(entry, rounds)


def report_epoch(observer: Observer, number: int, most: int) -> None:
    """Call ``observer.epoch(number, most)``, if it has the method: epoch ``number`` of at most ``most`` begins.

    Only for rounds that are trained until their loss has converged; numbers start from 1.
    """
    epoch = getattr(observer, "epoch", None)
    if epoch is not None:
        epoch(number, most)


def check_observer(observer: Any) -> None:
    """Raise InputError unless the value implements ``Observer`` or is None."""
    if isinstance(observer, type) or not isinstance(observer, Observer | None):
        raise InputError(
            f"observer={short(observer)} is not an Observer; give an object with the methods phase, advance, "
            "round_done and cancelled, or None"
        )


def observer_or_silent(observer: Any) -> Observer:
    """The observer, checked; for None one that does nothing.

    Raises:
        InputError: see ``check_observer``.
    """
    check_observer(observer)
    return Silent() if observer is None else observer  # type: ignore[no-any-return]


def stop_if_cancelled(observer: Observer, why: str) -> None:
    """Raise CancelledError with the text ``why`` if the observer requests cancellation."""
    if observer.cancelled():
        raise CancelledError(why)


def in_parts(observer: Observer, phase: str, n: int, *, size: int, why: str) -> Iterator[slice]:
    """``n`` items in consecutive slices, as a phase with a step for every item.

    Args:
        observer: receives progress events; can cancel before and after every slice.
        phase: name of the phase.
        n: number of items.
        size: maximum number of items of a slice.
        why: text of the error if the observer cancels.

    Raises:
        CancelledError: the observer requested cancellation.
    """
    observer.phase(phase, n)
    for start in range(0, n, size):
        stop_if_cancelled(observer, why)
        rows = slice(start, min(n, start + size))
        yield rows
        observer.advance(rows.stop - rows.start)
    stop_if_cancelled(observer, why)


class Silent:
    """Observer that does nothing and never cancels."""

    def phase(self, name: str, total: int) -> None:
        """Do nothing."""

    def advance(self, steps: int) -> None:
        """Do nothing."""

    def round_done(self, entry: Round, rounds: int) -> None:
        """Do nothing."""

    def cancelled(self) -> bool:
        """Return False."""
        return False


class StopFlag(Silent):
    """Observer that only requests cancellation."""

    def __init__(self) -> None:
        self._wanted = threading.Event()

    def stop(self) -> None:
        """Request the run to stop before its next batch."""
        self._wanted.set()

    def cancelled(self) -> bool:
        """Whether ``stop`` was called."""
        return self._wanted.is_set()


class Fanout:
    """Observer that forwards to several observers; cancels when any of them does."""

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._observers = tuple(observers)

    def phase(self, name: str, total: int) -> None:
        """Forward to all observers."""
        for observer in self._observers:
            observer.phase(name, total)

    def advance(self, steps: int) -> None:
        """Forward to all observers."""
        for observer in self._observers:
            observer.advance(steps)

    def round_done(self, entry: Round, rounds: int) -> None:
        """Forward to all observers."""
        for observer in self._observers:
            observer.round_done(entry, rounds)

    def resumed(self, entry: Round, rounds: int) -> None:
        """Forward to all observers that have the method."""
        for observer in self._observers:
            report_resumed(observer, entry, rounds)

    def epoch(self, number: int, most: int) -> None:
        """Forward to all observers that have the method."""
        for observer in self._observers:
            report_epoch(observer, number, most)

    def cancelled(self) -> bool:
        """Whether any observer cancels."""
        return any(observer.cancelled() for observer in self._observers)


class Tqdm:
    """Progress bar on stderr with one line per round and an estimate of the remaining time.

    Args:
        rounds: number of planned rounds; None: known from the first ``round_done`` on.
    """

    def __init__(self, rounds: int | None = None) -> None:
        self._bar = None
        self._rounds = rounds
        self._done = 0
        self._pace = Pace(rounds)

    def phase(self, name: str, total: int) -> None:
        """Start a new bar."""
        from tqdm.auto import tqdm

        self.close()
        self._pace.phase(name, total)
        self._bar = tqdm(total=total, desc=self._title(name), leave=False, dynamic_ncols=True)
        self._report_rest()

    def advance(self, steps: int) -> None:
        """Advance the bar."""
        self._pace.advance(steps)
        if self._bar is not None:
            self._report_rest()
            self._bar.update(steps)

    def round_done(self, entry: Round, rounds: int) -> None:
        """Print the line of the round above the bar."""
        from tqdm.auto import tqdm

        self.close()
        self._pace.round_done(entry.index, rounds)
        self._done, self._rounds = entry.index + 1, rounds
        tqdm.write(entry.line(rounds))

    def resumed(self, entry: Round, rounds: int) -> None:
        """Continue after a round of an earlier call."""
        self._pace.resumed(entry.index, rounds)
        self._done, self._rounds = entry.index + 1, rounds

    def epoch(self, number: int, most: int) -> None:
        """Show the number of the epoch while training."""
        self._pace.epoch(number, most)

    def cancelled(self) -> bool:
        """Return False: Ctrl-C raises KeyboardInterrupt."""
        return False

    def close(self) -> None:
        """Remove the bar."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def seconds_left(self) -> float | None:
        """Estimated seconds until the last planned round ends, see ``Pace``; None: unknown.

        A run that converges ends sooner.
        """
        return 0.0 if self._all_done else self._pace.seconds_left()

    @property
    def _all_done(self) -> bool:
        return self._rounds is not None and self._done >= self._rounds

    def _title(self, name: str) -> str:
        if name in (*PREPARING, *CLOSING) or self._all_done:
            return name
        planned = "" if self._rounds is None else f" of {self._rounds}"
        return f"round {self._done + 1}{planned} · {self._pace.with_epoch(name)}"

    def _report_rest(self) -> None:
        left = self.seconds_left()
        if left and self._bar is not None:
            self._bar.set_postfix_str(f"about {duration_text(left)} to go", refresh=False)


def duration_text(seconds: float) -> str:
    """A duration as text: ``40 s``, ``3 min``, ``2 h 5 min``."""
    if seconds < 100:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"


class Stopwatch:
    """Observer that forwards to ``listener`` and sums the wall time of every phase."""

    def __init__(self, listener: Observer) -> None:
        self.listener = listener
        self._seconds: dict[str, float] = {}
        self._phase: str | None = None
        self._since = time.perf_counter()

    def phase(self, name: str, total: int) -> None:
        """Stop timing the previous phase and start this one."""
        self._switch_phase(name)
        self.listener.phase(name, total)

    def advance(self, steps: int) -> None:
        """Forward to the listener."""
        self.listener.advance(steps)

    def round_done(self, entry: Round, rounds: int) -> None:
        """Forward to the listener."""
        self.listener.round_done(entry, rounds)

    def epoch(self, number: int, most: int) -> None:
        """Forward to the listener, if it has the method."""
        report_epoch(self.listener, number, most)

    def cancelled(self) -> bool:
        """Whether the listener cancels."""
        return self.listener.cancelled()

    def lap(self) -> dict[str, float]:
        """Seconds per phase since the last call."""
        self._switch_phase(None)
        seconds, self._seconds = self._seconds, {}
        return seconds

    def _switch_phase(self, name: str | None) -> None:
        now = time.perf_counter()
        if self._phase is not None:
            self._seconds[self._phase] = self._seconds.get(self._phase, 0.0) + now - self._since
        self._phase, self._since = name, now
