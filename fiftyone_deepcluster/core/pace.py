"""Progress and remaining time of a run or other job, estimated from the durations of its phases."""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

CLUSTER_FIRST, CLUSTER_ONCE = "cluster first", "cluster once"
"""Clustering before the first round: all rounds but the first repeat it as the phase ``cluster``, or none does."""
PREPARING = ("decode", "embeddings", "cache", CLUSTER_FIRST, CLUSTER_ONCE)
"""Phases before the first round."""
CLOSING = ("compare", "baselines", "write", "brain")
"""Phases after the last round."""

_ROUNDS_LOOKED_BACK = 3
_TRAINING, _CLUSTERING = "train", "cluster"
_USUAL_STEPS = 2
"""Steps of a clustering that takes little time."""
_WORDS = {
    "": "starting",
    "decode": "reading the images",
    "embeddings": "computing the embeddings",
    "cache": "caching the maps of the frozen layers",
    CLUSTER_FIRST: "clustering before the first round",
    CLUSTER_ONCE: "clustering before the first round",
    "compare": "comparing with the clusters of before training",
    "baselines": "comparing with simple methods",
    "write": "writing the fields",
    "brain": "computing the 2-D map and the similarity index",
}
"""Phases outside of the rounds, in words."""
_SURE_FROM = 0.02
"""Once this share of a phase is done, the rest is expected to go at the same speed."""
_OVERRUN = 0.1
"""A phase that exceeds its expected time is expected to take this share of its elapsed time more."""


class Pace:
    """Estimates the remaining time of a run; receives the events of an observer.

    A round is expected to take the mean time of the last rounds. Before the first has ended, it is expected to take the
    time of the phases before training, which each round repeats, plus that of training at its speed so far. Phases of
    ``PREPARING`` are not repeated, except for ``CLUSTER_FIRST``, which counts for every round but the first.

    Args:
        rounds: number of planned rounds; None: not known yet.
        closing: expected seconds of each phase after the last round, in order.
        clock: monotonic clock in seconds.
    """

    def __init__(
        self,
        rounds: int | None,
        closing: Mapping[str, float] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock, self._rounds = clock, rounds
        self._closing = dict(closing or {})
        self._start = self._round_start = self._phase_start = clock()
        self._name, self._steps, self._total = "", 0, 0
        self._done = 0
        self._spent: deque[float] = deque(maxlen=_ROUNDS_LOOKED_BACK)
        self._before_training = self._trained = self._first_clusters = 0.0
        self._fraction = 0.0
        self._epoch = ""

    def phase(self, name: str, total: int) -> None:
        """Start a phase of ``total`` steps."""
        now = self._clock()
        if self._name == CLUSTER_FIRST:
            self._first_clusters = now - self._phase_start
        if self._name in PREPARING:  # runs only once, so it must not count toward the duration of a round
            self._round_start = now
        elif self._name == _TRAINING:
            self._trained += now - self._phase_start
        elif not self._trained:
            self._before_training += now - self._phase_start
        if name == _TRAINING and not self._trained and not self._done:
            self._round_start = now  # the first clustering is no part of the first round
        if name != _TRAINING:
            self._epoch = ""
        self._closing.pop(self._name, None)
        self._name, self._steps, self._total, self._phase_start = name, 0, total, now

    def epoch(self, number: int, most: int) -> None:
        """Epoch ``number`` of at most ``most`` begins, in a round that is trained until its loss has converged."""
        self._epoch = f" · epoch {number} of at most {most}"

    def with_epoch(self, name: str) -> str:
        """The phase ``name``, of training also the epoch if its number was given."""
        return name + self._epoch if name == _TRAINING else name

    def advance(self, steps: int) -> None:
        """Count completed steps of the phase."""
        self._steps += steps

    def round_done(self, index: int, rounds: int) -> None:
        """Count the round ``index`` as complete."""
        self._spent.append(self._clock() - self._round_start + self._first_clusters)
        self._first_clusters = 0.0
        self.resumed(index, rounds)

    def resumed(self, index: int, rounds: int) -> None:
        """Continue after the round ``index`` of an earlier call."""
        self._done, self._rounds, self._round_start = index + 1, rounds, self._clock()

    @property
    def within(self) -> float:
        """Share of the current phase that is done, 0..1."""
        return min(1.0, self._steps / self._total) if self._total else 0.0

    def seconds_left(self) -> float | None:
        """Estimated seconds until the run ends, if all planned rounds are executed; None: unknown."""
        if self._name in CLOSING:
            return self._phase_left() + sum(
                seconds for name, seconds in self._closing.items() if name != self._name
            )
        usual = self._usual_round()
        if usual is None or self._rounds is None or self._name in PREPARING:
            return None
        rest = max(0, self._rounds - self._done)
        under_way = max(0.0, usual - (self._clock() - self._round_start)) if rest else 0.0
        return under_way + (usual + self._first_clusters) * max(0, rest - 1) + sum(self._closing.values())

    def fraction(self) -> float:
        """Estimated share of the time of the run that has passed, 0..1; never decreases."""
        left = self.seconds_left()
        if left is not None:
            passed = self._clock() - self._start
            self._fraction = max(self._fraction, passed / max(passed + left, 1e-9))
        return min(self._fraction, 0.99)

    def label(self) -> str:
        """Round and phase: ``round 3 of 10 · train``; of a clustering in several steps also these, and the epoch."""
        long = self._name in (CLUSTER_FIRST, CLUSTER_ONCE, _CLUSTERING) and self._total > _USUAL_STEPS
        name = _WORDS.get(self._name, self.with_epoch(self._name))
        shown = _with_steps(name, self._steps, self._total) if long else name
        if self._name in _WORDS or (self._rounds and self._done >= self._rounds):
            return shown  # before the first round or after the last one
        planned = f" of {self._rounds}" if self._rounds else ""
        return f"round {self._done + 1}{planned} · {shown}"

    def _usual_round(self) -> float | None:
        if self._spent:
            return sum(self._spent) / len(self._spent)
        if self._name == _TRAINING and self.within >= _SURE_FROM:
            return self._before_training + (self._clock() - self._phase_start) / self.within
        return self._before_training + self._trained if self._trained else None

    def _phase_left(self) -> float:
        passed = self._clock() - self._phase_start
        if self.within >= _SURE_FROM:
            return passed * (1.0 - self.within) / self.within
        return max(self._closing.get(self._name, 0.0) - passed, _OVERRUN * passed)


class Steps:
    """Progress of a job without rounds, whose later phases are unknown; receives the events of an observer."""

    def __init__(self) -> None:
        self._name, self._done, self._total = "", 0, 0

    def phase(self, name: str, total: int) -> None:
        """Start a phase of ``total`` steps."""
        self._name, self._done, self._total = name, 0, total

    def advance(self, steps: int) -> None:
        """Count completed steps of the phase."""
        self._done += steps

    def round_done(self, index: int, rounds: int) -> None:
        """Do nothing: there are no rounds."""

    def resumed(self, index: int, rounds: int) -> None:
        """Do nothing: there are no rounds."""

    def seconds_left(self) -> float | None:
        """None: the time of later phases is unknown."""
        return None

    def fraction(self) -> float:
        """Share of the current phase that is done, 0..1."""
        return min(1.0, self._done / self._total) if self._total else 0.0

    def label(self) -> str:
        """Phase and its steps: ``probe · 30 of 70``."""
        name = _WORDS.get(self._name, self._name)
        return name if self._total < 2 else _with_steps(name, self._done, self._total)


def _with_steps(name: str, done: int, total: int) -> str:
    return f"{name} · {min(done, total):,} of {total:,}"
