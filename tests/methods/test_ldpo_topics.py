"""LDPO's first round on given labels: trained until the loss has converged."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import load_digits

import fiftyone_deepcluster as fdc
from fiftyone_deepcluster.core.progress import Fanout, Silent
from fiftyone_deepcluster.core.record import StopReason
from fiftyone_deepcluster.errors import CancelledError
from tests.fits import same
from tests.observers import Watcher

SMALL = {
    "n_clusters": 6, "initial": "topics", "text_field": "report", "initial_epochs": None, "rounds": 1,
    "image_size": 16, "backbone": {"name": "small", "width": 8}, "batch_size": 16, "min_steps": 0, "epochs": 1,
    "augmentation": "none", "device": "cpu", "precision": "float32", "baselines": False, "stop_nmi": None,
}  # fmt: skip


class Epochs(Silent):
    """The epochs that were announced."""

    def __init__(self):
        self.found = []

    def epoch(self, number, most):
        self.found.append((number, most))


def fit(n=120, observer=None, run_dir=None, **values):
    """A run of digits from three topics, each of two digits."""
    digits = load_digits(n_class=6)
    images = np.kron((digits.images[:n] * 15.9375).astype(np.uint8), np.ones((1, 2, 2), np.uint8))
    known = fdc.Known(initial=[f"topic {digit // 2}" for digit in digits.target[:n]])
    return fdc.fit(images, fdc.LDPO(**{**SMALL, **values}), known=known, observer=observer, run_dir=run_dir)


def note_of(record):
    (found,) = [note for note in record.notes if note.startswith("the first round was trained")]
    return found


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_digits_converge_before_the_maximum_and_are_learned(optimizer):
    epochs = Epochs()
    record = fit(
        n=240, observer=epochs, optimizer=optimizer, learning_rate=0.02 if optimizer == "sgd" else 0.003
    ).record
    scores = record.rounds[0].scores
    assert scores["initial_converged"] == 1
    assert 6 <= scores["initial_epochs"] < 60
    assert epochs.found == [(number + 1, 100) for number in range(int(scores["initial_epochs"]))]
    assert scores["initial_loss_share"] < 0.5
    assert scores["test_top1"] > 0.8, "topics of images that were not trained on"
    told = f"for {scores['initial_epochs']:.0f} epochs, until the loss converged at "
    assert told + f"{scores['initial_loss_share']:.0%} of the first epoch's" in note_of(record)
    assert "nothing was learned" not in note_of(record)
    assert f"{scores['initial_epochs']:.0f} epochs, converged" in record.rounds[0].line(1)


def test_a_maximum_that_is_reached_is_said():
    epochs = Epochs()
    record = fit(observer=epochs, initial_max_epochs=3).record
    assert epochs.found == [(1, 3), (2, 3), (3, 3)]
    assert record.rounds[0].scores["initial_converged"] == 0
    assert note_of(record) == (
        "the first round was trained on its given labels for 3 epochs, the maximum, and the loss had not converged; "
        "raise initial_max_epochs, or initial_tolerance"
    )
    assert "3 epochs, not converged" in record.rounds[0].line(1)


@pytest.mark.parametrize("more", [{"epochs": 6}, {"min_steps": 60}])
def test_the_maximum_holds_where_other_options_ask_for_more_epochs(more):
    """With ``min_steps`` few images need many epochs; the maximum was raised to as many."""
    scores = fit(initial_max_epochs=3, **more).record.rounds[0].scores
    assert (scores["initial_epochs"], scores["initial_converged"]) == (3, 0)


def test_a_tolerance_that_is_never_met_ends_at_the_maximum():
    scores = fit(initial_tolerance=1e-12, initial_max_epochs=8).record.rounds[0].scores
    assert (scores["initial_epochs"], scores["initial_converged"]) == (8, 0)


def test_a_network_that_does_not_learn_ends_soon_and_is_said():
    record = fit(learning_rate=1e-12, head_learning_rate=1e-12, initial_tolerance=0.1).record
    scores = record.rounds[0].scores
    assert (scores["initial_epochs"], scores["initial_converged"]) == (6, 1)
    assert "; nothing was learned: change learning_rate" in note_of(record)


def test_a_loss_that_is_no_number_ends_the_run_as_diverged():
    epochs = Epochs()
    record = fit(observer=epochs, learning_rate=100, head_learning_rate=100, weight_decay=1).record
    assert record.stop_reason is StopReason.DIVERGED
    assert len(epochs.found) < 6
    assert not any(note.startswith("the first round was trained") for note in record.notes)


def test_a_fixed_number_of_epochs_says_nothing_of_convergence():
    epochs = Epochs()
    record = fit(observer=epochs, initial_epochs=2).record
    assert epochs.found == []
    assert not any("epochs" in name for name in record.rounds[0].scores)
    assert not any(note.startswith("the first round was trained") for note in record.notes)


def test_only_the_first_round_is_trained_until_the_loss_converges():
    watcher, epochs = Watcher(), Epochs()
    rounds = fit(observer=Fanout([watcher, epochs]), rounds=3).record.rounds
    assert "initial_epochs" in rounds[0].scores
    assert not any(name.startswith("initial_") for entry in rounds[1:] for name in entry.scores)
    n = int(rounds[0].scores["initial_epochs"])
    assert (len(epochs.found), watcher.names.count("train")) == (n, n + 2)
    assert [total for name, total in watcher.phases if name == "train"] == [84] * (n + 2), (
        "70 % of 120 images"
    )


def test_at_least_the_epochs_of_a_round_are_trained():
    unlearned = {"learning_rate": 1e-12, "head_learning_rate": 1e-12, "initial_tolerance": 0.5}
    found = fit(n=60, epochs=9, **unlearned).record.rounds[0].scores
    assert (found["initial_epochs"], found["initial_converged"]) == (9, 1)


def test_a_run_that_is_cancelled_in_that_round_or_after_it_goes_on_as_if_it_had_not(tmp_path):
    options = {"rounds": 2, "n": 60, "optimizer": "adamw"}
    whole = fit(**options)
    assert whole.record.rounds[0].scores["initial_epochs"] > 3
    for name, watcher in (
        ("within", Watcher(after_steps=100, only="train")),
        ("after", Watcher(after_rounds=1)),
    ):
        try:
            rounds = fit(**options, run_dir=tmp_path / name, observer=watcher).record.rounds
        except CancelledError:
            rounds = []
        assert len(rounds) == (name == "after")
        resumed = fit(**options, run_dir=tmp_path / name)
        assert same(resumed, whole), name
        assert resumed.record.notes == whole.record.notes
        assert resumed.record.rounds[0].scores == whole.record.rounds[0].scores
