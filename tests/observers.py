"""Observers for tests: one that records and cancels, one that acts at a given moment."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fiftyone_deepcluster.core.progress import Silent

if TYPE_CHECKING:
    from collections.abc import Callable

    from fiftyone_deepcluster.core.record import Round


class Watcher(Silent):
    """Records phases, steps and rounds, and cancels after a number of steps or rounds.

    Args:
        only: name of the phase whose steps are counted; None: those of all phases.
        after_steps: number of steps from which on it cancels; None: any number.
        after_rounds: number of rounds from which on it cancels; None: any number.
        checks: how often ``cancelled`` then still returns False.

    Attributes:
        phases: name and total of every phase.
        steps, rounds: those done so far.
    """

    def __init__(
        self,
        only: str | None = None,
        *,
        after_steps: int | None = None,
        after_rounds: int | None = None,
        checks: int = 0,
    ) -> None:
        self.phases: list[tuple[str, int]] = []
        self.steps = self.rounds = 0
        self._only, self._after_steps, self._after_rounds, self._checks = (
            only,
            after_steps,
            after_rounds,
            checks,
        )

    @property
    def names(self) -> list[str]:
        """Names of the phases."""
        return [name for name, _ in self.phases]

    @property
    def total(self) -> int:
        """Steps that were announced for the phases that are counted."""
        return sum(total for name, total in self.phases if self._only in (None, name))

    def phase(self, name: str, total: int) -> None:
        self.phases.append((name, total))

    def advance(self, steps: int) -> None:
        if self._only in (None, self.phases[-1][0] if self.phases else None):
            self.steps += steps

    def round_done(self, entry: Round, rounds: int) -> None:
        self.rounds += 1

    def cancelled(self) -> bool:
        enough = (self._after_steps is not None and self.steps >= self._after_steps) or (
            self._after_rounds is not None and self.rounds >= self._after_rounds
        )
        if enough:
            self._checks -= 1
        return enough and self._checks < 0


class Acts(Silent):
    """Calls ``act`` when a phase starts, when a round (counted from 1) ends, or at every step."""

    def __init__(
        self,
        act: Callable[[], object],
        *,
        phase: str | None = None,
        after_round: int | None = None,
        at_steps: bool = False,
    ) -> None:
        self._act, self._phase, self._after_round, self._at_steps = act, phase, after_round, at_steps

    def phase(self, name: str, total: int) -> None:
        if name == self._phase:
            self._act()

    def advance(self, steps: int) -> None:
        if self._at_steps:
            self._act()

    def round_done(self, entry: Round, rounds: int) -> None:
        if entry.index + 1 == self._after_round:
            self._act()


def disk_full() -> None:
    """What ``Acts`` calls for a run that fails."""
    raise OSError("the disk is full")
