"""Changes of runs that were interrupted are completed by whoever comes next; lost clusters are noticed."""

from __future__ import annotations

import logging
import re
from dataclasses import asdict

import pytest

import fiftyone_deepcluster as fdc
from fiftyone_deepcluster.dataset.runs import lock, run_files, storage
from fiftyone_deepcluster.dataset.runs.intents import Intent, find_datasets
from fiftyone_deepcluster.dataset.runs.kv import find, run_store
from fiftyone_deepcluster.errors import RunError, RunExistsError, RunNotFoundError
from tests.dataset.runs.test_run import state

FROZEN = {"n_clusters": 3, "baselines": False, "compute_brain": False, "progress": False}


def note(dataset, verb, new_key=""):
    """Note a change of ``dc`` as a process does that is killed at once."""
    header, _ = storage.header_of(dataset, "dc")
    intent = Intent(verb, "dc", header.uid, header.patches_field, new_key)
    run_store(dataset).set("change:dc", asdict(intent))


def test_a_noted_change_is_completed(make_digits, stored_run):
    dataset = make_digits(20)
    before = state(dataset)
    labels = stored_run(dataset).labels.tolist()
    note(dataset, "rename", "new")
    assert find_datasets() == [dataset.name]
    assert fdc.load_run(dataset, "new").n_samples == 20
    assert dataset.values("new.cluster") == labels
    assert fdc.list_runs(dataset) == ["new"]
    with pytest.raises(RunNotFoundError, match="'dc'; choose one of: new"):
        fdc.load_run(dataset, "dc")
    fdc.rename_run(dataset, "new", "dc")
    note(dataset, "delete")
    assert fdc.list_runs(dataset) == []
    assert state(dataset) == before
    assert find(dataset, "") == {}
    assert find_datasets() == []


def test_a_change_at_work_is_left_alone(make_digits, stored_run):
    dataset = make_digits(20)
    stored_run(dataset)
    note(dataset, "delete")
    with lock.acquire(dataset, "dc"):
        assert fdc.list_runs(dataset) == ["dc"]
        assert find_datasets() == []
    assert fdc.list_runs(dataset) == []


def test_values_of_objects_and_what_a_person_added_keep_their_place(make_digits, stored_run):
    import fiftyone as fo

    dataset = make_digits(12)
    for sample in dataset:
        boxes = [[0, 0, 0.5, 0.5], [0.5, 0.5, 0.5, 0.5]]
        sample["objects"] = fo.Detections(
            detections=[fo.Detection(label="x", bounding_box=box) for box in boxes]
        )
        sample.save()
    stored_run(dataset.to_patches("objects"), "dc")
    stored_run(dataset, "whole")
    dataset.add_sample_field("whole.seen_by", fo.StringField)
    dataset.set_values("whole.seen_by", ["me"] * 12)
    before = dataset.values(["objects.detections.dc", "objects.detections.dc_embedding", "whole.cluster"])
    fdc.rename_run(dataset, "dc", "things")
    fdc.rename_run(dataset, "whole", "images")
    after = dataset.values(
        ["objects.detections.things", "objects.detections.things_embedding", "images.cluster"]
    )
    assert repr(after) == repr(before)
    assert dataset.values("images.seen_by") == ["me"] * 12
    assert not [field for field in dataset.get_field_schema(flat=True) if "dc" in field or "whole" in field]
    assert fdc.load_run(dataset, "things").n_samples == 24


def test_the_key_of_an_interrupted_run_is_taken(make_digits, stored_run):
    dataset = make_digits(12)
    stored_run(dataset)
    job = run_files.ClusterJob(storage.RunHeader("frozen", {}, {}, None, 12), dataset.values("id"))
    run_files.save_job(run_files.run_dir(dataset, "other"), job)
    with pytest.raises(RunExistsError, match="'other' was interrupted"):
        fdc.rename_run(dataset, "dc", "other")
    assert run_files.load_job(run_files.run_dir(dataset, "other")) == job


def test_a_run_without_its_record_is_none(make_digits):
    dataset = make_digits(3)
    dataset.register_run("dc", dataset.init_run(package=storage.PACKAGE))
    assert fdc.list_runs(dataset) == []


