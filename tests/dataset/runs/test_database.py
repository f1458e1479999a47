"""A database that is away, or dies: every public call says so in one sentence."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

# calls of arrays and files alone, and what a run or a review has in memory
NEED_NONE = {"fit", "predict", "Run.to_dataframe", "audit_vectors", "sweep_numbers", "try_clusterings"}


@pytest.fixture(scope="module")
def found():
    root = Path(__file__).parents[3]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "tests.faults.away"],
        capture_output=True, text=True, cwd=root, check=False,
        env={**os.environ, "PYTHONPATH": str(root)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
def test_every_call_says_that_the_database_is_away(found):
    errors = found["errors"]
    assert {name for name, error in errors.items() if not error} == NEED_NONE
    wrong = {
        name: error
        for name, error in errors.items()
        if error
        and not (
            error.startswith("DatabaseAwayError: FiftyOne's database does not answer") and len(error) < 400
        )
    }
    assert not wrong


@pytest.mark.slow
def test_an_edit_that_loses_the_database_is_completed_by_the_next(found):
    edit = found["edit"]
    assert edit["error"].startswith("DatabaseAwayError: FiftyOne's database does not answer")
    assert edit["error"].endswith(
        "look at log(): the next edit completes an edit that is listed there; repeat one that is not"
    )
    assert edit["after"] == ["all"]
    assert edit["undone"]


@pytest.mark.slow
def test_a_removal_that_a_restarted_database_has_lost_is_repeated(found):
    first, again = found["removal"]["found"]
    assert "dc_sim" in first
    assert again == first
    assert "dc_sim" not in found["removal"]["left"]


@pytest.mark.slow
def test_fields_that_a_restarted_database_has_kept_are_no_others(found):
    assert "declared" in found["declared"]
