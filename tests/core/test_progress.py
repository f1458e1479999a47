"""The progress bar: round, phase and remaining time."""

from __future__ import annotations

import time

import pytest

from fiftyone_deepcluster.core.pace import CLOSING, PREPARING
from fiftyone_deepcluster.core.progress import (
    Fanout,
    Observer,
    Silent,
    Stopwatch,
    Tqdm,
    duration_text,
    in_parts,
)
from fiftyone_deepcluster.core.record import Round
from fiftyone_deepcluster.errors import CancelledError
from tests.observers import Watcher


def printed(bar, capsys):
    """What stands on the bar after a step."""
    capsys.readouterr()
    bar.advance(1)
    bar._bar.refresh()
    return capsys.readouterr().err


def test_the_bar_shows_the_round_and_the_remaining_time(capsys):
    bar = Tqdm(3)
    assert isinstance(bar, Observer)
    bar.phase("train", 4)
    assert bar.seconds_left() is None
    assert "round 1 of 3 · train" in printed(bar, capsys)
    assert bar.seconds_left() > 0
    time.sleep(0.2)
    bar.round_done(Round(index=0), 3)
    assert 0.3 < bar.seconds_left() < 1
    bar.phase("embed", 4)
    text = printed(bar, capsys)
    assert "round 2 of 3 · embed" in text
    assert "about 1 s to go" in text
    time.sleep(0.1)
    first = bar.seconds_left()
    time.sleep(0.1)
    assert bar.seconds_left() < first
    bar.round_done(Round(index=1), 3)
    bar.round_done(Round(index=2), 3)
    assert bar.seconds_left() == 0
    bar.phase("train", 1)
    assert "round" not in printed(bar, capsys)
    bar.close()


def test_a_long_round_never_gives_a_negative_estimate():
    bar = Tqdm(3)
    bar.round_done(Round(index=0), 3)
    time.sleep(0.3)
    assert 0 <= bar.seconds_left() < 0.1, "one whole round is left, and rounds took no time so far"


def test_phases_before_the_first_round_do_not_count_for_the_estimate():
    bar = Tqdm(2)
    bar.phase("decode", 1)
    time.sleep(0.3)
    bar.phase("embed", 1)
    bar.round_done(Round(index=0), 2)
    assert bar.seconds_left() < 0.2


def test_a_clustering_that_later_rounds_repeat_counts_for_these():
    bar = Tqdm(3)
    bar.phase("cluster first", 1)
    time.sleep(0.2)
    bar.phase("train", 1)
    bar.round_done(Round(index=0), 3)
    assert 0.35 < bar.seconds_left() < 0.8
    bar.phase("cluster", 1)
    time.sleep(0.2)
    assert bar.seconds_left() < 0.4


@pytest.mark.parametrize("phase", [*PREPARING, *CLOSING])
def test_phases_outside_rounds_are_shown_without_a_round(phase, capsys):
    bar = Tqdm(5)
    bar.phase(phase, 2)
    text = printed(bar, capsys)
    assert phase in text
    assert "round" not in text
    bar.close()


def test_without_a_number_of_rounds_the_total_is_left_out(capsys):
    bar = Tqdm()
    bar.phase("train", 2)
    assert "round 1 · train" in printed(bar, capsys)
    bar.round_done(Round(index=0), 9)
    bar.phase("train", 2)
    assert "round 2 of 9 · train" in printed(bar, capsys)
    bar.close()


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.2, "1 s"), (59.6, "60 s"), (120, "2 min"), (5900, "98 min"), (7500, "2 h 5 min")]
)
def test_durations_are_shown_in_seconds_minutes_or_hours(seconds, text):
    assert duration_text(seconds) == text


def test_a_run_that_goes_on_starts_at_its_real_round(capsys):
    bar = Tqdm(20)
    Fanout([Silent(), bar]).resumed(Round(index=9), 20)
    bar.phase("train", 5)
    assert "round 11 of 20 · train" in capsys.readouterr().err
    assert bar.seconds_left() is None
    bar.close()


def test_the_epoch_of_a_round_with_an_open_end_is_shown_while_training(capsys):
    bar = Tqdm(3)
    bar.phase("embed", 2)
    watch = Stopwatch(Fanout([Silent(), bar]))
    watch.epoch(1, 100)
    watch.phase("train", 4)
    assert "round 1 of 3 · train · epoch 1 of at most 100" in printed(bar, capsys)
    watch.epoch(2, 100)
    watch.phase("train", 4)
    assert "round 1 of 3 · train · epoch 2 of at most 100" in printed(bar, capsys)
    watch.phase("embed", 2)
    assert "epoch" not in printed(bar, capsys)
    watch.round_done(Round(index=0), 3)
    watch.phase("train", 2)
    assert "epoch" not in printed(bar, capsys)
    bar.close()
    Stopwatch(Silent()).epoch(1, 100)  # an observer without the method hears nothing


def parts_until(most, n=10):
    watcher = Watcher(after_steps=most)
    parts = in_parts(watcher, "work", n, size=4, why="cancelled; nothing was stored")
    return watcher, [(rows.start, rows.stop) for rows in parts]


def test_parts_are_the_steps_of_a_phase():
    watcher, found = parts_until(11)
    assert found == [(0, 4), (4, 8), (8, 10)]
    assert (watcher.phases, watcher.steps) == ([("work", 10)], 10)
    assert parts_until(1, n=0)[1] == []


@pytest.mark.parametrize("most", [0, 1, 4, 8, 10])
def test_a_cancel_is_noticed_before_and_after_every_part(most):
    with pytest.raises(CancelledError, match=r"^cancelled; nothing was stored$"):
        parts_until(most)
