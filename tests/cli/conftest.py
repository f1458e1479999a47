"""Fixtures that call the command line, in a subprocess or in this process."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

if TYPE_CHECKING:
    from click.testing import Result

Call = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def invoke(fiftyone_home) -> Callable[..., Result]:
    """Call the command line in this process, where FiftyOne is already imported: seconds faster."""
    from fiftyone_deepcluster.cli import app

    return lambda *words: CliRunner().invoke(app, list(words))


@pytest.fixture
def call(fiftyone_home) -> Call:
    """Function of the arguments of ``fiftyone-deepcluster``; environment variables are keyword arguments."""

    def run(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "fiftyone_deepcluster.cli", *words],
            capture_output=True, text=True, check=False,
            env={**os.environ, "NO_COLOR": "1", "COLUMNS": "200", **environment},
        )  # fmt: skip

    return run
