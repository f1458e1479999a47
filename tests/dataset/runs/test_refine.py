"""``refine``: a run that goes on from the review of another."""

from __future__ import annotations

import numpy as np
import pytest

import fiftyone_deepcluster as fdc
from fiftyone_deepcluster.errors import InputError, OptionsError, RunError, RunExistsError

QUIET = {"progress": False, "compute_brain": False}
FROZEN = {"n_clusters": 12, "baselines": False, **QUIET}


@pytest.fixture
def dataset(make_digits):
    """400 digits in a run ``dc`` of twelve clusters."""
    dataset = make_digits(400)
    fdc.cluster(dataset, "frozen", "dc", truth_field="ground_truth", **FROZEN)
    return dataset


def truths(dataset):
    return np.array(dataset.values("ground_truth.label"))


def labels(dataset, key):
    return np.array(dataset.values(f"{key}.label"))


def correct(dataset, edits, share=1.0):
    """Move the images of a share of the dataset to clusters that are named by their class, one cluster each."""
    ids, known = dataset.values("id"), truths(dataset)
    seen = np.random.default_rng(0).random(len(ids)) < share
    for name in sorted(set(known)):
        edits.move([ids[row] for row in np.flatnonzero(seen & (known == name))], to=f"digit {name}")
    return seen


def test_decided_images_keep_their_cluster_and_the_rest_follows(dataset):
    edits = fdc.review(dataset, "dc")
    names = edits.names()
    edits.merge(names[:2], into="two of them")
    edits.rename(names[2], "a third")
    edits.mark_reviewed(["two of them", "a third"])
    moved = dataset.match({"dc.label": names[3]}).limit(5).values("id")
    edits.move(moved, to="made by hand")
    out = dataset.match({"dc.label": names[4]}).limit(4).values("id")
    edits.reject(out)
    before = dict(zip(dataset.values("id"), labels(dataset, "dc"), strict=True))
    run = fdc.refine(dataset, "dc", **QUIET)
    assert run.key == "dc2"
    after = dict(zip(dataset.values("id"), labels(dataset, "dc2"), strict=True))
    decided = {name for name, label in before.items() if label in ("two of them", "a third")} | {*moved, *out}
    assert all(after[name] == before[name] for name in decided)
    assert {after[name] for name in moved} == {"made by hand"}
    assert {name for name, label in after.items() if label == "noise"} == {*out}
    assert set(run.names()) == set(before.values()), "the clusters of the review, with their names"
    assert any(after[name] != before[name] for name in before), "the others follow"
    assert labels(dataset, "dc").tolist() == list(before.values()), "the run itself is unchanged"
    kept, moved_away = len(decided) - len(out), sum(after[name] != before[name] for name in before)
    assert run.record.notes[-1].startswith(
        f"{kept} reviewed images kept their cluster, 4 are in no cluster; {moved_away} of the other"
    )
    found = fdc.compare_runs(dataset, "dc", "dc2")
    assert found.n_images == 400
    assert set(found.rows) == set(found.columns)


def test_a_reviewed_part_improves_images_that_nobody_has_seen(make_digits):
    """Two runs of 1,200 digits; half of them are corrected; 597 others are assigned to each run."""
    dataset = make_digits(1797)
    # by place and not by FiftyOne's shuffle, which depends on the names of the files
    ids = np.random.default_rng(51).permutation(dataset.values("id")).tolist()
    seen, others = dataset.select(ids[:1200], ordered=True), dataset.select(ids[1200:])
    run = fdc.cluster(seen, "frozen", "dc", n_clusters=10, baselines=False, **QUIET)
    edits = fdc.review(dataset, "dc")
    for info in run.clusters(n_exemplars=0):  # every cluster gets the name of most of its images
        counted = run.cluster_view(info.name).count_values("ground_truth.label")
        digit = max(counted, key=lambda name: counted[name])
        taken = [name for name in edits.names() if name == f"digit {digit}"]
        edits.merge([info.name, *taken], into=f"digit {digit}") if taken else edits.rename(
            info.name, f"digit {digit}"
        )
    looked_at = seen.limit(600)
    for digit in range(10):
        edits.move(looked_at.match({"ground_truth.label": str(digit)}), to=f"digit {digit}")
    fdc.refine(dataset, "dc", new_key="better", **QUIET)
    fdc.assign(others, "dc")
    fdc.assign(others, "better")
    known = [f"digit {name}" for name in others.values("ground_truth.label")]
    right = {key: np.mean(np.array(others.values(f"{key}.label")) == known) for key in ("dc", "better")}
    assert right["better"] > right["dc"] + 0.05, right


def test_edits_that_were_undone_and_splits_decide_nothing(dataset):
    edits = fdc.review(dataset, "dc")
    name = edits.names()[0]
    edits.move(cluster=name, to="elsewhere")
    edits.undo()
    with pytest.raises(InputError, match="nothing of run 'dc' was reviewed; mark clusters as reviewed"):
        fdc.refine(dataset, "dc", **QUIET)
    edits.move(cluster=name, to="elsewhere")
    edits.split("elsewhere", n_clusters=2)
    parts = edits.names()[-1:]
    run = fdc.refine(dataset, "dc", **QUIET)
    assert set(parts) < set(run.names())
    assert "elsewhere" in run.names()


def test_merged_clusters_keep_their_parts_without_training(dataset):
    edits = fdc.review(dataset, "dc")
    names = edits.names()
    edits.merge(names[:3], into="merged")
    edits.mark_reviewed(["merged"])
    run = fdc.refine(dataset, "dc", **QUIET)
    info = next(info for info in run.clusters(n_exemplars=0) if info.name == "merged")
    assert len(info.ids) == 3
    assert run.record.names.count("merged") == 3


