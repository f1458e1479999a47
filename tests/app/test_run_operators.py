"""Operators for runs: list, show, rename, delete, and interrupted runs."""

from __future__ import annotations

import fiftyone as fo
import fiftyone.operators as foo
import pytest

from fiftyone_deepcluster.app import names
from fiftyone_deepcluster.app.operators import (
    AuditLabels,
    ClusterImages,
    DeleteClusteringRun,
    ListClusteringRuns,
    RefineClustering,
    RenameCluster,
    RenameClusteringRun,
    ResumeClustering,
    ShowClusteringRun,
    UndoEdit,
)
from fiftyone_deepcluster.dataset.api import cluster
from fiftyone_deepcluster.dataset.review.review import review
from fiftyone_deepcluster.dataset.runs import run_files, status
from fiftyone_deepcluster.dataset.runs.run import list_runs, load_run
from fiftyone_deepcluster.errors import DeepClusterError
from tests.app.test_jobs import LAYOUT
from tests.app.test_operators import inputs_of, requests_of
from tests.observers import Acts, disk_full


def test_list(plugin, clustered):
    result = foo.execute_operator(names.LIST_CLUSTERING_RUNS, {"dataset": clustered})
    rows = result.result["runs"]
    assert [(row["key"], row["method"], row["n_images"], row["n_clusters"]) for row in rows] == [
        ("dc", "frozen", 200, 5)
    ]


def test_list_draws_a_table(make_context, clustered):
    outputs = ListClusteringRuns().resolve_output(make_context(clustered)).type
    assert outputs.get_property("runs").view.keys()[0] == "key"


def test_show(make_context, clustered):
    ctx = make_context(clustered, {"key": "dc"})
    assert ShowClusteringRun().execute(ctx) == {"key": "dc", "n_images": 200, "n_clusters": 5}
    called = requests_of(ctx)
    assert called["set_active_fields"]["fields"] == ["dc"]
    assert called["open_panel"]["state"] == {"state": {"run": "dc"}}
    assert called["set_view"]["view"]


def test_a_result_is_described_to_scripts_and_adds_no_page_to_the_dialog(make_context, clustered):
    outputs = ShowClusteringRun().resolve_output(make_context(clustered)).type
    assert list(outputs.properties) == ["key", "n_images", "n_clusters"]
    assert ShowClusteringRun().resolve_output(make_context(clustered, spaces=fo.Space().to_dict())) is None


def test_rename(make_context, clustered):
    place = inputs_of(RenameClusteringRun(), make_context(clustered, {"new_key": "ground_truth"}))
    assert place.get_property("new_key").invalid
    foo.execute_operator(names.RENAME_CLUSTERING_RUN, {"dataset": clustered}, params={"new_key": "digits"})
    clustered.reload()
    assert list_runs(clustered) == ["digits"]
    assert clustered.count("digits.label") == 200


def test_delete_says_what_goes_and_wants_to_be_sure(make_context, clustered):
    inputs = inputs_of(DeleteClusteringRun(), make_context(clustered))
    text = inputs.get_property("what").view.description
    assert all(word in text for word in ("dc_embedding", "dc_viz", "200 images", "kept"))
    assert inputs.get_property("confirm").invalid
    with pytest.raises(DeepClusterError, match="confirm"):
        DeleteClusteringRun().execute(make_context(clustered, {"key": "dc"}))
    foo.execute_operator(
        names.DELETE_CLUSTERING_RUN, {"dataset": clustered}, params={"key": "dc", "confirm": True}
    )
    clustered.reload()
    assert list_runs(clustered) == []
    assert not [name for name in clustered.get_field_schema() if name.startswith("dc")]


@pytest.mark.parametrize("shows_the_run", [False, True])
def test_delete_keeps_a_view_that_does_not_use_the_run(make_context, clustered, shows_the_run):
    field = "dc.label" if shows_the_run else "ground_truth.label"
    view = clustered.match({field: clustered.first()[field]})
    ctx = make_context(clustered, {"key": "dc", "confirm": True}, view=view._serialize())
    DeleteClusteringRun().execute(ctx)
    assert list_runs(clustered) == []
    assert ("clear_view" in requests_of(ctx)) == shows_the_run


@pytest.mark.parametrize(
    "operator", [RenameClusteringRun, DeleteClusteringRun, ShowClusteringRun, RenameCluster, UndoEdit]
)
def test_forms_say_so_where_there_is_no_run(make_context, digits_dataset, operator):
    inputs = inputs_of(operator(), make_context(digits_dataset))
    assert "No clustering run" in inputs.get_property("nothing").view.label


@pytest.fixture
def broken(plugin, make_digits):
    """40 digits with a run that failed after the first of two rounds."""

    dataset = make_digits(40)
    with pytest.raises(OSError, match="disk is full"):
        cluster(
            dataset, "deepcluster", "dc", observer=Acts(disk_full, after_round=1), n_clusters=4, rounds=2,
            image_size=16, min_steps=1, progress=False, compute_brain=False, baselines=False,
        )  # fmt: skip
    return dataset


def test_an_interrupted_run_is_listed_and_can_be_deleted(make_context, broken):
    result = foo.execute_operator(names.LIST_CLUSTERING_RUNS, {"dataset": broken})
    row = result.result["runs"][0]
    assert (row["key"], row["method"], row["rounds"]) == ("dc", "deepcluster", "1 of 2")
    assert row["stopped"] == "interrupted, can be resumed"
    inputs = inputs_of(DeleteClusteringRun(), make_context(broken, {"key": "dc"}))
    assert "checkpoint of 1 round," in inputs.get_property("what").view.description
    assert "nothing" in inputs_of(ShowClusteringRun(), make_context(broken)).properties
    foo.execute_operator(
        names.DELETE_CLUSTERING_RUN, {"dataset": broken}, params={"key": "dc", "confirm": True}
    )
    assert list_runs(broken) == []
    assert not run_files.dataset_dir(broken).exists()