def test_lost_clusters_are_noticed_and_written_again(make_digits, caplog):
    dataset = make_digits(20)
    labels = fdc.cluster(dataset, "frozen", "dc", **FROZEN).view().values(["id", "dc.label"])
    fdc.load_run(dataset, "dc")
    dataset.delete_samples(dataset.take(2, seed=1))
    fdc.load_run(dataset, "dc")
    assert not caplog.records
    lost = {"$unset": {field: "" for field in dataset.get_field_schema() if field.startswith("dc")}}
    dataset._sample_collection.update_many({"_id": {"$in": dataset.limit(4).values("_id")}}, lost)
    dataset.reload()
    with caplog.at_level(logging.WARNING):
        fdc.load_run(dataset, "dc")
        fdc.load_run(dataset, "dc")  # as the panel does every second
        assert (
            caplog.text.count("lost the clusters of 4 of the 20 images of run 'dc'; resume(samples, 'dc')")
            == 1
        )
        dataset._sample_collection.update_many({"_id": {"$in": dataset.limit(6).values("_id")}}, lost)
        fdc.load_run(dataset, "dc")
        fdc.load_run(dataset, "dc")
        assert caplog.text.count("lost the clusters of 6 of the 20 images of run 'dc'") == 1
    again = make_digits(20)
    fdc.cluster(again, "frozen", "dc", **FROZEN)
    again._sample_collection.update_many({"_id": {"$in": again.limit(4).values("_id")}}, lost)
    run = fdc.resume(again, "dc", progress=False, compute_brain=False)
    assert [sorted(run.view().values("dc.label")), again.count("dc_embedding")] == [sorted(labels[1]), 20]


@pytest.mark.parametrize("field", ["dc", "dc_embedding"])
def test_a_run_without_one_of_its_fields_is_renamed(make_digits, field):
    dataset = make_digits(20)
    fdc.cluster(dataset, "frozen", "dc", **FROZEN)
    other = fdc.cluster(dataset, "frozen", "other", **FROZEN)
    left = {name.replace("dc", "new", 1) for name in dataset.get_field_schema() if name.startswith("dc")}
    dataset.delete_sample_field(field)
    fdc.rename_run(dataset, "dc", "new")
    assert fdc.list_runs(dataset) == ["new", "other"]
    assert not dataset.has_field(field)
    assert {name for name in dataset.get_field_schema() if name.startswith("new")} == left - {
        field.replace("dc", "new", 1)
    }
    assert fdc.review(dataset, "other").names() == other.names()
    fdc.delete_run(dataset, "new")
    assert not [name for name in dataset.get_field_schema() if name.startswith("new")]


def test_a_field_that_is_gone_is_not_restored_over_a_review(make_digits):
    dataset = make_digits(20)
    fdc.cluster(dataset, "frozen", "dc", **FROZEN)
    review = fdc.review(dataset, "dc")
    review.rename("cluster-00", "zero")
    dataset.delete_sample_field("dc_embedding")
    with pytest.raises(
        RunError, match="cluster again under another key; resume would discard 1 edit of the run"
    ):
        review.split("zero", n_clusters=2)


def test_a_field_that_was_deleted_has_one_way_back_for_all_calls(make_digits, caplog):
    dataset = make_digits(20)
    fdc.cluster(dataset, "frozen", "dc", **FROZEN)
    review = fdc.review(dataset, "dc")
    review.rename("cluster-00", "zero")
    dataset.delete_sample_field("dc")
    said = f"the field dc.label of run 'dc' was deleted from {dataset.name!r}; resume(samples, 'dc') writes it again"
    with caplog.at_level(logging.WARNING):
        fdc.load_run(dataset, "dc")
        fdc.load_run(dataset, "dc")
    assert caplog.text.count(said) == 1
    with pytest.raises(RunError, match=re.escape(said)):
        review.undo()
    run = fdc.resume(dataset, "dc", progress=False, compute_brain=False)
    assert "were deleted, and its edits (1) with them" in caplog.text
    assert dataset.count("dc.label") == 20
    assert "cluster-00" in run.names()
    assert fdc.review(dataset, "dc").log() == []
