"""Runs in a process of their own: real processes, which are waited for, cancelled and killed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from pydicom.data import get_testdata_file
from sklearn.datasets import load_digits

from fiftyone_deepcluster.core.progress import Silent, StopFlag
from fiftyone_deepcluster.dataset.audit.audit import list_audits, load_audit
from fiftyone_deepcluster.dataset.background import Job
from fiftyone_deepcluster.dataset.results.numbers import stored_sweep
from fiftyone_deepcluster.dataset.runs import queue, status
from fiftyone_deepcluster.dataset.runs.job_log import log_file
from fiftyone_deepcluster.dataset.runs.references import RunNames
from fiftyone_deepcluster.dataset.runs.run import (
    delete_run,
    interrupted_runs,
    list_runs,
    load_run,
    rename_run,
)
from fiftyone_deepcluster.errors import CancelledError, RunLockedError, RunNotFoundError

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
    return Job("cluster", samples, key, {"key": key, **arguments}, arguments["method"])


def until(dataset, key, what):
    """The state of a run once ``what`` holds for it."""
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        state = status.read_states(dataset).get(key)
        if state is not None and what(state):
            dataset.reload()
            return state
        time.sleep(0.1)
    raise AssertionError(f"{state}\n{log_file(dataset, key).read_text()}")


def ended(state):
    return not state.busy


def running(state):
    return state.status == "running" and state.round > 1


def pid_of(dataset, key):
    return (status.find(dataset, f"^lock:{key}$")[f"lock:{key}"])["pid"]


def test_a_run_is_carried_out_by_a_process_that_is_nobodys_child(dataset, monkeypatch):
    monkeypatch.setenv("A_SECRET", "of the App")
    view = dataset.limit(30)
    cluster_call(view, "dc", QUICK).start()
    state = status.read_states(dataset)["dc"]
    assert (state.status, state.method, state.busy) == ("queued", "frozen", True)
    process = psutil.Process(state.process["pid"])
    assert process not in psutil.Process().children(recursive=True)
    names = set(process.environ())
    assert "A_SECRET" not in names
    assert "FIFTYONE_DATABASE_URI" in names
    assert until(dataset, "dc", ended).status == "finished"
    assert dataset.count("dc.label") == 30
    assert load_run(dataset, "dc").options.n_clusters == 4
    process.wait(SECONDS)
    assert not log_file(dataset, "dc").exists()


def test_runs_of_a_dataset_wait_for_each_other_and_can_be_cancelled(dataset):
    cluster_call(dataset, "first", LONG).start()
    until(dataset, "first", running)
    with pytest.raises(RunLockedError, match=r"run 'first' .* is running"):
        cluster_call(dataset, "first", QUICK).start()
    cluster_call(dataset, "second", QUICK).start()
    cluster_call(dataset, "third", QUICK).start()
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
    assert until(dataset, "second", ended).status == "finished"
    assert status.read_states(dataset)["first"].status == "cancelled"
    assert sorted(list_runs(dataset)) == ["first", "second"]
    assert not dataset.has_field("third")
    rounds = len(load_run(dataset, "first").rounds)

    Job("resume", dataset, "first", {"key": "first", "rounds": rounds + 2, "compute_brain": False}).start()
    assert until(dataset, "first", ended).status == "finished"
    assert len(load_run(dataset, "first").rounds) == rounds + 2


def test_a_process_that_is_killed_leaves_an_interrupted_run_that_goes_on(dataset):
    cluster_call(dataset, "dc", LONG).start()
    until(dataset, "dc", running)
    os.kill(pid_of(dataset, "dc"), signal.SIGKILL)
    state = until(dataset, "dc", ended)
    assert (state.status, "resume the run" in state.error) == ("failed", True)
    assert interrupted_runs(dataset)["dc"].resumable
    Job("resume", dataset, "dc", {"key": "dc", "rounds": state.round + 3, "compute_brain": False}).start()
    assert until(dataset, "dc", ended).status == "finished"
    assert len(load_run(dataset, "dc").rounds) == state.round + 3


def test_a_process_that_is_killed_while_it_waits_is_no_place_in_the_queue(dataset):
    cluster_call(dataset, "dc", LONG).start()
    process = psutil.Process(status.read_states(dataset)["dc"].process["pid"])
    process.kill()
    process.wait(SECONDS)
    state = until(dataset, "dc", ended)
    assert (state.status, state.error) == ("failed", "its process died before the run started")
    cluster_call(dataset, "dc", QUICK).start()
    assert until(dataset, "dc", ended).status == "finished"


def test_a_failure_is_told_in_words(dataset):
    cluster_call(dataset, "dc", {**QUICK, "n_clusters": 41}).start()
    state = until(dataset, "dc", ended)
    assert state.status == "failed"
    assert "n_clusters=41 is more than the 40 images" in state.error
    assert "41" in Path(log_file(dataset, "dc")).read_text()
    assert list_runs(dataset) == []


# ---------------------------------------------------------------- jobs that are no runs

SWEEP = {"key": "dc", "numbers": [2, 3, 4], "repetitions": 2, "reducer": "identity"}
NAME = "job-recommend_number-dc"


@pytest.fixture
def clustered(dataset):
    cluster_call(dataset, "dc", QUICK).carry_out(Silent())
    return dataset


def test_an_analysis_does_not_wait_for_a_run(clustered):
    cluster_call(clustered, "far", LONG).start()
    until(clustered, "far", running)
    Job("recommend_number", clustered, "dc", SWEEP).start()
    with pytest.raises(RunLockedError, match=r"'Recommend number' of 'dc' of .* wait for it or cancel it"):
        Job("recommend_number", clustered, "dc", SWEEP).start()
    state = until(clustered, NAME, ended)
    assert (state.status, state.method) == ("finished", "Recommend number")
    assert status.read_states(clustered)["far"].status == "running"
    found = stored_sweep(load_run(clustered, "dc"))
    assert found.numbers == (2, 3, 4)
    assert state.text == state.result == f"R{found.advice[1:]}"
    assert queue.request_cancel(clustered, "far")
    until(clustered, "far", ended)


def test_analyses_wait_for_each_other_and_are_cancelled(clustered):
    clustered.set_values("text", ["a scan of a hand", "a scan of a foot"] * 20)
    slow = {"key": "dc", "numbers": list(range(2, 40)), "repetitions": 50, "reducer": "identity"}
    Job("recommend_number", clustered, "dc", slow).start()
    until(clustered, NAME, lambda state: state.status == "running" and " of 1,900" in state.label)
    words = Job("find_key_words", clustered, "dc", {"key": "dc", "text_field": "text"})
    words.start()
    until(clustered, words.name, lambda state: state.label == "waits for 'Recommend number' of 'dc' to end")
    assert queue.request_cancel(clustered, NAME)
    assert until(clustered, NAME, ended).status == "cancelled"
    assert stored_sweep(load_run(clustered, "dc")) is None
    assert until(clustered, words.name, ended).result.startswith("Key words of ")


def test_jobs_that_wait_follow_a_run_to_its_new_key(make_digits):
    dataset = make_digits(80, persistent=True)
    # two clusters: each has clearly more images than an audit needs of a class
    cluster_call(dataset, "dc", {**QUICK, "n_clusters": 2}).carry_out(Silent())
    slow = {"key": "dc", "numbers": list(range(2, 40)), "repetitions": 50, "reducer": "identity"}
    Job("recommend_number", dataset, "dc", slow).start()
    until(dataset, NAME, lambda state: state.status == "running" and state.phase)
    dataset.set_values("text", ["a scan of a hand", "a scan of a foot"] * 40)
    words = Job("find_key_words", dataset, "dc", {"key": "dc", "text_field": "text"})
    audit = Job("audit_labels", dataset, "audit", {"key": "audit", "label_field": "dc", "run": "dc"})
    for job in (words, audit):
        job.start()
        until(dataset, job.name, lambda state: state.label.startswith("waits for"))
    status.keep_form(dataset, words.name, {"operator": "x/y", "params": words.arguments})
    rename_run(dataset, "dc", "first")
    assert status.kept_forms(dataset)[words.name]["params"]["key"] == "first"
    assert queue.request_cancel(dataset, NAME)
    for job, result in ((words, "Key words of "), (audit, " labels audited")):
        state = until(dataset, job.name, ended)
        assert result in state.result, state
    assert load_audit(dataset, "audit").settings["run"] == "first"


def test_a_job_that_waits_is_not_about_another_run_that_took_the_key(clustered):
    names = RunNames.read(clustered)
    about = [
        Job("find_key_words", clustered, "dc", {"key": "dc", "text_field": "text"}),
        Job("audit_labels", clustered, "audit", {"key": "audit", "label_field": "ground_truth", "run": "dc"}),
    ]
    assert [job.followed(names) for job in about] == about
    delete_run(clustered, "dc")
    cluster_call(clustered, "dc", QUICK).carry_out(Silent())
    for job in about:
        with pytest.raises(RunNotFoundError, match=r"'dc' of .* was deleted or replaced before .* run: dc"):
            job.followed(names)
    again = cluster_call(clustered, "dc", QUICK)
    assert again.followed(names) == again


def test_an_analysis_whose_process_is_killed_can_be_started_again(clustered):
    slow = {"key": "dc", "numbers": list(range(2, 40)), "repetitions": 50, "reducer": "identity"}
    Job("recommend_number", clustered, "dc", slow).start()
    until(clustered, NAME, lambda state: state.status == "running" and state.phase)
    os.kill(pid_of(clustered, NAME), signal.SIGKILL)
    state = until(clustered, NAME, ended)
    assert (state.status, state.error) == ("failed", "its process died; start it again")
    Job("recommend_number", clustered, "dc", SWEEP).start()
    assert until(clustered, NAME, ended).status == "finished"


class StopsAfterOne(StopFlag):
    """Requests to stop once a step is done."""

    def advance(self, steps):
        if steps:
            self.stop()


def test_an_import_that_is_cancelled_keeps_its_images(dataset, tmp_path):
    folder = tmp_path / "files"
    folder.mkdir()
    for number in range(24):
        shutil.copy(get_testdata_file("CT_small.dcm", download=False), folder / f"{number}")
    job = Job("import_dicom", dataset, arguments={"files": str(folder), "new_dataset": None})
    with pytest.raises(
        CancelledError, match=r"^cancelled; \d+ images? imported so far (is|are) kept; to continue, repeat"
    ):
        job.carry_out(StopsAfterOne())
    assert status.read_states(dataset)["job-import_dicom"].status == "cancelled"
    dataset.reload()
    assert 40 < len(dataset) < 64
    job.start()
    left = 64 - len(dataset)
    assert until(dataset, "job-import_dicom", ended).result.startswith(f"{left} images imported")
    assert len(dataset) == 64


def test_an_audit_that_is_cancelled_leaves_nothing(make_digits):
    dataset = make_digits(220, persistent=True)
    dataset.set_values("pixels", list(load_digits().data[:220].astype("float32")))
    arguments = {"label_field": "ground_truth", "embeddings_field": "pixels", "key": "audit"}
    job = Job("audit_labels", dataset.limit(200), "audit", arguments)
    with pytest.raises(CancelledError, match="nothing of the audit was stored"):
        job.carry_out(StopsAfterOne())
    assert list_audits(dataset) == []
    assert not dataset.has_field("audit_p_wrong")
    job.start()
    state = until(dataset, job.name, ended)
    assert (state.status, state.error) == ("finished", "")
    assert list_audits(dataset) == ["audit"]
    assert dataset.count("audit_given") == 200


STARTS = """
import os, sys
import fiftyone as fo
from fiftyone_deepcluster.dataset.background import Job

dataset = fo.Dataset.from_dir(dataset_dir=sys.argv[1], dataset_type=fo.types.ImageDirectory, name="own")
dataset.persistent = True
arguments = {"key": "dc", "method": "frozen", "n_clusters": 4, "baselines": False, "compute_brain": False}
Job("cluster", dataset, "dc", arguments).start()
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
