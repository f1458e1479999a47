"""Objects, group slices, and images assigned later."""

from __future__ import annotations

import pytest

import fiftyone_deepcluster as fdc
from fiftyone_deepcluster.errors import (
    RunExistsError,
)
from tests.dataset.small_runs import FROZEN


@pytest.mark.parametrize("named", [True, False])
def test_patches(make_digits, named):
    import fiftyone as fo

    dataset = make_digits(20)
    for sample in dataset.iter_samples(autosave=True):
        boxes = [[0, 0, 0.5, 1], [0.5, 0, 0.5, 1]]
        objects = [fo.Detection(label=f"half{i}", bounding_box=box) for i, box in enumerate(boxes)]
        sample["objects"] = fo.Detections(detections=objects)
    samples, field = (dataset, "objects") if named else (dataset.to_patches("objects"), None)
    options = {**FROZEN, "n_clusters": 2, "compute_brain": True}
    run = fdc.cluster(samples, key="dc", patches_field=field, truth_field="objects", **options)
    assert run.patches_field == "objects"
    assert run.rounds[0].truth.acc > 0.9
    assert dataset.count("objects.detections.dc") == 40
    assert len(run.view()) == 40
    assert len(dataset.load_brain_results("dc_viz").points) == 40
    index = dataset.load_brain_results("dc_sim")
    assert index.config.patches_field == "objects"
    assert (
        len(
            dataset.to_patches("objects").sort_by_similarity(
                run.clusters()[0].exemplars[0], k=3, brain_key="dc_sim"
            )
        )
        == 3
    )
    fdc.delete_run(dataset, "dc")
    assert not [
        path for path in dataset.get_field_schema(flat=True) if path.startswith("objects.detections.dc")
    ]


def test_patches_views_of_the_caller_stay_usable(make_digits):
    import fiftyone as fo

    dataset = make_digits(20)
    for sample in dataset.iter_samples(autosave=True):
        boxes = [[0, 0, 0.5, 1], [0.5, 0, 0.5, 1]]
        sample["objects"] = fo.Detections(
            detections=[fo.Detection(label="x", bounding_box=box) for box in boxes]
        )
    patches = dataset.to_patches("objects")
    first = patches.limit(10)
    fdc.cluster(first, key="dc", **{**FROZEN, "n_clusters": 2})
    assert first.count("objects.dc") == patches.count("objects.dc") == 10
    assert len(list(patches)) == 40
    assert len(list(patches.limit(3))) == 3
    patch = patches.first()
    patch["objects"]["label"] = "y"
    patch.save()  # writes the whole object back
    dataset.reload()
    assert dataset.count_values("objects.detections.label") == {"x": 39, "y": 1}
    assert dataset.count("objects.detections.dc") == 10


def test_group_slices(pairs_of):
    dataset = pairs_of(40)
    right = dataset.select_group_slices("right")
    run = fdc.cluster(right, key="dc", **{**FROZEN, "compute_brain": True})
    assert right.count("dc.label") == 20
    assert dataset.select_group_slices("left").count("dc.label") == 0
    assert sum(info.size for info in run.clusters()) == len(run.view()) == 20
    edits = fdc.review(dataset, "dc")
    edits.label_cluster("cluster-00", "mine", "x")
    assert right.count("mine.label") == run.clusters()[-1].size or right.count("mine.label") > 0
    edits.undo()
    assert "mine" not in dataset.get_field_schema()
    fdc.resume(dataset, "dc", progress=False, compute_brain=False)
    fdc.delete_run(dataset, "dc")


def test_assign_to_another_dataset_and_to_new_samples(make_digits, digits_dir):
    import fiftyone as fo

    dataset = make_digits(60)
    fdc.cluster(dataset, key="dc", **FROZEN)
    fdc.review(dataset, "dc").rename("cluster-02", "two")
    fresh = make_digits(60)
    assert fdc.assign(fresh, "dc", from_dataset=dataset) == 60
    assert fresh.values("dc.label") == dataset.values("dc.label")
    assert fdc.load_run(fresh, "dc").n_samples == 60
    assert fdc.assign(fresh, "dc", from_dataset=dataset) == 0
    files = sorted(digits_dir.iterdir())[60:70]
    dataset.add_samples([fo.Sample(filepath=str(file)) for file in files], progress=False)
    before = dataset.limit(60).values("last_modified_at")
    assert fdc.assign(dataset, "dc") == 10
    assert dataset.count("dc.label") == 70
    assert dataset.limit(60).values("last_modified_at") == before
    assert set(dataset.distinct("dc.label")) <= {"cluster-00", "cluster-01", "two", "cluster-03"}
    fdc.delete_run(fresh, "dc")
    assert "dc" not in fresh.get_field_schema()
    other = make_digits(10)
    fdc.cluster(other, key="dc", **FROZEN)
    with pytest.raises(RunExistsError, match="different run with the key 'dc'"):
        fdc.assign(other, "dc", from_dataset=dataset)
