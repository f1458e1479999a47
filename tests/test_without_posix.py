"""The package works without modules that only POSIX systems have, as on Windows."""

import os
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
PROGRAM = REPOSITORY / "tests" / "without_posix.py"


def test_the_package_imports_and_fits_without_posix(tmp_path):
    environment = os.environ | {
        "FIFTYONE_DISABLE_SERVICES": "1",
        "PYTHONPATH": str(REPOSITORY),
        "USERNAME": "as on Windows",
    }
    done = subprocess.run(
        [sys.executable, str(PROGRAM), str(tmp_path)],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    modules, labels, decoded = map(int, done.stdout.split()[-3:])
    assert modules > 150
    assert labels == decoded == 600
