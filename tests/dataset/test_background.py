"""Runs in a process of their own: real processes, which are waited for, cancelled and killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from fiftyone_deepcluster.dataset.background import RunCall
from fiftyone_deepcluster.dataset.runs import queue, status, storage
from fiftyone_deepcluster.dataset.runs.run import interrupted_runs, list_runs, load_run
from fiftyone_deepcluster.errors import RunLockedError

pytestmark = pytest.mark.slow

QUICK = {"method": "frozen", "n_clusters": 4, "baselines": False, "compute_brain": False}
LONG = {
    **QUICK,
    "method": "deepcluster",
    "rounds": 100_000,
    "image_size": 16,
    "min_steps": 1,
    "backbone": {"name": "small", "width": 8},
}
SECONDS = 100


@pytest.fixture
def dataset(make_digits):
    return make_digits(40, persistent=True)


def cluster_call(samples, key, arguments):
    return RunCall("cluster", samples, key, {"key": key, **arguments})


def until(dataset, key, what):
    """The state of a run once ``what`` holds for it."""
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        state = status.read_states(dataset).get(key)
        if state is not None and what(state):
            dataset.reload()
            return state
        time.sleep(0.1)
    raise AssertionError(f"{state}\n{storage.log_file(dataset, key).read_text()}")


def ended(state):
    return not state.busy


def running(state):
    return state.status == "running" and state.round > 1


def pid_of(dataset, key):
    return (status.find(dataset, f"^lock:{key}$")[f"lock:{key}"])["pid"]


def test_a_run_is_carried_out_by_a_process_that_is_nobodys_child(dataset, monkeypatch):
    monkeypatch.setenv("A_SECRET", "of the App")
    view = dataset.limit(30)
    cluster_call(view, "dc", QUICK).start("frozen", 1)
    state = status.read_states(dataset)["dc"]
    assert (state.status, state.method, state.busy) == ("queued", "frozen", True)
    process = psutil.Process(state.process["pid"])
    assert process not in psutil.Process().children(recursive=True)
    names = set(process.environ())
    assert "A_SECRET" not in names
    assert "FIFTYONE_DATABASE_URI" in names
    assert until(dataset, "dc", ended).status == "done"
    assert dataset.count("dc.label") == 30
    assert load_run(dataset, "dc").options.n_clusters == 4
    process.wait(SECONDS)
    assert not storage.log_file(dataset, "dc").exists()


def test_runs_of_a_dataset_wait_for_each_other_and_can_be_cancelled(dataset):
    cluster_call(dataset, "first", LONG).start("deepcluster")
    until(dataset, "first", running)
    with pytest.raises(RunLockedError, match=r"run 'first' .* is running"):
        cluster_call(dataset, "first", QUICK).start("frozen")
    cluster_call(dataset, "second", QUICK).start("frozen")
    cluster_call(dataset, "third", QUICK).start("frozen")
    assert (
        until(dataset, "second", lambda state: "waits" in state.label).label == "waits for run 'first' to end"
    )
    until(dataset, "third", lambda state: "waits" in state.label)
    waiting = psutil.Process(status.read_states(dataset)["third"].process["pid"])
    assert queue.request_cancel(dataset, "third")
    assert status.read_states(dataset)["third"].status == "cancelled"
    waiting.wait(SECONDS)
    began = time.monotonic()
    assert queue.request_cancel(dataset, "first")
    assert status.read_states(dataset)["first"].cancelling
    until(dataset, "first", ended)
    assert time.monotonic() - began < SECONDS
    assert until(dataset, "second", ended).status == "done"
    assert status.read_states(dataset)["first"].status == "cancelled"
    assert sorted(list_runs(dataset)) == ["first", "second"]
    assert not dataset.has_field("third")
    rounds = len(load_run(dataset, "first").rounds)

    RunCall("resume", dataset, "first", {"key": "first", "rounds": rounds + 2, "compute_brain": False}).start(
        "deepcluster"
    )
    assert until(dataset, "first", ended).status == "done"
    assert len(load_run(dataset, "first").rounds) == rounds + 2


def test_a_process_that_is_killed_leaves_an_interrupted_run_that_goes_on(dataset):
    cluster_call(dataset, "dc", LONG).start("deepcluster")
    until(dataset, "dc", running)
    os.kill(pid_of(dataset, "dc"), signal.SIGKILL)
    state = until(dataset, "dc", ended)
    assert (state.status, "resume the run" in state.error) == ("failed", True)
    assert interrupted_runs(dataset)["dc"].resumable
    RunCall("resume", dataset, "dc", {"key": "dc", "rounds": state.round + 3, "compute_brain": False}).start(
        "deepcluster"
    )
    assert until(dataset, "dc", ended).status == "done"
    assert len(load_run(dataset, "dc").rounds) == state.round + 3


def test_a_process_that_is_killed_while_it_waits_is_no_place_in_the_queue(dataset):
    cluster_call(dataset, "dc", LONG).start("deepcluster")
    process = psutil.Process(status.read_states(dataset)["dc"].process["pid"])
    process.kill()
    process.wait(SECONDS)
    state = until(dataset, "dc", ended)
    assert (state.status, state.error) == ("failed", "its process died before the run started")
    cluster_call(dataset, "dc", QUICK).start("frozen")
    assert until(dataset, "dc", ended).status == "done"


def test_a_failure_is_told_in_words(dataset):
    cluster_call(dataset, "dc", {**QUICK, "n_clusters": 41}).start("frozen")
    state = until(dataset, "dc", ended)
    assert state.status == "failed"
    assert "n_clusters=41 is more than the 40 images" in state.error
    assert "41" in Path(storage.log_file(dataset, "dc")).read_text()
    assert list_runs(dataset) == []


STARTS = """
import os, sys
import fiftyone as fo
from fiftyone_deepcluster.dataset.background import RunCall

