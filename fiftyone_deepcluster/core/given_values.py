"""Base class of the models whose values a person gives: refuses values that pydantic would silently convert."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, get_args

import numpy as np
from pydantic import BaseModel, ValidationInfo, field_validator, model_validator
from pydantic_core import PydanticKnownError

from fiftyone_deepcluster.core.arguments import NO_ORDER, short

_TOO_LARGE = 10**18
"""NumPy and torch have integers of 64 bits."""


class GivenValues(BaseModel):
    """Base class of options; what a person gives may come from a script, a form or the command line."""

    @model_validator(mode="before")
    @classmethod
    def _check_order(cls, values: Any) -> Any:
        """Refuse sets, which pydantic would take for a list in an order that differs between processes."""
        for name, value in values.items() if isinstance(values, Mapping) else ():
            if isinstance(value, set | frozenset):
                raise ValueError(f"{name}={short(value)} {NO_ORDER}")
        return values

    @field_validator("*", mode="before")
    @classmethod
    def _check_numbers(cls, value: Any, info: ValidationInfo) -> Any:
        """Refuse True and False for numbers, which pydantic would take for 1 and 0, and integers beyond 64 bits."""
        entries = value if isinstance(value, list | tuple) else (value,)
        if any(isinstance(entry, int) and abs(entry) >= _TOO_LARGE for entry in entries):
            raise PydanticKnownError("int_parsing_size")
        if any(isinstance(entry, bool | np.bool_) for entry in entries):
            kinds = set(_kinds(cls.model_fields[str(info.field_name)].annotation))
            if kinds & {int, float} and bool not in kinds:
                raise PydanticKnownError("float_type" if float in kinds else "int_type")
        return value


def _kinds(annotation: Any) -> Iterator[Any]:
    """The types that an annotation such as ``tuple[int, ...] | None`` is made of."""
    inside = get_args(annotation)
    if not inside:
        yield annotation
    for each in inside:
        yield from _kinds(each)
