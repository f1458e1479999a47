"""Files of runs that are cut, or hold something else."""

from __future__ import annotations

import errno
import json
import logging
import os
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import pydantic
import pytest
from bson import ObjectId

import fiftyone_deepcluster as fdc
from fiftyone_deepcluster.core import checkpoints
from fiftyone_deepcluster.dataset.results.neighbors import stored_scores
from fiftyone_deepcluster.dataset.results.open_run import images_of, open_run
from fiftyone_deepcluster.dataset.runs import run_files
from fiftyone_deepcluster.dataset.runs.intents import Intent
from fiftyone_deepcluster.dataset.runs.kv import run_store
from fiftyone_deepcluster.dataset.runs.orphans import find_leftovers
from fiftyone_deepcluster.errors import CheckpointError, RunError
from tests.observers import Acts

QUIET = {"progress": False, "compute_brain": False}
FROZEN = {"n_clusters": 3, "baselines": False, **QUIET}
HEADER = {
    "method": "frozen",
    "options": {},
    "settings": {},
    "patches_field": None,
    "n_samples": 1,
    "uid": "1",
}
BAD = {
    "empty": "",
    "cut": '{"header": {"method": "fro',
    "a list": "[]",
    "nothing": "null",
    "another object": '{"header": {}}',
    "a number for a text": json.dumps({"header": {**HEADER, "uid": 1}, "ids": []}),
    "no ids": json.dumps({"header": HEADER, "ids": ["first"]}),
}
bad = pytest.mark.parametrize("text", BAD.values(), ids=BAD)


@pytest.fixture
def dataset(make_digits):
    return make_digits(20)


def damage(folder, text):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / run_files.JOB_FILE).write_text(text)
    return folder


def broken_job(monkeypatch, folder):
    """Let the disk fail at the file of a job."""
    path, read = folder / run_files.JOB_FILE, Path.read_text

    def broken(self, *given, **named):
        if self == path:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return read(self, *given, **named)

    monkeypatch.setattr(Path, "read_text", broken)
    return path


def note_write(dataset, verb, uid):
    """Note a change of ``dc`` as a process does that is killed at once."""
    run_store(dataset).set("change:dc", asdict(Intent(verb, "dc", uid, None)))


@bad
def test_a_damaged_job_is_one_error(dataset, text):
    damage(run_files.run_dir(dataset, "dc"), text)
    for call in (
        lambda: fdc.resume(dataset, "dc", **QUIET),
        lambda: fdc.cluster(dataset, "frozen", "dc", **FROZEN),
    ):
        with pytest.raises(RunError, match=r"job\.json, which lists .* cannot be read \(.*overwrite=True"):
            call()
    assert fdc.list_runs(dataset) == ["dc"]
    fdc.delete_run(dataset, "dc")
    assert fdc.list_runs(dataset) == []
    assert not run_files.run_dir(dataset, "dc").exists()


@pytest.mark.parametrize("wrong", ["0" * 23 + "A", "0" * 23, "0" * 25, "0" * 23 + "\n", ""])
def test_one_id_that_is_none(tmp_path, wrong):
    ids = [str(ObjectId()), wrong, str(ObjectId())]
    with pytest.raises(run_files.DamagedJobError, match=r"ids: .* is not the id of an image"):
        run_files.load_job(damage(tmp_path / "dc", json.dumps({"header": HEADER, "ids": ids})))


def test_what_checks_jobs_is_built_once(tmp_path, monkeypatch):
    folder = damage(tmp_path / "dc", json.dumps({"header": HEADER, "ids": [str(ObjectId())]}))
    first = run_files.load_job(folder)
    monkeypatch.delattr(pydantic, "TypeAdapter")
    assert run_files.load_job(folder) == first


@bad
def test_files_of_a_deleted_dataset_with_a_damaged_job_are_kept(fiftyone_home, text):
    folder = damage(run_files.runs_folder() / str(ObjectId()) / "dc", text)
    if text in (BAD["empty"], BAD["cut"], BAD["a list"], BAD["nothing"]):  # of which database is unknown
        assert folder.parent not in [files.folder for files in find_leftovers()]
    else:
        assert folder.parent in [files.folder for files in find_leftovers()]
    run_files.clean_dir(folder)


