"""A run that is renamed: runs, audits and forms that name it, or its fields, follow."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import load_digits

import fiftyone_deepcluster as fdc
from fiftyone_deepcluster.dataset.runs import run_files, status, storage
from fiftyone_deepcluster.errors import RunExistsError
from tests.observers import Acts, disk_full

QUIET = {"progress": False, "compute_brain": False}
FROZEN = {"n_clusters": 3, "baselines": False, **QUIET}
VECTORS = {"embeddings_field": "dc_embedding", "truth_field": "dc.label"}
LDPO = {"method": "ldpo", "n_clusters": 4, "image_size": 16, "batch_size": 32, "epochs": 1, "device": "cpu"}
LDPO |= {"initial": "labels", "initial_field": "dc", "initial_epochs": 1, "baselines": False}


def with_objects(dataset, **attributes):
    """Give every image two objects with vectors."""
    import fiftyone as fo

    n = len(dataset)
    vectors = iter(load_digits().data[: 2 * n].astype(np.float32))
    boxes = [[0, 0, 0.5, 0.5], [0.5, 0.5, 0.5, 0.5]]
    objects = [
        fo.Detections(
            detections=[
                fo.Detection(label=str(place), bounding_box=box, vector=next(vectors), **attributes)
                for place, box in enumerate(boxes)
            ]
        )
        for _ in range(n)
    ]
    dataset.set_values("objects", objects, dynamic=True)


def settings_of(dataset, key, kind="clusters"):
    return storage.header_of(dataset, key, kind)[0].settings


def test_an_interrupted_run_of_its_vectors_is_resumed(make_digits, stored_run):
    dataset = make_digits(60)
    stored_run(dataset)
    with pytest.raises(OSError, match="disk is full"):
        fdc.cluster(dataset, "frozen", "second", observer=Acts(disk_full, phase="write"), **VECTORS, **FROZEN)
    assert fdc.interrupted_runs(dataset)["second"].resumable
    fdc.rename_run(dataset, "dc", "new")
    run = fdc.resume(dataset, "second", **QUIET)
    assert run.settings["embeddings_field"] == "new_embedding"
    assert run.settings["truth_field"] == "new.label"
    assert run.rounds[-1].truth is not None


def test_a_finished_run_of_its_vectors_is_resumed_refined_and_repeated(make_digits, stored_run):
    dataset = make_digits(60)
    stored_run(dataset)
    fdc.cluster(dataset, "frozen", "second", **VECTORS, **FROZEN)
    labels = dataset.values("second.label")
    fdc.rename_run(dataset, "dc", "new")
    assert fdc.resume(dataset, "second", **QUIET).settings["embeddings_field"] == "new_embedding"
    assert dataset.values("second.label") == labels
    fdc.review(dataset, "second").mark_reviewed(fdc.load_run(dataset, "second").names()[:1])
    with pytest.raises(OSError, match="disk is full"):
        fdc.refine(dataset, "second", new_key="third", observer=Acts(disk_full, phase="write"), **QUIET)
    fdc.rename_run(dataset, "new", "dc")
    fdc.rename_run(dataset, "second", "other")
    assert fdc.resume(dataset, "third", **QUIET).settings["embeddings_field"] == "dc_embedding"


@pytest.mark.parametrize("interrupted", [True, False])
def test_options_follow_and_the_checkpoint_still_fits(make_digits, stored_run, interrupted):
    dataset = make_digits(40)
    stored_run(dataset)
    if interrupted:
        with pytest.raises(OSError, match="disk is full"):
            fdc.cluster(
                dataset, key="second", rounds=2, observer=Acts(disk_full, after_round=1), **LDPO, **QUIET
            )
    else:
        fdc.cluster(dataset, key="second", rounds=1, **LDPO, **QUIET)
        assert fdc.load_run(dataset, "second").options.initial_field == "dc"
    fdc.rename_run(dataset, "dc", "new")
    if not interrupted:
        assert fdc.load_run(dataset, "second").record.resolved["initial_field"] == "new"
    run = fdc.resume(dataset, "second", rounds=2, **QUIET)
    assert run.options.initial_field == "new"
    assert storage.header_of(dataset, "second")[0].options["initial_field"] == "new"
    assert len(run.rounds) == 2


def test_a_rename_during_a_run(make_digits, stored_run):
    dataset = make_digits(60)
    stored_run(dataset)
    renames = Acts(lambda: fdc.rename_run(dataset, "dc", "new"), after_round=1)
    run = fdc.cluster(dataset, "frozen", "second", observer=renames, **VECTORS, **FROZEN)
    assert run.settings["embeddings_field"] == "new_embedding"
    assert fdc.resume(dataset, "second", **QUIET).settings["truth_field"] == "new.label"


def test_paths_and_names_of_objects_and_of_whole_images(make_digits, stored_run):
    dataset = make_digits(20)
    with_objects(dataset, whole_loss=1)
    stored_run(dataset, "whole")
    stored_run(dataset.to_patches("objects"), "dc")
    stored_run(
        dataset.to_patches("objects"),
        "inner",
        embeddings_field=["dc_embedding", "vector"],
        truth_field="objects.detections.dc",
        group_field="objects.dc",
        other_field="whole.label",
        own_field="whole_loss",  # an attribute of the objects has that name
    )
    stored_run(dataset, "outer", truth_field="objects.detections.dc", embeddings_field="whole_embedding")
    fdc.rename_run(dataset, "dc", "things")
    fdc.rename_run(dataset, "whole", "images")
    inner, outer = settings_of(dataset, "inner"), settings_of(dataset, "outer")
    assert inner["embeddings_field"] == ["things_embedding", "vector"]
    assert inner["truth_field"] == "objects.detections.things"
    assert inner["group_field"] == "objects.things"
    assert inner["other_field"] == "images.label"
    assert inner["own_field"] == "whole_loss"
    assert (outer["truth_field"], outer["embeddings_field"]) == (
        "objects.detections.things",
        "images_embedding",
    )
    assert inner["model"] is None


def test_an_audit_of_objects_with_groups_of_whole_images(make_digits, stored_run):
    dataset = make_digits(40)
    with_objects(dataset)
    stored_run(dataset, "whole")
    fdc.audit_labels(dataset, "objects", embeddings_field="vector", group_field="whole.label")
    fdc.rename_run(dataset, "whole", "images")
    assert fdc.load_audit(dataset).settings["group_field"] == "images.label"
    assert fdc.review_labels(dataset).refit().record.n_fits == 2


def test_fields_of_a_renamed_audit(make_digits, stored_run):
    dataset = make_digits(150)
    stored_run(dataset)
    fdc.audit_labels(dataset, "ground_truth", run="dc")
    stored_run(dataset, "second", truth_field="audit_suggestion")
    fdc.rename_audit(dataset, "audit", "check")
    assert settings_of(dataset, "second")["truth_field"] == "check_suggestion"


def test_the_queue_that_was_opened_before(make_digits, stored_run):
    dataset = make_digits(150)
    stored_run(dataset)
    fdc.audit_labels(dataset, "ground_truth", run="dc")
    review = fdc.review_labels(dataset)
    before = review.queue()["items"]
    fdc.rename_run(dataset, "dc", "new")
    assert review.queue()["items"] == before
    assert before[0]["cluster"]


def test_forms_that_are_opened_again(make_digits, stored_run):
    dataset = make_digits(12)
    stored_run(dataset)
    form = {
        "operator": "x/y",
        "params": {"run": "dc", "options": {"embeddings_field": "dc_embedding"}, "n": 3},
    }
    status.keep_form(dataset, "second", form)
    fdc.rename_run(dataset, "dc", "new")
    params = status.kept_forms(dataset)["second"]["params"]
    assert params == {"run": "new", "options": {"embeddings_field": "new_embedding"}, "n": 3}


def test_the_form_of_a_refinement_that_failed_follows(make_digits, stored_run):
    dataset = make_digits(12)
    stored_run(dataset)
    status.keep_form(dataset, "second", {"operator": "x/y", "params": {"key": "dc", "new_key": "second"}})
    fdc.rename_run(dataset, "dc", "new")
    assert status.kept_forms(dataset)["second"]["params"] == {"key": "new", "new_key": "second"}


def test_a_damaged_job_does_not_stop_a_rename(make_digits, stored_run, caplog):
    dataset = make_digits(20)
    stored_run(dataset)
    fdc.cluster(dataset, "frozen", "second", **VECTORS, **FROZEN)
    path = run_files.run_dir(dataset, "second") / run_files.JOB_FILE
    path.write_text("{")
    assert fdc.rename_run(dataset, "dc", "new").key == "new"
    assert "run 'second' may still ask for the old ones" in caplog.text
    assert settings_of(dataset, "second")["embeddings_field"] == "new_embedding"


def test_a_key_that_is_the_name_of_an_own_field(make_digits, stored_run):
    dataset = make_digits(12)
    stored_run(dataset)
    dataset.delete_sample_field("dc_loss")
    with pytest.raises(
        RunExistsError, match="new_key='dc_loss' is the name of a field of 'dc', 'dc_loss'; choose"
    ):
        fdc.rename_run(dataset, "dc", "dc_loss")
    assert fdc.list_runs(dataset) == ["dc"]
