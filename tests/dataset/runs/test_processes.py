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


@pytest.mark.slow
def test_two_processes(make_digits, tmp_path):
    dataset = make_digits(40, persistent=True)
    script = tmp_path / "shared.py"
    script.write_text(_SHARED)
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone"]
    done = subprocess.run(
        [*command, str(script), dataset.name],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("rounds 2") == 2
    dataset.reload()
    assert fdc.list_runs(dataset) == ["dc"]
    assert dataset.count("dc.label") == 40
    assert lock.holder(dataset, "dc") is None
