"""The check of a GPU, on a machine that need not have one."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]


def check(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHON": sys.executable, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        ["bash", "scripts/gpu_check.sh", *arguments],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=1500, check=False,
    )  # fmt: skip


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_what_it_needs() -> None:
    done = check()

    assert done.returncode == 1
    assert done.stderr.startswith("torch finds no CUDA GPU, and this measures one.")
    assert "--pretend" in done.stderr


@pytest.mark.slow
def test_every_line_runs_with_tiny_sizes() -> None:
    done = check("--pretend")

    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    for what in ("training, images on the GPU", "embedding, images read by the CPU"):
        assert f"| alexnet {what}" in done.stdout
    assert "| k-means, 2,000 x 16, k = 450" in done.stdout
    assert "s, faiss; mean squared distance" in done.stdout
    assert "| DAC, a round of 100 images" in done.stdout
    if find_spec("flash_kmeans") is None:
        assert "skipped: flash-kmeans: No module named 'flash_kmeans'" in done.stdout