@bad
@pytest.mark.parametrize("which", ["run_dir", "next_dir"])
def test_a_damaged_job_of_no_run_is_replaced(dataset, caplog, text, which):
    folder = damage(getattr(run_files, which)(dataset, "dc"), text)
    with caplog.at_level(logging.WARNING):
        run = fdc.cluster(dataset, "frozen", "dc", overwrite=True, **FROZEN)
    assert caplog.text.count(f"{folder / run_files.JOB_FILE} cannot be read (") == 1
    assert run_files.load_job(run_files.run_dir(dataset, "dc")).header.uid == run.uid
    assert not run_files.next_dir(dataset, "dc").exists()


@pytest.mark.parametrize("text", [BAD["cut"], BAD["a list"]])
@pytest.mark.parametrize("interrupted", [False, True])
def test_a_damaged_replacement_of_a_run(dataset, caplog, text, interrupted):
    first = fdc.cluster(dataset, "frozen", "dc", **FROZEN)
    if interrupted:
        note_write(dataset, "replace", first.uid)
    folder = damage(run_files.next_dir(dataset, "dc"), text)
    with caplog.at_level(logging.WARNING):
        run = fdc.cluster(dataset, "frozen", "dc", overwrite=True, **FROZEN)
    assert f"{folder / run_files.JOB_FILE} cannot be read (" in caplog.text
    assert run.uid != first.uid
    assert fdc.list_runs(dataset) == ["dc"]
    assert not folder.exists()


def test_a_run_whose_replacement_is_damaged_is_resumed(dataset, caplog):
    first = fdc.cluster(dataset, "frozen", "dc", **FROZEN)
    note_write(dataset, "replace", first.uid)
    damage(run_files.next_dir(dataset, "dc"), BAD["cut"])
    assert fdc.resume(dataset, "dc", **QUIET).uid == first.uid
    folder = damage(run_files.next_dir(dataset, "dc"), BAD["cut"])
    with caplog.at_level(logging.WARNING):
        assert fdc.resume(dataset, "dc", **QUIET).uid == first.uid
    assert "the replacement of run 'dc' is lost, and the run itself is resumed" in caplog.text
    assert not folder.exists()
    assert dataset.count("dc.label") == 20


def test_the_network_of_a_run_whose_job_was_damaged_before_it_was_moved(dataset, caplog):
    run = fdc.cluster(dataset, "frozen", "dc", **FROZEN)
    folder = run_files.run_dir(dataset, "dc").rename(run_files.next_dir(dataset, "dc"))
    damage(folder, BAD["cut"])
    note_write(dataset, "write", run.uid)
    with caplog.at_level(logging.WARNING):
        assert fdc.load_run(dataset, "dc").uid == run.uid
    assert "run 'dc' cannot be resumed" in caplog.text
    assert (run_files.run_dir(dataset, "dc") / checkpoints.MODEL).is_file()


@pytest.mark.parametrize("text", [BAD["cut"], BAD["a list"]])
def test_a_run_with_damaged_jobs_is_renamed_and_deleted(dataset, text):
    fdc.cluster(dataset, "frozen", "dc", **FROZEN)
    for folder in (run_files.run_dir, run_files.next_dir):
        damage(folder(dataset, "dc"), text)
    fdc.rename_run(dataset, "dc", "new")
    assert sorted(folder.name for folder in run_files.run_folders(dataset)) == ["new", "new.next"]
    fdc.load_run(dataset, "new")
    fdc.delete_run(dataset, "new")
    assert run_files.run_folders(dataset) == []


