"""Fixture: a dataset with a run to review."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    import fiftyone as fo

    from fiftyone_deepcluster.api.fit import FitResult


@pytest.fixture
def dataset(make_digits: Callable[..., fo.Dataset], stored_run: Callable[..., FitResult]) -> fo.Dataset:
    """40 digits with the stored run ``dc``."""
    dataset = make_digits(40)
    stored_run(dataset)
    return dataset
