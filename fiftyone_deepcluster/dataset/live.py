"""What a run is doing right now, for everyone who looks at the dataset: the App, another process.

The state lies in FiftyOne's execution store, scoped to the dataset; so does the wish to cancel.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import fiftyone as fo

    from fiftyone_deepcluster.record import Round

Status = Literal["queued", "running", "done", "failed", "cancelled"]


@dataclass(frozen=True)
class LiveState:
    """One run as it stands.

    Attributes:
        key: of the run.
        status: queued, running, done, failed or cancelled. A run whose process died reads as failed.
        method: name of the recipe.
        phase: what it is doing (``decode``, ``embed``, ``cluster``, ``train``, ``write`` ...).
        fraction: 0..1 of the whole run; a rough guess, never falling.
        round: rounds done.
        rounds: planned in all.
        label: one line of text: ``round 3 of 10 · train``.
        metrics: one small dict a round: index, loss, nmi (to the last round), clusters, largest_share,
            seconds, and acc, truth_nmi where there is a truth. Missing values are None.
        started: seconds since the epoch.
        heartbeat: seconds since the epoch of the last write.
        error: why it failed, else "".
    """

    key: str
    status: Status
    method: str = ""
    phase: str = ""
    fraction: float = 0.0
    round: int = 0
    rounds: int = 0
    label: str = ""
    metrics: list[dict[str, float | int | None]] = field(default_factory=list)
    started: float = 0.0
    heartbeat: float = 0.0
    error: str = ""

    @property
    def busy(self) -> bool:
        """Whether the run is queued or running."""
        return self.status in ("queued", "running")


def read(dataset: fo.Dataset) -> dict[str, LiveState]:
    """The state of every run known to be or to have been at work, by key. One database query."""
    raise NotImplementedError


def queue(dataset: fo.Dataset, key: str, method: str, rounds: int = 0) -> None:
    """Note that a run waits for a worker, so that it shows at once."""
    raise NotImplementedError


def forget(dataset: fo.Dataset, key: str) -> None:
    """Remove the state of a run."""
    raise NotImplementedError


def request_cancel(dataset: fo.Dataset, key: str) -> bool:
    """Ask the run of ``key`` to stop at its next batch; a queued run never starts.

    Returns:
        Whether there is a run to cancel.
    """
    raise NotImplementedError


class LiveObserver:
    """An Observer that writes the live state, twice a second at most, and hears the wish to cancel.

    Args:
        dataset: where the run's samples live.
        key: of the run.
        method: name of the recipe.
        rounds: planned.
    """

    def __init__(self, dataset: fo.Dataset, key: str, method: str, rounds: int) -> None:
        raise NotImplementedError

    def phase(self, name: str, total: int) -> None:
        """A phase begins."""

    def advance(self, steps: int) -> None:
        """Steps of the phase are done."""

    def round_done(self, entry: Round, rounds: int) -> None:
        """A round is complete."""

    def cancelled(self) -> bool:
        """Whether someone asked to cancel."""
        raise NotImplementedError

    def finish(self, status: Status, error: str = "") -> None:
        """Write the last state."""
