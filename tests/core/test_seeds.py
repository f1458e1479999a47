"""Seeds differ by purpose, stay the same, and are numbers that users can give, too."""

import pytest

from fiftyone_deepcluster.core.seeds import LARGEST_SEED, derive
from fiftyone_deepcluster.errors import OptionsError
from fiftyone_deepcluster.methods.frozen import Frozen


def test_derived_seeds_differ_by_purpose_and_are_constant():
    assert derive(51, "augment", 3) == derive(51, "augment", 3)
    purposes = [(51, "augment", 3), (51, "augment", 4), (51, "head", 3), (52, "augment", 3)]
    assert len({derive(*purpose) for purpose in purposes}) == 4


def test_derived_seeds_can_be_given_and_no_larger_ones():
    assert 0.9 * LARGEST_SEED < max(derive(0, number) for number in range(1000)) <= LARGEST_SEED
    assert Frozen(seed=LARGEST_SEED).seed == LARGEST_SEED
    with pytest.raises(OptionsError, match=rf"seed={LARGEST_SEED + 1}: needs {LARGEST_SEED:,} or less"):
        Frozen(seed=LARGEST_SEED + 1)
