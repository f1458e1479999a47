"""Fields are declared, written by id and removed; nothing else is changed."""

from __future__ import annotations

import numpy as np
import pytest

from fiftyone_deepcluster.dataset.display.sidebar import add_group, remove_group
from fiftyone_deepcluster.dataset.io.fields import FieldNames, check_free, check_key, declare, remove
from fiftyone_deepcluster.dataset.io.layouts import LAYOUTS
from fiftyone_deepcluster.dataset.io.read_images import collect_images
from fiftyone_deepcluster.dataset.io.write import Columns, set_values, vectors, write
from fiftyone_deepcluster.errors import InputError, RunExistsError
from fiftyone_deepcluster.metrics.matching import changes, cluster_names, stability
from tests.dataset.conftest import kmeans_result

NAMES = FieldNames("dc")


def write_result(samples, result, names=NAMES, **options):
    source = collect_images(samples)
    declare(source.dataset, names)
    write(source, names, Columns(result, cluster_names(4), **options))
    return source


def test_every_value_comes_back(make_digits):
    dataset, result = make_digits(30), kmeans_result(30)
    write_result(dataset, result)
    assert dataset.values("dc.label") == [f"cluster-0{label}" for label in result.labels]
    assert dataset.values("dc.cluster") == result.labels.tolist()
    for name in ("confidence", "distance", "margin"):
        np.testing.assert_array_equal(np.float32(dataset.values(f"dc.{name}")), getattr(result, name))
    for name, rows in (
        ("embedding", result.embeddings),
        ("round_labels", result.round_labels),
        ("round_losses", result.round_losses),
    ):
        found = np.stack(dataset.values(f"dc_{name}"))
        np.testing.assert_array_equal(found, rows)
        assert found.dtype == rows.dtype
    assert dataset.values("dc_changes") == changes(result.round_labels).tolist()
    np.testing.assert_array_equal(np.float32(dataset.values("dc_stability")), stability(result.round_labels))
    np.testing.assert_array_equal(np.float32(dataset.values("dc_loss")), result.round_losses[:, -1])
    assert set(dataset.values("dc_error")) == {None}


def test_written_samples_are_ordinary(make_digits):
    import fiftyone as fo

    dataset, result = make_digits(10), kmeans_result(10)
    write_result(dataset, result)
    dataset.reload()
    sample = dataset.first()
    assert isinstance(sample.dc, fo.Classification)
    assert sample.dc.cluster == result.labels[0]
    sample.dc.label = "seven"
    sample.save()
    assert dataset.count_values("dc.label")["seven"] == 1
    assert len({label.id for label in dataset.values("dc")}) == 10
    assert "dc.label" in dataset.list_indexes()


def test_samples_in_memory_see_the_values(make_digits):
    dataset, result = make_digits(10), kmeans_result(10)
    sample = dataset.first()
    write_result(dataset, result)
    assert sample.dc.cluster == result.labels[0]


def test_vectors_are_stored_as_fiftyone_stores_them():
    import fiftyone.core.utils as fou

    for dtype in (np.float16, np.float32, np.int32):
        rows = np.random.default_rng(0).integers(0, 99, (5, 7)).astype(dtype)
        for blob, row in zip(vectors(rows), rows, strict=True):
            found = fou.deserialize_numpy_array(blob)
            np.testing.assert_array_equal(found, row)
            assert found.dtype == dtype


def test_half_precision(make_digits):
    dataset, result = make_digits(8), kmeans_result(8)
    write_result(dataset, result, half_precision=True)
    assert dataset.first().dc_embedding.dtype == np.float16
    np.testing.assert_array_equal(
        np.stack(dataset.values("dc_embedding")), result.embeddings.astype(np.float16)
    )


def test_unreadable_image_has_its_error_and_nothing_else(make_digits):
    dataset, result = make_digits(10), kmeans_result(10, errors={3: "cut short"})
    write_result(dataset, result)
    sample = dataset.skip(3).first()
    assert sample.dc_error == "cut short"
    for field in (
        "dc",
        *(f"dc_{name}" for name in ("embedding", "round_labels", "changes", "stability", "loss")),
    ):
        assert sample[field] is None
    assert dataset.count("dc.label") == 9
    assert dataset.count("dc_error") == 1


