"""A second process that works on the same datasets, on request one that file permissions bind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

FROZEN = {"n_clusters": 3, "baselines": False, "compute_brain": False, "progress": False, "image_size": 8}

_SERVER = """
import json, os, sys, warnings
warnings.simplefilter("ignore")
import fiftyone as fo
import fiftyone_deepcluster as fdc
for line in sys.stdin:
    name, code = json.loads(line)
    dataset = fo.load_dataset(name)
    try:
        exec(code, {"dataset": dataset, "fdc": fdc, "fo": fo, "os": os, "FROZEN": FROZEN})
        answer = ""
    except Exception as error:
        answer = f"{type(error).__name__}: {error}"
    print(json.dumps(answer), flush=True)
"""
_BOUND = """
import ctypes, os, sys
if os.geteuid() == 0:
    libc = ctypes.CDLL(None, use_errno=True)
    for capability in (1, 2, 3):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_FOWNER; 24 is PR_CAPBSET_DROP
        if libc.prctl(24, capability, 0, 0, 0):
            raise OSError(ctypes.get_errno(), "the administrator's right to every file cannot be given up")
os.execv(sys.argv[1], sys.argv[1:])
"""


def bound(command: list[str]) -> list[str]:
    """The command with file permissions in force, also where the administrator runs the tests."""
    return [sys.executable, "-c", _BOUND, *command]


class OtherProcess:
    """A process that runs code with ``dataset``, ``fdc``, ``fo`` and ``FROZEN``, one line after the other.

    Args:
        permissions: whether file permissions bind it, also where the administrator runs the tests.
    """

    def __init__(self, *, permissions: bool = False) -> None:
        command = [sys.executable, "-c", f"FROZEN = {FROZEN}\n{_SERVER}"]
        self._process = subprocess.Popen(
            bound(command) if permissions else command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        )

    def start(self, dataset, code):
        """Begin to run the code."""
        self._process.stdin.write(json.dumps([dataset.name, code]) + "\n")
        self._process.stdin.flush()

    def answer(self):
        """Error of the code that was started; empty if there was none."""
        return json.loads(self._process.stdout.readline())

    def error_of(self, dataset, code):
        """Run code; its error, empty if there was none."""
        self.start(dataset, code)
        return self.answer()

    def does(self, dataset, code):
        """Run code that must succeed."""
        assert self.error_of(dataset, code) == ""

    def close(self):
        """End the process."""
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()
