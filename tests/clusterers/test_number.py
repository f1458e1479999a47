"""The number of clusters: planted groups, digits, and the interval around the recommended number."""

from __future__ import annotations

import pytest

from fiftyone_deepcluster.clusterers.number import sweep_numbers
from fiftyone_deepcluster.errors import InputError


def test_planted_groups_are_counted(blobs):
    found = sweep_numbers(blobs, range(2, 9), reducer="identity")
    assert found.recommended == 4
    assert found.interval == (4, 4)
    assert found.stability[2] == 1.0
    assert found.accuracy[2] == 1.0
    assert list(found.objective) == sorted(found.objective, reverse=True)
    lines = str(found).splitlines()
    assert len(lines) == 9
    assert [line[0] for line in lines[1:8]] == [" ", " ", ">", " ", " ", " ", " "]
    assert lines[-1] == "recommended: 4 clusters, no other number scores nearly as well"


def test_digits_are_about_ten(digits):
    reducer = {"name": "umap", "epochs": 100, "n_components": 5}
    found = sweep_numbers(digits[:900], (4, 7, 10, 14, 20), reducer=reducer, repetitions=2)
    assert found.recommended in (7, 10, 14)
    low, high = found.interval
    assert low <= found.recommended <= high


def test_numbers_that_cannot_be_compared_are_refused(blobs):
    for numbers in ([], [3], [1, 2], [4, 4]):
        with pytest.raises(InputError, match="two or more different numbers"):
            sweep_numbers(blobs, numbers)
    with pytest.raises(InputError, match="repetitions=1: give 2 to 100"):
        sweep_numbers(blobs, [2, 3], repetitions=1)
    with pytest.raises(InputError, match=f"9999 is more than the {len(blobs)} vectors"):
        sweep_numbers(blobs, [2, 9999])