def test_noise_is_a_label(make_digits):
    dataset, result = make_digits(6), kmeans_result(6)
    result.labels[2] = -1
    write_result(dataset, result)
    assert dataset.values("dc.label")[2] == "noise"
    assert dataset.values("dc.cluster")[2] == -1


def test_rows_go_to_their_ids_not_their_places(make_digits):
    dataset, result = make_digits(20), kmeans_result(20)
    source = write_result(dataset.sort_by("filepath", reverse=True), result)
    found = dict(zip(*dataset.values(["id", "dc.cluster"]), strict=True))
    assert [found[name] for name in source.ids] == result.labels.tolist()


def test_view_touches_its_samples_only(make_digits):
    dataset = make_digits(20)
    before = dict(zip(*dataset.values(["id", "last_modified_at"]), strict=True))
    source = write_result(dataset.skip(5).limit(10), kmeans_result(10))
    after = dict(zip(*dataset.values(["id", "last_modified_at"]), strict=True))
    assert {name for name in before if before[name] != after[name]} == set(source.ids)
    assert dataset.values("dc.label")[:5] == [None] * 5
    assert dataset.count("dc.label") == 10


def test_patches_hold_plain_attributes(make_digits):
    import fiftyone as fo

    dataset = make_digits(6)
    for sample in dataset.iter_samples(autosave=True):
        boxes = [[0, 0, 0.5, 1], [0.5, 0, 0.5, 1]]
        sample["objects"] = fo.Detections(detections=[fo.Detection(label="x", bounding_box=b) for b in boxes])
    patches = dataset.limit(4).to_patches("objects")
    chosen = patches.limit(7)
    names, result = FieldNames("dc", "objects"), kmeans_result(7)
    write_result(chosen, result, names)
    assert dataset.count("objects.detections.dc") == 7
    found = dict(
        zip(
            *dataset.values(["objects.detections.id", "objects.detections.dc_cluster"], unwind=True),
            strict=True,
        )
    )
    assert [found[name] for name in chosen.values("id")] == result.labels.tolist()
    dataset.reload()
    detection = dataset.first().objects.detections[0]
    assert detection.dc == cluster_names(4)[detection.dc_cluster]
    np.testing.assert_array_equal(detection.dc_embedding, result.embeddings[0])
    assert detection.label == "x"
    # a patches view made afterwards carries them, too
    assert dataset.to_patches("objects").count("objects.dc") == 7
    remove(dataset, names)
    assert dataset.count("objects.detections.dc") == 0
    assert dataset.get_field("objects.detections.dc_embedding") is None
    assert dataset.count("objects.detections.label") == 12


def test_set_values_by_id(make_digits):
    dataset = make_digits(6)
    write_result(dataset, kmeans_result(6))
    from bson import ObjectId

    ids = [ObjectId(name) for name in dataset.values("id")]
    set_values(dataset, "dc.label", NAMES, [(ids[4], ids[4]), (ids[1], ids[1])], ["four", None])
    labels = dataset.values("dc.label")
    assert labels[4] == "four"
    assert labels[1] is None
    assert labels[0].startswith("cluster-")


def test_removing_leaves_the_dataset_as_it_was(make_digits):
    dataset = make_digits(5)
    schema, indexes = list(dataset.get_field_schema()), dataset.list_indexes()
    documents = [
        {k: v for k, v in doc.items() if k != "last_modified_at"} for doc in dataset._sample_collection.find()
    ]
    write_result(dataset, kmeans_result(5))
    remove(dataset, NAMES)
    remove(dataset, NAMES)
    assert list(dataset.get_field_schema()) == schema
    assert dataset.list_indexes() == indexes
    assert [
        {k: v for k, v in doc.items() if k != "last_modified_at"} for doc in dataset._sample_collection.find()
    ] == documents


def test_taken_names_are_refused(make_digits):
    import fiftyone as fo

    dataset = make_digits(3)
    check_free(dataset, NAMES)
    dataset.add_sample_field("dc_loss", fo.StringField)
    with pytest.raises(
        RunExistsError, match=r"key='dc' is taken: .* already has a field 'dc_loss'; choose another"
    ):
        check_free(dataset, NAMES)
    check_free(dataset, NAMES, but=NAMES)
    dataset.register_run("other", dataset.init_run())
    with pytest.raises(RunExistsError, match="other"):
        check_free(dataset, FieldNames("other"))


