"""Groups, duplicates, leaks, outliers, confused classes and drift."""

import numpy as np

from fiftyone_deepcluster.analysis.label_audit.audit import audit_vectors
from fiftyone_deepcluster.analysis.label_audit.labeled_set import KnownSides
from tests.analysis.label_audit.broken_labels import N


def test_a_series_with_one_wrong_label_is_one_decision(digits):
    vectors, classes = digits
    order = np.argsort(classes, kind="stable")
    vectors, classes = vectors[order], classes[order]
    groups = [f"series {row // 10}" for row in range(N)]
    labels = classes.copy()
    labels[200:210] = (classes[200:210] + 4) % 10
    audit = audit_vectors(vectors, labels.tolist(), known=KnownSides(groups=groups))

    found = {group for group in audit.wrong_group if group}
    assert "series 20" in found
    assert len(found) <= 2
    issue = next(issue for issue in audit.issues if issue.kind == "wrong_group")
    assert set(range(200, 210)) <= set(issue.rows.tolist())


def test_groups_of_one_class_each_say_nothing_against_it(digits):
    vectors, classes = digits
    audit = audit_vectors(
        vectors, classes.tolist(), known=KnownSides(groups=[f"patient {c}" for c in classes])
    )

    assert (audit.p_wrong >= 0.5).sum() <= 5
    assert set(audit.wrong_group) == {None}


def test_duplicates_leaks_outliers_and_confused_classes(digits):
    vectors, classes = digits
    vectors = np.concatenate([vectors, vectors[:4], np.tile([16, 0, 0], 22)[None, :64].astype(np.float32)])
    draw = np.random.default_rng(2)
    labels = [str(digit) for digit in classes]
    labels = [draw.choice(["4", "four"]) if label == "4" else label for label in labels]
    labels += [labels[0], labels[1], "x", labels[3], "0"]
    labels[2] = "7" if labels[2] != "7" else "1"
    labels[N + 2] = "9"
    groups = ["train"] * N + ["test"] * 5
    audit = audit_vectors(vectors, labels, known=KnownSides(groups=groups))
    issues = {issue.kind: issue for issue in audit.issues}

    assert issues["duplicate_other_label"].rows.tolist() == [2, N + 2]
    assert issues["leak"].rows.tolist() == [0, 1, 2, 3, N, N + 1, N + 2, N + 3]
    assert N + 4 in issues["outlier"].rows.tolist()
    assert "'4' and 'four'" in issues["confused_classes"].text


def test_wrong_labels_that_come_together(digits):
    vectors, classes = digits
    draw = np.random.default_rng(3)
    labels = classes.copy()
    rows = np.arange(300, 420)[draw.random(120) < 0.5]
    labels[rows] = (classes[rows] + draw.integers(1, 10, len(rows))) % 10
    audit = audit_vectors(vectors, labels.tolist())

    issue = next(issue for issue in audit.issues if issue.kind == "drift")
    assert 285 <= issue.rows[0] <= 310
    assert 410 <= issue.rows[-1] <= 435
