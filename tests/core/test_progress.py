"""The progress bar: which round of how many, what is done, and how long the rest may take."""

from __future__ import annotations

import time

import pytest

from fiftyone_deepcluster.core.progress import CLOSING, PREPARING, Observer, Tqdm, duration_text
from fiftyone_deepcluster.core.record import Round


def heard(bar, capsys):
    """What stands on the bar after a step."""
    capsys.readouterr()
    bar.advance(1)
    bar._bar.refresh()
    return capsys.readouterr().err


def test_rounds_of_all_are_counted_and_the_rest_is_estimated(capsys):
    bar = Tqdm(3)
    assert isinstance(bar, Observer)
    bar.phase("train", 4)
    assert "round 1 of 3 · train" in heard(bar, capsys)
    assert bar.seconds_left() is None
    time.sleep(0.2)
    bar.round_done(Round(index=0), 3)
    assert 0.3 < bar.seconds_left() < 1
    bar.phase("embed", 4)
    said = heard(bar, capsys)
    assert "round 2 of 3 · embed" in said
    assert "about 1 s to go" in said
    time.sleep(0.1)
    first = bar.seconds_left()
    time.sleep(0.1)
    assert bar.seconds_left() < first
    bar.round_done(Round(index=1), 3)
    bar.round_done(Round(index=2), 3)
    assert bar.seconds_left() == 0
    bar.phase("train", 1)
    assert "round" not in heard(bar, capsys)
    bar.close()


def test_a_round_that_takes_longer_than_the_others_promises_nothing_less_than_the_rest():
    bar = Tqdm(3)
    bar.round_done(Round(index=0), 3)
    time.sleep(0.3)
    assert 0 <= bar.seconds_left() < 0.1, "one whole round is left, and rounds took no time so far"


def test_what_happens_once_says_nothing_of_how_long_a_round_takes():
    bar = Tqdm(2)
    bar.phase("decode", 1)
    time.sleep(0.3)
    bar.phase("embed", 1)
    bar.round_done(Round(index=0), 2)
    assert bar.seconds_left() < 0.2


@pytest.mark.parametrize("phase", [*PREPARING, *CLOSING])
def test_what_belongs_to_no_round_names_none(phase, capsys):
    bar = Tqdm(5)
    bar.phase(phase, 2)
    said = heard(bar, capsys)
    assert phase in said
    assert "round" not in said
    bar.close()


def test_nobody_said_how_many_rounds(capsys):
    bar = Tqdm()
    bar.phase("train", 2)
    assert "round 1 · train" in heard(bar, capsys)
    bar.round_done(Round(index=0), 9)
    bar.phase("train", 2)
    assert "round 2 of 9 · train" in heard(bar, capsys)
    bar.close()


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.2, "1 s"), (59.6, "60 s"), (120, "2 min"), (5900, "98 min"), (7500, "2 h 5 min")]
)
def test_times_in_words(seconds, text):
    assert duration_text(seconds) == text
