"""A few kill points of every operation, in processes of their own; ``python -m tests.faults`` tries all."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.operations import OPERATIONS

# They change the database as others do: the command walks through them, too.
_ALIKE = {
    "audit again", "deletion of an audit", "accept_above", "commit to the audited field", "undo of decisions",
    "import of decisions", "delete of objects", "job of a DICOM import", "neighbors", "rename of an audited run",
}  # fmt: skip
_GROUPS = [group for group in OPERATIONS if group not in _ALIKE]
_RESTARTED = "delete, database restarted"

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="the processes are forked")


@pytest.fixture(scope="module")
def walked():
    """What came out, by group."""
    command = [
        sys.executable,
        "-W",
        "ignore",
        "-m",
        "tests.faults",
        "--few",
        "2",
        "--json",
        *_GROUPS,
        _RESTARTED,
    ]
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    done = subprocess.run(command, capture_output=True, text=True, cwd=root, env=environment, check=False)
    assert done.returncode in (0, 1), done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return {entry["group"]: entry for entry in found}


@pytest.mark.slow
@pytest.mark.parametrize("group", _GROUPS)
def test_killed_processes(walked, group):
    assert walked[group]["lost"] == {}
    assert walked[group]["tried"] == 2


@pytest.mark.slow
def test_a_restarted_database(walked):
    assert walked[_RESTARTED]["lost"] == {}
    assert walked[_RESTARTED]["tried"] == 3  # one of them before no change
