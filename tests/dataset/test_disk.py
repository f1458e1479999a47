"""Runs on a disk that is full, read-only, in the way or gone: one sentence, and neither dataset nor run is harmed."""

from __future__ import annotations

import shutil

import pytest

import fiftyone_deepcluster as fdc
from fiftyone_deepcluster.dataset.results.probes import stored_probe
from fiftyone_deepcluster.dataset.runs import run_files
from fiftyone_deepcluster.errors import CheckpointError, DiskError, RunError
from tests.dataset.runs.test_run import state
from tests.dataset.small_runs import FROZEN, LEARNED
from tests.observers import Acts, disk_full

MOVED = "set FIFTYONE_DEFAULT_DATASET_DIR to a folder on another disk"
QUIET = {"progress": False, "compute_brain": False}


@pytest.fixture
def disk(small_disk, fiftyone_home, monkeypatch):
    """A disk of 40 MB that holds the files of all runs."""
    import fiftyone as fo

    made = small_disk(40 * 2**20)
    monkeypatch.setattr(fo.config, "default_dataset_dir", str(made.folder))
    return made


@pytest.fixture
def runs_at(fiftyone_home, monkeypatch, tmp_path):
    """A folder of its own for the files of all runs."""
    import fiftyone as fo

    monkeypatch.setattr(fo.config, "default_dataset_dir", str(tmp_path / "runs"))
    return tmp_path / "runs"


def test_a_disk_that_fills_up_and_resume(make_digits, disk):
    dataset = make_digits(40)
    before = state(dataset)
    straight = fdc.cluster(dataset, key="straight", rounds=3, **LEARNED)
    clusters = dataset.values("straight.cluster")
    fdc.delete_run(dataset, "straight")
    with pytest.raises(DiskError) as caught:
        fdc.cluster(dataset, key="dc", rounds=3, observer=Acts(disk.fill, after_round=2), **LEARNED)
    said = str(caught.value)
    folder = run_files.run_dir(dataset, "dc")
    assert said.startswith(
        f"the checkpoint {folder}/checkpoint.pt cannot be written: No space left on device ("
    )
    assert said.endswith(
        "free some space there and call resume(samples, 'dc'), which resumes from the last checkpoint, or "
        + MOVED
    )
    assert state(dataset) == before
    assert fdc.interrupted_runs(dataset)["dc"].resumable
    assert not list(folder.glob("*.partial"))
    disk.free()
    run = fdc.resume(dataset, "dc", **QUIET)
    assert [entry.loss for entry in run.rounds] == [entry.loss for entry in straight.rounds]
    assert dataset.values("dc.cluster") == clusters


def test_a_full_disk_from_the_start(make_digits, disk):
    dataset = make_digits(40)
    before = state(dataset)
    disk.fill()
    with pytest.raises(DiskError, match=f"the file of the run .* No space left .* call again, or {MOVED}"):
        fdc.cluster(dataset, key="dc", rounds=1, **LEARNED)
    assert state(dataset) == before
    assert not run_files.dataset_dir(dataset).exists()
    assert fdc.list_runs(dataset) == []


def test_a_replacement_that_finds_no_room_leaves_the_old_run(make_digits, disk):
    dataset = make_digits(40)
    fdc.cluster(dataset, key="dc", rounds=1, **LEARNED)
    before = state(dataset)
    with pytest.raises(DiskError, match=r"resume\(samples, 'dc'\)"):
        fdc.cluster(
            dataset, key="dc", overwrite=True, rounds=2, observer=Acts(disk.fill, after_round=2), **LEARNED
        )
    assert state(dataset) == before
    assert (run_files.run_dir(dataset, "dc") / "model.pt").exists()
    disk.free()
    assert len(fdc.resume(dataset, "dc", **QUIET).rounds) == 2


def results(dataset, key="dc"):
    """Every call that stores a result in the folder of the run."""
    return {
        "list_layers": lambda: fdc.list_layers(dataset, key),
        "probe": lambda: fdc.probe(dataset, key, "ground_truth", layers="conv1", folds=2),
        "build_tree": lambda: fdc.build_tree(dataset, key),
        "draw_filters": lambda: fdc.draw_filters(dataset, key, units=[0], ascent={"steps": 2}),
        "index_neighbors": lambda: fdc.index_neighbors(dataset, key),
        "retrieval_score": lambda: fdc.retrieval_score(dataset, key, "ground_truth", features="learned"),
        "retrieve": lambda: fdc.retrieve(dataset, key, dataset.first().id, features="initial"),
    }


@pytest.mark.parametrize("condition", ["full", "read-only"])
def test_results_that_cannot_be_stored(make_digits, disk, condition):
    dataset = make_digits(60)
    run = fdc.cluster(dataset, key="dc", rounds=1, **LEARNED)
    before, files = state(dataset), sorted(run_files.run_dir(dataset, "dc").iterdir())
    if condition == "full":
        disk.fill()
    else:
        disk.read_only()
    why = "No space left on device" if condition == "full" else "Read-only file system"
    for name, call in results(dataset).items():
        with pytest.raises(
            DiskError, match=f"the result .* cannot be written: {why}.* and call again, or {MOVED}"
        ):
            print(name, call())
        assert sorted(run_files.run_dir(dataset, "dc").iterdir()) == files, name
    assert state(dataset) == before
    assert dataset.get_field("dc_category") is None
    if condition == "full":
        disk.free()
    else:
        disk.writable()
    for call in results(dataset).values():
        call()
    assert stored_probe(run) is not None


