"""User edits: counted in advance, applied by id, logged, and undone exactly."""

from __future__ import annotations

import pytest

from fiftyone_deepcluster import delete_run, rename_run, review
from fiftyone_deepcluster.dataset.review import old_values
from fiftyone_deepcluster.dataset.runs.kv import find
from fiftyone_deepcluster.errors import InputError, RunNotFoundError


def values(dataset):
    dataset.reload()
    return [
        {name: value for name, value in doc.items() if name != "last_modified_at"}
        for doc in dataset._sample_collection.find()
    ]


def test_rename(dataset):
    edits = review(dataset, "dc", user="Ada")
    size = dataset.count_values("dc.label")["cluster-01"]
    preview = edits.rename("cluster-01", "zeros", dry_run=True)
    assert preview.n_changed == size
    assert "zeros" not in edits.names()
    assert edits.rename("cluster-01", "zeros") == preview
    assert dataset.count_values("dc.label")["zeros"] == size
    assert "cluster-01" not in edits.names()
    entry = edits.log()[0]
    assert (entry.number, entry.verb, entry.who, entry.n_changed) == (1, "rename", "Ada", size)
    assert entry.text == "renamed 'cluster-01' to 'zeros'"
    assert edits.run.clusters()[0].size


def test_merge_under_one_of_them_or_a_new_name(dataset):
    edits = review(dataset, "dc")
    counts = dataset.count_values("dc.label")
    change = edits.merge(["cluster-00", "cluster-02"], into="cluster-02")
    assert change.n_changed == counts["cluster-00"]
    assert edits.merge(["cluster-02", "cluster-03"], into="round").n_changed == sum(
        counts[f"cluster-0{i}"] for i in (0, 2, 3)
    )
    info = next(info for info in edits.run.clusters() if info.name == "round")
    assert info.ids == (0, 2, 3)


def test_undo_any_number_of_steps_exactly(dataset):
    edits = review(dataset, "dc")
    states = [values(dataset)]
    edits.rename("cluster-00", "a")
    states.append(values(dataset))
    edits.merge(["a", "cluster-01", "cluster-02"], into="b")
    states.append(values(dataset))
    edits.label_cluster("b", "ground_truth", "x", overwrite=True)
    states.append(values(dataset))
    edits.label_cluster("b", "mine", "y")
    assert "mine" in dataset.get_field_schema()
    assert [edit.verb for edit in edits.undo()] == ["label"]
    assert values(dataset) == states[3]
    assert "mine" not in dataset.get_field_schema()
    assert [edit.number for edit in edits.undo(2)] == [3, 2]
    assert values(dataset) == states[1]
    assert len(edits.undo(5)) == 1
    assert values(dataset) == states[0]
    assert edits.undo() == []
    assert [edit.undone for edit in edits.log()] == [True] * 4
    edits.rename("cluster-00", "z")
    kept = find(dataset, r"^edit:\w+:\d+:\d+$")
    assert [name.split(":")[2] for name in kept] == ["5"]  # undone edits can be redone until the next edit


def test_undo_in_many_chunks(dataset, monkeypatch):
    monkeypatch.setattr(old_values, "_CHUNK_BYTES", 100)
    edits = review(dataset, "dc")
    before = values(dataset)
    edits.merge(edits.names(), into="all")
    assert len(find(dataset, r"^edit:\w+:1:\d+$")) > 3
    edits.undo()
    assert values(dataset) == before


def test_labels_of_a_person_are_kept(dataset):
    edits = review(dataset, "dc")
    truth = dataset.values("ground_truth.label")
    size = dataset.count_values("dc.label")["cluster-01"]
    change = edits.label_cluster("cluster-01", "ground_truth", "x")
    assert (change.n_changed, change.n_kept) == (0, size)
    assert dataset.values("ground_truth.label") == truth
    assert edits.log() == []
    preview = edits.label_cluster("cluster-01", "ground_truth", "x", overwrite=True, dry_run=True)
    assert (preview.n_changed, preview.n_kept) == (size, 0)
    assert dataset.values("ground_truth.label") == truth
    edits.label_cluster("cluster-01", "ground_truth", "x", overwrite=True)
    assert dataset.count_values("ground_truth.label")["x"] == size


def test_new_field_is_made_once_and_grows(dataset):
    import fiftyone as fo

    edits = review(dataset, "dc")
    counts = dataset.count_values("dc.label")
    assert edits.label_cluster("cluster-00", "mine", "a", dry_run=True).n_changed == counts["cluster-00"]
    assert "mine" not in dataset.get_field_schema()
    edits.label_cluster("cluster-00", "mine", "a")
    edits.label_cluster("cluster-01", "mine", "b")
    assert dataset.count_values("mine.label") == {
        "a": counts["cluster-00"], "b": counts["cluster-01"], None: 40 - counts["cluster-00"] - counts["cluster-01"],
    }  # fmt: skip
    assert isinstance(dataset.exists("mine").first().mine, fo.Classification)
    assert "mine" in next(g for g in dataset.app_config.sidebar_groups if g.name == "labels").paths
    delete_run(dataset, "dc")
    assert dataset.count("mine.label") == counts["cluster-00"] + counts["cluster-01"]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda r: r.rename("cluster-9", "x"), r"no cluster 'cluster-9'.*did you mean 'cluster-0"),
        (lambda r: r.rename("Cluster-01", "x"), r"no cluster 'Cluster-01'; did you mean 'cluster-01' or"),
        (lambda r: r.rename("boot", "x"), r"no cluster 'boot'; choose one of: cluster-00, cluster-01,"),
        (lambda r: r.rename("cluster-01", "cluster-02"), r"already.*merge\("),
        (lambda r: r.rename("cluster-01", "  "), "new_name is empty"),
        (lambda r: r.merge(["cluster-01"], "x"), "two or more"),
        (
            lambda r: r.merge(["cluster-01", "cluster-02"], "cluster-03"),
            "another cluster; to join it as well, add it",
        ),
        (lambda r: r.label_cluster("cluster-01", "dc", "x"), "belongs to a run"),
        (lambda r: r.label_cluster("cluster-01", "filepath", "x"), "StringField; a Classification"),
        (lambda r: r.label_cluster("cluster-01", "a b", "x"), "cannot be the name of a field"),
        (lambda r: r.label_cluster("cluster-01", "mine", ""), "label is empty"),
        (lambda r: r.label_cluster("cluster-01", 5, "x"), "field=5 is not a name"),
        (lambda r: r.undo(0), "1 or more"),
        (lambda r: r.undo("x"), "steps='x' is not a whole number"),
        (lambda r: r.merge(5, "x"), "clusters=5 is not a list of names"),
        (lambda r: r.merge("cluster-01", "x"), "clusters='cluster-01' is one name; give a list"),
    ],
)
def test_edits_that_cannot_work(dataset, call, message):
    before = values(dataset)
    with pytest.raises(InputError, match=message):
        call(review(dataset, "dc"))
    assert values(dataset) == before


