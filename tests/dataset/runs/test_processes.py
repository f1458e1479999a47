"""A run with two processes: only the first one writes."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

import fiftyone_deepcluster as fdc
from fiftyone_deepcluster.dataset.runs import lock

_SHARED = """
import sys, warnings
warnings.simplefilter("ignore")
import fiftyone as fo
import fiftyone_deepcluster as fdc
run = fdc.cluster(fo.load_dataset(sys.argv[1]), "deepcluster", "dc", n_clusters=4, rounds=2, image_size=16,
    batch_size=32, min_steps=10, device="cpu", baselines=False, progress=False, compute_brain=False)
print("rounds", len(run.rounds), flush=True)
"""

_RENAMED = """
import sys, warnings
warnings.simplefilter("ignore")
import fiftyone as fo
import fiftyone_deepcluster as fdc
from fiftyone_deepcluster.dataset.runs import lock, run_job
from fiftyone_deepcluster.dataset.runs.processes import wait_for_all
dataset = fo.load_dataset(sys.argv[1])
acquire, follow, fit = lock.acquire, run_job._follow, run_job._fit
def late(given, key):
    if key == "second":
        wait_for_all()
        lock.acquire = acquire
        fdc.rename_run(dataset, "dc", "new")
    return acquire(given, key)
def later(*given):
    wait_for_all()
    return follow(*given)
def noted(call, *given):
    print("truth", call.settings["truth_field"], flush=True)
    return fit(call, *given)
lock.acquire, run_job._follow, run_job._fit = late, later, noted
fdc.cluster(dataset, "deepcluster", "second", truth_field="dc.label", n_clusters=4, rounds=1, image_size=16,
    batch_size=32, min_steps=10, device="cpu", baselines=False, progress=False, compute_brain=False)
"""


def run_twice(dataset, folder, text):
    """Execute a script in two processes of one job."""
    script = folder / "shared.py"
    script.write_text(text)
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone"]
    done = subprocess.run(
        [*command, str(script), dataset.name],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done


@pytest.mark.slow
def test_two_processes(make_digits, tmp_path):
    dataset = make_digits(40, persistent=True)
    done = run_twice(dataset, tmp_path, _SHARED)
    assert done.stdout.count("rounds 2") == 2
    dataset.reload()
    assert fdc.list_runs(dataset) == ["dc"]
    assert dataset.count("dc.label") == 40
    assert lock.holder(dataset, "dc") is None


@pytest.mark.slow
def test_both_processes_follow_a_rename(make_digits, stored_run, tmp_path):
    dataset = make_digits(40, persistent=True)
    stored_run(dataset)
    done = run_twice(dataset, tmp_path, _RENAMED)
    assert done.stdout.count("truth new.label") == 2
    dataset.reload()
    assert fdc.list_runs(dataset) == ["new", "second"]