dataset = fo.Dataset.from_dir(dataset_dir=sys.argv[1], dataset_type=fo.types.ImageDirectory, name="own")
dataset.persistent = True
arguments = {"key": "dc", "method": "frozen", "n_clusters": 4, "baselines": False, "compute_brain": False}
RunCall("cluster", dataset, "dc", arguments).start("frozen")
os._exit(0)
"""
READS = """
import fiftyone as fo
print("clustered:", fo.load_dataset("own").count("dc.label"))
"""


@pytest.mark.usefixtures("dataset")
def test_a_database_that_fiftyone_started_stays_until_the_run_has_ended(digits_dir, tmp_path):
    """The process that started the run, and with it the database, ends at once; the run's process is a client."""
    if _services():
        pytest.skip("FiftyOne would share the database of another process of this user")
    images = tmp_path / "images"
    images.mkdir()
    for file in sorted(digits_dir.iterdir())[:40]:
        (images / file.name).symlink_to(file)
    environment = {name: value for name, value in os.environ.items() if "DATABASE" not in name}
    environment |= {
        "FIFTYONE_DATABASE_DIR": str(tmp_path / "mongo"),
        "FIFTYONE_DATABASE_VALIDATION": "false",
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }

    output = tmp_path / "output"

    def python(code, *arguments):
        # the database keeps the output of the process that started it open, so that a pipe would wait for it
        with output.open("w") as file:
            command = [sys.executable, "-c", code, *arguments]
            subprocess.run(command, env=environment, check=True, stdout=file, stderr=subprocess.STDOUT)
        return output.read_text()

    python(STARTS, str(images))
    assert _services()
    end = time.monotonic() + SECONDS
    while _services() and time.monotonic() < end:
        time.sleep(0.2)
    assert not _services()  # the last client has ended
    assert "clustered: 40" in python(READS)


def _services():
    """Databases that FiftyOne started, for anyone on this machine."""
    return [
        process.pid
        for process in psutil.process_iter(["cmdline"])
        if "--51-service" in (process.info["cmdline"] or ())
    ]
