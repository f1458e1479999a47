"""Seeds differ by purpose and stay the same."""

from fiftyone_deepcluster.core.seeds import derive


def test_derived_seeds_differ_by_purpose_and_are_constant():
    assert derive(51, "augment", 3) == derive(51, "augment", 3)
    purposes = [(51, "augment", 3), (51, "augment", 4), (51, "head", 3), (52, "augment", 3)]
    assert len({derive(*purpose) for purpose in purposes}) == 4
