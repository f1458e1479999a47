"""Progress without printing: the loop tells an ``Observer``, and the observer decides.

The same protocol carries cancellation back: the loop asks ``cancelled()`` between batches.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from fiftyone_deepcluster.record import Round


@runtime_checkable
class Observer(Protocol):
    """Told what happens while images are read, clustered and learnt from."""

    def phase(self, name: str, total: int) -> None:
        """A phase begins (``decode``, ``embed``, ``cluster``, ``train`` ...) with ``total`` steps."""

    def advance(self, steps: int) -> None:
        """``steps`` more steps of the current phase are done."""

    def round_done(self, entry: Round, rounds: int) -> None:
        """A round is complete; ``rounds`` are planned in all."""

    def cancelled(self) -> bool:
        """Whether the run should stop at the next batch."""
        ...


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
    """A progress bar a phase on stderr, and one line a round."""

    def __init__(self) -> None:
        self._bar = None
        self._round = 0

    def phase(self, name: str, total: int) -> None:
        """Begin a new bar."""
        from tqdm.auto import tqdm

        self.close()
        self._bar = tqdm(total=total, desc=f"round {self._round + 1} · {name}", leave=False)

    def advance(self, steps: int) -> None:
        """Move the bar."""
        if self._bar is not None:
            self._bar.update(steps)

    def round_done(self, entry: Round, rounds: int) -> None:
        """Write the round's line above the bar."""
        from tqdm.auto import tqdm

        self.close()
        self._round = entry.index + 1
        tqdm.write(entry.line(rounds))

    def cancelled(self) -> bool:
        """Never: Ctrl-C is an exception."""
        return False

    def close(self) -> None:
        """Remove the bar."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None
