"""``audit_vectors`` on scikit-learn's digits with broken labels."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from fiftyone_deepcluster.analysis.label_audit.audit import audit_vectors
from fiftyone_deepcluster.analysis.label_audit.labeled_set import KnownSides, encode
from fiftyone_deepcluster.analysis.label_audit.noise import noise_rate
from tests.analysis.label_audit.broken_labels import N, broken


@pytest.fixture(scope="module")
def audited(digits):
    vectors, classes = digits
    labels, wrong = broken(classes, 0.08)
    return audit_vectors(vectors, [str(label) for label in labels]), labels, wrong, classes


def test_wrong_labels_come_first(audited):
    audit, _, wrong, _ = audited

    assert roc_auc_score(wrong, audit.p_wrong) > 0.99
    assert average_precision_score(wrong, audit.p_wrong) > 0.95
    assert wrong[np.argsort(audit.rank)[:60]].mean() > 0.95
    assert sorted(audit.rank.tolist()) == list(range(N))


def test_the_probability_means_what_it_says(audited):
    audit, _, wrong, _ = audited

    assert audit.p_wrong.mean() == pytest.approx(wrong.mean(), abs=0.02)
    assert audit.noise.low <= 0.08 <= audit.noise.high
    likely = audit.p_wrong > 0.9
    assert wrong[likely].mean() > 0.9
    assert wrong[audit.p_wrong < 0.1].mean() < 0.02


def test_classes_that_look_alike_are_not_taken_for_wrong_labels():
    draw, classes = np.random.default_rng(0), np.arange(1200) % 6
    centers = draw.normal(size=(6, 16)) * 2
    centers[1] = centers[0] + draw.normal(size=16) * 0.45
    centers[3] = centers[2] + draw.normal(size=16) * 0.45
    noise = draw.normal(size=(1200, 16)) * np.exp(0.4 * draw.normal(size=(1200, 1)))
    audit = audit_vectors((centers[classes] + noise).astype(np.float32), classes.tolist())

    assert audit.noise.rate < 0.01
    assert not (audit.p_wrong >= 0.5).any()


def test_the_suggestion_is_the_true_class(audited):
    audit, _, wrong, classes = audited
    found = wrong & (audit.p_wrong >= 0.5)

    assert (audit.suggested[found] == classes[found]).mean() > 0.95
    assert (audit.suggested[audit.p_wrong < 0.01] == -1).mean() > 0.95


def test_reasons_name_the_neighbors(audited):
    audit, labels, _, _ = audited
    worst = int(np.argmin(audit.rank))

    assert audit.reasons[worst].startswith(f"{audit.reasons[worst].split()[0]} of 10 neighbors are ")
    assert f"{labels[worst]}" in audit.reasons[worst]
    assert audit.reasons[int(np.argmax(audit.rank))] == ""


def test_tables(audited):
    audit, _, _, _ = audited
    frame = audit.to_dataframe()

    assert list(frame.columns) == ["is_label_issue", "label_score", "given_label", "predicted_label"]
    assert frame.label_score[frame.is_label_issue].max() <= 0.5
    table = audit.judged.confusion()
    assert table.sum() == N
    assert table.sum() - np.trace(table) == frame.is_label_issue.sum()
    classes = audit.judged.by_class()
    assert sum(entry.n_issues for entry in classes) == frame.is_label_issue.sum()
    assert sorted((entry.noise.rate for entry in classes), reverse=True) == [
        entry.noise.rate for entry in classes
    ]


def test_the_same_seed_gives_the_same_audit(digits):
    vectors, classes = digits
    labels, _ = broken(classes[:300], 0.1)
    first, second = (audit_vectors(vectors[:300], labels.tolist()) for _ in range(2))

    np.testing.assert_array_equal(first.p_wrong, second.p_wrong)
    np.testing.assert_array_equal(first.rank, second.rank)


def test_right_labels_are_left_alone(digits):
    vectors, classes = digits
    audit = audit_vectors(vectors, classes.tolist())

    assert audit.p_wrong.mean() < 0.01
    assert (audit.p_wrong >= 0.5).sum() <= 5


def test_mixed_up_classes_do_not_vouch_for_each_other(digits):
    vectors, classes = digits
    draw = np.random.default_rng(1)
    wrong = draw.random(N) < 0.3
    partner = np.array([6, 7, 3, 2, 9, 8, 0, 1, 5, 4])
    labels = np.where(wrong, partner[classes], classes)
    audit = audit_vectors(vectors, labels.tolist())

    assert roc_auc_score(wrong, audit.p_wrong) > 0.96


def test_the_share_of_wrong_labels_of_mixed_up_classes(digits):
    """Also where three in ten images of a class have the label of one other class."""
    vectors, classes = digits
    wrong = np.random.default_rng(1).random(N) < 0.3
    partner = np.array([6, 7, 3, 2, 9, 8, 0, 1, 5, 4])
    audit = audit_vectors(vectors, np.where(wrong, partner[classes], classes).tolist())

    assert audit.p_wrong.mean() == pytest.approx(wrong.mean(), abs=0.035)
    bins = np.minimum((audit.p_wrong * 10).astype(int), 9)
    off = sum(abs(float((audit.p_wrong - wrong)[bins == at].sum())) for at in range(10)) / N
    assert off < 0.05


def test_confirmed_labels_are_believed(digits):
    vectors, classes = digits
    labels, wrong = broken(classes, 0.3, seed=4)
    before = labels.tolist()
    unaided = audit_vectors(vectors, before)
    first = np.argsort(unaided.rank)[:20]
    certain = np.isin(np.arange(N), first)
    labels[first] = classes[first]
    audit = audit_vectors(
        vectors, labels.tolist(), known=KnownSides(certain=certain, before=before, graph=unaided.graph)
    )

    assert (audit.p_wrong[first] == 0).all()
    assert set(np.argsort(audit.rank)[-20:]) == set(first)
    assert audit.graph is unaided.graph
    rest = ~certain
    assert roc_auc_score(wrong[rest], audit.p_wrong[rest]) > 0.97


def test_the_wrong_labels_that_are_left_are_still_found(digits):
    vectors, classes = digits
    labels, wrong = broken(classes, 0.08)
    before = labels.tolist()
    unaided = audit_vectors(vectors, before)
    certain = unaided.p_wrong > 0.9
    labels[certain] = classes[certain]
    known = KnownSides(certain=certain, before=before, graph=unaided.graph)
    audit = audit_vectors(vectors, labels.tolist(), known=known)

    left = wrong & ~certain
    assert left.sum() > 3
    assert audit.p_wrong[left].mean() > 0.2
    assert audit.p_wrong.mean() == pytest.approx(left.mean(), abs=0.01)


def test_a_confirmed_label_of_a_new_class_is_judged(digits):
    vectors, classes = digits
    labels = [str(digit) for digit in classes]
    before = list(labels)
    labels[5] = "zebra"
    audit = audit_vectors(vectors, labels, known=KnownSides(certain=np.arange(N) == 5, before=before))

    assert audit.p_wrong[5] == 0
    assert audit.rank[5] == N - 1
    assert audit.not_audited == {}


def test_a_file_of_vectors_gives_the_same(digits, tmp_path):
    vectors, classes = digits
    np.save(tmp_path / "vectors.npy", vectors)
    mapped = np.load(tmp_path / "vectors.npy", mmap_mode="r")
    labels, _ = broken(classes, 0.1)

    one, other = audit_vectors(mapped, labels.tolist()), audit_vectors(vectors, labels.tolist())
    np.testing.assert_array_equal(one.p_wrong, other.p_wrong)


def test_labels_are_encoded_as_text():
    names, ids = encode([True, None, "b", 3, " ", "b"])

    assert names == ("3", "True", "b")
    assert ids.tolist() == [1, -1, 2, 0, -1, 2]


def test_interval_of_a_rate():
    none, half = noise_rate(np.zeros(50, np.float32)), noise_rate(np.full(50, 0.5, np.float32))

    assert (none.rate, none.low) == (0, 0)
    assert 0.02 < none.high < 0.1
    assert half.low == pytest.approx(0.366, abs=0.01)
    wider = noise_rate(np.full(50, 0.5, np.float32), (0.5, 3.0))
    assert (wider.low, wider.high) == (pytest.approx(half.low / 2), 1.0)
