"""Checks of the arguments that people give: each returns the value, or says what was needed instead."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Sequence
from numbers import Real
from typing import Any

from fiftyone_deepcluster.errors import InputError

_LONGEST = 60


def whole_number(name: str, value: Any, least: int, most: int | None = None) -> int:
    """The value as an int, at least ``least`` and at most ``most``.

    Raises:
        InputError: no whole number, or out of range.
    """
    need = f"{least:,} or more" if most is None else f"{least:,} to {most:,}"
    try:
        number = None if isinstance(value, bool) else operator.index(value)
    except TypeError:
        number = None
    if number is None:
        raise InputError(f"{name}={short(value)} is no whole number; give {need}")
    if number < least or (most is not None and number > most):
        raise InputError(f"{name}={number}: give {need}")
    return number


def share_of(name: str, value: Any, whole: str) -> float:
    """The value as a part of a whole: more than 0, at most 1.

    Raises:
        InputError: no number, or out of range; ``whole`` says of what it is a share.
    """
    number = float(value) if isinstance(value, Real) and not isinstance(value, bool) else 0.0
    if not 0 < number <= 1:
        raise InputError(f"{name}={short(value)} is no share of {whole}; give more than 0 and at most 1")
    return number


def one_of(name: str, value: Any, choices: Sequence[str]) -> None:
    """Raise InputError unless the value is one of the choices."""
    if not isinstance(value, str) or value not in choices:
        raise InputError(f"{name}={short(value)} is not known; choose one of: {', '.join(choices)}")


def yes_or_no(**values: Any) -> None:
    """Raise InputError unless every value is True or False: the text "no" would count as yes."""
    for name, value in values.items():
        if not isinstance(value, bool):
            raise InputError(f"{name}={short(value)} is neither True nor False; give one of them")


def one_name(name: str, value: Any, example: str) -> str:
    """The value as a text that is not empty.

    Raises:
        InputError: it is none; ``example`` shows one.
    """
    if not isinstance(value, str) or not value.strip():
        raise InputError(f"{name}={short(value)} is no name; give one as a text, such as {example!r}")
    return value


def names(name: str, value: Any, example: str) -> list[str]:
    """The value as a list of texts; one text is a list of one.

    Raises:
        InputError: no list of texts, or an empty one; ``example`` shows one of them.
    """
    if isinstance(value, str):
        value = [value]
    found = list(value) if isinstance(value, Iterable) else []
    if not found or not all(isinstance(entry, str) for entry in found):
        raise InputError(
            f"{name}={short(value)} is no list of names; give one or more, such as [{example!r}]"
        )
    return found


def short(value: object) -> str:
    """The value as messages show it; what is long, such as a sample, by its type only."""
    text = repr(value)
    return text if len(text) <= _LONGEST and "\n" not in text else f"(a {type(value).__name__})"
