"""Interrupted runs: listed, resumed, removed completely; and fields copied by cloning a dataset."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict

import pytest

import fiftyone_deepcluster as fdc
from fiftyone_deepcluster.dataset.io.fields import FieldNames, declare, marked
from fiftyone_deepcluster.dataset.runs import lock, run_files, status, storage
from fiftyone_deepcluster.dataset.runs.intents import Intent
from fiftyone_deepcluster.dataset.runs.kv import find, run_store
from fiftyone_deepcluster.dataset.runs.orphans import find_leftovers, remove_leftovers
from fiftyone_deepcluster.errors import InputError, RunExistsError, RunLockedError, RunNotFoundError
from tests.dataset.runs.test_run import state
from tests.dataset.small_runs import FROZEN
from tests.observers import Acts, disk_full

LEARNED = {"method": "deepcluster", "n_clusters": 4, "image_size": 16, "batch_size": 32, "device": "cpu"}
LEARNED |= {"progress": False, "compute_brain": False, "baselines": False, "min_steps": 1}

_KILLED = """
import os, signal, sys
import fiftyone as fo
import fiftyone_deepcluster as fdc
from fiftyone_deepcluster.core.progress import Silent
class Dies(Silent):
    def phase(self, name, total):
        if name == sys.argv[2]: os.kill(os.getpid(), signal.SIGKILL)
    def round_done(self, entry, rounds):
        if sys.argv[2] == "round 1": os.kill(os.getpid(), signal.SIGKILL)
