"""Work in a thread, and its progress as values that an operator passes on.

A run writes its state into the dataset's store; here that state is read back a few times a second. So
the App's dialog, the panel and a worker's log all tell the same. Other work tells its steps directly.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from fiftyone_deepcluster.core.progress import Silent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import fiftyone as fo

    from fiftyone_deepcluster.core.progress import Observer
    from fiftyone_deepcluster.dataset.runs.run import Run
    from fiftyone_deepcluster.dataset.runs.status import LiveState

_SECONDS_BETWEEN_LOOKS = 0.4


class StopFlag(Silent):
    """An Observer that only carries the wish to stop into the run."""

    def __init__(self) -> None:
        self._wanted = threading.Event()

    def stop(self) -> None:
        """Stop the run at its next batch."""
        self._wanted.set()

    def cancelled(self) -> bool:
        """Whether ``stop`` was called."""
        return self._wanted.is_set()


class Steps(StopFlag):
    """An Observer that remembers how far a phase has come."""

    def __init__(self) -> None:
        super().__init__()
        self._name, self._done, self._total = "starting", 0, 0

    def phase(self, name: str, total: int) -> None:
        """A phase begins."""
        self._name, self._done, self._total = name, 0, total

    def advance(self, steps: int) -> None:
        """Steps of it are done."""
        self._done += steps

    @property
    def state(self) -> tuple[float, str]:
        """How far the phase has come, 0 to 1, and the same in words."""
        if not self._total:
            return 0.0, self._name
        done = min(self._done, self._total)
        return done / self._total, f"{self._name} · {done:,} of {self._total:,}"


def follow_run(dataset: fo.Dataset, key: str, work: Callable[[Observer], Run]) -> Iterator[LiveState]:
    """Do ``work`` in a thread, and yield the state of the run whenever it has changed.

    Closing the iterator early (the browser's tab is gone) asks the run to stop; its finished rounds stay
    and it can be resumed.

    Raises:
        Exception: whatever ``work`` raised.
    """
    from fiftyone_deepcluster.dataset.runs import status

    shown = None
    for _ in _meanwhile(f"deepcluster {key}", work, StopFlag()):
        state = status.read_states(dataset).get(key)
        if state is not None and state.busy and (state.label, state.fraction) != shown:
            shown = (state.label, state.fraction)
            yield state


def watch(name: str, work: Callable[[Observer], object]) -> Iterator[tuple[float, str]]:
    """Do ``work`` that is no run in a thread, and yield how far it has come whenever that has changed.

    Closing the iterator early asks the work to stop.

    Raises:
        Exception: whatever ``work`` raised.
    """
    steps, shown = Steps(), None
    for _ in _meanwhile(name, work, steps):
        if steps.state != shown:
            shown = steps.state
            yield shown


def _meanwhile(name: str, work: Callable[[Observer], object], observer: StopFlag) -> Iterator[None]:
    """Do ``work`` in a thread, and yield a few times a second until it is done."""
    failure: list[BaseException] = []

    def body() -> None:
        try:
            work(observer)
        except BaseException as error:  # handed to the caller below
            failure.append(error)

    thread = threading.Thread(target=body, name=name, daemon=True)
    thread.start()
    try:
        while thread.is_alive():
            thread.join(_SECONDS_BETWEEN_LOOKS)
            yield
    finally:
        if thread.is_alive():
            observer.stop()
    if failure:
        raise failure[0]
