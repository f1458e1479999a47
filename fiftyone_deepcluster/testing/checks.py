"""Runs checks, and the checks of options, which all kinds of parts share."""

from __future__ import annotations

import json
import pickle
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np
import torch
from sklearn.datasets import load_digits

from fiftyone_deepcluster.core.registry import Part, Registry
from fiftyone_deepcluster.errors import InputError, OptionsError, PartError

AnyPart = TypeVar("AnyPart", bound=Part)

PartCheck = Callable[[AnyPart], None]
"""Raises AssertionError if the part fails the check."""


def require(held: object, message: str) -> None:
    """Raise AssertionError with ``message`` unless ``held`` is true."""
    if not held:
        raise AssertionError(message)


def parse(registry: Registry[AnyPart], part: object) -> AnyPart:
    """The part from an object, its class, its name, or a dict with name and options."""
    if isinstance(part, type) and issubclass(part, registry.base):
        return part()
    return registry.parse(part)


def run_checks(registry: Registry[AnyPart], part: object, checks: Sequence[PartCheck[AnyPart]]) -> None:
    """Run checks in order.

    Raises:
        AssertionError: a check failed; the message has the names of part and check, and the reason.
    """
    checked = parse(registry, part)
    for check in checks:
        failed = f"{type(checked).__name__} ({checked.name!r}) fails {check.__name__}"
        try:
            check(checked)
        except AssertionError as error:
            raise AssertionError(f"{failed}: {error}") from error
        except Exception as error:  # a part may raise anything
            raise AssertionError(f"{failed}: it raised {type(error).__name__}: {error}") from error


def option_checks(registry: Registry[AnyPart]) -> tuple[PartCheck[AnyPart], ...]:
    """The checks of options, for one registry."""

    def is_registered(part: AnyPart) -> None:
        require(
            registry.get(part.name) is type(part),
            f"the name {part.name!r} is registered for another class; decorate the class with @....register",
        )

    def options_travel(part: AnyPart) -> None:
        _options_travel(registry, part)

    return is_registered, options_travel, options_are_described, unknown_options_are_refused


def options_are_described(part: Part) -> None:
    """The docstring's first line and every option's description are shown in the App and on the command line."""
    own = type(part).__doc__
    require(own and own.strip(), "the class has no docstring; its first line is the help text in the App")
    for name, field in type(part).model_fields.items():
        if name != "name":
            require(
                field.description, f"the option {name!r} has no description; add Field(..., description=...)"
            )


def unknown_options_are_refused(part: Part) -> None:
    """Misspelled option names raise OptionsError."""
    try:
        type(part)(**{**dict(part), "no_such_option": 1})
    except OptionsError as error:
        require("no_such_option" in str(error), f"the error does not name the option: {error}")
        return
    raise AssertionError("no_such_option=1 is accepted; do not change model_config")


def _options_travel(registry: Registry[AnyPart], part: AnyPart) -> None:
    """Options survive a JSON round trip, as in stored runs."""
    stored = json.loads(json.dumps(part.model_dump(mode="json")))
    again = registry.parse(stored)
    require(again == part, f"options change in a JSON round trip: {part!r} becomes {again!r}")


@contextmanager
def generators_left_alone() -> Iterator[None]:
    """Raise AssertionError if a global random generator is used."""
    before = _states()
    yield
    drawn = [name for name, state in _states().items() if state != before[name]]
    require(
        not drawn,
        f"it uses a global random generator ({', '.join(drawn)}); create a generator from the given seed",
    )


@contextmanager
def refusing_is_fine(what: str) -> Iterator[None]:
    """Accept an InputError for the input ``what``, but no other error."""
    try:
        yield
    except InputError as error:
        require(str(error), "InputError without a message; say what is needed")
    except PartError as error:
        raise AssertionError(
            f"{what}: {error}; raise an InputError that states how many are needed"
        ) from error


def blobs(n: int = 240, seed: int = 3) -> torch.Tensor:
    """(n, 6) float32: four well separated groups away from the origin; row i is in group i % 4."""
    generator = torch.Generator().manual_seed(seed)
    middles = 20 * torch.randn(4, 6, generator=generator)
    return 100 + middles[torch.arange(n) % 4] + torch.randn(n, 6, generator=generator)


def digit_images(n: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """(n, 8, 8) uint8, the first n of scikit-learn's digits."""
    return (load_digits().images[:n] * 15.9375).astype(np.uint8)  # type: ignore[no-any-return]


def digit_vectors(n: int) -> torch.Tensor:
    """(n, 64) float32, the pixels of the first n digits in 0..16."""
    return torch.from_numpy(load_digits().data[:n]).float()


def _states() -> dict[str, bytes]:
    return {
        "random": pickle.dumps(random.getstate()),
        "numpy.random": pickle.dumps(np.random.get_state()),  # noqa: NPY002
        "torch": torch.get_rng_state().numpy().tobytes(),
    }
