"""Digits as a FiftyOne dataset with pixels as vectors, and labels of which some are broken."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from sklearn.datasets import load_digits

import fiftyone_deepcluster as fdc

if TYPE_CHECKING:
    from collections.abc import Callable

    import fiftyone as fo

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def break_labels(n: int, share: float = 0.08) -> tuple[list[str], np.ndarray]:
    """Labels of the first N digits, and which of them are wrong."""
    draw = np.random.default_rng(0)
    classes = load_digits().target[:n]
    rows = draw.choice(n, round(share * n), replace=False)
    labels = classes.copy()
    labels[rows] = (classes[rows] + draw.integers(1, 10, len(rows))) % 10
    return [WORDS[label] for label in labels], np.isin(np.arange(n), rows)


@pytest.fixture
def labeled(make_digits: Callable[..., fo.Dataset]) -> fo.Dataset:
    """300 digits with fields ``pixels``, ``doubtful`` (Classification), ``patient`` (string)."""
    import fiftyone as fo

    n = 300
    dataset = make_digits(n)
    labels, wrong = break_labels(n)
    dataset.add_sample_field("pixels", fo.VectorField)
    dataset.set_values("pixels", list(load_digits().data[:n].astype(np.float32)))
    dataset.set_values("doubtful", [fo.Classification(label=label) for label in labels])
    dataset.set_values("patient", [f"patient {row // 3}" for row in range(n)])
    dataset.set_values("is_wrong", wrong.tolist())
    return dataset


@pytest.fixture
def audited(labeled):
    fdc.audit_labels(labeled, "doubtful", embeddings_field="pixels")
    return labeled


@pytest.fixture
def review(audited):
    return fdc.review_labels(audited, "audit", user="ada", refit_every=0)