_SAME = {
    "name": "deepcluster", "n_clusters": 4, "rounds": 2, "image_size": 16, "min_steps": 1, "baselines": False,
}  # fmt: skip


def test_the_form_resumes_an_interrupted_run_with_the_same_images_and_options(make_context, broken):
    assert inputs_of(ClusterImages(), make_context(broken)).get_property("key").default == "dc2"
    params = {"key": "dc", "method": _SAME, "compute_brain": False}
    inputs = inputs_of(ClusterImages(), make_context(broken, dict(params)))
    assert not inputs.get_property("key").invalid
    notice = inputs.get_property("left").view
    assert "interrupted after 1 of 2 rounds" in notice.label
    assert "it is resumed" in notice.description
    assert inputs_of(ResumeClustering(), make_context(broken)).get_property("key").type.values == ["dc"]
    assert ClusterImages().execute(make_context(broken, params))["key"] == "dc"
    assert len(load_run(broken, "dc").rounds) == 2


@pytest.mark.parametrize("other", [{**_SAME, "n_clusters": 3}, "frozen"], ids=["options", "method"])
def test_the_form_keeps_the_rounds_of_an_interrupted_run_unless_they_are_discarded(
    make_context, broken, other
):
    params = {"key": "dc", "method": other, "compute_brain": False}
    inputs = inputs_of(ClusterImages(), make_context(broken, dict(params)))
    place = inputs.get_property("key")
    assert place.invalid
    assert "after 1 of 2 rounds, with other images or options; resume it" in place.error_message
    before = status.read_states(broken)["dc"]
    ctx = make_context(broken, dict(params), spaces=LAYOUT, operator_uri=names.CLUSTER_IMAGES)
    assert ClusterImages().execute(ctx) is None
    assert "interrupted after round 1" in requests_of(ctx)["notify"]["message"]
    assert status.read_states(broken)["dc"] == before
    inputs = inputs_of(ClusterImages(), make_context(broken, {**params, "overwrite": True}))
    assert not inputs.get_property("key").invalid
    assert "deleted" in inputs.get_property("left").view.description


def test_the_form_offers_to_discard_an_interrupted_run_that_cannot_be_read(make_context, broken):
    (run_files.run_dir(broken, "dc") / run_files.JOB_FILE).write_text("{")
    params = {"key": "dc", "method": _SAME, "compute_brain": False}
    inputs = inputs_of(ClusterImages(), make_context(broken, dict(params)))
    assert "cannot be read" in inputs.get_property("key").error_message
    assert "Discard the interrupted run" in inputs.get_property("overwrite").view.description
    params["overwrite"] = True
    assert not inputs_of(ClusterImages(), make_context(broken, dict(params))).get_property("key").invalid
    assert ClusterImages().execute(make_context(broken, params))["key"] == "dc"


def test_the_form_resumes_no_run_of_other_images(make_context, broken):
    view = broken.limit(30).view()
    params = {"key": "dc", "method": _SAME, "view_target": "CURRENT_VIEW"}
    ctx = make_context(broken, params, view=view._serialize())
    assert inputs_of(ClusterImages(), ctx).get_property("key").invalid


def test_the_form_takes_no_more_clusters_than_images(make_context, digits_dataset):
    n = len(digits_dataset)
    for given, valid in ((n, True), (n + 1, False)):
        params = {"method": {"name": "frozen", "frozen": {"n_clusters": given}}}
        inputs = inputs_of(ClusterImages(), make_context(digits_dataset, params))
        place = inputs.get_property("method").type.get_property("frozen").type.get_property("n_clusters")
        assert bool(place.invalid) is not valid
    assert f"more than the {n} images" in place.error_message


@pytest.mark.parametrize("given", ["", "  "])
def test_forms_refuse_an_empty_name(make_context, clustered, given):
    clustered.add_sample_field("pixels", fo.VectorField)
    for operator, name in ((ClusterImages(), "key"), (AuditLabels(), "key"), (RefineClustering(), "new_key")):
        place = inputs_of(operator, make_context(clustered, {name: given})).get_property(name)
        assert place.invalid, operator
        assert place.error_message


def test_a_reviewed_run_is_refined_from_its_form(make_context, plugin, make_digits):
    dataset = make_digits(40)
    cluster(dataset, "frozen", "dc", n_clusters=4, progress=False, compute_brain=False, baselines=False)
    edits = review(dataset, "dc")
    edits.mark_reviewed(["cluster-00"])
    inputs = inputs_of(RefineClustering(), make_context(dataset))
    assert inputs.get_property("new_key").default == "dc2"
    assert "1 of 4 clusters is reviewed" in inputs.get_property("reviewed").view.label
    taken = inputs_of(RefineClustering(), make_context(dataset, {"new_key": "dc"}))
    assert taken.get_property("new_key").invalid
    kept = dataset.match({"dc.label": "cluster-00"}).values("id")
    assert RefineClustering().execute(make_context(dataset, {"key": "dc"}))["key"] == "dc2"
    assert {*kept} <= {*dataset.match({"dc2.label": "cluster-00"}).values("id")}
    assert "nothing" in inputs_of(RefineClustering(), make_context(make_digits(5))).properties
