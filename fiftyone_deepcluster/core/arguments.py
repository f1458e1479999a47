"""Validation of user-supplied arguments: each check returns the value or raises an InputError."""

from __future__ import annotations

import errno
import operator
import os
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AnySet
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fiftyone_deepcluster.core.words import counted
from fiftyone_deepcluster.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_LONGEST, _LONGEST_TEXT = 60, 120
"""Characters of a value's repr, and of a text, that messages show in full."""

_LONGEST_REASON = 300
"""Characters of another library's message that messages show in full."""


def whole_number(name: str, value: Any, least: int, most: int | None = None) -> int:
    """The value as an int in ``least`` to ``most``, both inclusive; ``most`` of None is no upper bound.

    Raises:
        InputError: not a whole number, or out of range.
    """
    need = f"{least:,} or more" if most is None else f"{least:,} to {most:,}"
    try:
        number = None if isinstance(value, bool | np.bool_) else operator.index(value)
    except TypeError:
        number = None
    if number is None:
        raise InputError(f"{name}={short(value)} is not a whole number; give {need}")
    if number < least or (most is not None and number > most):
        raise InputError(f"{name}={short(number)}: give {need}")
    return number


def share_of(name: str, value: Any, whole: str) -> float:
    """The value as a fraction of ``whole``: 0 < value <= 1.

    Raises:
        InputError: not a number, or out of range; the message names ``whole``.
    """
    number = float(value) if isinstance(value, Real) and not isinstance(value, bool) else 0.0
    if not 0 < number <= 1:
        raise InputError(
            f"{name}={short(value)} is not a fraction of {whole}; give more than 0 and at most 1"
        )
    return number


def positive(name: str, value: Any, most: float) -> float:
    """The value as a number above 0, and at most ``most``.

    Raises:
        InputError: not a number, or out of range.
    """
    number = float(value) if isinstance(value, Real) and not isinstance(value, bool) else 0.0
    if not 0 < number <= most:
        raise InputError(f"{name}={short(value)}: give a number above 0 and at most {most:,.0f}")
    return number


def one_of(name: str, value: Any, choices: Sequence[str]) -> None:
    """Raise InputError unless the value is one of the choices."""
    if not isinstance(value, str) or value not in choices:
        raise InputError(f"{name}={short(value)} is not known; choose one of: {', '.join(choices)}")


def yes_or_no(**values: Any) -> None:
    """Raise InputError unless every value is a bool: as a condition, the string "no" would be true."""
    for name, value in values.items():
        if not isinstance(value, bool):
            raise InputError(f"{name}={short(value)} is neither True nor False; give one of them")


def one_name(name: str, value: Any, example: str) -> str:
    """The value, checked to be a non-blank string.

    Raises:
        InputError: it is not; the message shows ``example``.
    """
    if not isinstance(value, str) or not value.strip():
        raise InputError(f"{name}={short(value)} is not a name; give a string, such as {example!r}")
    return str(value)


def path_of(name: str, value: Any) -> Path:
    """The value as a path, which need not exist.

    Raises:
        InputError: not a string or path, or one that no file system accepts.
    """
    if not isinstance(value, str | Path) or not str(value):
        raise InputError(f"{name}={short(value)} is not a path; give a string or a Path")
    try:
        os.stat(value)  # noqa: PTH116 - unlike Path.exists, which hides NUL characters
    except ValueError as error:
        raise InputError(f"{name}={short(value)} is not a path: {error}; give another one") from None
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise InputError(f"{name}={short(value)}: {error.strerror}; give a shorter path") from None
    return Path(value)


def new_file_path(name: str, value: Any, *endings: str) -> Path:
    """The value as the path of a file to write, which may exist.

    Raises:
        InputError: not a path, one with none of the ``endings``, or in a folder that does not exist.
    """
    path = path_of(name, value)
    if path.suffix not in endings:
        raise InputError(f"{name}={short(str(value))} must end in {' or '.join(endings)}; give another name")
    if not path.parent.is_dir():
        raise InputError(
            f"{name}={short(str(value))}: there is no folder {str(path.parent)!r}; create it first"
        )
    return path


