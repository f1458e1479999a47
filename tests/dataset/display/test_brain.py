"""The 2-D map and the similarity index: of objects in any slice, and never at the cost of the run."""

from __future__ import annotations

import pytest

import fiftyone_deepcluster as fdc
from tests.dataset.small_runs import FROZEN

WITH_BRAIN = {**FROZEN, "n_clusters": 2, "compute_brain": True}


@pytest.fixture
def slices(fiftyone_home, digits_dir):
    """Four groups of two slices; every sample has two objects. Maps of fewer than 20 images take no UMAP."""
    import fiftyone as fo

    dataset = fo.Dataset()
    dataset.add_group_field("group", default="left")
    files = iter(sorted(digits_dir.iterdir()))
    samples = []
    for _ in range(4):
        group = fo.Group()
        for name in ("left", "right"):
            halves = [fo.Detection(label="half", bounding_box=[x, 0, 0.5, 1]) for x in (0, 0.5)]
            objects = fo.Detections(detections=halves)
            samples.append(fo.Sample(filepath=str(next(files)), group=group.element(name), objects=objects))
    dataset.add_samples(samples, progress=False)
    yield dataset
    dataset.delete()


@pytest.mark.parametrize("shown", ["right", ["left", "right"]])
def test_objects_of_every_slice_are_in_the_map_and_the_index(slices, shown):
    patches = slices.select_group_slices(shown).to_patches("objects")
    run = fdc.cluster(patches, key="dc", **WITH_BRAIN)
    assert run.record.notes == []
    slices.reload()
    found = slices.load_brain_results("dc_viz")
    assert sorted(found.label_ids) == sorted(patches.values("id"))
    assert dict(zip(found.label_ids, found.sample_ids, strict=True)) == dict(
        zip(*patches.values(["id", "sample_id"]), strict=True)
    )
    assert slices.load_brain_results("dc_sim").total_index_size == len(patches)


def test_objects_of_a_slice_that_cannot_be_read_have_no_place_in_the_map(slices):
    right = slices.select_group_slices("right")
    sample = right.first()
    sample.objects.detections[1].bounding_box = [0.5, 0.5, 0, 0]
    sample.save()
    patches = right.to_patches("objects").limit(6)
    readable = set(patches.values("id")) - {sample.objects.detections[1].id}
    run = fdc.cluster(patches, key="dc", **WITH_BRAIN)
    assert run.record.n_failed == len(run.record.notes) == 1
    assert set(slices.load_brain_results("dc_viz").label_ids) == readable


def test_a_map_or_an_index_that_fails_does_not_cost_the_run(make_digits, monkeypatch, caplog):
    import fiftyone.brain as fob

    monkeypatch.delitem(fob.brain_config.visualization_methods, "manual")
    monkeypatch.delitem(fob.brain_config.similarity_backends, "sklearn")
    dataset = make_digits(16)
    run = fdc.cluster(dataset, key="dc", **WITH_BRAIN)
    assert dataset.count("dc.label") == sum(info.size for info in run.clusters()) == 16
    assert dataset.list_brain_runs() == []
    notes = fdc.load_run(dataset, "dc").record.notes
    assert len(notes) == 2
    for note, what in zip(notes, ("the 2-D map dc_viz", "the similarity index dc_sim"), strict=True):
        assert note.startswith(f"{what} could not be computed (")
        assert note.endswith("); the rest of the run is complete")
        assert note in caplog.text
