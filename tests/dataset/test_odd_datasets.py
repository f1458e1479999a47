"""Keys, datasets and fields that no run can use: one clear error, and what can be read is read."""

from __future__ import annotations

import uuid

import numpy as np
import pytest
from PIL import Image

import fiftyone_deepcluster as fdc
from fiftyone_deepcluster.errors import ImagesError, InputError, OptionsError, RunNotFoundError
from tests.dataset.small_runs import FROZEN

KEYS = [["dc"], {"dc": 1}, {"dc"}, np.array(["dc", "x"]), np.array([1, 2]), 5, None, b"dc"]
STRINGS = ["a\0b", "x" * 300, "a b", "../dc", "\ud800"]


@pytest.fixture
def dataset(make_digits, stored_run):
    made = make_digits(12)
    stored_run(made)
    return made


def calls(dataset, key):
    return [
        lambda: fdc.load_run(dataset, key),
        lambda: fdc.delete_run(dataset, key),
        lambda: fdc.rename_run(dataset, key, "dc2"),
        lambda: fdc.assign(dataset, key),
        lambda: fdc.resume(dataset, key, progress=False),
        lambda: fdc.review(dataset, key),
        lambda: fdc.key_words(dataset, key),
    ]


@pytest.mark.parametrize("key", KEYS, ids=repr)
def test_a_key_that_is_no_string(dataset, key):
    for call in calls(dataset, key):
        with pytest.raises(InputError, match=r"key=.* is not a name; give a string, such as 'dc'"):
            call()
    with pytest.raises(InputError, match=r"new_key=.* cannot be the name of a field"):
        fdc.rename_run(dataset, "dc", key)
    assert fdc.list_runs(dataset) == ["dc"]


@pytest.mark.parametrize("key", STRINGS, ids=ascii)
def test_a_string_that_no_run_has_as_key(dataset, key):
    for call in calls(dataset, key):
        with pytest.raises(RunNotFoundError, match="dc"):
            call()
    with pytest.raises(InputError, match=r"new_key=.*"):
        fdc.rename_run(dataset, "dc", key)
    assert fdc.list_runs(dataset) == ["dc"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_exemplars": None}, "n_exemplars=None is not a whole number; give 0 or more"),
        ({"n_exemplars": -1}, "n_exemplars=-1: give 0 or more"),
        ({"exemplars": ["nearest"]}, r"exemplars=\['nearest'\] is not known; choose one of: nearest, random"),
        ({"exemplars": "random", "seed": "x"}, "seed='x' is not a whole number"),
    ],
)
def test_clusters_of_a_run(dataset, arguments, message):
    run = fdc.load_run(dataset, "dc")
    with pytest.raises(InputError, match=message):
        run.clusters(**arguments)
    assert [len(info.exemplars) for info in run.clusters(np.int64(1))] == [1] * 4
    with pytest.raises(InputError, match="names='cluster-00' is not a list of names"):
        run.check_names("cluster-00")


def test_a_run_whose_dataset_was_made_anew(dataset):
    import fiftyone as fo

    run, name = fdc.load_run(dataset, "dc"), dataset.name
    dataset.delete()
    again = fo.Dataset(name)
    for call in (run.clusters, run.names, run.view, fdc.Run.cluster_view.__get__(run)):
        with pytest.raises(
            RunNotFoundError, match=f"'{name}' was deleted since run 'dc' was loaded; load a run of an"
        ):
            call("cluster-00") if call.__name__ == "cluster_view" else call()
    assert fdc.list_runs(again) == []
    again.delete()


def test_a_dataset_that_another_process_made_anew(dataset):
    from fiftyone.core.odm import get_db_conn

    run = fdc.load_run(dataset, "dc")
    document = get_db_conn().datasets.find_one_and_delete({"_id": dataset._doc.id})  # as another process does
    try:
        with pytest.raises(ImagesError, match="was deleted; load or create another dataset"):
            fdc.list_runs(dataset)
        with pytest.raises(RunNotFoundError, match="was deleted since run 'dc' was loaded"):
            run.clusters()
    finally:
        get_db_conn().datasets.insert_one(document)


@pytest.mark.parametrize("vectors", [["a", "b"], [[1], [2, 3]], ["1.5", "x"]])
def test_vectors_of_text(make_digits, vectors):
    import fiftyone as fo

    dataset = make_digits(4)
    dataset.add_sample_field("vectors", fo.ListField)
    dataset.set_values("vectors", [vectors] * 4)
    with pytest.raises(
        InputError, match=r"embeddings_field='vectors' holds .* which is no vector of numbers"
    ):
        fdc.cluster(dataset, key="dc", embeddings_field="vectors", **{**FROZEN, "n_clusters": 2})


@pytest.mark.parametrize("box", [[0.0, 0.5], [], [0.1, 0.1, 0.2, 0.2, 0.3]])
def test_a_box_that_has_not_four_numbers(make_digits, box):
    import fiftyone as fo

    dataset = make_digits(6)
    boxes = [box] + [[0, 0, 1, 1]] * 5
    dataset.set_values("objects", [fo.Detections(detections=[fo.Detection(bounding_box=b)]) for b in boxes])
    run = fdc.cluster(dataset, key="dc", patches_field="objects", **{**FROZEN, "n_clusters": 2})
    assert run.record.n_failed == 1
    (why,) = dataset.first().objects.detections[0:1]
    assert why.dc_error == f"the box {tuple(box)} has {len(box)} numbers; give x, y, width, height"


def test_a_view_of_group_slices_of_several_media(fiftyone_home, tmp_path):
    import fiftyone as fo

    dataset = fo.Dataset(f"groups-{uuid.uuid4().hex[:8]}")
    dataset.add_group_field("group", default="left")
    for row in range(3):
        group, path = fo.Group(), tmp_path / f"{row}.png"
        Image.fromarray(np.full((16, 16), 80 * row, np.uint8)).save(path)
        dataset.add_samples(
            [
                fo.Sample(filepath=str(path), group=group.element("left"), kind=str(row)),
                fo.Sample(filepath=str(tmp_path / f"{row}.mp4"), group=group.element("film"), kind=str(row)),
            ],
            progress=False,
        )
    with pytest.raises(
        ImagesError, match=r"3 of 6 files are not images \(media type 'mixed'\), such as .*mp4"
    ):
        fdc.cluster(dataset.select_group_slices(_allow_mixed=True), key="dc", **FROZEN)
    with pytest.raises(ImagesError, match=f"'{dataset.name}' is a grouped dataset; select the slices"):
        fdc.cluster(dataset.group_by("kind").flatten(), key="dc", **FROZEN)
    dataset.delete()


def test_whole_numbers_of_numpy(make_digits):
    dataset = make_digits(12)
    run = fdc.cluster(dataset, key="dc", **{**FROZEN, "n_clusters": np.int64(2), "rounds": np.uint8(1)})
    assert (type(run.options.n_clusters), run.n_clusters) == (int, 2)
    options = fdc.LDPO(n_topics=np.int64(2), seed=np.int16(3))
    assert (type(options.n_topics), type(options.seed)) == (int, int)
    with pytest.raises(OptionsError, match=r"n_topics=np\.float64\(2\.5\)|n_topics=2\.5"):
        fdc.LDPO(n_topics=np.float64(2.5))
