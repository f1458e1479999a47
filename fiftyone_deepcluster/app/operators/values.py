"""Parameters of operators, checked.

A form gives well-formed values, but the App's server passes on whatever a client sends. Every function returns the
checked value of one parameter, or raises an InputError.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from fiftyone_deepcluster.core import arguments
from fiftyone_deepcluster.errors import InputError

Params: TypeAlias = dict[str, Any]

_LONGEST_NAME = 300
_LONGEST_TEXT = 4_096
_MOST_VALUES = 10_000
_DEEPEST = 10


def text(params: Params, name: str) -> str | None:
    """A string without surrounding blanks; None if there is none.

    Raises:
        InputError: another type, too long, or with a NUL character.
    """
    return (_string(params, name, _LONGEST_NAME) or "").strip() or None


def needed_text(params: Params, name: str) -> str:
    """``text``, and raise InputError if there is none."""
    found = text(params, name)
    if found is None:
        raise InputError(f"parameter {name!r} is missing")
    return found


def name_or(params: Params, name: str, default: str) -> str:
    """``text``, and ``default`` if the parameter is not given; empty if a form's input was emptied."""
    return default if params.get(name) is None else text(params, name) or ""


def long_text(params: Params, name: str) -> str | None:
    """A string with room for a path or a list, unchanged; None if there is none."""
    return _string(params, name, _LONGEST_TEXT) or None


def texts(params: Params, name: str) -> list[str]:
    """A list of strings; empty if there is none."""
    given = params.get(name)
    if given is None:
        return []
    if not isinstance(given, list):
        raise InputError(f"{name}={arguments.short(given)} is not a list of names; give one")
    for value in given:
        if not isinstance(value, str):
            raise InputError(
                f"{name} contains {arguments.short(value)}, which is not a string; give names only"
            )
        _check_string(value, name, _LONGEST_NAME)
    return given


def one_or_more(params: Params, name: str) -> str | list[str] | None:
    """One string, or a list of several, without surrounding blanks; None if there is none.

    A list with one entry is that entry: the vectors of one field are used as they are, those of several are scaled.
    """
    if not isinstance(params.get(name), list):
        return text(params, name)
    found = [entry.strip() for entry in texts(params, name) if entry.strip()]
    return found if len(found) > 1 else next(iter(found), None)


def number(params: Params, name: str, default: int, *, least: int, most: int | None = None) -> int:
    """A whole number; ``default`` if there is none."""
    value = params.get(name)
    if isinstance(value, float) and value.is_integer():  # JavaScript has one type of numbers
        value = int(value)
    return default if value in (None, "") else arguments.whole_number(name, value, least, most)


def given(params: Params, *names: str) -> Params:
    """Those parameters that have a value, by name; checked as by ``nested``."""
    found = {name: nested(params, name) for name in names}
    return {name: value for name, value in found.items() if value not in (None, "")}


def switch(params: Params, name: str, *, default: bool = False) -> bool:
    """True or False; ``default`` if there is none."""
    value = params.get(name)
    if value is None:
        return default
    arguments.yes_or_no(**{name: value})
    return bool(value)


def nested(params: Params, name: str) -> Any:
    """A value of nested dicts and lists, bounded in depth, number and length of its strings."""
    _check_nested(params.get(name), name, _DEEPEST)
    return params.get(name)


def _string(params: Params, name: str, longest: int) -> str | None:
    value = params.get(name)
    if value is None:
        return None
    if not isinstance(value, str):
        raise InputError(f"{name}={arguments.short(value)} is not a string; give one")
    _check_string(value, name, longest)
    return value


def _check_nested(value: object, name: str, depth: int) -> None:
    if depth == 0:
        raise InputError(f"{name} is nested too deeply; give at most {_DEEPEST} levels")
    inner = [*value, *value.values()] if isinstance(value, dict) else value if isinstance(value, list) else []
    if len(inner) > _MOST_VALUES:
        raise InputError(f"{name} has {len(inner):,} values; give at most {_MOST_VALUES:,}")
    for each in inner:
        _check_nested(each, name, depth - 1)
    if isinstance(value, str):
        _check_string(value, name, _LONGEST_TEXT)


def _check_string(value: str, name: str, longest: int) -> None:
    if len(value) > longest:
        raise InputError(f"{name} has {len(value):,} characters; give at most {longest:,}")
    if "\0" in value:
        raise InputError(f"{name}={arguments.short(value)} contains a NUL character; remove it")
