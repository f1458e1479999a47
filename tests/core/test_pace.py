"""Estimates of the rest of a run, with a clock that the test moves."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import load_digits

import fiftyone_deepcluster as fdc
from fiftyone_deepcluster.core.pace import Pace
from fiftyone_deepcluster.core.progress import Silent


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


def test_the_label_names_the_epoch_of_a_round_with_an_open_end(clock):
    pace = Pace(3, None, clock)
    for number in (1, 2):
        pace.epoch(number, 100)
        for _ in do(pace, clock, "train", 10):
            pass
        assert pace.label() == f"round 1 of 3 · train · epoch {number} of at most 100"
    assert pace.seconds_left() == pytest.approx(20), (
        "two more rounds of one epoch: how long this one takes is not known"
    )
    pace.phase("embed", 1)
    assert pace.label() == "round 1 of 3 · embed"
    pace.phase("train", 1)
    assert pace.label() == "round 1 of 3 · train"


class Recorder(Silent):
    """Keeps the events in ``events``, as the method of ``Pace`` and its arguments."""

    def __init__(self):
        self.events = []

    def phase(self, name, total):
        self.events.append(("phase", name, total))

    def advance(self, steps):
        self.events.append(("advance", steps))

    def round_done(self, entry, rounds):
        self.events.append(("round_done", entry.index, rounds))

    def resumed(self, entry, rounds):
        self.events.append(("resumed", entry.index, rounds))


def self_training(folder, rounds=3, **values):
    """Events of a self-training run of digits with random weights."""
    options = fdc.SelfTraining(
        n_clusters=5, rounds=rounds, backbone={"name": "small", "width": 8}, input_norm="zscore", image_size=24,
        encoder={"name": "view-whitened", "views": 3, "layer": "auto"}, epochs=1, min_steps=8, batch_size=32,
        clusterer={"name": "consensus", "reducer": "identity", "runs": 3, "direct_runs": 3},
        baselines=False, precision="float32", stop_nmi=None, device="cpu", plain_start=False, keep_first=False,
        **values,
    )  # fmt: skip
    recorder = Recorder()
    images = (load_digits(n_class=5).images[:120] * 15.9375).astype(np.uint8)
    fdc.fit(images, options, run_dir=folder, observer=recorder)
    return recorder.events


LONG = {"decode": 10, "cache": 200, "embed": 6, "train": 30, "predict": 4}
"""Seconds of the phases; a clustering takes 300."""


def replayed(events, clock):
    """After every step the phase, the estimate and the seconds that are really left; the fractions."""
    pace, seen, fractions, total = Pace(3, None, clock), [], [], 0
    for event, *given in events:
        getattr(pace, event)(*given)
        if event == "phase":
            name, total = given
        elif event == "advance":
            clock.now += LONG.get(name, 300) * given[0] / total
            seen.append((name, pace.seconds_left(), clock.now))
        fractions.append(pace.fraction())
    assert fractions == sorted(fractions)
    return [(name, left, clock.now - now) for name, left, now in seen]


@pytest.mark.parametrize("recluster", [True, False])
def test_what_self_training_does_once_is_not_expected_in_every_round(clock, tmp_path, recluster):
    events = self_training(tmp_path, recluster=recluster)
    names = [name for event, name, *_ in events if event == "phase" and name != "decode"]
    first = "cluster first" if recluster else "cluster once"
    later = ["cluster"] * recluster + ["train", "embed", "predict"]
    assert names == ["cache", "embed", first, "train", "embed", "predict", *later, *later]
    clusterings = [event for event in events if event[0] == "phase" and "cluster" in event[1]]
    assert [total for _, _, total in clusterings] == [6] * (1 + 2 * recluster)
    seen = replayed(events, clock)
    begin = [name for name, *_ in seen].index("train")
    assert {left for _, left, _ in seen[:begin]} == {None}
    for name, left, really in seen[begin:]:
        assert left == pytest.approx(really, rel=0.05, abs=13), name  # "predict" is unknown before the first


def test_a_self_training_run_that_goes_on_caches_its_maps_once(clock, tmp_path):
    self_training(tmp_path, rounds=1)
    events = self_training(tmp_path, rounds=3)
    assert ("resumed", 0, 3) in events
    seen = replayed(events, clock)
    for name, left, really in seen[[name for name, *_ in seen].index("train") :]:
        assert left == pytest.approx(really, rel=0.05, abs=20), name


def test_the_steps_of_a_long_clustering_are_shown(clock):
    pace = Pace(2, None, clock)
    pace.phase("cluster first", 42)
    pace.advance(3)
    assert pace.label() == "clustering before the first round · 3 of 42"
    pace.phase("cluster", 42)
    assert pace.label() == "round 1 of 2 · cluster · 0 of 42"
    pace.phase("cluster", 2)
    assert pace.label() == "round 1 of 2 · cluster"
