"""Runs on a dataset: listed, loaded, summarized, renamed, deleted, without side effects."""

from __future__ import annotations

import json

import numpy as np
import pytest
from bson import ObjectId

from fiftyone_deepcluster import cluster, delete_run, list_runs, load_run, rename_run
from fiftyone_deepcluster.dataset.display.brain import add_brain_runs, refresh_map
from fiftyone_deepcluster.dataset.io.fields import FieldNames
from fiftyone_deepcluster.dataset.io.read_images import collect_images
from fiftyone_deepcluster.dataset.io.source import SampleSource
from fiftyone_deepcluster.dataset.runs import lock, run_files, storage
from fiftyone_deepcluster.dataset.runs.kv import find
from fiftyone_deepcluster.errors import InputError, RunExistsError, RunLockedError, RunNotFoundError
from tests.dataset.conftest import SETTINGS, kmeans_result


def with_brain(dataset, key="dc"):
    source = collect_images(dataset)
    vectors = np.stack(dataset.values(f"{key}_embedding"))
    add_brain_runs(source, FieldNames(key), np.arange(len(source)), vectors)


def state(dataset):
    """Everything visible to users: schema, values, runs, indexes, layout."""
    dataset.reload()
    documents = [
        {name: value for name, value in doc.items() if name != "last_modified_at"}
        for doc in dataset._sample_collection.find()
    ]
    layout = [(group.name, group.paths) for group in dataset.app_config.sidebar_groups or []]
    runs = dataset.list_runs(), dataset.list_brain_runs(), dataset.list_saved_views()
    return list(dataset.get_field_schema(flat=True)), documents, runs, dataset.list_indexes(), layout


def test_what_was_stored_is_loaded(make_digits, stored_run):
    dataset = make_digits(12)
    result = stored_run(dataset, truth_field="ground_truth")
    assert list_runs(dataset) == ["dc"] == list_runs(dataset.limit(2))
    run = load_run(dataset.limit(1), "dc")
    assert run.record == result.record
    assert run.stop_reason == result.record.stop_reason
    assert (run.key, run.n_clusters, run.n_samples, run.patches_field) == ("dc", 4, 12, None)
    assert run.options.name == "frozen"
    assert run.options.n_clusters == 4
    assert run.settings["truth_field"] == "ground_truth"
    assert len(run.to_dataframe()) == 3
    assert run.to_dataframe()["round"].tolist() == [1, 2, 3]


def test_database_names_no_class_of_ours(make_digits, stored_run):
    dataset = make_digits(4)
    stored_run(dataset)
    info = dataset.get_run_info("dc")
    assert info.config.cls == "fiftyone.core.runs.RunConfig"
    json.dumps(info.config.serialize())


def test_unknown_and_foreign_runs(make_digits, stored_run):
    dataset = make_digits(4)
    dataset.register_run("theirs", dataset.init_run())
    assert list_runs(dataset) == []
    with pytest.raises(RunNotFoundError, match=r"no deep-clustering run 'theirs'; it has no runs yet"):
        load_run(dataset, "theirs")
    stored_run(dataset)
    with pytest.raises(RunNotFoundError, match=r"'dd'.*dc"):
        delete_run(dataset, "dd")


def test_cluster_views(make_digits, stored_run):
    dataset = make_digits(40)
    stored_run(dataset)
    run = load_run(dataset, "dc")
    view = run.cluster_view("cluster-01")
    assert set(view.values("dc.label")) == {"cluster-01"}
    assert view.values("dc.distance") == sorted(view.values("dc.distance"))
    assert len(run.cluster_view("cluster-01", "cluster-02")) == sum(
        info.size for info in run.clusters() if info.ids[0] in (1, 2)
    )
    assert len(run.view()) == 40
    assert run.view().values("dc.label") == sorted(dataset.values("dc.label"))
    with pytest.raises(InputError, match=r"no cluster 'cluster-0l'; did you mean 'cluster-0\d' or"):
        run.cluster_view("cluster-0l")


def test_delete_removes_exactly_its_own(make_digits, stored_run):
    dataset = make_digits(30)
    dataset.save_view("mine", dataset.limit(3))
    stored_run(dataset, "other")
    with_brain(dataset, "other")
    before = state(dataset)
    stored_run(dataset, "dc")
    with_brain(dataset, "dc")
    folder = run_files.run_dir(dataset, "dc")
    folder.mkdir(parents=True)
    (folder / "checkpoint.pt").write_bytes(b"x")
    delete_run(dataset, "dc")
    assert state(dataset) == before
    assert not folder.exists()
    assert lock.holder(dataset, "dc") is None
    delete_run(dataset, "other")
    assert list(dataset.get_field_schema()) == [
        "id", "filepath", "tags", "metadata", "created_at", "last_modified_at", "ground_truth",
    ]  # fmt: skip
    assert dataset.list_brain_runs() == []
    assert not find(dataset, "")


