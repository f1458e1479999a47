"""The operator "Audit labels": form, run, what it shows."""

from __future__ import annotations

import fiftyone as fo
import fiftyone.operators as foo
import numpy as np
import pytest
from sklearn.datasets import load_digits

import fiftyone_deepcluster as fdc
from fiftyone_deepcluster.app import names
from fiftyone_deepcluster.app.operators import AuditLabels
from fiftyone_deepcluster.dataset.audit.audit import list_audits, load_audit
from tests.app.test_operators import inputs_of


@pytest.fixture
def labeled(make_digits):
    """200 digits with vectors; the first ten labels are wrong."""
    dataset = make_digits(200)
    dataset.add_sample_field("pixels", fo.VectorField)
    dataset.set_values("pixels", list(load_digits().data[:200].astype(np.float32)))
    labels = dataset.values("ground_truth.label")
    dataset.set_values(
        "ground_truth.label", [str((int(label) + 3) % 10) for label in labels[:10]] + labels[10:]
    )
    return dataset


def test_the_form_offers_labels_and_vectors(make_context, labeled):
    form = inputs_of(AuditLabels(), make_context(labeled))
    assert form.get_property("label_field").default == "ground_truth"
    assert form.get_property("embeddings_field").invalid
    form = inputs_of(AuditLabels(), make_context(labeled, {"embeddings_field": "pixels"}))
    assert not form.get_property("embeddings_field").invalid
    assert not form.get_property("key").invalid


def test_a_dataset_without_labels(make_context, fiftyone_home):
    dataset = fo.Dataset()
    try:
        assert inputs_of(AuditLabels(), make_context(dataset)).get_property("label_field").invalid
    finally:
        dataset.delete()


def test_the_suspicious_labels_are_found(make_context, labeled):
    ctx = make_context(labeled, {"label_field": "ground_truth", "embeddings_field": "pixels"})
    answer = AuditLabels().execute(ctx)
    labeled.reload()
    audit = load_audit(labeled, "audit")
    assert answer["key"] == "audit"
    assert answer["text"].startswith("200 labels audited; about ")
    assert answer["text"].endswith(" to check")
    assert len(set(audit.view().limit(10).values("id")) & set(labeled.limit(10).values("id"))) > 5

    form = inputs_of(AuditLabels(), make_context(labeled, {"embeddings_field": "pixels"}))
    assert form.get_property("key").invalid
    form = inputs_of(AuditLabels(), make_context(labeled, {"embeddings_field": "pixels", "overwrite": True}))
    assert not form.get_property("key").invalid
    review = fdc.review_labels(labeled, refit_every=0)
    review.decide(review.queue(1)["items"][0]["id"], "keep")
    form = inputs_of(AuditLabels(), make_context(labeled, {"embeddings_field": "pixels", "overwrite": True}))
    assert "has 1 edit" in form.get_property("key").error_message


def test_from_a_script(plugin, labeled):
    foo.execute_operator(
        names.AUDIT_LABELS,
        {"dataset": labeled},
        params={"label_field": "ground_truth", "embeddings_field": "pixels"},
    )
    labeled.reload()
    assert list_audits(labeled) == ["audit"]
