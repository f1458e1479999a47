"""Classes of few images, and many classes."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from fiftyone_deepcluster.analysis.label_audit.audit import audit_vectors
from fiftyone_deepcluster.analysis.label_audit.labeled_set import FEWEST
from fiftyone_deepcluster.errors import InputError


def test_a_class_of_few_images_is_not_taken_for_noise(digits):
    vectors, classes = digits
    rows = np.concatenate([np.flatnonzero(classes != 3), np.flatnonzero(classes == 3)[: FEWEST + 3]])
    audit = audit_vectors(vectors[rows], classes[rows].tolist())

    of_rare = audit.p_wrong[classes[rows] == 3]
    assert len(of_rare) == FEWEST + 3
    assert (of_rare >= 0.5).sum() <= 1


def test_right_labels_of_a_class_of_twenty_among_clouds_that_overlap():
    """Classifier and neighbors seldom vote for a rare class, also for its own images."""
    called, found = 0, 0
    for seed in range(3):
        draw = np.random.default_rng(seed)
        classes = np.repeat(np.arange(5), [300, 300, 300, 300, 20])
        vectors = (draw.normal(size=(5, 8))[classes] + draw.normal(size=(1220, 8))).astype(np.float32)
        labels, rows = classes.copy(), draw.permutation(1200)[:96]
        labels[rows] = (classes[rows] + draw.integers(1, 4, 96)) % 4
        labels[:3] = 4
        issues = audit_vectors(vectors, labels.tolist()).p_wrong >= 0.5
        called, found = called + issues[1200:].sum(), found + issues[:3].sum()

    assert called <= 6
    assert found >= 6


def test_a_class_too_rare_is_listed_and_not_judged(digits):
    vectors, classes = digits
    labels = [str(digit) for digit in classes]
    labels[:5] = ["zebra"] * 5
    audit = audit_vectors(vectors, labels)

    assert np.isnan(audit.p_wrong[:5]).all()
    assert (audit.rank[:5] == -1).all()
    rare = next(issue for issue in audit.issues if issue.kind == "rare_class")
    assert rare.rows.tolist() == [0, 1, 2, 3, 4]
    assert "'zebra'" in rare.text
    assert "too few" in audit.reasons[0]
    assert set(audit.not_audited) == {0, 1, 2, 3, 4}
    assert not (audit.suggested[5:] == audit.classes.index("zebra")).any()


def many_classes(sizes):
    """Vectors (N, 32) in one cloud for each class, and classes."""
    draw = np.random.default_rng(0)
    classes = np.repeat(np.arange(len(sizes)), sizes)
    vectors = draw.normal(size=(len(sizes), 32))[classes] + 0.5 * draw.normal(size=(len(classes), 32))
    return vectors.astype(np.float32), classes


def test_two_hundred_classes_of_fourteen_images():
    vectors, classes = many_classes([14] * 200)
    draw = np.random.default_rng(1)
    rows = draw.choice(len(classes), 140, replace=False)
    labels = classes.copy()
    labels[rows] = (classes[rows] + draw.integers(1, 200, 140)) % 200
    audit = audit_vectors(vectors, labels.tolist())

    judged, wrong = audit.rank >= 0, labels != classes
    assert judged.mean() > 0.9
    assert roc_auc_score(wrong[judged], audit.p_wrong[judged]) > 0.98
    assert (audit.p_wrong[judged & ~wrong] >= 0.5).mean() < 0.01
    assert (audit.p_wrong[judged & wrong] >= 0.5).mean() > 0.8


def test_two_hundred_classes_of_five_to_ten_images_are_not_judged():
    vectors, classes = many_classes([5 + number % 6 for number in range(200)])
    with pytest.raises(InputError, match="in 200 classes, of which 0 have 12 or more; at least two such"):
        audit_vectors(vectors, classes.tolist())
