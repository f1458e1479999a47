"""LDPO on a dataset with reports and patients: initial labels, key words, tree paths on the samples."""

from __future__ import annotations

import pytest

import fiftyone_deepcluster as fdc
from fiftyone_deepcluster.dataset.results.categories import stored_key_words, stored_tree
from fiftyone_deepcluster.errors import InputError, OptionsError, RunError

QUICK = {"rounds": 1, "min_steps": 10, "baselines": False, "image_size": 16}
WORDS = ["ulna", "tibia", "femur", "skull", "spine", "wrist", "ankle", "elbow", "pelvis", "clavicle"]


@pytest.fixture
def reports(make_digits):
    """200 digits, each with a report that names it, and a patient of three images."""
    dataset = make_digits(200)
    digits = dataset.values("ground_truth.label")
    dataset.set_values(
        "report", [f"The scan of digit {WORDS[int(d)]}, {WORDS[int(d)]} loops." for d in digits]
    )
    dataset.set_values("patient", [f"p{i // 3}" for i in range(200)])
    return dataset


def test_ldpo_starts_from_topics_and_leaves_words_and_a_tree(reports, caplog):
    options = fdc.LDPO(
        n_clusters=8, initial="topics", n_topics=10, text_field="report", group_field="patient", **QUICK
    )
    run = fdc.cluster(reports, options, "ld", progress=False, compute_brain=False)

    assert {"test_top1", "test_top5", "validation_top1"} <= set(run.rounds[-1].scores)
    words = fdc.key_words(reports, "ld")
    assert sorted(words) == run.names()
    found = {word.word for some in words.values() for word in some}
    assert found <= set(WORDS), "scan, digit and loops are in every cluster, the is a stop word"
    for name, some in words.items():
        inside = reports.match({"ld.label": name}).count_values("ground_truth.label")
        counts = {WORDS[int(digit)]: 2 * count for digit, count in inside.items()}
        assert {word.word: word.count for word in some} == {w: c for w, c in counts.items() if w in found}

    nodes = fdc.build_tree(reports, "ld")
    leaves = {node.name: node for node in nodes if node.leaf}
    assert {name: node.size for name, node in leaves.items()} == reports.count_values("ld.label")
    groups = {node.name: node for node in nodes if not node.leaf}
    assert reports.has_field("ld_category") == bool(groups), "without groups there is nothing to filter by"
    for sample in reports:
        parent = leaves[sample.ld.label].parent
        assert ((groups and sample.ld_category) or [""])[-1] == parent
    for name, node in groups.items():
        inside = reports.match({"ld_category": name})
        assert len(inside) == node.size
        assert set(inside.distinct("ld.label")) == set(node.clusters)

    old = max(leaves)
    fdc.review(reports, "ld").rename(old, "a name")
    run = fdc.load_run(reports, "ld")
    assert stored_key_words(run) == {"a name" if name == old else name: some for name, some in words.items()}
    renamed = stored_tree(run)
    assert {node.name for node in renamed if node.leaf} == {*leaves, "a name"} - {old}
    assert {name for node in renamed for name in node.clusters} == set(run.names())

    fdc.review(reports, "ld").merge(run.names()[1:], "the rest")
    flat = fdc.build_tree(reports, "ld")
    assert [(node.name, node.parent, node.leaf) for node in flat] == [
        (name, "", True) for name in fdc.load_run(reports, "ld").names()
    ]
    assert "run 'ld': no clusters are confused more than others, so its tree has no groups" in caplog.text

    fdc.delete_run(reports, "ld")
    assert not [field for field in reports.get_field_schema() if field.startswith("ld")]


def test_initial_labels_come_from_a_field_and_patients_are_never_split(reports):
    run = fdc.cluster(
        reports, "ldpo", "ld", initial="labels", initial_field="ground_truth", group_field="patient", n_clusters=10,
        progress=False, compute_brain=False, **QUICK,
    )  # fmt: skip

    assert run.stop_reason == fdc.StopReason.ROUNDS_DONE
    assert run.record.rounds[0].scores["pseudo_clusters"] == 10


