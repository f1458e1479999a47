"""How checks are run, and those that every kind of part keeps to: its options."""

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
"""Raises AssertionError where a part fails it."""


def require(held: object, message: str) -> None:
    """Raise AssertionError with the message unless it holds."""
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
        AssertionError: the first that fails, with the names of part and check, and the reason.
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
    """The checks of options, for one family."""

    def is_registered(part: AnyPart) -> None:
        require(
            registry.get(part.name) is type(part),
            f"the name {part.name!r} belongs to another class; decorate the class with @....register",
        )

    def options_travel(part: AnyPart) -> None:
        _options_travel(registry, part)

    return is_registered, options_travel, options_are_described, unknown_options_are_refused


def options_are_described(part: Part) -> None:
    """The App and the command line show the first line of the docstring, and every option's description."""
    own = type(part).__doc__
    require(own and own.strip(), "the class has no docstring; its first line is the help in the App")
    for name, field in type(part).model_fields.items():
        if name != "name":
            require(field.description, f"the option {name!r} has no description; Field(..., description=...)")


def unknown_options_are_refused(part: Part) -> None:
    """A typing error is not ignored."""
    try:
        type(part)(**{**dict(part), "no_such_option": 1})
    except OptionsError as error:
        require("no_such_option" in str(error), f"the error does not name the option: {error}")
        return
    raise AssertionError("no_such_option=1 is taken; leave model_config as it is")


def _options_travel(registry: Registry[AnyPart], part: AnyPart) -> None:
    """Stored runs keep options as JSON."""
    stored = json.loads(json.dumps(part.model_dump(mode="json")))
    again = registry.parse(stored)
    require(again == part, f"options change on their way through JSON: {part!r} becomes {again!r}")


@contextmanager
def generators_left_alone() -> Iterator[None]:
    """Raise AssertionError where the random generators that everybody shares are drawn from."""
    before = _states()
    yield
    drawn = [name for name, state in _states().items() if state != before[name]]
    require(
        not drawn,
        f"it draws from the generator that everybody shares ({', '.join(drawn)}); make one from the seed given",
    )


@contextmanager
def refusing_is_fine(what: str) -> Iterator[None]:
    """An InputError is an answer to ``what``, too; any other error is not."""
    try:
        yield
    except InputError as error:
        require(str(error), "an InputError without a message; say what was needed")
    except PartError as error:
        raise AssertionError(f"{what}: {error}; raise an InputError that says how many are needed") from error


def blobs(n: int = 240, seed: int = 3) -> torch.Tensor:
    """(n, 6) float32: four groups far apart, row i in group i % 4, away from the origin."""
    generator = torch.Generator().manual_seed(seed)
    middles = 20 * torch.randn(4, 6, generator=generator)
    return 100 + middles[torch.arange(n) % 4] + torch.randn(n, 6, generator=generator)


def digit_images(n: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """(n, 8, 8) uint8, the first of scikit-learn's digits."""
    return (load_digits().images[:n] * 15.9375).astype(np.uint8)  # type: ignore[no-any-return]


def digit_vectors(n: int) -> torch.Tensor:
    """(n, 64) float32, their pixels in 0..16."""
    return torch.from_numpy(load_digits().data[:n]).float()


def _states() -> dict[str, bytes]:
    return {
        "random": pickle.dumps(random.getstate()),
        "numpy.random": pickle.dumps(np.random.get_state()),  # noqa: NPY002
        "torch": torch.get_rng_state().numpy().tobytes(),
    }
