"""The category tree against slow sums, and key words against counts by hand."""

from __future__ import annotations

import numpy as np
import pytest

from fiftyone_deepcluster.analysis import texts as texts_module
from fiftyone_deepcluster.analysis.category_tree import affinity_of, by_cluster, category_tree
from fiftyone_deepcluster.analysis.texts import significance, topics, words_of_clusters
from fiftyone_deepcluster.errors import CancelledError, InputError
from tests.observers import Watcher


def _softmax(rng, labels, n_clusters, near):
    """Scores in which each cluster leaks into those of its own group ``near`` only."""
    logits = rng.normal(size=(len(labels), n_clusters)) * 0.1
    logits[np.arange(len(labels)), labels] += 4
    logits[near[labels][:, None] == near[None, :]] += 3
    return np.exp(logits) / np.exp(logits).sum(1, keepdims=True)


def confusion_of(probabilities, labels):
    """Classes that are the clusters, so that nothing is gathered."""
    n = probabilities.shape[1]
    mass = np.stack([probabilities[labels == cluster].sum(axis=0) for cluster in range(n)])
    return by_cluster(mass, np.bincount(labels, minlength=n))


@pytest.fixture
def scores():
    rng = np.random.default_rng(5)
    labels = rng.integers(0, 12, 600)
    near = np.repeat([0, 1, 2], 4)
    return _softmax(rng, labels, 12, near), labels, near


def test_affinity_is_equation_5_by_a_slow_loop(scores):
    probabilities, labels, _ = scores
    confusion = confusion_of(probabilities, labels)
    found = affinity_of(confusion, np.bincount(labels), np.arange(12))

    for i in range(12):
        for j in range(12):
            of_i = [probabilities[m, j] for m in range(600) if labels[m] == i]
            of_j = [probabilities[n, i] for n in range(600) if labels[n] == j]
            expected = (sum(of_i) / len(of_i) + sum(of_j) / len(of_j)) / 2
            assert found[i, j] == pytest.approx(expected, abs=1e-12)
    assert np.array_equal(found, found.T)


def test_a_class_is_assigned_to_the_cluster_with_most_of_its_mass():
    mass = np.array([[8.0, 1.0, 3.0], [0.0, 5.0, 1.0]])

    assert by_cluster(mass, np.array([12, 6])).tolist() == [[11 / 12, 1 / 12], [1 / 6, 5 / 6]]


def test_merged_affinity_is_equation_7_by_a_slow_loop(scores):
    probabilities, labels, _ = scores
    groups = np.array([0, 0, 1, 2, 1, 2, 2, 0, 1, 1, 0, 2])
    found = affinity_of(confusion_of(probabilities, labels), np.bincount(labels), groups)

    def chance(i, j):
        rows = [m for m in range(600) if groups[labels[m]] == i]
        return sum(probabilities[m, k] for m in rows for k in range(12) if groups[k] == j) / len(rows)

    for i in range(3):
        for j in range(3):
            assert found[i, j] == pytest.approx((chance(i, j) + chance(j, i)) / 2, abs=1e-12)


def test_the_tree_finds_what_is_confused_and_every_level_partitions_the_one_before(scores):
    probabilities, labels, near = scores
    tree = category_tree(confusion_of(probabilities, labels), np.bincount(labels))

    first = tree.levels[0]
    assert first.max() == 2
    assert len({(a, b) for a, b in zip(first, near, strict=True)}) == 3
    for fine, coarse in zip(tree.levels, tree.levels[1:], strict=False):
        assert coarse.max() < fine.max()
        assert all(len(set(coarse[fine == group])) == 1 for group in set(fine))
    assert tree.levels[-1].max() == 0
    assert tree.paths()[0][-1] == first[0]


def test_two_or_equally_confused_clusters_form_one_group():
    assert category_tree(np.eye(2), np.array([3, 4])).levels.tolist() == [[0, 0]]
    assert category_tree(np.full((5, 5), 0.2), np.full(5, 7)).levels.tolist() == [[0] * 5]


def test_a_tree_of_one_cluster_is_refused():
    with pytest.raises(InputError, match="K >= 2"):
        category_tree(np.ones((1, 1)), np.array([9]))


REPORTS = [
    "Right lung: opacity, opacity in the lower lobe.", "Lung opacity again; chest film.",
    "Liver lesion. Chest spared.", "The liver shows a lesion, a LESION of 3 cm.",
    None, "", "Unremarkable chest",
]  # fmt: skip
CLUSTERS = np.array([0, 0, 1, 1, 0, 2, -1])


def test_key_words_by_hand():
    found = words_of_clusters(REPORTS, CLUSTERS)

    assert [(w.word, w.count) for w in found[0][:2]] == [("opacity", 3), ("lung", 2)]
    assert [(w.word, w.count, w.share) for w in found[1][:2]] == [("lesion", 3, 1.0), ("liver", 2, 1.0)]
    # chest is in both, "the" is a stop word, "cm" and "3" are no words; unlabeled reports do not count
    words = {w.word for words in found.values() for w in words}
    assert words.isdisjoint({"chest", "the", "cm", "unremarkable"})


def test_abbreviations_in_capitals_are_words():
    texts = ["T1 of the spine, L5 and CT at 3 cm", "AP view, t2 at 12.5.2001, 7T"]
    found = words_of_clusters(texts, np.array([0, 1]))
    assert {word.word for word in found[0]} == {"t1", "spine", "l5", "ct"}
    assert {word.word for word in found[1]} == {"ap", "view"}


