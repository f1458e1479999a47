"""Execute work in a thread and yield its progress for an operator to report.

A run writes its live state to the dataset's store; it is polled here a few times per second, so that the App's
dialog, the panel and the worker's log report the same. Other work reports its steps directly to an observer.
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

_POLL_SECONDS = 0.4


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


class Steps(StopFlag):
    """Observer that tracks the progress of the current phase."""

    def __init__(self) -> None:
        super().__init__()
        self._name, self._done, self._total = "starting", 0, 0

    def phase(self, name: str, total: int) -> None:
        """Start a phase of ``total`` steps."""
        self._name, self._done, self._total = name, 0, total

    def advance(self, steps: int) -> None:
        """Count completed steps."""
        self._done += steps

    @property
    def state(self) -> tuple[float, str]:
        """Progress of the phase: fraction in [0, 1], and a text."""
        if not self._total:
            return 0.0, self._name
        done = min(self._done, self._total)
        return done / self._total, f"{self._name} · {done:,} of {self._total:,}"


def follow_run(dataset: fo.Dataset, key: str, work: Callable[[Observer], Run]) -> Iterator[LiveState]:
    """Execute ``work`` in a thread, and yield the state of the run whenever it has changed.

    Closing the iterator early (the browser tab was closed) requests the run to stop; its completed rounds are
    kept, and it can be resumed.

    Raises:
        Exception: any exception raised by ``work``.
    """
    from fiftyone_deepcluster.dataset.runs import status

    shown = None
    for _ in _meanwhile(f"deepcluster {key}", work, StopFlag()):
        state = status.read_states(dataset).get(key)
        if state is not None and state.busy and (state.label, state.fraction) != shown:
            shown = (state.label, state.fraction)
            yield state


def watch(name: str, work: Callable[[Observer], object]) -> Iterator[tuple[float, str]]:
    """Execute ``work`` other than a run in a thread, and yield its progress whenever it has changed.

    Closing the iterator early requests the work to stop.

    Raises:
        Exception: any exception raised by ``work``.
    """
    steps, shown = Steps(), None
    for _ in _meanwhile(name, work, steps):
        if steps.state != shown:
            shown = steps.state
            yield shown


def _meanwhile(name: str, work: Callable[[Observer], object], observer: StopFlag) -> Iterator[None]:
    """Execute ``work`` in a thread, and yield a few times per second until it is done."""
    failure: list[BaseException] = []

    def body() -> None:
        try:
            work(observer)
        except BaseException as error:  # raised in the caller's thread below
            failure.append(error)

    thread = threading.Thread(target=body, name=name, daemon=True)
    thread.start()
    try:
        while thread.is_alive():
            thread.join(_POLL_SECONDS)
            yield
    finally:
        if thread.is_alive():
            observer.stop()
    if failure:
        raise failure[0]
