"""One edit of a run at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fiftyone_deepcluster.dataset.runs import lock, status

if TYPE_CHECKING:
    from fiftyone_deepcluster.dataset.runs.kept_run import KeptRun

_WAIT_SECONDS = 30.0


def hold(run: KeptRun) -> lock.RunLock:
    """Acquire the lock of a run. Waits for an edit of another person, but not for a running job.

    Raises:
        RunLockedError: a run with this key is running, or the edit takes longer than half a minute.
    """
    state = status.read_states(run.dataset).get(run.key)
    at_work = state is not None and state.busy
    return lock.acquire_within(run.dataset, run.key, 0.0 if at_work else _WAIT_SECONDS)
