"""``audit_vectors`` on scikit-learn's digits with broken labels."""

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.metrics import average_precision_score, roc_auc_score

from fiftyone_deepcluster.analysis.label_audit import audit as audit_module
from fiftyone_deepcluster.analysis.label_audit.audit import audit_vectors
from fiftyone_deepcluster.analysis.label_audit.labeled_set import FEWEST, KnownSides, encode
from fiftyone_deepcluster.analysis.label_audit.noise import noise_rate
from fiftyone_deepcluster.core.progress import Silent
from fiftyone_deepcluster.errors import CancelledError, InputError, OptionsError

N = 900


@pytest.fixture(scope="module")
def digits():
    """Pixels (N, 64) and digits (N,)."""
    found = load_digits()
    return found.data[:N].astype(np.float32), found.target[:N]


def broken(classes, share, seed=0):
    """Labels of which a share is wrong, and which of them are."""
    draw = np.random.default_rng(seed)
    rows = draw.choice(len(classes), round(share * len(classes)), replace=False)
    labels = classes.copy()
    labels[rows] = (classes[rows] + draw.integers(1, 10, len(rows))) % 10
    return labels, np.isin(np.arange(len(classes)), rows)


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
    with pytest.raises(InputError, match="none of the 900 images with a label has a vector"):
        audit_vectors(np.full((N, 3), np.nan, np.float32), classes)
    with pytest.raises(InputError, match="give an array"):
        audit_vectors(digits[0].ravel(), classes)
    with pytest.raises(InputError, match="floating-point"):
        audit_vectors(digits[0].astype(int), classes)


def test_the_same_vector_for_all_images(digits):
    audit = audit_vectors(np.ones((N, 8), np.float32), digits[1].tolist())

    assert np.isfinite(audit.p_wrong).all()


def test_cancel(digits):
    class Cancel(Silent):
        def cancelled(self):
            return True

    with pytest.raises(CancelledError, match="nothing of the audit was stored"):
        audit_vectors(digits[0], digits[1].tolist(), observer=Cancel())


def test_too_many_classes_are_refused_before_anything_is_fitted(monkeypatch):
    monkeypatch.setattr(audit_module, "_MOST_CLASSES", 20)
    vectors, labels = np.eye(21, dtype=np.float32), [str(row) for row in range(21)]
    with pytest.raises(InputError, match="the labels are of 21 classes; at most 20 can be audited"):
        audit_vectors(vectors, labels)


def test_a_fit_is_cancelled_in_the_middle_and_reports_its_steps(digits):
    class Steps(Silent):
        def __init__(self, most):
            self.name, self.done, self.total, self.most = "", 0, 0, most

        def phase(self, name, total):
            self.name, self.done, self.total = name, 0, total

        def advance(self, steps):
            self.done += steps

        def cancelled(self):
            return self.name == "judge" and self.done >= self.most

    whole, half = Steps(10**6), Steps(3)
    audit_vectors(digits[0][:200], digits[1][:200].tolist(), observer=whole)
    assert whole.done == whole.total > 2
    with pytest.raises(CancelledError, match="nothing of the audit was stored"):
        audit_vectors(digits[0][:200], digits[1][:200].tolist(), observer=half)
    assert half.done == 3


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


def test_unknown_devices_are_refused(digits):
    with pytest.raises(OptionsError, match="device='tpu' is not known; use 'auto', 'cpu', 'cuda'"):
        audit_vectors(digits[0], digits[1].tolist(), device="tpu")


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
