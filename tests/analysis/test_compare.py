"""Comparison of two labelings of the same images."""

import numpy as np

from fiftyone_deepcluster.analysis.compare import compare_labelings

FINE = ["a1"] * 5 + ["a2"] * 5 + ["b"] * 8 + ["mixed"] * 4 + [None]
COARSE = ["a"] * 10 + ["b"] * 8 + ["a"] * 2 + ["b", None, "b"]


def test_pure_clusters_of_a_finer_labeling_lie_within_those_of_a_coarser_one():
    found = compare_labelings(FINE, COARSE)
    assert found.n_images == 21, "images without a label in one of the two are left out"
    assert found.rows[0] == "b", "largest first"
    assert found.within == ["b", "a1", "a2"], "of 'mixed', two of three images are in 'a'"
    assert found.agreeing == [("b", "b")], "two pure clusters together are 'a', so neither is its counterpart"
    assert found.merged == {"a": ["a1", "a2"]}
    assert not found.split
    assert found.sentences() == [
        "1 of 4 clusters has a counterpart: each shares at least 80% with the other.",
        "3 of 4 clusters lie in one of the other labeling by at least 80%.",
        "a joins a1, a2.",
    ]


def test_the_comparison_in_the_other_direction():
    found = compare_labelings(COARSE, FINE)
    np.testing.assert_array_equal(found.counts.sum(axis=1), [12, 9])
    assert found.within == ["b"]
    assert found.split == {"a": ["a1", "a2"]}


def test_labelings_that_share_no_image():
    found = compare_labelings(["a", None], [None, "b"])
    assert (found.n_images, found.within, found.agreeing) == (0, [], [])
    assert found.sentences()[0].startswith("0 of 0 clusters")
