"""Estimates of the rest of a run, with a clock that the test moves."""

from __future__ import annotations

import pytest

from fiftyone_deepcluster.core.pace import Pace


class Clock:
    """Seconds that pass only when told to."""

    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def do(pace, clock, name, seconds, steps=10):
    pace.phase(name, steps)
    for _ in range(steps):
        clock.now += seconds / steps
        pace.advance(1)
        yield pace.fraction(), pace.seconds_left()


def test_the_bar_moves_as_time_does(clock):
    """10 s of decoding, 5 s of clustering, 4 rounds of 20 s, 20 s of baselines, 40 s for a map without steps."""
    pace = Pace(4, {"baselines": 20.0, "brain": 40.0}, clock)
    seen = [*do(pace, clock, "decode", 10), *do(pace, clock, "embed", 5)]
    assert {left for _, left in seen} == {None}
    seen = []
    for index in range(4):
        seen += [*do(pace, clock, "train", 15), *do(pace, clock, "embed", 5)]
        pace.round_done(index, 4)
    seen += do(pace, clock, "baselines", 20, steps=4)
    pace.phase("brain", 1)
    for _ in range(40):
        clock.now += 1
        seen.append((pace.fraction(), pace.seconds_left()))
    fractions = [fraction for fraction, _ in seen]
    assert fractions == sorted(fractions)
    total = 155
    assert fractions[19] == pytest.approx(35 / total, abs=0.02)  # after the first round
    assert fractions[79] == pytest.approx(95 / total, abs=0.02)  # after the last
    assert fractions[83] == pytest.approx(115 / total, abs=0.02)
    assert 0.95 < fractions[-1] <= 0.99
    lefts = [left for _, left in seen]
    assert lefts[19] == pytest.approx(3 * 20 + 60)
    assert lefts[79] == pytest.approx(60)


def test_a_phase_that_takes_longer_than_expected_is_never_about_to_end(clock):
    pace = Pace(1, {"brain": 10.0}, clock)
    pace.phase("brain", 1)
    clock.now += 100
    assert pace.seconds_left() == pytest.approx(10)
    assert pace.fraction() < 0.95


def test_a_run_that_goes_on_starts_at_its_round(clock):
    pace = Pace(20, None, clock)
    pace.resumed(9, 20)
    assert pace.seconds_left() is None
    for _ in do(pace, clock, "train", 6):
        pass
    pace.round_done(10, 20)
    assert pace.seconds_left() == pytest.approx(9 * 6)
    assert pace.fraction() == pytest.approx(6 / 60)


def test_without_a_number_of_rounds_nothing_is_promised(clock):
    pace = Pace(None, None, clock)
    assert {left for _, left in do(pace, clock, "train", 6)} == {None}
    assert pace.fraction() == 0.0
    pace.round_done(0, 3)
    assert pace.seconds_left() == pytest.approx(12)
