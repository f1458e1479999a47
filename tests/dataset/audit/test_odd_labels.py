"""Labels, vectors and groups that say little or nothing: an audit of what can be audited, or one sentence."""

from __future__ import annotations

import fiftyone as fo
import numpy as np
import pytest
from sklearn.datasets import load_digits

import fiftyone_deepcluster as fdc
from fiftyone_deepcluster.errors import InputError

FEW = "no vector of finite numbers"


def audited(dataset, labels, **settings):
    """The audit of 300 labels."""
    dataset.set_values("odd", [None if label is None else fo.Classification(label=label) for label in labels])
    return fdc.audit_labels(dataset, "odd", **{"embeddings_field": "pixels", **settings})


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([" "] * 300, "none of the images has a label, so there is nothing to audit"),
        (["cat"] * 300, "all labels are 'cat'; labels of one class cannot be audited"),
        (["cat"] * 30 + [None] * 270, "all labels are 'cat'; labels of one class cannot be audited"),
        ([f"image {row}" for row in range(300)], "in 300 classes, of which 0 have 12 or more; at least two"),
        (["cat"] * 295 + ["dog"] * 5, "in 2 classes, of which 1 has 12 or more; at least two such classes"),
    ],
)
def test_labels_that_say_nothing(labeled, labels, message):
    with pytest.raises(InputError, match=message):
        audited(labeled, labels)
    assert fdc.list_audits(labeled) == []
    assert not [name for name in labeled.get_field_schema() if name.startswith("audit")]


def test_rare_classes_are_named_and_not_judged(labeled):
    """270 images of two classes, and 30 of classes of their own."""
    coarse = ["low" if digit < 5 else "high" for digit in load_digits().target[:300]]
    labels = [f"only {row}" if row < 30 else label for row, label in enumerate(coarse)]
    audit = audited(labeled, labels)

    assert audit.record.n_audited == 270
    assert labeled.count("audit_error") == 30
    first = labeled.first()
    assert first.audit_reason == "only 1 image has the label 'only 0': too few to audit"
    assert first.audit_p_wrong is None
    issue = next(issue for issue in audit.record.issues if issue.kind == "rare_class")
    assert issue.text.startswith("30 classes with fewer than 12 images: 'only 0', 'only 1', ")
    assert len(audit.view("rare_class")) == 30
    assert {item["given"] for item in fdc.review_labels(labeled).queue(200)["items"]} == {"low", "high"}


def test_vectors_with_nan_and_infinity(labeled):
    """They are left out, of a single field and of several."""
    vectors = load_digits().data[:300].astype(np.float32)
    vectors[0], vectors[1, 3], vectors[2] = np.nan, np.inf, 0
    labeled.set_values("broken", list(vectors), dynamic=True)
    for key, fields in (("one", "broken"), ("two", ["pixels", "broken"])):
        audit = audited(labeled, labeled.values("doubtful.label"), key=key, embeddings_field=fields)
        assert audit.record.n_audited == 297
        assert labeled.limit(3).values(f"{key}_error") == [FEW] * 3
        assert labeled.limit(3).values(f"{key}_rank") == [None] * 3
        wrong = labeled.match({f"{key}_p_wrong": {"$gt": 0.5}}).values("is_wrong")
        assert len(wrong) > 5
        assert np.mean(wrong) > 0.8


def test_vectors_that_are_all_broken(labeled):
    labeled.set_values("broken", [np.full(4, np.nan, np.float32)] * 300, dynamic=True)
    for fields in ("broken", ["broken", "pixels"]):
        with pytest.raises(InputError, match="none of the 300 images with a label has a vector"):
            audited(labeled, labeled.values("doubtful.label"), embeddings_field=fields)


@pytest.mark.parametrize("group", ["of its class", "all", "single"])
def test_groups_that_say_nothing_about_labels(labeled, group):
    """Groups of one class each, one group of all images, and a group for every image."""
    labels = labeled.values("doubtful.label")
    groups = {"of its class": labels, "all": ["a"] * 300, "single": labeled.values("id")}
    labeled.add_sample_field("odd_group", fo.StringField)
    labeled.set_values("odd_group", groups[group])
    alone = audited(labeled, labels, key="alone")
    audit = audited(labeled, labels, group_field="odd_group")

    assert audit.record.noise.rate == pytest.approx(alone.record.noise.rate, abs=0.03)
    assert labeled.count("audit_group") == 0


def test_an_empty_field_of_labels(labeled):
    labeled.add_sample_field("odd", fo.EmbeddedDocumentField, embedded_doc_type=fo.Classification)
    with pytest.raises(
        InputError, match="label_field='odd' is empty for all 300 images; give the field with"
    ):
        fdc.audit_labels(labeled, "odd", embeddings_field="pixels")
    with pytest.raises(InputError, match="label_field='nothing' is not a field of"):
        fdc.audit_labels(labeled, "nothing", embeddings_field="pixels")
    assert fdc.list_audits(labeled) == []


def test_labels_of_a_tenth_of_the_images(labeled):
    """30 labels of two classes are judged; the images without one get no values."""
    digits = load_digits().target[:300]
    chosen = np.concatenate([np.flatnonzero(digits < 5)[:15], np.flatnonzero(digits >= 5)[:15]])
    labels = [None] * 300
    for row in chosen.tolist():
        labels[row] = "low" if digits[row] < 5 else "high"
    audit = audited(labeled, labels)

    assert (audit.record.n_images, audit.record.n_labeled, audit.record.n_audited) == (300, 30, 30)
    assert labeled.count("audit_given") == labeled.count("audit_rank") == 30
    assert labeled.count("audit_error") == 0
    review = fdc.review_labels(labeled, refit_every=0)
    first = review.queue(1)
    assert first["total"] == 30
    review.decide(first["items"][0]["id"], "keep")
    assert review.refit().record.n_decided == 1
    assert review.queue(1)["total"] == 29


def test_an_empty_field_of_groups(labeled):
    labeled.add_sample_field("odd_group", fo.StringField)
    with pytest.raises(InputError, match="group_field='odd_group' is empty for all 300 images"):
        audited(labeled, labeled.values("doubtful.label"), group_field="odd_group")
    assert fdc.list_audits(labeled) == []


def test_images_without_a_group_are_groups_of_their_own(labeled):
    labels = labeled.values("doubtful.label")
    labeled.set_values("odd_group", ["a", "a", *[None] * 298])
    audit = audited(labeled, labels, group_field="odd_group")

    alone = audited(labeled, labels, key="alone")
    assert audit.record.noise.rate == pytest.approx(alone.record.noise.rate, abs=0.02)