fdc.cluster(fo.load_dataset(sys.argv[1]), key="dc", rounds=3, observer=Dies(), **eval(sys.argv[3]))
"""


def killed(dataset, when):
    command = [sys.executable, "-W", "ignore", "-c", _KILLED, dataset.name, when, repr(LEARNED)]
    assert subprocess.run(command, check=False).returncode == -9
    dataset.reload()


def test_killed_in_the_middle(make_digits):
    dataset = make_digits(40, persistent=True)
    before = state(dataset)
    killed(dataset, "write")
    assert dataset.has_field("dc")
    assert fdc.list_runs(dataset) == ["dc"] == list(fdc.interrupted_runs(dataset.limit(1)))
    left = fdc.interrupted_runs(dataset)["dc"]
    assert (left.method, left.rounds, left.planned, left.resumable) == ("deepcluster", 3, 3, True)
    assert left.fields[:2] == ("dc", "dc_embedding")
    with pytest.raises(RunNotFoundError, match=r"interrupted after 3 of 3 rounds; resume\(.*delete_run\("):
        fdc.load_run(dataset, "dc")
    with pytest.raises(RunNotFoundError, match="interrupted"):
        fdc.rename_run(dataset, "dc", "dd")
    fdc.delete_run(dataset, "dc")
    assert state(dataset) == before
    assert fdc.list_runs(dataset) == []
    assert not run_files.dataset_dir(dataset).exists()
    assert find(dataset, "") == {}


def test_killed_before_there_was_a_checkpoint(make_digits):
    dataset = make_digits(40, persistent=True)
    killed(dataset, "embed")
    left = fdc.interrupted_runs(dataset)["dc"]
    assert (left.rounds, left.resumable) == (0, False)
    assert left.message.endswith(
        "resume(samples, 'dc') repeats it from the start, delete_run(samples, 'dc') removes its fields and files"
    )
    run = fdc.resume(dataset, "dc", progress=False, compute_brain=False)
    assert len(run.rounds) == 3
    assert fdc.interrupted_runs(dataset) == {}
    assert fdc.list_runs(dataset) == ["dc"]


def test_failed_or_cancelled_with_a_checkpoint(make_digits):
    dataset = make_digits(40)
    before = state(dataset)
    with pytest.raises(OSError, match="disk is full"):
        fdc.cluster(dataset, key="dc", rounds=2, observer=Acts(disk_full, after_round=1), **LEARNED)
    assert state(dataset) == before
    left = fdc.interrupted_runs(dataset)["dc"]
    assert (left.rounds, left.resumable, left.fields) == (1, True, ())
    fdc.delete_run(dataset, "dc")
    assert not run_files.dataset_dir(dataset).exists()
    assert find(dataset, "") == {}
    with pytest.raises(RunNotFoundError, match="it has no runs yet"):
        fdc.delete_run(dataset, "dc")


def test_rounds_that_could_go_on_are_not_replaced_unasked(make_digits):
    dataset = make_digits(40)
    with pytest.raises(OSError, match="disk is full"):
        fdc.cluster(dataset, key="dc", rounds=3, observer=Acts(disk_full, after_round=1), **LEARNED)
    with pytest.raises(
        RunExistsError, match=r"'dc' \(deepcluster\) that was interrupted after round 1.*overwrite=True"
    ):
        fdc.cluster(
            dataset, "frozen", key="dc", n_clusters=3, progress=False, compute_brain=False, baselines=False
        )
    run = fdc.resume(dataset, "dc", progress=False, compute_brain=False)
    assert (run.options.name, len(run.rounds)) == ("deepcluster", 3)
    fdc.delete_run(dataset, "dc")
    with pytest.raises(OSError, match="disk is full"):
        fdc.cluster(dataset, key="dc", rounds=3, observer=Acts(disk_full, after_round=1), **LEARNED)
    options = {"n_clusters": 3, "progress": False, "compute_brain": False, "overwrite": True}
    assert fdc.cluster(dataset, "frozen", key="dc", **options).options.name == "frozen"


def test_a_refused_change_is_not_kept(make_digits):
    dataset = make_digits(40)
    with pytest.raises(OSError, match="disk is full"):
        fdc.cluster(dataset, key="dc", rounds=3, observer=Acts(disk_full, after_round=1), **LEARNED)
    with pytest.raises(InputError, match="cuda"):
        fdc.resume(dataset, "dc", device="cuda:99", progress=False, compute_brain=False)
    assert len(fdc.resume(dataset, "dc", progress=False, compute_brain=False).rounds) == 3


def test_a_note_of_failure_is_forgotten(make_digits):
    dataset = make_digits(6)
    status.LiveObserver(dataset, "dc", "deepcluster", 3).finish("failed", "why ever")
    assert fdc.list_runs(dataset) == []
    fdc.delete_run(dataset, "dc")
    assert status.read_states(dataset) == {}


def test_a_run_at_work_is_neither_shown_nor_deleted(make_digits):
    dataset = make_digits(40)
    seen = []

    def look():
        seen.append(fdc.list_runs(dataset))
        with pytest.raises(RunLockedError, match=r"key=.dc..*is locked by process"):
            fdc.delete_run(dataset, "dc")
        with pytest.raises(RunNotFoundError, match="still running"):
            fdc.load_run(dataset, "dc")

    run = fdc.cluster(dataset, key="dc", rounds=1, observer=Acts(look, after_round=1), **LEARNED)
    assert seen == [[]]
    assert dataset.count("dc.label") == 40
    assert fdc.list_runs(dataset) == [run.key]


def test_killed_after_all_was_stored(make_digits, stored_run):
    dataset = make_digits(12)
    stored_run(dataset)
    header, _ = storage.header_of(dataset, "dc")
    run_store(dataset).set("change:dc", asdict(Intent("write", "dc", header.uid, None)))
    assert fdc.interrupted_runs(dataset) == {}
    with pytest.raises(RunExistsError, match="overwrite=True"):
        fdc.cluster(dataset, key="dc", **LEARNED)
    assert fdc.load_run(dataset, "dc").n_samples == 12
    fdc.cluster(dataset, key="dc", rounds=1, overwrite=True, **LEARNED)
    assert find(dataset, "^change:") == {}


def test_clone_during_a_run(make_digits):
    dataset = make_digits(40)
    clones = []
    fdc.cluster(
        dataset,
        key="dc",
        rounds=1,
        observer=Acts(lambda: clones.append(dataset.clone()), after_round=1),
        **LEARNED,
    )
    clone = clones[0]
    try:
        assert clone.has_field("dc")
        assert fdc.list_runs(clone) == ["dc"]
        left = fdc.interrupted_runs(clone)["dc"]
        assert (left.copied, left.resumable) == (True, False)
        with pytest.raises(
            RunExistsError,
            match=r"remove these fields of a run that no longer exists: delete_run\(samples, 'dc'\)",
        ):
            fdc.cluster(clone, key="dc", **LEARNED)
        with pytest.raises(RunNotFoundError, match="no files on this machine"):
            fdc.resume(clone, "dc")
        fdc.delete_run(clone, "dc")
        assert "dc" not in clone.get_field_schema()
        assert list(clone.get_field_schema()) == [
            "id", "filepath", "tags", "metadata", "created_at", "last_modified_at", "ground_truth",
        ]  # fmt: skip
        assert dataset.count("dc.label") == 40
    finally:
        clone.delete()


@pytest.mark.parametrize("patches_field", [None, "objects"])
def test_fields_are_marked(make_digits, patches_field):
    import fiftyone as fo

    dataset = make_digits(3)
    dataset.add_sample_field("objects", fo.EmbeddedDocumentField, embedded_doc_type=fo.Detections)
    names = FieldNames("dc", patches_field)
    declare(dataset, names)
    dataset.reload()
    assert marked(dataset) == [names]


def test_a_persons_label_never_goes_into_a_field_that_a_run_left(make_digits, stored_run):
    dataset = make_digits(12)
    stored_run(dataset)
    declare(dataset, FieldNames("left"))
    with pytest.raises(InputError, match="'left' belongs to a run"):
        fdc.review(dataset, "dc").label_cluster("cluster-01", "left", "x")


def test_files_of_datasets_that_are_gone(make_digits):
    kept, gone, foreign = make_digits(12), make_digits(12), make_digits(12)
    for dataset in (kept, gone, foreign):
        fdc.cluster(dataset, key="dc", rounds=1, **LEARNED)
    folders = {
        name: run_files.dataset_dir(d) for name, d in (("kept", kept), ("gone", gone), ("foreign", foreign))
    }
    job = folders["foreign"] / "dc" / "job.json"
    job.write_text(json.dumps({**json.loads(job.read_text()), "database": "another"}))
    gone.delete()
    foreign.delete()
    found = {files.folder: files.n_bytes for files in find_leftovers()}
    assert folders["gone"] in found
    assert (
        found[folders["gone"]]
        == sum(f.stat().st_size for f in folders["gone"].rglob("*") if f.is_file())
        > 1000
    )
    assert not {folders["kept"], folders["foreign"]} & set(found)
    assert {files.folder for files in remove_leftovers()} == set(found)
    assert not folders["gone"].exists()
    assert folders["kept"].exists()
    assert folders["foreign"].exists()
    assert find_leftovers() == []
    assert lock.holder(kept, "dc") is None


def test_a_folder_in_which_nothing_was_noted_is_removed_unless_a_process_is_at_work(make_digits):
    dataset = make_digits(4)
    folder = run_files.run_dir(dataset, "killed")
    folder.mkdir(parents=True)
    (folder / "job.json.1.partial").write_text("{")
    with lock.acquire(dataset, "killed"):
        assert fdc.list_runs(dataset) == []
        assert folder.is_dir()
    assert fdc.list_runs(dataset) == []
    assert not folder.exists()


def test_a_replacement_whose_run_is_removed_already_keeps_its_rounds(make_digits):
    dataset = make_digits(30, persistent=True)
    fdc.cluster(dataset, key="dc", **FROZEN)

    def stop():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fdc.cluster(
            dataset, key="dc", overwrite=True, rounds=1, observer=Acts(stop, phase="write"), **LEARNED
        )
    assert run_files.next_dir(dataset, "dc").is_dir()
    with pytest.raises(RunExistsError, match="interrupted after round 1"):
        fdc.cluster(dataset, key="dc", **FROZEN)
    trained = []
    fdc.cluster(
        dataset, key="dc", rounds=1, observer=Acts(lambda: trained.append(1), phase="train"), **LEARNED
    )
    assert not trained
    assert not run_files.next_dir(dataset, "dc").exists()
    assert fdc.load_run(dataset, "dc").record.method == "deepcluster"