def test_a_replacement_whose_job_is_damaged_while_it_is_fitted_is_kept(dataset, caplog):
    fdc.cluster(dataset, "frozen", "dc", **FROZEN)
    damages = Acts(lambda: damage(run_files.next_dir(dataset, "dc"), BAD["cut"]), after_round=1)
    with caplog.at_level(logging.WARNING):
        run = fdc.cluster(dataset, "frozen", "dc", overwrite=True, observer=damages, **FROZEN)
    assert "removed" not in caplog.text
    folder = run_files.run_dir(dataset, "dc")
    assert (folder / run_files.JOB_FILE).read_text() == BAD["cut"]
    assert (folder / checkpoints.MODEL).is_file()
    assert not run_files.next_dir(dataset, "dc").exists()
    assert fdc.load_run(dataset, "dc").uid == run.uid


@pytest.mark.parametrize("which", ["run_dir", "next_dir"])
def test_a_job_that_the_disk_does_not_give_is_not_removed(dataset, monkeypatch, which):
    first = fdc.cluster(dataset, "frozen", "dc", **FROZEN)
    note_write(dataset, "replace", first.uid)
    folder = getattr(run_files, which)(dataset, "dc")
    if which == "next_dir":
        shutil.copytree(run_files.run_dir(dataset, "dc"), folder)
    path = broken_job(monkeypatch, folder)
    with pytest.raises(RunError, match="Input/output error") as caught:
        run_files.load_job(folder)
    assert not isinstance(caught.value, run_files.DamagedJobError)
    with pytest.raises(RunError, match="Input/output error"):
        fdc.resume(dataset, "dc", **QUIET)
    assert path.is_file()
    assert (folder / checkpoints.MODEL).is_file()


def test_an_interrupted_run_whose_job_the_disk_does_not_give_is_not_removed(dataset, monkeypatch):
    fdc.cluster(dataset, "frozen", "dc", **FROZEN)
    folder = run_files.run_dir(dataset, "dc").rename(run_files.next_dir(dataset, "dc"))
    broken_job(monkeypatch, folder)
    with pytest.raises(RunError, match="Input/output error"):
        fdc.cluster(dataset, "frozen", "dc", overwrite=True, **FROZEN)
    assert (folder / checkpoints.MODEL).is_file()


def test_the_network_of_another_run_is_not_used(dataset):
    run = fdc.cluster(dataset, "frozen", "dc", **FROZEN)
    folder = run_files.run_dir(dataset, "dc")
    job = run_files.load_job(folder)
    run_files.save_job(folder, replace(job, header=replace(job.header, uid="other")))
    with pytest.raises(RunError, match="are those of an earlier run"), open_run(run, images_of(run), None):
        pass


@pytest.mark.parametrize("text", ["", "[]", '{"state": 1}'])
def test_damaged_results_are_none(dataset, text):
    run = fdc.cluster(dataset, "frozen", "dc", **FROZEN)
    fdc.index_neighbors(dataset, "dc")
    fdc.retrieval_score(dataset, "dc", "ground_truth", k=2)
    folder = run_files.run_dir(dataset, "dc") / "learned"
    (folder / "retrieval.json").write_text(text)
    (folder / "initial" / "vectors.npy").write_text(text)
    assert stored_scores(run) is None
    fdc.retrieval_score(dataset, "dc", "ground_truth", k=2)
    assert stored_scores(run).label_field == "ground_truth"


def test_a_damaged_network_is_needed_by_nothing_that_is_stored(dataset, caplog):
    fdc.cluster(dataset, "frozen", "dc", **FROZEN)
    (run_files.run_dir(dataset, "dc") / checkpoints.MODEL).write_bytes(b"cut")
    with caplog.at_level(logging.WARNING):
        scores = fdc.retrieval_score(dataset, "dc", "ground_truth", k=2).scores
    assert [score.features for score in scores] == ["learned", "pixels"]
    assert "run 'dc' is without its features before training" in caplog.text
    assert "restore it, or repeat the run" in caplog.text
    assert fdc.index_neighbors(dataset, "dc") == len(dataset)
    image = dataset.first().id
    assert len(fdc.retrieve(dataset, "dc", image, 3)) == 3
    with pytest.raises(CheckpointError, match=r"model\.pt cannot be read"):
        fdc.retrieve(dataset, "dc", image, 3, features="initial")
