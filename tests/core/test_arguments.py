"""Checks of arguments: accepted values, and errors for the others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fiftyone_deepcluster.core import arguments
from fiftyone_deepcluster.errors import InputError


def test_valid_values_are_returned_as_plain_types():
    assert arguments.whole_number("k", np.int64(3), 1) == 3
    assert arguments.whole_number("folds", 10, 2, 10) == 10
    assert arguments.share_of("common", 1, "the clusters") == 1.0
    assert arguments.share_of("common", np.float32(0.5), "the clusters") == 0.5
    assert arguments.names("layers", "conv3", "conv1") == ["conv3"], "one name is a list of one"
    assert arguments.names("layers", ("a", "b"), "conv1") == ["a", "b"]
    assert arguments.one_name("field", "report", "notes") == "report"
    arguments.one_of("rank", "count", ("count", "distinct"))
    assert arguments.new_file_path("path", __file__, ".csv", ".py") == Path(__file__)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: arguments.whole_number("k", "5", 1), r"^k='5' is not a whole number; give 1 or more$"),
        (lambda: arguments.whole_number("k", 2.5, 1), r"^k=2.5 is not a whole number"),
        (lambda: arguments.whole_number("k", True, 1), r"^k=True is not a whole number"),
        (lambda: arguments.whole_number("k", None, 1), r"^k=None is not a whole number"),
        (lambda: arguments.whole_number("k", 0, 1), r"^k=0: give 1 or more$"),
        (lambda: arguments.whole_number("n", 11_000, 20, 10_000), r"^n=11000: give 20 to 10,000$"),
        (lambda: arguments.share_of("common", "x", "the labels"), r"^common='x' is not a fraction of the labels; give"),
        (lambda: arguments.share_of("common", float("nan"), "the clusters"), r"^common=nan is not a fraction"),
        (lambda: arguments.share_of("common", 1.5, "the clusters"), r"more than 0 and at most 1$"),
        (lambda: arguments.one_of("rank", "best", ("count", "distinct")), r"rank='best'.*: count, distinct$"),
        (lambda: arguments.one_of("rank", ["count"], ("count",)), r"rank=\['count'\] is not known"),
        (lambda: arguments.one_name("field", 5, "notes"), r"^field=5 is not a name; .*'notes'$"),
        (lambda: arguments.one_name("field", " ", "notes"), r"^field=' ' is not a name"),
        (lambda: arguments.names("layers", [], "conv1"), r"^layers=\[\] is not a list of names; .*\['conv1'\]$"),
        (lambda: arguments.names("layers", [1], "conv1"), r"^layers=\[1\] is not a list of names"),
        (lambda: arguments.names("layers", 5, "conv1"), r"^layers=5 is not a list of names"),
        (
            lambda: arguments.names("fields", {"a"}, "e", ordered=True),
            r"^fields=\{'a'\} is a set, whose order differs between processes; give a list, such as \['e'\]$",
        ),
        (lambda: arguments.new_file_path("path", "a.txt", ".csv", ".json"), r"'a.txt' must end in .csv or .json; give"),
        (lambda: arguments.new_file_path("path", "/no/a.csv", ".csv"), r"there is no folder '/no'; create"),
    ],
)  # fmt: skip
def test_invalid_values_are_refused_with_the_value_and_the_need(call, message):
    with pytest.raises(InputError, match=message):
        call()


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (np.zeros(100), "(a ndarray)"),
        ("short", "'short'"),
        (np.str_("short"), "'short'"),
        ("x " * 300, "'" + "x " * 30 + "'... (600 characters)"),
        ("a\nb", r"'a\nb'"),
        ("\ud800", r"'\ud800'"),
        (list(range(100)), "[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 1... (a list)"),
    ],
)
def test_values_are_shown_on_one_short_line(value, shown):
    assert arguments.short(value) == shown


def test_an_integer_of_more_digits_than_python_writes_is_shown_by_its_type():
    assert arguments.short(10**5000) == "(an int)"


@pytest.mark.parametrize("value", [[1, 2], (1, 2), {1, 2}, range(1, 3), np.array([1, 2]), iter([1, 2])])
def test_entries_of_collections(value):
    assert arguments.listed(value) == [1, 2]


@pytest.mark.parametrize("value", ["ab", b"ab", {"a": 1}, 5, None, np.array(2), dict, slice(2), object()])
def test_what_has_no_entries_is_no_collection(value):
    assert arguments.listed(value) is None


def test_sequences():
    import pandas as pd

    assert all(map(arguments.is_sequence, ([], (1,), np.array([1]), range(2), pd.Series(["a", None]))))
    others = ("ab", b"ab", {"a": 1}, {1}, 5, None, np.array(2), dict, iter([1]), slice(2))
    assert not any(map(arguments.is_sequence, others))


def test_only_infinite_numbers_are_infinite_as_float32(recwarn):
    found = arguments.as_float32([1.5, 1e300, -1e300, np.inf, -np.inf, np.nan])
    assert found.dtype == np.float32
    largest = np.finfo(np.float32).max
    np.testing.assert_array_equal(found, np.float32([1.5, largest, -largest, np.inf, -np.inf, np.nan]))
    assert not recwarn
