"""``audit_labels``: fields, stored audits, names that clash, and what a crash leaves."""

from __future__ import annotations

import fiftyone as fo
import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.metrics import roc_auc_score

import fiftyone_deepcluster as fdc
from fiftyone_deepcluster.dataset.audit import audit_job, refit
from fiftyone_deepcluster.dataset.io.fields import FieldNames
from fiftyone_deepcluster.dataset.runs import intents, lock
from fiftyone_deepcluster.errors import InputError, RunExistsError, RunNotFoundError
from tests.dataset.audit.conftest import WORDS, break_labels

VALUES = (
    "p_wrong", "given", "suggestion", "reason", "rank", "group", "issues", "decision", "error", "neighbors",
)  # fmt: skip


def test_suspicions_are_written_and_labels_are_not(labeled):
    before = labeled.values("doubtful.label")
    audit = fdc.audit_labels(labeled, "doubtful", embeddings_field="pixels")

    assert labeled.values("doubtful.label") == before
    assert all(labeled.has_field(f"audit_{name}") for name in VALUES)
    assert not labeled.has_field("audit")
    wrong = labeled.values("is_wrong")
    assert roc_auc_score(wrong, labeled.values("audit_p_wrong")) > 0.97
    assert sorted(labeled.values("audit_rank")) == list(range(300))
    assert labeled.values("audit_given") == before
    worst = labeled.sort_by("audit_rank").first()
    assert worst.is_wrong
    assert worst.audit_suggestion == WORDS[int(worst.ground_truth.label)]
    assert "of 10 neighbors are" in worst.audit_reason
    assert set(worst.audit_neighbors) <= set(labeled.values("id"))
    assert audit.record.noise.rate == pytest.approx(0.08, abs=0.06)
    assert "about" in repr(audit)
    groups = {group.name: group.paths for group in labeled.app_config.sidebar_groups}
    filled = [f"audit_{name}" for name in VALUES if labeled.has_field(f"audit_{name}")]
    assert sorted(groups["audit"]) == sorted(filled)


def test_an_audit_is_loaded_listed_renamed_and_deleted(labeled):
    made = fdc.audit_labels(labeled, "doubtful", key="first", embeddings_field="pixels")
    loaded = fdc.load_audit(labeled, "first")

    assert loaded == made
    assert loaded.settings["label_field"] == "doubtful"
    assert fdc.list_audits(labeled) == ["first"]
    assert fdc.list_runs(labeled) == []
    assert "first" in labeled.list_runs()

    renamed = fdc.rename_audit(labeled, "first", "second")
    assert fdc.list_audits(labeled) == ["second"]
    assert renamed.uid == made.uid
    assert labeled.has_field("second_p_wrong")
    assert not labeled.has_field("first_p_wrong")
    assert labeled.count("second_rank") == 300
    assert [group.name for group in labeled.app_config.sidebar_groups].count("second") == 1

    fdc.delete_audit(labeled, "second")
    assert fdc.list_audits(labeled) == []
    assert not [name for name in labeled.get_field_schema() if name.startswith("second")]
    assert "second" not in labeled.list_runs()
    assert labeled.list_indexes() == ["id", "filepath", "created_at", "last_modified_at"]
    with pytest.raises(RunNotFoundError, match="it has no audits yet"):
        fdc.load_audit(labeled, "second")


def test_views_and_columns(labeled):
    audit = fdc.audit_labels(labeled, "doubtful", embeddings_field="pixels")
    view, frame = audit.view("wrong_label"), audit.to_dataframe()

    counts = {issue.kind: issue.n_images for issue in audit.record.issues}
    assert len(view) == counts["wrong_label"] == frame.is_label_issue.sum()
    assert view.values("audit_rank") == sorted(view.values("audit_rank"))
    assert list(frame.columns[:5]) == [
        "id", "is_label_issue", "label_score", "given_label", "predicted_label",
    ]  # fmt: skip
    assert frame["label_score"].is_monotonic_increasing
    assert frame["id"].tolist() == labeled.sort_by("audit_rank").values("id")
    assert len(audit.view("leak")) == 0
    with pytest.raises(InputError, match="kind='no such' is not known"):
        audit.view("no such")


def test_a_run_gives_features_and_explains_with_its_clusters(labeled, stored_run):
    stored_run(labeled)
    audit = fdc.audit_labels(labeled, "doubtful", run="dc")

    worst = labeled.sort_by("audit_rank").first()
    assert "; cluster-0" in worst.audit_reason
    assert sum(entry.n_images for entry in audit.record.clusters) == 300
    assert fdc.list_runs(labeled) == ["dc"]
    fdc.delete_run(labeled, "dc")
    assert fdc.list_audits(labeled) == ["audit"]


