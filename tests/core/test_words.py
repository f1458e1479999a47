"""Things with their number or their names, as messages show them."""

from __future__ import annotations

import pytest

from fiftyone_deepcluster.core.words import all_of, counted, named, none_of


@pytest.mark.parametrize(
    ("n", "counted_n", "all_n", "none_n"),
    [
        (0, "0 images", "all 0 images", "none of the 0 images"),
        (1, "1 image", "the only image", "none of the images"),
        (1797, "1,797 images", "all 1,797 images", "none of the 1,797 images"),
    ],
)
def test_a_number_has_its_noun(n, counted_n, all_n, none_n):
    assert (counted(n, "image"), all_of(n, "image"), none_of(n, "image")) == (counted_n, all_n, none_n)


def test_a_plural_may_be_given():
    assert [counted(n, "class", "classes") for n in (1, 2)] == ["1 class", "2 classes"]


def test_several_names_are_joined():
    found = [named("field", names) for names in (["dc"], ["dc", "dc_loss"], ["a", "b", "c"])]
    assert found == ["a field 'dc'", "the fields 'dc' and 'dc_loss'", "the fields 'a', 'b' and 'c'"]
