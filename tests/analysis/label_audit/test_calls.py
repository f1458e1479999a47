"""Input that cannot be audited, progress and cancellation of ``audit_vectors``."""

import numpy as np
import pytest

from fiftyone_deepcluster.analysis.label_audit import audit as audit_module
from fiftyone_deepcluster.analysis.label_audit.audit import audit_vectors
from fiftyone_deepcluster.errors import CancelledError, InputError, OptionsError
from tests.analysis.label_audit.broken_labels import N
from tests.observers import Watcher


def test_images_without_label_or_vector_are_left_out(digits):
    vectors, classes = digits
    labels = [None if row % 10 else int(digit) for row, digit in enumerate(classes[:600])]
    labels += [int(digit) for digit in classes[600:]]
    broken_vectors = vectors.copy()
    broken_vectors[610] = np.nan
    audit = audit_vectors(broken_vectors, labels)

    assert np.isnan(audit.p_wrong[1])
    assert audit.given[1] == -1
    assert audit.not_audited == {610: "no vector of finite numbers"}
    assert np.isfinite(audit.p_wrong[600])


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([None] * N, "none of the images has a label"),
        (["a"] * N, "all labels are 'a'"),
        ([str(row) for row in range(N)], "at least two such classes"),
        (["a", "b"], "labels has 2 entries for 900 vectors"),
    ],
)
def test_labels_that_cannot_be_audited(digits, labels, message):
    with pytest.raises(InputError, match=message):
        audit_vectors(digits[0], labels)


def test_vectors_that_cannot_be_used(digits):
    classes = digits[1].tolist()
    with pytest.raises(
        InputError, match=r"none of the 900 images with a label has a vector of finite numbers: .* NaN"
    ):
        audit_vectors(np.full((N, 3), np.nan, np.float32), classes)
    with pytest.raises(InputError, match="give an array"):
        audit_vectors(digits[0].ravel(), classes)
    with pytest.raises(InputError, match="floating-point"):
        audit_vectors(digits[0].astype(int), classes)


def test_the_same_vector_for_all_images(digits):
    audit = audit_vectors(np.ones((N, 8), np.float32), digits[1].tolist())

    assert np.isfinite(audit.p_wrong).all()


def test_cancel(digits):
    with pytest.raises(CancelledError, match="nothing of the audit was stored"):
        audit_vectors(digits[0], digits[1].tolist(), observer=Watcher(after_steps=0))


def test_too_many_classes_are_refused_before_anything_is_fitted(monkeypatch):
    monkeypatch.setattr(audit_module, "_MOST_CLASSES", 20)
    vectors, labels = np.eye(21, dtype=np.float32), [str(row) for row in range(21)]
    with pytest.raises(InputError, match="the labels are of 21 classes; at most 20 can be audited"):
        audit_vectors(vectors, labels)


def test_a_fit_is_cancelled_in_the_middle_and_reports_its_steps(digits):
    whole, half = Watcher("judge"), Watcher("judge", after_steps=3)
    audit_vectors(digits[0][:200], digits[1][:200].tolist(), observer=whole)
    assert whole.steps == whole.total > 2
    with pytest.raises(CancelledError, match="nothing of the audit was stored"):
        audit_vectors(digits[0][:200], digits[1][:200].tolist(), observer=half)
    assert half.steps == 3


def test_unknown_devices_are_refused(digits):
    with pytest.raises(OptionsError, match="device='tpu' is not known; use 'auto', 'cpu', 'cuda'"):
        audit_vectors(digits[0], digits[1].tolist(), device="tpu")
