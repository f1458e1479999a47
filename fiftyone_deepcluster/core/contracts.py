"""What a part gives is checked before it is used: messages name the part, the value and what was needed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from numbers import Real
from typing import TYPE_CHECKING, Any

from fiftyone_deepcluster.core.arguments import short
from fiftyone_deepcluster.errors import DeepClusterError, PartError

if TYPE_CHECKING:
    import torch


@contextmanager
def blamed(who: str) -> Iterator[None]:
    """Say which part failed; errors of this package say so themselves.

    Raises:
        PartError: the code within raised something else, which is its cause.
    """
    try:
        yield
    except DeepClusterError:
        raise
    except Exception as error:  # whatever a part raises
        raise PartError(f"{who} failed: {type(error).__name__}: {error}") from error


def as_tensor(values: Any, who: str, need: str) -> torch.Tensor:
    """A tensor as it is, or one of the NumPy array's numbers.

    Args:
        values: what the part gave.
        who: the part, as messages name it.
        need: what it should have given, such as "labels (N,), whole numbers".

    Raises:
        PartError: anything else.
    """
    import numpy as np
    import torch

    if isinstance(values, torch.Tensor):
        return values.detach() if values.requires_grad else values
    if isinstance(values, np.ndarray) and values.dtype.kind in "biuf":
        return torch.from_numpy(np.ascontiguousarray(values))
    raise PartError(f"{who} gave {described(values)}; return {need} as a tensor or a NumPy array")


def as_vectors(values: Any, n: int, who: str) -> torch.Tensor:
    """Vectors (n, D) float32, on their device, with D of 1 or more.

    Raises:
        PartError: another type, shape or number of rows.
    """
    need = f"vectors ({n}, D), one row for each of the {n} images"
    found = as_tensor(values, who, need)
    if found.ndim != 2 or len(found) != n or found.shape[1] == 0 or found.is_complex():
        raise PartError(f"{who} gave {described(found)}; return {need}")
    return found.float()


def count_broken(vectors: torch.Tensor) -> str:
    """How many rows of (N, D) have NaN or infinite values, in words; empty where all are finite."""
    import torch

    least, most = torch.aminmax(vectors)
    if bool(torch.isfinite(least) & torch.isfinite(most)):
        return ""
    rows = (~torch.isfinite(vectors)).any(dim=1).nonzero()[:, 0]
    return (
        f"{len(rows)} of {len(vectors)} vectors with NaN or infinite values, the first in row {int(rows[0])}"
    )


def as_scores(scores: Any, who: str) -> dict[str, float]:
    """Figures by name, as plain floats.

    Raises:
        PartError: no dict of names and numbers.
    """
    if not isinstance(scores, Mapping) or not all(isinstance(name, str) for name in scores):
        raise PartError(f"{who} gave scores={short(scores)}; return a dict of numbers by name")
    return {name: as_number(value, who, f"scores[{name!r}]") for name, value in scores.items()}


def as_number(value: Any, who: str, what: str) -> float:
    """One number as a float.

    Raises:
        PartError: none.
    """
    single = getattr(value, "ndim", None) == 0 and hasattr(value, "item")
    number = value.item() if single else value
    if not isinstance(number, Real):
        raise PartError(f"{who} gave {what}={short(value)}; return one number")
    return float(number)


def described(values: Any) -> str:
    """What a part gave, for a message: None, or type, shape and kind of number."""
    if values is None:
        return "None"
    shape = getattr(values, "shape", None)
    if shape is None:
        return f"{short(values)} of type {type(values).__name__}"
    dtype = str(getattr(values, "dtype", "")).removeprefix("torch.")
    return f"values of shape {tuple(shape)} and type {dtype or type(values).__name__}"