def test_topics_and_labels_need_their_field_before_any_work(reports):
    for values, message in (
        ({"initial": "topics"}, "needs text_field"),
        ({"initial": "labels"}, "needs initial_field"),
    ):
        with pytest.raises(OptionsError, match=message):
            fdc.cluster(reports, "ldpo", "ld", progress=False, **values)
    with pytest.raises(InputError, match="group_field='nobody' is not a field"):
        fdc.cluster(reports, "ldpo", "ld", group_field="nobody", progress=False)
    import fiftyone as fo

    reports.add_sample_field("empty", fo.StringField)
    with pytest.raises(InputError, match="contains no text"):
        fdc.cluster(reports, "ldpo", "ld", initial="topics", text_field="empty", progress=False)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"text_field": "number"}, "number"),
        ({"text_field": "silent"}, "text_field='silent' contains no text"),
        ({"initial": "labels", "initial_field": "silent"}, "initial_field='silent' has 0 classes"),
        ({"initial": "labels", "initial_field": "same"}, "initial_field='same' has 1 class,"),
        ({"group_field": "same"}, "group_field='same' puts all"),
        ({"group_field": "silent"}, "group_field='silent' is empty for all 200 images"),
    ],
)
def test_fields_without_information_are_refused_before_any_work(reports, options, message):
    import fiftyone as fo

    reports.set_values("number", [0.5] * len(reports))
    reports.add_sample_field("silent", fo.StringField)
    reports.set_values("same", ["one"] * len(reports))
    before = set(reports.get_field_schema())
    with pytest.raises(InputError, match=message):
        fdc.cluster(reports, "ldpo", "ld", n_clusters=3, progress=False, **options)
    assert set(reports.get_field_schema()) == before
    assert fdc.list_runs(reports) == []
    assert fdc.list_runs(reports) == []
    assert "ld" not in reports.get_field_schema()


def test_a_tree_needs_a_softmax_layer_and_words_a_field(reports):
    fdc.cluster(reports, fdc.Frozen(n_clusters=3, baselines=False), "fr", progress=False, compute_brain=False)

    with pytest.raises(RunError, match="no softmax layer"):
        fdc.build_tree(reports, "fr")
    with pytest.raises(InputError, match="has no text_field"):
        fdc.key_words(reports, "fr")
    assert len(fdc.key_words(reports, "fr", "report", n_words=2)) == 3
    with pytest.raises(InputError, match="text_field=5 is not a name; give a string, such as 'report'"):
        fdc.key_words(reports, "fr", 5)
    with pytest.raises(InputError, match="n_words='ten' is not a whole number"):
        fdc.key_words(reports, "fr", "report", n_words="ten")


def test_distinct_words_count_the_patients_of_the_run(reports):
    reports.set_values("report", [f"plain film {'alarm' if i % 100 < 24 else ''}" for i in range(200)])
    reports.set_values("patient", ["p" if i % 100 < 24 else f"p{i}" for i in range(200)])
    options = fdc.LDPO(n_clusters=4, text_field="report", group_field="patient", **QUICK)
    run = fdc.cluster(reports, options, "ld", progress=False, compute_brain=False)
    labels = [run.names()[0] if i % 100 < 24 else run.names()[1] for i in range(200)]
    reports.set_values("ld.label", labels)
    assert not any(fdc.key_words(reports, "ld", rank="distinct").values()), "all are of one patient"
    reports.set_values("own", [f"p{i}" for i in range(200)])
    words = fdc.key_words(reports, "ld", rank="distinct", group_field="own")
    assert [word.word for word in words[run.names()[0]]] == ["alarm"]


def test_a_field_without_distinct_words_gives_a_warning(reports, caplog):
    fdc.cluster(reports, fdc.Frozen(n_clusters=3, baselines=False), "fr", progress=False, compute_brain=False)
    reports.set_values("same", ["The same report of all."] * len(reports))
    assert fdc.key_words(reports, "fr", "same") == {name: [] for name in fdc.load_run(reports, "fr").names()}
    assert (
        "no word of 'same' distinguishes a cluster from the others, so there are no key words" in caplog.text
    )