def test_an_audit_follows_its_run_to_a_new_key(labeled, stored_run):
    stored_run(labeled, "dc")
    fdc.audit_labels(labeled, "doubtful", run="dc")
    fdc.audit_labels(labeled, "doubtful", "second", embeddings_field=["pixels", "dc_embedding"])
    before = fdc.review_labels(labeled).queue()["items"]
    fdc.rename_run(labeled, "dc", "new")
    assert fdc.load_audit(labeled).settings["run"] == "new"
    assert fdc.load_audit(labeled, "second").settings["embeddings_field"] == ["pixels", "new_embedding"]
    review = fdc.review_labels(labeled)
    assert review.queue()["items"] == before
    assert review.refit().record.n_fits == 2
    fdc.review_labels(labeled, "second").refit()


def test_several_fields_of_vectors(labeled):
    labeled.add_sample_field("halves", fo.VectorField)
    labeled.set_values("halves", list(1000 * load_digits().data[:300, :32].astype(np.float32)))
    fdc.audit_labels(labeled, "doubtful", embeddings_field=["pixels", "halves"])

    assert roc_auc_score(labeled.values("is_wrong"), labeled.values("audit_p_wrong")) > 0.97


def test_objects_are_audited_by_the_labels_of_their_field(labeled):
    labels, _ = break_labels(300)
    vectors = load_digits().data[:300].astype(np.float32)
    boxes = [
        fo.Detections(
            detections=[fo.Detection(label=label, bounding_box=[0.1, 0.1, 0.8, 0.8], vector=vector)]
        )
        for label, vector in zip(labels, vectors, strict=True)
    ]
    labeled.set_values("objects", boxes, dynamic=True)
    audit = fdc.audit_labels(labeled, "objects", embeddings_field="vector")

    found = labeled.to_patches("objects")
    wrong = dict(zip(labeled.values("id"), labeled.values("is_wrong"), strict=True))
    truth = [wrong[sample] for sample in found.values("sample_id")]
    assert roc_auc_score(truth, found.values("objects.audit_p_wrong")) > 0.97
    assert audit.patches_field == "objects"
    assert len(audit.view()) == audit.to_dataframe().is_label_issue.sum()
    fdc.rename_audit(labeled, "audit", "other")
    assert labeled.count("objects.detections.other_rank") == 300
    fdc.delete_audit(labeled, "other")
    assert labeled.count("objects.detections.other_rank") == 0


def test_strings_and_booleans_of_a_few_images(labeled):
    labels = labeled.values("doubtful.label")
    labeled.set_values("plain", [label if row % 3 else None for row, label in enumerate(labels)])
    fdc.audit_labels(labeled, "plain", key="plain_audit", embeddings_field="pixels")
    assert labeled.count("plain_audit_rank") + labeled.count("plain_audit_error") == 200
    assert labeled.limit(1).values("plain_audit_given") == [None]

    labeled.set_values("round", [label in ("zero", "eight", "six") for label in labels])
    audit = fdc.audit_labels(labeled, "round", key="round_audit", embeddings_field="pixels")
    assert audit.record.classes == ("False", "True")


def test_only_a_view_is_audited(labeled):
    fdc.audit_labels(labeled.limit(200), "doubtful", embeddings_field="pixels")

    assert labeled.count("audit_rank") == 200
    assert labeled.skip(200).count("audit_given") == 0


def test_groups_that_are_wrong_as_a_whole(labeled):
    classes = load_digits().target[:300]
    order = np.argsort(classes, kind="stable")
    patient = np.empty(300, object)
    patient[order] = [f"series {place // 6}" for place in range(300)]
    labels = np.array(labeled.values("ground_truth.label"), object)
    labels[patient == "series 12"] = "9"
    labeled.set_values("patient", patient.tolist())
    labeled.set_values("doubtful.label", labels.tolist())
    audit = fdc.audit_labels(labeled, "doubtful", embeddings_field="pixels", group_field="patient")

    assert "series 12" in labeled.distinct("audit_group")
    assert "wrong_group" in {issue.kind for issue in audit.record.issues}
    assert len(audit.view("wrong_group")) == labeled.count("audit_group")
    assert labeled.match({"audit_group": "series 12"}).values("patient") == ["series 12"] * 6


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "an audit needs vectors"),
        ({"run": "none"}, "no deep-clustering run 'none'"),
        ({"embeddings_field": "none"}, "embeddings_field='none' is not a field"),
        ({"embeddings_field": "pixels", "group_field": "none"}, "group_field='none' is not a field"),
        ({"embeddings_field": "pixels", "label_field": "none"}, "label_field='none' is not a field"),
        ({"embeddings_field": "pixels", "label_field": "is_one"}, "all labels are 'yes'"),
        ({"embeddings_field": "pixels", "key": "a b"}, "cannot be the name of a field"),
    ],
)
def test_what_cannot_be_audited_leaves_nothing(labeled, settings, message):
    labeled.set_values("is_one", ["yes"] * 300)
    schema = set(labeled.get_field_schema())
    with pytest.raises((InputError, RunNotFoundError), match=message):
        fdc.audit_labels(labeled, **{"label_field": "doubtful", **settings})

    labeled.reload()
    assert set(labeled.get_field_schema()) == schema
    assert fdc.list_audits(labeled) == []


