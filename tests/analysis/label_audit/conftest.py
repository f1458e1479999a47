"""Digits for tests of the label audit."""

import numpy as np
import pytest
from sklearn.datasets import load_digits

from tests.analysis.label_audit.broken_labels import N


@pytest.fixture(scope="package")
def digits():
    """Pixels (N, 64) and digits (N,)."""
    found = load_digits()
    return found.data[:N].astype(np.float32), found.target[:N]
