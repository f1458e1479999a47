"""The pool of workers: order of results, cancellation, errors."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from fiftyone_deepcluster.images.cache.worker_pool import PoolJob, run_jobs


@dataclass(frozen=True)
class Nap(PoolJob):
    """Sleeps, and answers with its number."""

    number: int
    seconds: float
    error: str = ""

    def __len__(self) -> int:
        return 1

    def halves(self):
        raise AssertionError("one item has no halves")

    def work(self):
        time.sleep(self.seconds)
        if self.error:
            raise OSError(28, self.error)
        return [self.number]

    def crashed(self):
        return -1


@pytest.mark.parametrize("processes_from", [1, 100], ids=["processes", "threads"])
def test_results_come_in_the_order_of_the_jobs(processes_from):
    jobs = [Nap(number, 0.4 if number % 3 == 0 else 0.0) for number in range(9)]
    answers = list(run_jobs(jobs, workers=3, processes_from=processes_from))
    done = [entry for entry in answers if entry is not None]
    assert [job for job, _ in done] == jobs
    assert [answers for _, answers in done] == [[number] for number in range(9)]
    assert None in answers, "while a slow job is waited for, the caller may look whether to stop"


def test_closing_the_iterator_stops_the_remaining_jobs():
    results = run_jobs([Nap(number, 0.05) for number in range(200)], workers=2, processes_from=1000)
    assert next(entry for entry in results if entry is not None)[1] == [0]
    begun = time.monotonic()
    results.close()
    assert time.monotonic() - begun < 5


@pytest.mark.parametrize("processes_from", [1, 100], ids=["processes", "threads"])
def test_oserror_of_a_job_is_raised(processes_from):
    jobs = [Nap(0, 0.0), Nap(1, 0.0, "No space left"), Nap(2, 0.0)]
    with pytest.raises(OSError, match="No space left"):
        list(run_jobs(jobs, workers=2, processes_from=processes_from))


@dataclass(frozen=True)
class Endless(Nap):
    """Says that it works, by a file named after its process, and goes on for ever."""

    folder: str = ""

    def work(self):
        Path(self.folder, str(os.getpid())).touch()
        return super().work()


_PARENT = """
import os, sys, threading
from fiftyone_deepcluster.images.cache.worker_pool import run_jobs
from tests.images.cache.test_worker_pool import Endless
jobs = [Endless(number, 1e6, folder=sys.argv[1]) for number in range(2)]
results = run_jobs(jobs, workers=2, processes_from=1)
threading.Thread(target=lambda: next(entry for entry in results if entry), daemon=True).start()
sys.stdin.readline()
os._exit(9)
"""


@pytest.mark.parametrize("working", [True, False], ids=["at work", "at the start"])
def test_workers_end_when_their_parent_is_killed(tmp_path, working):
    command = [sys.executable, "-c", _PARENT, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, env={**os.environ, "PYTHONPATH": "."}) as parent:
        found = []
        while parent.poll() is None and (len(found) < 2 or (working and len(list(tmp_path.iterdir())) < 2)):
            time.sleep(0.05)
            found = psutil.Process(parent.pid).children()
        parent.stdin.write(b"\n")
    assert parent.returncode == 9
    assert len(found) == 2
    assert not psutil.wait_procs(found, timeout=60)[1]


@dataclass(frozen=True)
class ReadEnvironment(PoolJob):
    """Returns a variable of the process that runs it."""

    name: str

    def __len__(self) -> int:
        return 1

    def halves(self):
        raise AssertionError("one item has no halves")

    def work(self):
        return [os.environ.get(self.name)]

    def crashed(self):
        return "crashed"


def test_a_worker_gets_no_secret(monkeypatch):
    monkeypatch.setenv("FIFTYONE_DATABASE_URI", "mongodb://user:password@host")
    monkeypatch.setenv("OMP_WAIT_POLICY", "passive")
    jobs = [ReadEnvironment("FIFTYONE_DATABASE_URI"), ReadEnvironment("OMP_WAIT_POLICY")]
    done = [entry[1] for entry in run_jobs(jobs, workers=2, processes_from=1) if entry is not None]
    assert done == [[None], ["passive"]]
