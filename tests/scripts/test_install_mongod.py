"""The script that installs a database executable for a checkout, run as ``make`` runs it."""

import os
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "install_mongod.py"


def run(**environment):
    own = {name: value for name, value in os.environ.items() if name != "FIFTYONE_DATABASE_URI"}
    return subprocess.run(
        [sys.executable, str(SCRIPT)], env=own | environment, capture_output=True, text=True, check=False
    )


def test_a_program_that_runs_is_left_alone():
    done = run()

    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.split()[:2] == ["ok", "mongod"]
    assert len(done.stdout.splitlines()) == 1


def test_a_database_by_address_is_never_replaced():
    done = run(FIFTYONE_DATABASE_URI="mongodb://127.0.0.1:1")

    assert done.returncode == 1
    assert "does not answer" in done.stdout
