"""Convergence of the loss on given labels: against a slow loop, and where it must end."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fiftyone_deepcluster.pseudo_labels.convergence import PATIENCE, LossConvergence


def epochs(rule, loss_of):
    """Number of epochs until the rule ends training; ``loss_of`` gives the loss of an epoch, counted from 0."""
    losses = [loss_of(0)]
    while not rule.ended(losses):
        losses.append(loss_of(len(losses)))
    return len(losses), rule.converged(losses)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.floats(0, 5), min_size=1, max_size=25), st.floats(0.001, 0.5), st.integers(1, 6))
def test_convergence_is_that_of_a_slow_loop(losses, tolerance, patience):
    waited, last = 0, losses[0]
    for loss in losses[1:]:
        if last - loss > tolerance * losses[0]:
            last, waited = loss, 0
        else:
            waited += 1
    rule = LossConvergence(tolerance, most=100, patience=patience)
    assert rule.converged(losses) == (waited >= patience)
    assert rule.ended(losses) == rule.converged(losses)


def test_a_loss_that_does_not_fall_ends_after_the_first_epoch_and_the_patience():
    assert PATIENCE == 5
    for loss in (0.0, 1.0, 1e-300, 1e300):
        assert epochs(LossConvergence(0.01, most=100), lambda _, loss=loss: loss) == (6, True)
    assert epochs(LossConvergence(0.01, most=100), lambda epoch: 2.0 + epoch) == (6, True), "also if it rises"


def test_a_loss_that_goes_to_zero_converges_although_it_always_halves():
    # the last that counts is 1/256, the ninth: lower than 1/64 by 0.012, and nothing is lower than it by 0.01
    assert epochs(LossConvergence(0.01, most=100), lambda epoch: 2.0**-epoch) == (14, True)


def test_slow_falls_add_up_within_the_patience():
    fall = LossConvergence(0.01, most=100)
    assert epochs(fall, lambda epoch: 1 - 0.003 * epoch) == (100, False), (
        "four epochs lower it by more than 1 %"
    )
    assert epochs(fall, lambda epoch: 1 - 0.0019 * epoch) == (6, True), "five epochs do not"


def test_the_number_of_epochs_has_limits():
    constant, falling = (lambda _: 1.0), (lambda epoch: 1 / (1 + epoch))
    assert epochs(LossConvergence(0.01, most=100, least=20), constant) == (20, True)
    assert epochs(LossConvergence(1e-12, most=9), falling) == (9, False)
    assert epochs(LossConvergence(1e-12, most=1), constant) == (1, False)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_loss_that_is_no_finite_number_ends_training_without_convergence(bad):
    rule = LossConvergence(0.01, most=100)
    assert epochs(rule, lambda epoch: bad if epoch == 3 else 1.0) == (4, False)
    assert epochs(rule, lambda epoch: bad) == (1, False)
