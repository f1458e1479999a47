"""One run per key: across processes, and after a process died."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time
from dataclasses import asdict, replace

import pytest

from fiftyone_deepcluster.dataset.runs import lock
from fiftyone_deepcluster.dataset.runs.job_names import job_name
from fiftyone_deepcluster.dataset.runs.kv import run_store
from fiftyone_deepcluster.dataset.runs.references import RunNames
from fiftyone_deepcluster.errors import RunLockedError

_HOLD = """
import sys
import fiftyone as fo
from fiftyone_deepcluster.dataset.runs.lock import acquire
held = acquire(fo.load_dataset(sys.argv[1]), "dc")
print("held", flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def other_process(make_digits):
    """A process that holds the lock of ``dc``."""
    dataset = make_digits(2, persistent=True)
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", _HOLD, dataset.name],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ,
    )  # fmt: skip
    assert process.stdout.readline().strip() == "held"
    yield dataset, process
    process.kill()
    process.wait()
    process.stdin.close()
    process.stdout.close()


def test_a_lock_excludes_other_processes_and_is_taken_over_from_a_dead_one(other_process):
    dataset, process = other_process
    says = rf"^key='dc' of .* is locked by process {process.pid} on .*, since .*, which is working on it. Wait until "
    with pytest.raises(RunLockedError, match=says) as caught:
        lock.acquire(dataset, "dc")
    assert "fiftyone_deepcluster" not in str(caught.value), "no names of internal functions"
    with lock.acquire(dataset, "dc2"):
        pass
    process.kill()
    process.wait()
    with lock.acquire(dataset, "dc") as held:
        held.check()
        assert lock.holder(dataset, "dc").pid == os.getpid()
    assert lock.holder(dataset, "dc") is None


def test_a_lock_is_released_after_an_error(make_digits):
    dataset = make_digits(2)
    with pytest.raises(KeyError), lock.acquire(dataset, "dc"):
        raise KeyError
    held = lock.acquire(dataset, "dc")
    with pytest.raises(RunLockedError):
        lock.acquire(dataset, "dc")
    held.release()
    held.release()
    assert lock.holder(dataset, "dc") is None


def test_a_lock_without_heartbeat_for_long_is_taken_over(make_digits):
    dataset = make_digits(2)
    now = time.time()
    far = lock.Holder("x", 1, 0.0, "elsewhere", now, now)
    assert far.alive()
    assert not replace(far, heartbeat=now - 3600).alive()
    assert not replace(far, host=platform.node()).alive()
    run_store(dataset).set("lock:dc", asdict(far))
    with pytest.raises(RunLockedError, match="elsewhere"):
        lock.acquire(dataset, "dc")
    run_store(dataset).set("lock:dc", asdict(replace(far, heartbeat=now - 3600)))
    lock.acquire(dataset, "dc").release()


def test_a_lock_whose_release_was_lost_is_free_for_its_process(make_digits):
    dataset = make_digits(2)
    held = lock.acquire(dataset, "dc")
    stored = run_store(dataset).get("lock:dc")
    assert lock.is_held(dataset, "dc")
    held.release()
    run_store(dataset).set("lock:dc", stored)  # as after a crash of the database
    assert not lock.is_held(dataset, "dc")
    with lock.acquire(dataset, "dc"), pytest.raises(RunLockedError):
        lock.acquire(dataset, "dc")
    assert lock.holder(dataset, "dc") is None


def test_after_clear_the_heartbeat_reports_the_loss(make_digits, monkeypatch):
    dataset = make_digits(2)
    monkeypatch.setattr(lock, "_HEARTBEAT_SECONDS", 0.05)
    held = lock.acquire(dataset, "dc")
    first = lock.holder(dataset, "dc").heartbeat
    time.sleep(0.3)
    assert lock.holder(dataset, "dc").heartbeat > first
    held.check()
    assert run_store(dataset).delete("lock:dc")
    time.sleep(0.3)
    with pytest.raises(RunLockedError, match="was taken over by another process"):
        held.check()
    held.release()
    assert lock.holder(dataset, "dc") is None


def test_who_keeps_the_names_of_runs_is_said(make_digits, monkeypatch):
    dataset = make_digits(2)
    now = time.time()
    run_store(dataset).set("lock:names of runs", asdict(lock.Holder("x", 1, 0.0, "elsewhere", now, now)))
    monkeypatch.setattr(lock, "_WAIT_SECONDS", 0.2)
    problem = r"^another process is renaming or storing a run of '.*' \(process 1 on elsewhere, since .*\); wait until"
    with pytest.raises(RunLockedError, match=problem):
        RunNames.read(dataset)


def test_a_job_is_named_by_what_it_does(make_digits):
    dataset = make_digits(2)
    with (
        lock.acquire(dataset, job_name("probe_layers", "dc")),
        pytest.raises(
            RunLockedError, match=r"^'Probe layers' of 'dc' of .* is locked by .*, then repeat the call$"
        ),
    ):
        lock.acquire(dataset, job_name("probe_layers", "dc"))


def test_a_process_that_died_on_another_host_is_waited_for(make_digits):
    dataset = make_digits(2)
    now = time.time() - lock._DEAD_AFTER_SECONDS + 1
    run_store(dataset).set("lock:names of runs", asdict(lock.Holder("x", 1, 0.0, "elsewhere", now, now)))
    assert RunNames.read(dataset).by_uid == {}
    assert lock._WAIT_SECONDS > lock._DEAD_AFTER_SECONDS