@pytest.mark.parametrize("key", ["", "1a", "a-b", "a b", "_dc", "for", "a.b", None])
def test_keys_that_cannot_work(key):
    with pytest.raises(InputError, match="key="):
        check_key(key)


def test_declaring_leaves_a_persons_field_alone(make_digits):
    import fiftyone as fo

    dataset = make_digits(3)
    dataset.add_sample_field("dc_error", fo.FloatField)
    dataset.set_values("dc_error", [0.5, 0.25, 0.125])
    schema = list(dataset.get_field_schema())
    with pytest.raises(RunExistsError, match="dc_error"):
        declare(dataset, NAMES)
    assert list(dataset.get_field_schema()) == schema
    assert dataset.values("dc_error") == [0.5, 0.25, 0.125]


def test_declaring_halfway_leaves_nothing(make_digits):
    dataset = make_digits(3)
    schema = list(dataset.get_field_schema())
    # MongoDB refuses the label's index where another index bears its name: the last step of declaring
    dataset._sample_collection.create_index([("filepath", -1)], name="dc.label_1")
    with pytest.raises(Exception, match=r"dc\.label"):
        declare(dataset, NAMES)
    assert list(dataset.get_field_schema()) == schema


def test_sidebar_group_comes_and_goes(make_digits):
    dataset = make_digits(5)
    other = FieldNames("dc2")
    for names in (NAMES, other):
        declare(dataset, names)
        add_group(dataset, names)
    groups = {group.name: group.paths for group in dataset.app_config.sidebar_groups}
    values = [
        "changes",
        "stability",
        "loss",
        "error",
        "category",
        "embedding",
        "round_labels",
        "round_losses",
    ]
    assert groups["dc"] == ["dc", *(f"dc_{value}" for value in values)]
    assert not groups.get("other")
    assert "dc2" in groups["dc2"]
    assert "ground_truth" in groups["labels"]
    assert sum(paths.count("dc") for paths in groups.values()) == 1
    for names in (NAMES, other):
        remove(dataset, names)
        remove_group(dataset, names)
    assert not dataset.app_config.sidebar_groups


@pytest.mark.parametrize("by_patches", [False, True])
def test_fields_without_values_are_removed(make_digits, by_patches):
    import fiftyone as fo

    import fiftyone_deepcluster as fdc

    dataset = make_digits(12)
    whole = fo.Detections(detections=[fo.Detection(label="x", bounding_box=[0, 0, 1, 1])])
    dataset.set_values("objects", [whole.copy() for _ in range(12)])
    samples = dataset.to_patches("objects") if by_patches else dataset
    prefix = "objects.detections." if by_patches else ""
    options = {"n_clusters": 3, "baselines": False, "progress": False, "compute_brain": False}
    fdc.cluster(samples, "frozen", key="dc", **options)
    there = [
        name for name in LAYOUTS["clusters"].beside if dataset.get_field(f"{prefix}dc_{name}") is not None
    ]
    assert there == ["embedding", "round_labels"]
    for group in dataset.app_config.sidebar_groups or []:
        assert all(dataset.get_field(path) is not None for path in group.paths if path.startswith("dc"))
    assert fdc.list_runs(fdc.rename_run(samples, "dc", "two").dataset) == ["two"]
    fdc.delete_run(dataset, "two")
    names = dataset.get_field_schema(flat=True)
    assert not [name for name in names if name.removeprefix(prefix).startswith(("dc", "two"))]


def test_sidebar_keeps_a_layout_of_the_users_own(make_digits):
    import fiftyone as fo

    dataset = make_digits(3)
    mine = fo.SidebarGroupDocument(name="mine", paths=["ground_truth"])
    dataset.app_config.sidebar_groups = [mine]
    dataset.save()
    declare(dataset, NAMES)
    add_group(dataset, NAMES)
    assert [group.name for group in dataset.app_config.sidebar_groups] == ["mine", "dc"]
    remove(dataset, NAMES)
    remove_group(dataset, NAMES)
    assert [(group.name, group.paths) for group in dataset.app_config.sidebar_groups] == [
        ("mine", ["ground_truth"])
    ]
