"""Many runs in one process leave neither open files nor threads behind."""

from __future__ import annotations

import pytest

from benchmarks.soak import one_run, process_size


@pytest.mark.slow
def test_six_runs_end_with_the_files_and_threads_of_two(make_digits):
    pytest.importorskip("resource")  # no /proc elsewhere
    dataset = make_digits(60)
    sizes = []
    for number in range(6):
        one_run(dataset, f"run{number}", "deepcluster", compute_brain=False, baselines=False, min_steps=5)
        found = process_size()
        sizes.append((found["files"], found["threads"]))
    assert sizes[5] == sizes[1], sizes
