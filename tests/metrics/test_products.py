"""Chunks: all rows once, within a memory limit."""

from __future__ import annotations

import pytest
import torch

from fiftyone_deepcluster.metrics import products


def test_chunks_cover_all_rows_once_and_keep_the_bound():
    parts = list(products.chunks(10_001, 3000, torch.device("cpu")))
    assert [row for part in parts for row in range(part.start, part.stop)] == list(range(10_001))
    assert max(part.stop - part.start for part in parts) * 3000 <= 2**21
    assert list(products.chunks(0, 5, torch.device("cpu"))) == []


def test_an_error_in_a_chunk_is_raised_and_threads_are_restored():
    before = torch.get_num_threads()
    torch.set_num_threads(2)

    def fail(rows):
        raise ZeroDivisionError(rows)

    try:
        with pytest.raises(ZeroDivisionError):
            products.each_chunk(100, products._CPU_CHUNK, torch.device("cpu"), fail)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
