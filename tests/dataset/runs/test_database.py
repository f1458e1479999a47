"""A database that is away, or dies: every public call says so in one sentence."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from pymongo.errors import ServerSelectionTimeoutError

from fiftyone_deepcluster.dataset.runs.database import Outages

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
def test_the_error_names_the_run_that_the_call_is_about(found):
    errors = found["errors"]
    about_none = {name for name, error in errors.items() if "does not answer (" in error}
    assert {"cluster", "resume", "load_run", "delete_run", "Run.clusters", "Review.rename"} <= errors.keys()
    assert {"list_runs", "review"} & about_none == {"list_runs"}
    assert not {name for name in about_none if name.startswith(("Run.", "Review.", "Audit.", "LabelReview."))}
    assert "does not answer the call for '" in errors["cluster"]


@pytest.mark.slow
def test_threads_that_notice_that_the_database_is_away_warn_once(found):
    (notice,) = found["notices"]
    assert notice.startswith("FiftyOne's database does not answer (")
    assert notice.endswith(("run 'noticed' continues", "work on key='noticed' continues"))
    assert len(notice) < 200
    assert "Topology" not in notice


def test_a_second_outage_is_noticed_again(caplog):
    outages = Outages()
    error = ServerSelectionTimeoutError(
        "refused (configured timeouts: 1), Timeout: 30s, Topology Description: ..."
    )
    for n in (1, 2):
        for _ in range(3):
            outages.notice("dc", "the run continues", error)
        outages.over("dc")
        outages.over("dc")
        warned = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
        assert warned == ["FiftyOne's database does not answer (refused); the run continues"] * n


@pytest.mark.slow
def test_an_edit_that_loses_the_database_is_completed_by_the_next(found):
    edit = found["edit"]
    assert edit["error"].startswith(
        "DatabaseAwayError: FiftyOne's database does not answer the call for 'dc' ("
    )
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