@pytest.mark.parametrize(
    "call",
    [
        lambda r: r.names(),
        lambda r: r.rename("cluster-01", "x"),
        lambda r: r.merge(["cluster-01", "cluster-02"], "x"),
        lambda r: r.label_cluster("cluster-01", "mine", "x"),
        lambda r: r.undo(),
        lambda r: r.run.clusters(),
        lambda r: r.run.clusters(exemplars="random"),
    ],
)
def test_a_run_that_is_gone_says_so(dataset, call):
    edits = review(dataset, "dc")
    delete_run(dataset, "dc")
    with pytest.raises(RunNotFoundError, match=r"run 'dc' of .* was deleted or renamed.*load_run: none"):
        call(edits)


def test_nothing_to_do_is_not_logged(dataset):
    edits = review(dataset, "dc")
    assert edits.rename("cluster-01", "cluster-01").n_changed == 0
    assert edits.log() == []


def test_log_survives_renaming_and_goes_with_the_run(dataset):
    review(dataset, "dc").rename("cluster-01", "one")
    before = review(dataset, "dc").log()
    rename_run(dataset, "dc", "dd")
    edits = review(dataset, "dd")
    assert edits.log() == before
    edits.undo()
    assert "cluster-01" in edits.names()
    delete_run(dataset, "dd")
    assert not find(dataset, "^edit:")


def test_patches(make_digits, stored_run):
    import fiftyone as fo

    dataset = make_digits(8)
    for sample in dataset.iter_samples(autosave=True):
        boxes = [[0, 0, 0.5, 1], [0.5, 0, 0.5, 1]]
        sample["objects"] = fo.Detections(
            detections=[fo.Detection(label="half", bounding_box=b) for b in boxes]
        )
    stored_run(dataset.to_patches("objects"))
    before = values(dataset)
    edits = review(dataset, "dc")
    label = "objects.detections.dc"
    counts = dataset.count_values(label)
    assert edits.merge(["cluster-00", "cluster-01"], into="both").n_changed == (
        counts["cluster-00"] + counts["cluster-01"]
    )
    assert edits.label_cluster("both", "label", "x").n_kept == counts["cluster-00"] + counts["cluster-01"]
    edits.label_cluster("both", "label", "x", overwrite=True)
    assert (
        dataset.count_values("objects.detections.label")["x"] == counts["cluster-00"] + counts["cluster-01"]
    )
    edits.label_cluster("both", "mine", "y")
    assert dataset.count_values("objects.detections.mine")["y"] == counts["cluster-00"] + counts["cluster-01"]
    assert edits.run.cluster_view("both").count() == counts["cluster-00"] + counts["cluster-01"]
    infos = {info.name: info for info in edits.run.clusters(2)}
    assert infos["both"].size == counts["cluster-00"] + counts["cluster-01"]
    assert set(infos["both"].exemplars) <= set(dataset.values("objects.detections.id", unwind=True))
    assert set(infos["both"].exemplar_samples) <= set(dataset.values("id"))
    assert set(infos["both"].exemplar_boxes) <= {(0, 0, 0.5, 1), (0.5, 0, 0.5, 1)}
    edits.undo(3)
    assert values(dataset) == before
    delete_run(dataset, "dc")
    assert dataset.count("objects.detections.label") == 16


def test_the_name_of_noise_and_words_for_switches_are_refused(dataset):
    edits, before = review(dataset, "dc"), values(dataset)
    with pytest.raises(InputError, match="new_name='noise' is reserved for images in no cluster"):
        edits.rename("cluster-00", " noise ")
    with pytest.raises(InputError, match="into='noise' is reserved for images in no cluster"):
        edits.merge(["cluster-00", "cluster-01"], into="noise")
    for call in (
        lambda: edits.label_cluster("cluster-00", "ground_truth", "x", overwrite="no"),
        lambda: edits.label_cluster("cluster-00", "ground_truth", "x", dry_run="yes"),
        lambda: edits.rename("cluster-00", "a", dry_run=1),
        lambda: edits.merge(["cluster-00", "cluster-01"], "a", dry_run=None),
    ):
        with pytest.raises(InputError, match="is neither True nor False"):
            call()
    with pytest.raises(InputError, match=r"field='a\.b' cannot be the name of a field"):
        edits.label_cluster("cluster-00", "a.b", "x")
    assert values(dataset) == before
    assert edits.log() == []