def test_rename_takes_everything_along(make_digits, stored_run):
    dataset = make_digits(30)
    result = stored_run(dataset)
    with_brain(dataset)
    (run_files.run_dir(dataset, "dc")).mkdir(parents=True)
    run = rename_run(dataset, "dc", "better")
    assert run.key == "better"
    assert list_runs(dataset) == ["better"]
    assert dataset.values("better.cluster") == result.labels.tolist()
    assert sorted(dataset.list_brain_runs()) == ["better_sim", "better_viz"]
    assert "better.label" in dataset.list_indexes()
    assert "dc.label" not in dataset.list_indexes()
    assert not [field for field in dataset.get_field_schema() if field.startswith("dc")]
    assert "better" in [group.name for group in dataset.app_config.sidebar_groups]
    assert run_files.run_dir(dataset, "better").is_dir()
    assert not run_files.run_dir(dataset, "dc").exists()
    index = dataset.load_brain_results("better_sim")
    assert index.config.embeddings_field == "better_embedding"
    nearest = dataset.sort_by_similarity(dataset.first().id, k=1, brain_key="better_sim")
    assert nearest.first().id == dataset.first().id
    delete_run(dataset, "better")
    assert "better" not in dataset.get_field_schema()


def test_rename_to_what_is_taken(make_digits, stored_run):
    dataset = make_digits(6)
    stored_run(dataset)
    before = state(dataset)
    with pytest.raises(RunExistsError, match="ground_truth"):
        rename_run(dataset, "dc", "ground_truth")
    with pytest.raises(InputError, match="cannot be the name of a field"):
        rename_run(dataset, "dc", "a b")
    with pytest.raises(RunExistsError, match="already has the key 'dc'; give a different new_key"):
        rename_run(dataset, "dc", "dc")
    assert state(dataset) == before


def test_a_run_at_work_is_left_alone(make_digits, stored_run):
    dataset = make_digits(6)
    stored_run(dataset)
    with lock.acquire(dataset, "dc"), pytest.raises(RunLockedError):
        delete_run(dataset, "dc")
    assert list_runs(dataset) == ["dc"]


def test_run_of_a_view_remembers_its_view(make_digits, stored_run):
    dataset = make_digits(20)
    view = dataset.match({"ground_truth.label": {"$in": ["1", "2"]}})
    stored_run(view)
    assert dataset.load_run_view("dc").values("id") == view.values("id")
    run = load_run(dataset, "dc")
    assert run.n_samples == len(view) == len(run.view())


def test_map_and_similarity(make_digits, stored_run):
    dataset = make_digits(60)
    stored_run(dataset)
    with_brain(dataset)
    results = dataset.load_brain_results("dc_viz")
    assert results.points.shape == (60, 2)
    assert list(results.sample_ids) == dataset.values("id")
    stamp = dataset.get_brain_info("dc_viz").timestamp
    refresh_map(dataset, FieldNames("dc"))
    dataset.reload()
    assert dataset.get_brain_info("dc_viz").timestamp > stamp
    config = dataset.get_brain_info("dc_sim").config
    assert config.embeddings_field == "dc_embedding"


def test_a_run_is_read_by_many_threads_at_once(make_digits):
    """The App's panel handles each event in a separate thread."""
    from concurrent.futures import ThreadPoolExecutor

    dataset = make_digits(20)
    cluster(dataset, "frozen", key="dc", n_clusters=2, progress=False, compute_brain=False, baselines=False)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: len(load_run(dataset, "dc").rounds), range(200)))
    assert found == [1] * 200


def test_a_view_that_is_too_long_for_a_document_is_stored_as_the_dataset(make_digits):
    dataset = make_digits(3)
    ids = dataset.values("id")
    view = dataset.select([*ids, *(str(ObjectId()) for _ in range(650_000))])
    result = kmeans_result(3, k=2)
    header = storage.RunHeader("frozen", result.record.options, {**SETTINGS}, None, 3)
    images = collect_images(dataset).images
    storage.register_run(SampleSource(dataset, view, ids, ids, images), "dc", header, result.record)
    assert load_run(dataset, "dc").n_samples == 3
    assert storage.storable(dataset.limit(2)) == dataset.limit(2)
