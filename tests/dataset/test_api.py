"""``cluster`` on real digits in a real database."""

from __future__ import annotations

import time

import pytest
import torch

import fiftyone_deepcluster as fdc
from fiftyone_deepcluster.backbones.base import BACKBONES
from fiftyone_deepcluster.core.process_state import seeded_torch
from fiftyone_deepcluster.core.progress import Silent
from fiftyone_deepcluster.dataset.runs import lock, queue, run_files, status
from fiftyone_deepcluster.dataset.runs.kv import find
from fiftyone_deepcluster.errors import CancelledError, RunExistsError, RunLockedError
from tests.dataset.runs.test_run import state
from tests.dataset.small_runs import FROZEN, LEARNED
from tests.observers import Acts, Watcher, disk_full


def test_whole_way_with_brain_runs(make_digits):
    dataset = make_digits(100)
    run = fdc.cluster(
        dataset, "frozen", "dc", n_clusters=10, truth_field="ground_truth", progress=False, baselines=False
    )
    assert run.n_clusters == 10
    assert run.rounds[0].truth.acc > 0.5
    assert sum(info.size for info in run.clusters()) == 100
    assert sorted(dataset.list_brain_runs()) == ["dc_sim", "dc_viz"]
    assert "dc" in [group.name for group in dataset.app_config.sidebar_groups]
    assert "dc.label" in dataset.list_indexes()
    assert status.read_states(dataset)["dc"].status == "finished"
    assert lock.holder(dataset, "dc") is None
    assert fdc.load_run(dataset, "dc").record == run.record
    neighbors = dataset.sort_by_similarity(dataset.first().id, k=5, brain_key="dc_sim")
    assert len(neighbors) == 5
    fdc.delete_run(dataset, "dc")
    assert dataset.list_brain_runs() == []


def test_auto_is_resumed_and_repeated_with_the_rounds_of_the_method_that_it_chose(make_digits, tmp_path):
    dataset, weights = make_digits(3), tmp_path / "weights.pt"
    backbone = {"name": "small", "width": 8}
    with seeded_torch(1):
        torch.save(BACKBONES.parse(backbone).build(3, 16, None).state_dict(), weights)
    given = {"n_clusters": 2, "image_size": 16, "device": "cpu", "baselines": False, "color": "gray"}
    quiet = {"progress": False, "compute_brain": False}
    run = fdc.cluster(dataset, "auto", "dc", backbone=backbone, weights=str(weights), **given, **quiet)
    assert (run.record.resolved["name"], run.record.resolved["rounds"]) == ("frozen", fdc.Frozen().rounds)
    assert run.options.planned_rounds is None
    assert fdc.resume(dataset, "dc", **quiet).record.resolved == run.record.resolved


def test_cancelled_before_the_first_round_leaves_the_dataset_alone(make_digits):
    dataset = make_digits(40)
    before = state(dataset)
    with pytest.raises(CancelledError):
        fdc.cluster(dataset, key="dc", rounds=2, observer=Watcher(after_rounds=0), **LEARNED)
    assert state(dataset) == before
    assert fdc.list_runs(dataset) == []
    assert lock.holder(dataset, "dc") is None


@pytest.mark.parametrize("phase", ["embed", "write", "brain"])
def test_failure_leaves_nothing(make_digits, phase):
    dataset = make_digits(40)
    before = state(dataset)
    options = {**FROZEN, "compute_brain": True}
    if phase == "embed":
        options = {**LEARNED, "rounds": 1}
    with pytest.raises(OSError, match="disk is full"):
        fdc.cluster(dataset, key="dc", observer=Acts(disk_full, phase=phase), **options)
    assert state(dataset) == before
    assert lock.holder(dataset, "dc") is None
    assert not find(dataset, "^change:")
    found = status.read_states(dataset)["dc"]
    assert found.status == "failed"
    assert "disk is full" in found.error
    # the way is free for another try
    fdc.cluster(dataset, key="dc", **FROZEN)


def test_failed_replacement_leaves_the_old_run(make_digits):
    dataset = make_digits(40)
    fdc.cluster(dataset, key="dc", **FROZEN)
    before = state(dataset)
    with pytest.raises(OSError, match="disk is full"):
        fdc.cluster(
            dataset, key="dc", overwrite=True, rounds=1, observer=Acts(disk_full, phase="embed"), **LEARNED
        )
    assert state(dataset) == before
    assert fdc.load_run(dataset, "dc").record.method == "frozen"


def test_taken_key_is_refused_and_overwritten_on_request(make_digits):
    dataset = make_digits(40)
    first = fdc.cluster(dataset, key="dc", **FROZEN)
    fdc.review(dataset, "dc").rename("cluster-01", "one")
    with pytest.raises(RunExistsError, match="overwrite=True"):
        fdc.cluster(dataset, key="dc", **FROZEN)
    fdc.review(dataset, "dc").undo()  # else it is not replaced: tests/dataset/runs/test_kept_edits.py
    second = fdc.cluster(dataset, key="dc", overwrite=True, **{**FROZEN, "n_clusters": 3})
    assert second.uid != first.uid
    assert sorted(dataset.distinct("dc.label")) == ["cluster-00", "cluster-01", "cluster-02"]
    assert fdc.list_runs(dataset) == ["dc"]
    assert not find(dataset, "^edit:")
    assert not run_files.next_dir(dataset, "dc").exists()
    assert run_files.load_job(run_files.run_dir(dataset, "dc")).header.uid == second.uid
    with pytest.raises(RunExistsError, match="ground_truth"):
        fdc.cluster(dataset, key="ground_truth", overwrite=True, **FROZEN)


def test_view_touches_only_its_samples(make_digits):
    dataset = make_digits(60)
    fdc.cluster(dataset, key="all", **FROZEN)
    outside = list(dataset._sample_collection.find().skip(30))
    fdc.cluster(dataset.limit(30), key="dc", **FROZEN)
    assert list(dataset._sample_collection.find().skip(30)) == outside
    assert dataset.count("dc.label") == 30
    fdc.cluster(dataset.limit(20), key="dc", overwrite=True, **FROZEN)
    assert dataset.count("dc.label") == 20
    assert dataset.count("all.label") == 60


def test_unreadable_files_are_reported_and_skipped(make_digits, tmp_path):
    import fiftyone as fo

    dataset = make_digits(30)
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no image")
    dataset.add_samples(
        [fo.Sample(filepath=str(broken)), fo.Sample(filepath=str(tmp_path / "gone.png"))], progress=False
    )
    run = fdc.cluster(dataset, key="dc", **{**FROZEN, "compute_brain": True})
    assert run.record.n_failed == 2
    assert dataset.count("dc.label") == 30
    assert dataset.count("dc_error") == 2
    assert dataset.count("dc_embedding") == 30
    assert len(dataset.load_brain_results("dc_viz").points) == 30


def test_one_run_of_a_key_at_a_time(make_digits):
    dataset = make_digits(40)
    with lock.acquire(dataset, "dc"), pytest.raises(RunLockedError):
        fdc.cluster(dataset, key="dc", **FROZEN)
    assert "dc" not in dataset.get_field_schema()


def test_cancel_from_elsewhere(make_digits):
    dataset = make_digits(40)

    class Cancels(Silent):
        def round_done(self, entry, rounds):
            assert queue.request_cancel(dataset, "dc")
            time.sleep(0.6)

    run = fdc.cluster(dataset, key="dc", rounds=5, observer=Cancels(), **LEARNED)
    assert run.stop_reason == fdc.StopReason.CANCELLED
    assert len(run.rounds) == 1