def test_a_refined_run_is_refined_again(dataset):
    edits = fdc.review(dataset, "dc")
    seen = correct(dataset, edits, 0.3)
    first = labels(dataset, "dc")
    fdc.refine(dataset, "dc", **QUIET)
    fdc.review(dataset, "dc2").mark_reviewed(["digit 0"])
    run = fdc.refine(dataset, "dc2", **QUIET)
    assert run.key == "dc3"
    assert (labels(dataset, "dc3")[seen] == first[seen]).all(), "decided before, and still"
    reviewed = labels(dataset, "dc2") == "digit 0"
    assert (labels(dataset, "dc3")[reviewed] == "digit 0").all()


def test_new_images_are_assigned_to_the_names(dataset, make_digits):
    edits = fdc.review(dataset, "dc")
    correct(dataset, edits)
    fdc.refine(dataset, "dc", new_key="named", **QUIET)
    more = make_digits(500)
    fdc.assign(more, "named", from_dataset=dataset)
    found, known = labels(more, "named"), truths(more)
    assert np.mean([name == f"digit {digit}" for name, digit in zip(found, known, strict=True)]) > 0.85


def test_a_trained_run_goes_on_from_its_network(make_digits):
    dataset = make_digits(200)
    quick = {"image_size": 16, "batch_size": 32, "min_steps": 4, "backbone": {"name": "small", "width": 8}}
    fdc.cluster(dataset, "deepcluster", "dc", n_clusters=8, rounds=1, baselines=False, **quick, **QUIET)
    edits = fdc.review(dataset, "dc")
    seen = correct(dataset, edits, 0.5)
    before = labels(dataset, "dc")
    run = fdc.refine(dataset, "dc", rounds=2, reviewed_weight=5, **QUIET)
    assert (len(run.rounds), run.record.method) == (2, "deepcluster")
    assert run.settings["reviewed_weight"] == 5.0
    even = fdc.refine(dataset, "dc", new_key="even", rounds=2, reviewed_weight=1, **QUIET)
    pairs = [(dataset.values(f"{key}_loss"), seen) for key in ("dc2", "even")]
    heavy, light = (np.nanmean(np.array(loss, float)[rows]) for loss, rows in pairs)
    assert heavy < light, "the weight is the one that was given"
    assert even.settings["reviewed_weight"] == 1.0
    assert (labels(dataset, "dc2")[seen] == before[seen]).all()
    more = fdc.resume(dataset, "dc2", rounds=3, **QUIET)
    assert len(more.rounds) == 3
    assert (labels(dataset, "dc2")[seen] == before[seen]).all()
    assert set(more.names()) == set(run.names())


def test_patches_are_refined(make_digits):
    import fiftyone as fo

    dataset = make_digits(60)
    for sample in dataset.iter_samples(autosave=True):
        sample["objects"] = fo.Detections(
            detections=[fo.Detection(label="x", bounding_box=[0.0, 0.0, 1.0, 1.0])]
        )
    fdc.cluster(dataset, "frozen", "dc", patches_field="objects", n_clusters=4, baselines=False, **QUIET)
    edits = fdc.review(dataset, "dc")
    name = edits.names()[0]
    edits.rename(name, "first")
    edits.mark_reviewed(["first"])
    path = "objects.detections.dc"
    before = [found[0] for found in dataset.values(path)]
    fdc.refine(dataset, "dc", **QUIET)
    after = [found[0] for found in dataset.values(f"{path}2")]
    assert all(new == "first" for old, new in zip(before, after, strict=True) if old == "first")


def test_what_cannot_be_refined_is_refused_before_anything_is_written(dataset):
    edits = fdc.review(dataset, "dc")
    edits.mark_reviewed(edits.names()[:3])
    fields = set(dataset.get_field_schema())
    with pytest.raises(
        OptionsError, match="the clusterer 'lsc' cannot keep reviewed labels; give clusterer="
    ):
        fdc.refine(dataset, "dc", clusterer="lsc", **QUIET)
    with pytest.raises(
        OptionsError, match="n_clusters cannot be chosen: the clusters are those of the review"
    ):
        fdc.refine(dataset, "dc", n_clusters=3, **QUIET)
    with pytest.raises(InputError, match="reviewed_weight=0: give a number above 0"):
        fdc.refine(dataset, "dc", reviewed_weight=0, **QUIET)
    with pytest.raises(RunExistsError, match="already has a run 'dc'"):
        fdc.refine(dataset, "dc", new_key="dc", **QUIET)
    with pytest.raises(RunExistsError, match="taken"):
        fdc.refine(dataset, "dc", new_key="ground_truth", **QUIET)
    dataset.reload()
    assert set(dataset.get_field_schema()) == fields


@pytest.mark.parametrize("method", ["dac", "ucnn", "self-training"])
def test_methods_without_clusters_between_rounds_refuse(method):
    options = fdc.list_methods()[method]()
    with pytest.raises(
        OptionsError, match=rf"'{method}' has no clusterer that could keep .* method='deepcluster'"
    ):
        options.going_on(3)


def test_the_network_must_be_there(make_digits, stored_run):
    dataset = make_digits(40)
    stored_run(dataset)
    run = dataset.load_run_results("dc", cache=False)
    run.record["resolved"] = fdc.DeepCluster(n_clusters=4).model_dump(mode="json")
    dataset.save_run_results("dc", run)
    edits = fdc.review(dataset, "dc")
    edits.mark_reviewed(edits.names()[:1])
    with pytest.raises(RunError, match="the network of run 'dc' is not in"):
        fdc.refine(dataset, "dc", **QUIET)