def names(name: str, value: Any, example: str, *, once: bool = False, ordered: bool = False) -> list[str]:
    """The value as a list of strings; a single string becomes a list of one.

    Raises:
        InputError: not a list of strings, or empty; the message shows ``example``. With ``once`` also a string
            that is there twice; with ``ordered`` also a set, whose order differs between processes.
    """
    if ordered and isinstance(value, set | frozenset):
        raise InputError(f"{name}={short(value)} {NO_ORDER}, such as [{example!r}]")
    found = [value] if isinstance(value, str) else listed(value)
    if not found or not all(isinstance(entry, str) for entry in found):
        raise InputError(
            f"{name}={short(value)} is not a list of names; give one or more, such as [{example!r}]"
        )
    if once and len(set(found)) < len(found):
        raise InputError(f"{name}={short(value)} has a name twice; give every name once")
    return [str(entry) for entry in found]


NO_ORDER = "is a set, whose order differs between processes; give a list"
"""Why a set is refused where the order counts, for messages."""


def listed(value: Any) -> list[Any] | None:
    """The entries of a list, array, set or generator; None for text, mappings, and values without entries."""
    if isinstance(value, str | bytes | bytearray | Mapping | type) or not isinstance(value, Iterable):
        return None
    try:
        return list(value)
    except (TypeError, ValueError):  # also a NumPy array without dimensions, and a FiftyOne sample
        return None


def is_sequence(value: Any) -> bool:
    """Whether the value has entries in an order, and a length: a list, tuple, array, or column of a table."""
    if isinstance(value, str | bytes | bytearray | Mapping | AnySet | type):
        return False
    return hasattr(value, "__len__") and hasattr(value, "__getitem__") and getattr(value, "ndim", 1) > 0


def masked_problem(values: Any) -> str:
    """What is wrong with an array, or a list of arrays or entries, with masked entries; empty if there are none."""
    found = values if isinstance(values, list | tuple) else (values,)
    n = sum(int(np.ma.getmaskarray(each).sum()) for each in found if np.ma.is_masked(each))
    return f"has {counted(n, 'masked entry', 'masked entries')}" if n else ""


def number_problem(name: str, values: Any) -> str:
    """Message about an array, or nested lists, that hold no real numbers; empty if they do.

    NumPy would take texts of digits for numbers, drop imaginary parts, and show what a mask hides.

    Raises:
        TypeError, ValueError, RuntimeError: they are no array at all.
    """
    masked = masked_problem(values)
    if masked:
        return f"{name} {masked}; leave these images out, or give NaN there"
    array = np.asarray(values)
    of_text = array.dtype.kind == "O" and any(isinstance(each, str | bytes) for each in array.flat)
    if array.ndim and (of_text or array.dtype.kind in "SU"):
        return f"{name} holds texts (type {array.dtype}); give numbers (float32)"
    if array.dtype.kind not in "biufOSU":
        return f"{name} is of type {array.dtype}; give real numbers, such as float32"
    return ""


def as_float32(values: Any) -> NDArray[np.float32]:
    """Numbers as float32; finite ones beyond its range become its largest, so that they are not taken for infinite.

    Raises:
        TypeError, ValueError: they are no array of numbers.
    """
    with np.errstate(over="ignore"):
        array = np.asarray(values, np.float32)
    if np.isinf(array).any():
        limit = np.finfo(np.float32)
        wide = np.asarray(values, np.float64)
        array = np.where(np.isfinite(wide), wide.clip(limit.min, limit.max), wide).astype(np.float32)
    return array


def some_of(values: Sequence[str], most: int = 3) -> str:
    """The first ``most`` texts for a message, and how many more there are; one more is shown, too."""
    if len(values) <= most + 1:
        return ", ".join(values)
    return f"{', '.join(values[:most])} and {len(values) - most:,} more"


def reason_of(error: BaseException) -> str:
    """The first line of an exception's text for a message, cut where it is long; its type where it has no text."""
    text = str(error).strip().partition("\n")[0]
    if not text:
        return type(error).__name__
    return text if len(text) <= _LONGEST_REASON else f"{text[:_LONGEST_REASON]}..."


def short(value: object) -> str:
    """The value for a message, on one line: its repr, the beginning of a long one, or only its type.

    Strings of NumPy are shown as those of Python.
    """
    if isinstance(value, str):
        if len(value) > _LONGEST_TEXT:
            return f"{str(value[:_LONGEST])!r}... ({len(value):,} characters)"
        return repr(str(value))
    kind = type(value).__name__
    kind = f"(an {kind})" if kind[0] in "aeioAEIO" else f"(a {kind})"
    try:
        text = repr(value)
    except ValueError:  # an integer of more digits than Python writes
        return kind
    if "\n" in text:
        return kind
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}... {kind}"
