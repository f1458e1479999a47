"""Checks for reducers."""

from __future__ import annotations

import math
from typing import Any

import torch

from fiftyone_deepcluster.errors import InputError
from fiftyone_deepcluster.reducers.base import REDUCERS, Reducer
from fiftyone_deepcluster.testing.checks import (
    PartCheck,
    digit_vectors,
    generators_left_alone,
    option_checks,
    refusing_is_fine,
    require,
    run_checks,
)


def check_reducer(reducer: Reducer | type[Reducer] | str | dict[str, Any]) -> None:
    """Check a reducer; takes seconds.

    Args:
        reducer: object, class, name, or dict with name and options.

    Raises:
        AssertionError: a check failed; the message has its name and the reason.
        OptionsError: there is no such reducer.
    """
    run_checks(REDUCERS, reducer, REDUCER_CHECKS)


def every_vector_gets_one(reducer: Reducer) -> None:
    """Vectors (N, D) give finite float32 vectors (N, d)."""
    _require_sound(reducer.embed(digit_vectors(150), seed=2), 150)


def same_seed_gives_same_reduction(reducer: Reducer) -> None:
    """Two equal calls give equal vectors; with ``steady``, so do different seeds."""
    one = reducer.embed(digit_vectors(150), seed=2)
    require(
        torch.equal(one, reducer.embed(digit_vectors(150), seed=2)),
        "vectors differ between two calls with the same seed; use the seed",
    )
    if reducer.steady:
        other = reducer.embed(digit_vectors(150), seed=3)
        require(torch.allclose(one, other, atol=1e-4), "steady = True, but another seed gives other vectors")


def reducer_leaves_vectors_alone(reducer: Reducer) -> None:
    """The input vectors are not modified."""
    vectors = digit_vectors(60)
    reducer.embed(vectors, seed=2)
    require(torch.equal(vectors, digit_vectors(60)), "the input vectors were modified; work on a copy")


def reducer_leaves_generators_alone(reducer: Reducer) -> None:
    """The global random generators are not used."""
    reducer.embed(digit_vectors(60), seed=2)  # imports may use the generators
    with generators_left_alone():
        reducer.embed(digit_vectors(60), seed=2)


def few_vectors_are_reduced_or_refused(reducer: Reducer) -> None:
    """Two to fourteen vectors are reduced, or raise an InputError that states how many are needed."""
    for n in (2, 4, 9, 14):
        with refusing_is_fine(f"{n} vectors"):
            _require_sound(reducer.embed(digit_vectors(n), seed=2), n)


def equal_vectors_give_finite_ones(reducer: Reducer) -> None:
    """Identical vectors give finite vectors."""
    _require_sound(reducer.embed(torch.ones(30, 5), seed=2), 30)


def reducer_refuses_broken_vectors(reducer: Reducer) -> None:
    """NaN raises InputError."""
    vectors = digit_vectors(60)
    vectors[7, 2] = math.nan
    try:
        reducer.embed(vectors, seed=2)
    except InputError:
        return
    raise AssertionError("a vector with NaN is accepted; raise an InputError")


def _require_sound(found: torch.Tensor, n: int) -> None:
    require(
        found.ndim == 2 and len(found) == n,
        f"{n} vectors give shape {tuple(found.shape)} instead of ({n}, d)",
    )
    require(found.dtype == torch.float32, f"vectors are {found.dtype} instead of float32")
    require(bool(torch.isfinite(found).all()), "vectors contain NaN or infinite values")


REDUCER_CHECKS: tuple[PartCheck[Reducer], ...] = (
    *option_checks(REDUCERS),
    every_vector_gets_one,
    same_seed_gives_same_reduction,
    reducer_leaves_vectors_alone,
    reducer_leaves_generators_alone,
    few_vectors_are_reduced_or_refused,
    equal_vectors_give_finite_ones,
    reducer_refuses_broken_vectors,
)
"""All checks, in the order in which ``check_reducer`` runs them."""