def test_only_fields_that_can_be_vectors_are_named(labeled, stored_run):
    stored_run(labeled)
    assert "dc_round_labels" in labeled.get_field_schema()
    with pytest.raises(InputError) as caught:
        fdc.audit_labels(labeled, "doubtful")
    assert str(caught.value).endswith("Runs of this dataset: dc; fields with vectors: pixels, dc_embedding")


def test_names_that_are_taken(labeled, stored_run):
    stored_run(labeled)
    labeled.set_values("mine_rank", [1.0] * 300)
    with pytest.raises(RunExistsError, match="already has a field 'mine_rank'; choose"):
        fdc.audit_labels(labeled, "doubtful", key="mine", embeddings_field="pixels")
    with pytest.raises(
        RunExistsError, match=r"key='dc' is taken: .* already has a field 'dc_error' and a run 'dc'; choose"
    ):
        fdc.audit_labels(labeled, "doubtful", key="dc", embeddings_field="pixels")

    first = fdc.audit_labels(labeled, "doubtful", embeddings_field="pixels")
    with pytest.raises(RunExistsError, match="already has an audit 'audit'"):
        fdc.audit_labels(labeled, "doubtful", embeddings_field="pixels")
    second = fdc.audit_labels(labeled, "doubtful", embeddings_field="pixels", overwrite=True)
    assert second.uid != first.uid
    assert fdc.list_audits(labeled) == ["audit"]
    with pytest.raises(RunExistsError, match="already has"):
        fdc.rename_audit(labeled, "audit", "dc")


def test_an_audit_that_fails_to_be_written_leaves_nothing(labeled, monkeypatch):
    def fail(*_):
        raise ValueError("stopped")

    monkeypatch.setattr(audit_job, "add_group", fail)
    with pytest.raises(ValueError, match="stopped"):
        fdc.audit_labels(labeled, "doubtful", embeddings_field="pixels")

    labeled.reload()
    assert not [name for name in labeled.get_field_schema() if name.startswith("audit")]
    assert intents.unfinished(labeled) == []


def test_what_a_killed_audit_left_is_undone_by_the_next_call(labeled, monkeypatch):
    names = FieldNames("audit", None, "audit")
    intent = intents.Intent("audit", "audit", "some id", None, kind="audit")

    def be_killed():
        with intents.writing(labeled, intent):
            labeled._sample_collection.update_many({}, {"$set": {names.path("rank"): 3}})
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(intents, "_withdraw", lambda *_: None)  # as if the process were gone
        with pytest.raises(KeyboardInterrupt):
            be_killed()

    assert intents.unfinished(labeled) == [intent]
    assert fdc.list_audits(labeled) == []
    labeled.reload()
    assert not labeled.has_field("audit_rank")
    assert labeled._sample_collection.count_documents({"audit_rank": {"$exists": True}}) == 0
    assert lock.holder(labeled, "audit") is None


def test_an_interrupted_refit_is_told_once(labeled, caplog):
    audit = fdc.audit_labels(labeled, "doubtful", embeddings_field="pixels")
    refit._mark_incomplete(audit)  # as a process does that is killed at once
    for _ in range(2):
        assert not fdc.load_audit(labeled).record.complete
    assert caplog.text.count("audit 'audit' was interrupted while its scores were fitted again") == 1


def test_a_killed_delete_is_completed(labeled):
    made = fdc.audit_labels(labeled, "doubtful", embeddings_field="pixels")
    intents._store(labeled, intents.Intent("delete", "audit", made.uid, None, kind="audit"))
    labeled.delete_sample_field("audit_p_wrong")

    assert fdc.list_audits(labeled) == []
    assert not labeled.has_field("audit_rank")


def test_a_clone_has_the_audit(labeled):
    fdc.audit_labels(labeled, "doubtful", embeddings_field="pixels")
    clone = labeled.clone()
    try:
        assert fdc.load_audit(clone, "audit").record == fdc.load_audit(labeled, "audit").record
        fdc.delete_audit(clone, "audit")
        assert fdc.list_audits(labeled) == ["audit"]
    finally:
        clone.delete()
