"""A run at work in a thread, and its progress as values that an operator passes on.

The run writes its state into the dataset's store; here that state is read back a few times a second. So
the App's dialog, the panel and a worker's log all tell the same.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from fiftyone_deepcluster.observer import Silent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import fiftyone as fo

    from fiftyone_deepcluster.dataset.live import LiveState
    from fiftyone_deepcluster.dataset.runs import Run
    from fiftyone_deepcluster.observer import Observer

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


def follow(dataset: fo.Dataset, key: str, work: Callable[[Observer], Run]) -> Iterator[LiveState]:
    """Do ``work`` in a thread, and yield the state of the run whenever it has changed.

    Closing the iterator early (the browser's tab is gone) asks the run to stop; its finished rounds stay
    and it can be resumed.

    Raises:
        Exception: whatever ``work`` raised.
    """
    flag = StopFlag()
    failure: list[BaseException] = []

    def body() -> None:
        try:
            work(flag)
        except BaseException as error:  # handed to the caller below
            failure.append(error)

    thread = threading.Thread(target=body, name=f"deepcluster {key}", daemon=True)
    thread.start()
    try:
        yield from _changes(dataset, key, thread)
    finally:
        if thread.is_alive():
            flag.stop()
    if failure:
        raise failure[0]


def _changes(dataset: fo.Dataset, key: str, thread: threading.Thread) -> Iterator[LiveState]:
    from fiftyone_deepcluster.dataset import live

    shown = None
    while thread.is_alive():
        thread.join(_SECONDS_BETWEEN_LOOKS)
        state = live.read(dataset).get(key)
        if state is not None and state.busy and (state.label, state.fraction) != shown:
            shown = (state.label, state.fraction)
            yield state