def test_png_files_of_the_caller(make_digits, small_disk):
    dataset = make_digits(40)
    fdc.cluster(dataset, key="dc", rounds=1, **LEARNED)
    disk = small_disk(65_536)
    disk.fill()
    with pytest.raises(DiskError, match=r"the PNG files .* and call again, or give another out_dir"):
        fdc.draw_filters(dataset, "dc", out_dir=disk.folder, units=[0], ascent={"steps": 2})


def test_a_read_only_disk_keeps_the_run_as_it_is(make_digits, disk):
    dataset = make_digits(40)
    fdc.cluster(dataset, key="dc", **FROZEN)
    disk.read_only()
    before = state(dataset)
    kept = r"the files of run 'dc' cannot be changed: .* is not writable; make it writable and call again"
    with pytest.raises(DiskError, match=kept):
        fdc.rename_run(dataset, "dc", "dc2")
    with pytest.raises(DiskError, match=kept):
        fdc.delete_run(dataset, "dc")
    with pytest.raises(DiskError, match=kept):
        fdc.cluster(dataset, key="dc", overwrite=True, **FROZEN)
    assert state(dataset) == before
    assert fdc.load_run(dataset, "dc").clusters()
    disk.writable()
    fdc.rename_run(dataset, "dc", "dc2")
    fdc.delete_run(dataset, "dc2")
    assert fdc.list_runs(dataset) == []
    assert not run_files.dataset_dir(dataset).exists()


def test_a_file_in_the_way(make_digits, runs_at):
    dataset = make_digits(40)
    before = state(dataset)
    runs_at.write_bytes(b"")
    with pytest.raises(
        DiskError, match=f"{runs_at} is a file; move that file away and call again, or {MOVED}"
    ):
        fdc.cluster(dataset, key="dc", **FROZEN)
    assert state(dataset) == before
    assert fdc.list_runs(dataset) == []
    runs_at.unlink()
    fdc.cluster(dataset, key="dc", **FROZEN)


def test_a_folder_that_is_removed_during_the_run(make_digits, runs_at):
    dataset = make_digits(40)
    before = state(dataset)
    removes = Acts(lambda: shutil.rmtree(runs_at), after_round=1)
    with pytest.raises(CheckpointError, match=r"round_losses\.bin was deleted or shortened during the run"):
        fdc.cluster(dataset, key="dc", rounds=2, observer=removes, **LEARNED)
    assert state(dataset) == before
    fdc.delete_run(dataset, "dc")
    assert len(fdc.cluster(dataset, key="dc", rounds=1, **LEARNED).rounds) == 1


def test_a_damaged_file_of_a_run_is_named(make_digits, runs_at):
    dataset = make_digits(40)
    fdc.cluster(dataset, key="dc", rounds=1, **LEARNED)
    path = run_files.run_dir(dataset, "dc") / run_files.JOB_FILE
    path.write_text(path.read_text()[:100])
    with pytest.raises(
        fdc.DeepClusterError, match=f"run 'dc' cannot be resumed: {path}, which .* cannot be read"
    ):
        fdc.resume(dataset, "dc", **QUIET)
    assert fdc.load_run(dataset, "dc").n_clusters
    uses = (
        lambda: fdc.probe(dataset, "dc", "ground_truth"),
        lambda: fdc.build_tree(dataset, "dc"),
        lambda: fdc.draw_filters(dataset, "dc"),
    )
    for use in uses:
        with pytest.raises(
            RunError,
            match=rf"^{path}, which .* restore the file, or cluster again with overwrite=True .*edits\)$",
        ):
            use()
    assert len(fdc.cluster(dataset, key="dc", rounds=1, overwrite=True, **LEARNED).rounds) == 1
    assert fdc.build_tree(dataset, "dc")
    model = run_files.run_dir(dataset, "dc") / "model.pt"
    model.write_bytes(model.read_bytes()[:100])
    with pytest.raises(CheckpointError, match="restore it, or repeat the run"):
        fdc.build_tree(dataset, "dc")


def test_a_damaged_file_of_an_interrupted_run_is_replaced_on_request(make_digits, runs_at):
    dataset = make_digits(40)
    with pytest.raises(OSError, match="disk is full"):
        fdc.cluster(dataset, key="dc", rounds=2, observer=Acts(disk_full, after_round=1), **LEARNED)
    path = run_files.run_dir(dataset, "dc") / run_files.JOB_FILE
    path.write_text(path.read_text()[:100])
    with pytest.raises(RunError, match="or cluster again with overwrite=True"):
        fdc.cluster(dataset, key="dc", rounds=2, **LEARNED)
    assert len(fdc.cluster(dataset, key="dc", rounds=1, overwrite=True, **LEARNED).rounds) == 1
