"""Validation of the values that parts return: messages name the part, the value and what is needed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from numbers import Real
from typing import TYPE_CHECKING, Any

from fiftyone_deepcluster.core.arguments import short
from fiftyone_deepcluster.core.words import counted
from fiftyone_deepcluster.errors import DeepClusterError, PartError

if TYPE_CHECKING:
    import torch


_WRONG_CODE = (
    TypeError,
    ValueError,
    AttributeError,
    NameError,
    LookupError,
    ArithmeticError,
    AssertionError,
    RuntimeError,
)


@contextmanager
def attributed_to(who: str) -> Iterator[None]:
    """Attribute an exception of the block to the part ``who``, by raising it as PartError.

    Exceptions of this package, ``OSError``, ``MemoryError`` and torch's ``OutOfMemoryError`` pass unchanged.

    Raises:
        PartError: the block raised an exception that wrong code or values cause; it is chained.
    """
    try:
        yield
    except DeepClusterError:
        raise
    except _WRONG_CODE as error:
        if type(error).__name__ == "OutOfMemoryError":  # torch's, of a GPU
            raise
        raise PartError(f"{who} failed: {type(error).__name__}: {error}") from error


def as_tensor(values: Any, who: str, need: str) -> torch.Tensor:
    """A tensor, detached, or a numeric NumPy array as a tensor.

    Args:
        values: the value returned by the part.
        who: name of the part in messages.
        need: expected value in messages, such as "labels (N,), integers".

    Raises:
        PartError: the value is neither.
    """
    import numpy as np
    import torch

    if isinstance(values, torch.Tensor):
        return values.detach() if values.requires_grad else values
    if isinstance(values, np.ndarray) and values.dtype.kind in "biuf":
        return torch.from_numpy(np.ascontiguousarray(values))
    raise PartError(f"{who} returned {described(values)}; return {need} as a tensor or a NumPy array")


def as_vectors(values: Any, n: int, who: str) -> torch.Tensor:
    """Vectors (n, D) float32 on their own device, D >= 1.

    Raises:
        PartError: wrong type, shape or number of rows.
    """
    need = f"vectors ({n}, D), one row for each image"
    found = as_tensor(values, who, need)
    if found.ndim != 2 or len(found) != n or found.shape[1] == 0 or found.is_complex():
        raise PartError(f"{who} returned {described(found)}; return {need}")
    return found.float()


def describe_non_finite(vectors: torch.Tensor) -> str:
    """How many rows of (N, D) have NaN or infinite values, as text for a message; "" if all are finite."""
    import torch

    least, most = torch.aminmax(vectors)
    if bool(torch.isfinite(least) & torch.isfinite(most)):
        return ""
    rows = (~torch.isfinite(vectors)).any(dim=1).nonzero()[:, 0]
    n = f"{len(rows):,} of {counted(len(vectors), 'vector')}"
    return f"{n} with NaN or infinite values, the first in row {int(rows[0])}"


def as_scores(scores: Any, who: str) -> dict[str, float]:
    """Scores by name, as Python floats.

    Raises:
        PartError: not a dict from strings to numbers.
    """
    if not isinstance(scores, Mapping) or not all(isinstance(name, str) for name in scores):
        raise PartError(f"{who} returned scores={short(scores)}; return a dict of numbers by name")
    return {name: as_number(value, who, f"scores[{name!r}]") for name, value in scores.items()}


def as_number(value: Any, who: str, what: str) -> float:
    """A number, NumPy scalar or 0-d tensor as a Python float.

    Raises:
        PartError: any other value.
    """
    single = getattr(value, "ndim", None) == 0 and hasattr(value, "item")
    number = value.item() if single else value
    if not isinstance(number, Real):
        raise PartError(f"{who} returned {what}={short(value)}; return one number")
    return float(number)


def described(values: Any) -> str:
    """Description of a returned value for messages: None, or its shape and type."""
    if values is None:
        return "None"
    shape = getattr(values, "shape", None)
    if shape is None:
        return f"{short(values)} of type {type(values).__name__}"
    dtype = str(getattr(values, "dtype", "")).removeprefix("torch.")
    return f"values of shape {tuple(shape)} and type {dtype or type(values).__name__}"