def test_us_counts_as_ultrasound_only_in_capitals_and_units_are_no_words():
    texts = [
        "US OF THE liver, tell us of 3 CM and 12MM, 71 IU/L, 120 mmHg: NO mass",
        "TELL US OF 12 CM IN THE MG, CC AND MM",
    ]
    found = words_of_clusters(texts, np.array([0, 1]))
    assert {word.word: word.count for word in found[0]} == {"us": 1, "liver": 1, "mass": 1}
    assert {word.word for word in found[1]} == {"mg", "cc", "mm"}


def test_noise_has_no_key_words():
    assert words_of_clusters(["chest", "liver"], np.array([-1, -1])) == {}


def test_common_words_may_be_those_of_many_clusters():
    texts = ["scan heart", "scan liver", "scan", "brain"]
    labels = np.arange(4)

    assert [w.word for w in words_of_clusters(texts, labels)[2]] == ["scan"]
    assert words_of_clusters(texts, labels, common=0.75)[2] == []


def test_topics_separate_texts_with_different_words():
    lung, liver = "lung opacity lobe pneumonia", "liver lesion hepatic mass"
    texts = [lung, liver] * 20 + [None, "unheard"]
    found = topics(texts, 2, seed=1)

    assert len(set(found[0:40:2])) == len(set(found[1:40:2])) == 1
    assert found[0] != found[1]
    assert found[40:].tolist() == [-1, -1]
    assert np.array_equal(found, topics(texts, 2, seed=1))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: words_of_clusters(["a word"], np.zeros(2, int)), "1 text for 2 images"),
        (lambda: words_of_clusters([None, " "], np.zeros(2, int)), "none of the images has a text"),
        (lambda: words_of_clusters(["the of", "and"], np.zeros(2, int)), "only stop words"),
        (lambda: words_of_clusters(["lung"], np.zeros(1, int), common=0), "common=0"),
        (
            lambda: words_of_clusters(["lung"], np.zeros(1, int), common="x"),
            "common='x' is not a fraction of the clusters",
        ),
        (
            lambda: words_of_clusters(["lung"], np.zeros(1, int), n_words="ten"),
            "n_words='ten' is not a whole number",
        ),
        (
            lambda: words_of_clusters(["lung"], np.zeros(1, int), n_words=2.5),
            "n_words=2.5 is not a whole number",
        ),
        (
            lambda: words_of_clusters(["lung"], np.zeros(1, int), rank="nonsense"),
            "rank='nonsense'.*count, distinct",
        ),
        (lambda: topics(["lung opacity", "liver mass"], 4, 1), "4 topics"),
    ],
)
def test_invalid_texts_and_arguments_are_refused(call, message):
    with pytest.raises(InputError, match=message):
        call()


def test_distinct_words_equal_a_slow_loop_and_random_texts_have_none():
    rng = np.random.default_rng(3)
    texts = [" ".join(rng.choice(["lung", "history", "seen", "old", "film"], 4)) for _ in range(90)]
    labels = np.repeat([0, 1, 2], 30)
    texts = [
        f"{text} fracture" if label == 1 and i % 3 else text
        for i, (text, label) in enumerate(zip(texts, labels, strict=True))
    ]
    texts[0] += " fracture"

    found = words_of_clusters(texts, labels, rank="distinct")

    assert [(w.word, w.count) for w in found[1]] == [("fracture", 20)]
    assert [found[0], found[2]] == [[], []]
    both, parts = 21 / 90, ((20, 30), (1, 60))
    ratio = sum(n * np.log(n / m / both) + (m - n) * np.log((1 - n / m) / (1 - both)) for n, m in parts)
    weight = significance(np.array([[20], [1]]), np.array([30, 60]))
    assert weight[:, 0] == pytest.approx([2 * ratio, 0.0])


def test_reports_of_one_patient_are_no_independent_evidence():
    texts = ["lung alarm"] * 8 + ["lung film"] * 4 + ["lung film"] * 12
    labels = np.repeat([0, 1], 12)
    one, many = ["p"] * 8 + list(range(16)), list(range(24))

    def words(groups):
        found = words_of_clusters(texts, labels, rank="distinct", groups=groups)
        return [(word.word, word.count, word.share) for word in found[0]]

    assert words(None) == words(many) == words([None] * 24) == [("alarm", 8, 2 / 3)]
    assert words(one) == [], "eight films of one patient count as one"
    assert words_of_clusters(texts, labels, groups=one) == words_of_clusters(texts, labels), (
        "the paper's counts"
    )
    in_pairs = words([i // 2 for i in range(24)])  # four patients of six with the word, none of six others
    assert in_pairs == []
    with pytest.raises(InputError, match="groups has 2 entries for 24 images"):
        words(["a", "b"])


@pytest.mark.parametrize("n_topics", [0, -1, 2.0, None, "2", True])
def test_a_number_of_topics_that_is_no_whole_number_is_an_error(n_topics):
    with pytest.raises(InputError, match="n_topics="):
        topics(["lung opacity", "lung opacity"], n_topics, seed=1)


def test_a_number_of_topics_may_be_of_numpy():
    texts = ["lung opacity lobe", "liver lesion mass"] * 5
    assert np.array_equal(topics(texts, np.uint8(2), seed=1), topics(texts, 2, seed=1))


def test_counting_words_reports_its_progress_and_can_be_cancelled(monkeypatch):
    monkeypatch.setattr(texts_module, "_AT_ONCE", 2)
    watcher = Watcher()
    assert words_of_clusters(REPORTS, CLUSTERS, observer=watcher) == words_of_clusters(REPORTS, CLUSTERS)
    assert (watcher.phases, watcher.steps) == ([("words", 5)], 5)  # two of the seven have no text
    stopped = Watcher(after_steps=2)
    with pytest.raises(CancelledError, match="no key words were stored"):
        words_of_clusters(REPORTS, CLUSTERS, observer=stopped)
    assert stopped.steps == 2
