"""Vectors that a FiftyOne model computes: its progress bars are off only meanwhile."""

from __future__ import annotations

import fiftyone as fo
import pytest

from fiftyone_deepcluster.dataset.io.vectors import _NO_BARS


@pytest.mark.parametrize("found", [True, False])
def test_bars_are_restored_when_the_last_of_overlapping_calls_ends(found, monkeypatch):
    monkeypatch.setattr(fo.config, "show_progress_bars", found)
    _NO_BARS.__enter__()
    _NO_BARS.__enter__()
    assert not fo.config.show_progress_bars
    _NO_BARS.__exit__()
    assert not fo.config.show_progress_bars
    _NO_BARS.__exit__()
    assert fo.config.show_progress_bars is found
