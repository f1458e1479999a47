"""Checks of the arguments of ``fit``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fiftyone_deepcluster.core import arguments
from fiftyone_deepcluster.core.disk import folder_problem
from fiftyone_deepcluster.errors import OptionsError
from fiftyone_deepcluster.metrics.matching import numbered

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fiftyone_deepcluster.images.cache.open_images import ImageStore
    from fiftyone_deepcluster.methods.base import Options

LARGEST = 1e15
"""Largest absolute feature value; distances of larger ones overflow float32."""


def check_early(options: Options, run_dir: Path | None) -> None:
    """Checks that need no image: ``run_dir``, device and precision.

    Raises:
        OptionsError: one of them cannot be used.
    """
    from fiftyone_deepcluster.core.devices import choose_compute

    problem = None if run_dir is None else folder_problem(run_dir)
    if problem is not None:
        raise OptionsError(
            f"run_dir={str(run_dir)!r}: {problem}; give a writable folder, which is created if it is missing"
        )
    choose_compute(options.device, options.precision)


def as_features(given: Any) -> NDArray[np.float32]:
    """The given features as float32, with shape and range checked.

    Raises:
        OptionsError: not numbers, of another shape, or too large.
    """
    try:
        features = np.asarray(given, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise OptionsError(
            f"features={arguments.short(given)} is not numeric; give an array of shape (images, dimensions)"
        ) from error
    if features.ndim != 2 or 0 in features.shape:
        raise OptionsError(f"features has shape {features.shape}; give (images, dimensions), both at least 1")
    largest = np.abs(features, where=np.isfinite(features), out=np.zeros_like(features)).max()
    if largest > LARGEST:
        raise OptionsError(
            f"features has values up to {largest:.1e}, too large for float32 distances; scale them below {LARGEST:.0e}"
        )
    return features


def numbers_of(values: Sequence[object], store: ImageStore, what: str) -> NDArray[np.int64]:
    """(M,) int64 codes of the values of the readable images, -1 for None.

    Raises:
        OptionsError: not one value per image, or all of them unknown.
    """
    n = len(store.kept) + len(store.errors)
    need = "give one per image, None where unknown"
    if (
        isinstance(values, str | dict | set)
        or not hasattr(values, "__len__")
        or not getattr(values, "ndim", 1)
    ):
        raise OptionsError(f"{what}={arguments.short(values)} is not a list for {n} images; {need}")
    if len(values) != n:
        raise OptionsError(f"{what} has {len(values)} entries for {n} images; {need}")
    numbers = numbered(values)[0][store.kept]
    if (numbers < 0).all():
        raise OptionsError(
            f"{what} is unknown for all of the {len(numbers)} images that can be read; leave it out"
        )
    return numbers
