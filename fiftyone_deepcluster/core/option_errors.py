"""Readable messages for invalid options, from pydantic's validation errors, with spelling suggestions."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel, ValidationError

from fiftyone_deepcluster.core.arguments import short, some_of

_MOST_CHOICES = 30
"""Known names that messages list in full: more than any part has options, fewer than libraries have models."""

_CLOSE = 0.6
"""Least similarity of a name that is suggested, from 0 to 1: ``SequenceMatcher.ratio`` of ``difflib``."""

_NEEDS = {
    "greater_than_equal": "{ge} or more",
    "greater_than": "more than {gt}",
    "less_than_equal": "{le} or less",
    "less_than": "less than {lt}",
    "multiple_of": "a multiple of {multiple_of}",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing_size": "a number of at most 18 digits",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "bool_type": "True or False",
    "bool_parsing": "True or False",
    "string_type": "text",
    "string_too_short": "{min_length} characters or more",
    "string_too_long": "{max_length} characters or fewer",
    "literal_error": "{expected}",
    "enum": "{expected}",
    "none_required": "None",
    "list_type": "a list",
    "tuple_type": "a list",
    "dict_type": "a dict",
    "too_short": "{min_length} items or more",
    "too_long": "{max_length} items or fewer",
    "path_type": "a path",
}
"""Pydantic error type -> required value, formatted with the bounds in the error's context."""


def explain(error: ValidationError, what: str, model: type[BaseModel]) -> str:
    """One sentence per validation error: option, value, what is needed, and suggestions."""
    values = {_place(item): item["input"] for item in error.errors()}
    lines = []
    for place, text in complaints(error, what, model).items():
        plain = place and text.startswith(("needs ", "give "))
        lines.append(f"{place}={short(values[place])}: {text}" if plain else text)
    return "; ".join(lines)


def complaints(error: ValidationError, what: str, model: type[BaseModel]) -> dict[str, str]:
    """Option name -> message; the empty name is for errors of the whole model.

    For an option with a regex pattern, the message is its description, which states the allowed values.
    """
    needs: dict[str, list[str]] = {}
    problems: dict[str, str] = {}
    for item in error.errors():
        place, kind, bounds = _place(item), item["type"], item.get("ctx", {})
        if kind in _NEEDS:
            # a union yields one error per member
            needs.setdefault(place, []).append(_NEEDS[kind].format(**_format_bounds(bounds)))
            problems[place] = f"needs {' or '.join(dict.fromkeys(needs[place]))}"
        else:
            problems[place] = _other_message(dict(item), place, (what, model))
    return problems


def _other_message(item: dict[str, Any], place: str, of: tuple[str, type[BaseModel]]) -> str:
    """Message for an error type not in ``_NEEDS``; ``of`` is the model's display name and the model."""
    name, model = of
    about = model.model_fields[place].description if place in model.model_fields else None
    if item["type"] == "extra_forbidden":
        return f"{name} has no option {place!r}; {suggest(place, set(model.model_fields) - {'name'})}"
    if item["type"] == "missing":
        return f"{name} needs the option {place!r}" + (f": {about}" if about else "")
    if item["type"] == "string_pattern_mismatch" and about:
        return f"give {about.rstrip('.')}"
    if item["type"] == "value_error":
        return str(item["msg"]).removeprefix("Value error, ")
    value = f"{place}={short(item['input'])}" if place else name
    return f"{value}: {item['msg']}"


def _place(item: Any) -> str:
    """Option name with list indices, such as ``widths.1``; names of union members are dropped."""
    first, *rest = item["loc"] or ("",)
    return ".".join([str(first), *(str(step) for step in rest if isinstance(step, int))])


def _format_bounds(bounds: dict[str, Any]) -> dict[str, Any]:
    shown = {float: "g", int: ","}
    return {name: format(value, shown.get(type(value), "")) for name, value in bounds.items()}


def suggest(name: str, known: Iterable[str]) -> str:
    """Last part of an error message: the closest known names, or else the first ``_MOST_CHOICES`` of all."""
    names = sorted(set(known))
    if not names:
        return "there are none"
    lower = {each.casefold(): each for each in names}
    near = difflib.get_close_matches(str(name).casefold(), lower, n=2, cutoff=_CLOSE)
    if near:
        return f"did you mean {' or '.join(repr(lower[each]) for each in near)}?"
    return f"choose one of: {some_of(names, _MOST_CHOICES)}"
