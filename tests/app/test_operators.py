"""Operators with real execution contexts, FiftyOne's executor, and the routes of the App server."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
import time

import fiftyone as fo
import fiftyone.operators as foo
import numpy as np
import pytest
import torch
from fiftyone.operators.delegated import DelegatedOperationService
from fiftyone.operators.executor import ExecutionError, ExecutionResult, prepare_operator_executor
from PIL import Image

import fiftyone_deepcluster as fdc
from fiftyone_deepcluster.app import names
from fiftyone_deepcluster.app.operators import (
    ClusterImages,
    ShowClusteringRun,
)
from fiftyone_deepcluster.app.params import parse_call
from fiftyone_deepcluster.dataset.runs import status
from fiftyone_deepcluster.dataset.runs.run import list_runs, load_run
from fiftyone_deepcluster.methods.base import METHODS, parse_options
from tests.app.test_forms import browser_values

FROZEN = {"name": "frozen", "n_clusters": 4, "baselines": False}


def inputs_of(operator, ctx):
    return operator.resolve_input(ctx).type


def requests_of(ctx):
    return {item["operator_uri"]: item["params"] for item in ctx.executor.to_json()["requests"]}


# ---------------------------------------------------------------- cluster images


def test_form_offers_methods_fields_and_a_free_key(make_context, clustered):
    inputs = inputs_of(ClusterImages(), make_context(clustered))
    assert inputs.get_property("key").default == "dc2"
    assert not inputs.get_property("key").invalid
    assert "ground_truth" in inputs.get_property("truth_field").type.values
    assert inputs.get_property("truth_field").default == "ground_truth"
    method = inputs.get_property("method").type.get_property("name")
    assert (method.default, method.type.values[0]) == ("auto", "auto")
    assert "dc" not in inputs.get_property("truth_field").type.values
    assert "embeddings_field" not in inputs.properties
    frozen = inputs_of(ClusterImages(), make_context(clustered, {"method": "frozen"}))
    assert frozen.get_property("embeddings_field").type.values == [
        "",
        "dc_embedding",
    ]  # not the rounds' clusters
    trained = inputs_of(ClusterImages(), make_context(clustered, {"method": {"name": "self-training"}}))
    shown = trained.get_property("embeddings_field").view.description
    assert "together with the features of the network" in shown


def test_form_says_how_many_images_and_how_long(make_context, make_digits):
    dataset = make_digits(60)
    size = inputs_of(ClusterImages(), make_context(dataset)).get_property("size").view
    assert re.fullmatch(
        r"60 images; roughly \d+ (s|min) on this machine with 'deepcluster-manifold'", size.label
    )
    assert "continues in the background" in size.description
    assert "not_persistent" in inputs_of(ClusterImages(), make_context(dataset)).properties
    shown = {"view": dataset.limit(7)._serialize()}
    params = {"view_target": "CURRENT_VIEW", "method": {"name": "auto", "auto": {"max_minutes": 0.1}}}
    size = inputs_of(ClusterImages(), make_context(dataset, params, **shown)).get_property("size").view
    assert size.label == "7 images; ends after the round in which 6 s have passed"
    bad = {"name": "frozen", "n_clusters": 1}  # not valid, so nothing is promised
    size = inputs_of(ClusterImages(), make_context(dataset, {"method": bad})).get_property("size").view
    assert size.label == "60 images"


def test_form_groups_the_options_and_folds_the_rest(make_context, digits_dataset):
    inputs = inputs_of(ClusterImages(), make_context(digits_dataset, {"method": "deepcluster"}))
    shown = list(inputs.get_property("method").type.get_property("deepcluster").type.properties)
    assert shown == [
        "heading_clusters", "n_clusters", "heading_network", "weights", "backbone", "heading_duration", "rounds",
        "max_minutes", "show_advanced",
    ]  # fmt: skip
    opened = {"name": "deepcluster", "deepcluster": {"show_advanced": True}}
    inputs = inputs_of(ClusterImages(), make_context(digits_dataset, {"method": opened}))
    box = inputs.get_property("method").type.get_property("deepcluster").type
    assert {"seed", "epochs", "merge", "baselines"} <= set(box.properties)
    merge = box.get_property("merge")
    assert (merge.type.values, merge.default) == (["", "yes", "no"], None)


@pytest.mark.parametrize(
    ("options", "path", "complaint"),
    [
        ({"weights": "/no/such.pt"}, ["weights"], "there is no file '/no/such.pt'"),
        (
            {"weights": "IMAGENET1K_V9", "backbone": {"name": "torchvision"}},
            ["weights"],
            "give one of IMAGENET1K_V1",
        ),
        (
            {"backbone": {"name": "torchvision", "torchvision": {"model": "mobilnet_v2"}}},
            ["backbone", "torchvision", "model"],
            "mobilenet_v2",
        ),
        (
            {"backbone": {"name": "timm", "timm": {"model": "resnet19"}}},
            ["backbone", "timm", "model"],
            "did you mean 'resnet1",
        ),
        (
            {"backbone": {"name": "transformers", "transformers": {"model": "/no/such/folder"}}},
            ["backbone", "transformers", "model"],
            "there is no folder '/no/such/folder'",
        ),
        (
            {"weights": "IMAGENET1K_V1", "backbone": {"name": "timm"}},
            ["weights"],
            "give the path of a state dict, or pretrained",
        ),
    ],
)
def test_form_checks_files_and_model_names_while_they_are_typed(
    make_context, digits_dataset, options, path, complaint
):
    given = {"name": "deepcluster", "deepcluster": options}
    place = inputs_of(ClusterImages(), make_context(digits_dataset, {"method": given})).get_property("method")
    for step in ["deepcluster", *path]:
        place = place.type.get_property(step)
    assert place.invalid
    assert complaint in place.error_message


@pytest.mark.parametrize("library", ["timm", "transformers"])
def test_form_accepts_the_librarys_own_weights(make_context, digits_dataset, library):
    given = {"name": "frozen", "frozen": {"weights": "pretrained", "backbone": {"name": library}}}
    box = inputs_of(ClusterImages(), make_context(digits_dataset, {"method": given})).get_property("method")
    weights = box.type.get_property("frozen").type.get_property("weights")
    assert not weights.invalid


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS.names())
def test_every_method_runs_with_what_its_form_sends(make_context, make_digits, method):
    """The browser sends the default of every input; here with one short round."""
    dataset = make_digits(40)
    asked = {"name": method, method: {"show_advanced": True}}
    sent = browser_values(inputs_of(ClusterImages(), make_context(dataset, {"method": asked})))
    options = sent["method"][method]
    options |= {"rounds": 1, "n_clusters": 4, "baselines": False}
    options |= {name: 1 for name in ("min_steps", "pixel_epochs") if name in options}
    sent |= {"key": "dc", "compute_brain": False, "method": {"name": method, method: options}}
    foo.execute_operator(names.CLUSTER_IMAGES, {"dataset": dataset}, params=sent)
    run = load_run(dataset, "dc")
    assert run.record.method == method
    assert len(run.rounds) <= 1  # on so few images, the first may be no progress
    assert dataset.count("dc.label") == 40
    assert 1 < len(run.names()) <= 40


@pytest.mark.parametrize(
    ("key", "complaint"),
    [("1a", "Name '1a' cannot be the name of a field"), ("ground_truth", "taken"), ("dc", "replace")],
)
def test_form_checks_the_key_while_it_is_typed(make_context, clustered, key, complaint):
    place = inputs_of(ClusterImages(), make_context(clustered, {"key": key})).get_property("key")
    assert place.invalid
    assert complaint in place.error_message


def test_form_warns_before_it_replaces_a_run(make_context, clustered):
    inputs = inputs_of(ClusterImages(), make_context(clustered, {"key": "dc", "overwrite": True}))
    assert not inputs.get_property("key").invalid
    assert "replaced" in inputs.get_property("overwritten").view.label


def test_form_does_not_replace_a_run_with_edits(make_context, clustered):
    review = fdc.review(clustered, "dc")
    review.rename(review.names()[0], "mine")
    inputs = inputs_of(ClusterImages(), make_context(clustered, {"key": "dc", "overwrite": True}))
    place = inputs.get_property("key")
    assert place.invalid
    assert "has 1 edit, which replacing it would discard" in place.error_message
    review.undo()
    inputs = inputs_of(ClusterImages(), make_context(clustered, {"key": "dc", "overwrite": True}))
    assert not inputs.get_property("key").invalid


def test_run_from_a_script_with_nothing_but_a_method(plugin, digits_dataset):
    foo.execute_operator(
        names.CLUSTER_IMAGES, {"dataset": digits_dataset}, params={"method": FROZEN, "compute_brain": False}
    )
    run = load_run(digits_dataset, "dc")
    assert run.record.method == "frozen"
    assert len(digits_dataset.distinct("dc.label")) == 4


@pytest.mark.parametrize("method", ["frozen", {"name": "frozen", "frozen": {"reducer": "identity"}}])
def test_a_part_may_be_given_by_its_name(plugin, digits_dataset, method):
    """FiftyOne compares parameters with the form, which has a group for each part."""
    request = {"dataset_name": digits_dataset.name, "view": [], "params": {"method": method}}
    *_, ctx, _ = asyncio.run(prepare_operator_executor(names.CLUSTER_IMAGES, request))
    assert parse_call(ctx.params, digits_dataset).options == parse_options("frozen", {})


def test_run_on_a_view_touches_only_the_view(plugin, digits_dataset):
    ClusterImages()(digits_dataset.limit(60), FROZEN, "part", compute_brain=False)
    assert digits_dataset.count("part.label") == 60


def test_errors_are_shown_before_any_work(plugin, digits_dataset):
    with pytest.raises(ExecutionError, match="201"):
        ClusterImages()(digits_dataset, {**FROZEN, "n_clusters": 201}, "dc")
    assert not digits_dataset.has_field("dc")


def test_a_form_starts_the_run_in_the_background(make_context, digits_dataset):
    params = {"method": FROZEN, "key": "seen", "compute_brain": False}
    layout = fo.Space(children=[fo.Panel(type="Samples", pinned=True)]).to_dict()
    ctx = make_context(digits_dataset, params, spaces=layout)
    assert ClusterImages().execute(ctx) == {"key": "seen", "background": True, "text": ""}
    assert "runs in the background" in requests_of(ctx)["notify"]["message"]
    assert requests_of(ctx)["open_panel"]["state"] == {"state": {"run": "seen"}}
    assert status.kept_forms(digits_dataset)["seen"]["params"]["method"] == FROZEN
    # the name is taken from now on: the form says so, and opens again as it was filled in
    assert inputs_of(ClusterImages(), make_context(digits_dataset)).get_property("key").default == "dc"
    place = inputs_of(ClusterImages(), make_context(digits_dataset, {"key": "seen"})).get_property("key")
    assert "wait for it" in place.error_message
    again = make_context(digits_dataset, params, spaces=layout, operator_uri=names.CLUSTER_IMAGES)
    assert ClusterImages().execute(again) is None
    assert "run 'seen'" in requests_of(again)["notify"]["message"]
    assert requests_of(again)["prompt_user_for_operation"]["params"] == params
    end = time.monotonic() + 300
    while status.read_states(digits_dataset)["seen"].busy and time.monotonic() < end:
        time.sleep(0.1)
    assert status.read_states(digits_dataset)["seen"].status == "finished"
    digits_dataset.reload()
    assert list_runs(digits_dataset) == ["seen"]


def test_a_delegated_run_is_done_by_a_worker(plugin, make_digits):
    dataset = make_digits(120, persistent=True)
    queued = ClusterImages()(dataset, FROZEN, "later", delegate=True, compute_brain=False)
    assert isinstance(queued, ExecutionResult)
    assert status.read_states(dataset)["later"].status == "queued"
    DelegatedOperationService().execute_queued_operations(
        operator=names.CLUSTER_IMAGES, dataset_name=dataset.name
    )
    operation = DelegatedOperationService().list_operations(dataset_name=dataset.name)[0]
    assert operation.run_state == "completed"
    assert operation.status.progress == 1.0
    assert operation.status.label == "finished"
    dataset.reload()
    assert list_runs(dataset) == ["later"]
    assert status.read_states(dataset)["later"].status == "finished"


# ---------------------------------------------------------------- runs


def test_patches_view_as_the_app_sends_it(make_context, make_digits):
    """If the grid shows patches, the target is the view, and a cluster is assigned to every object."""
    dataset = make_digits(30, persistent=True)
    for sample in dataset.iter_samples(autosave=True):
        boxes = [[0, 0, 0.5, 1], [0.5, 0, 0.5, 1]]
        objects = [fo.Detection(label=f"half{i}", bounding_box=box) for i, box in enumerate(boxes)]
        sample["objects"] = fo.Detections(detections=objects)
    view = dataset[:20].to_patches("objects")
    params = {"method": FROZEN, "key": "dc", "compute_brain": False, "view_target": "CURRENT_VIEW"}
    ctx = make_context(dataset, params, view=view._serialize())
    assert not inputs_of(ClusterImages(), ctx).get_property("key").invalid
    ClusterImages().execute(ctx)
    dataset.reload()
    assert dataset.count("objects.detections.dc") == 40
    assert "dc" not in dataset.get_field_schema()
    assert dataset[20:].count("objects.detections.dc") == 0
    shown = make_context(dataset, {"key": "dc"}, view=view._serialize())
    ShowClusteringRun().execute(shown)
    stages = requests_of(shown)["set_view"]["view"]
    assert any("ToPatches" in stage["_cls"] for stage in stages)


def test_a_group_slice_as_the_app_sends_it(make_context, pairs_of):
    """Grouped dataset, of which the grid shows one slice."""
    dataset = pairs_of(40)
    params = {"method": FROZEN, "key": "dc", "compute_brain": False}
    ctx = make_context(dataset, params, group_slice="right")
    place = inputs_of(ClusterImages(), ctx).get_property("group_slice")
    assert (place.type.values, place.default) == (["left", "right"], "right")
    ClusterImages().execute(ctx)
    dataset.reload()
    assert dataset.select_group_slices("right").count("dc.label") == 20
    assert dataset.select_group_slices("left").count("dc.label") == 0
    ctx = make_context(dataset, {**params, "key": "other", "group_slice": "left"}, group_slice="right")
    ClusterImages().execute(ctx)
    dataset.reload()
    assert dataset.select_group_slices("left").count("other.label") == 20
    assert dataset.select_group_slices("right").count("other.label") == 0


def test_cancel_where_nothing_runs(plugin, clustered):
    result = foo.execute_operator(names.CANCEL_CLUSTERING, {"dataset": clustered}, params={"key": "dc"})
    assert result.result == {"cancelled": False}


# ---------------------------------------------------------------- edits


@pytest.fixture
def app_client(plugin):
    from fiftyone.server.app import app
    from starlette.testclient import TestClient

    return TestClient(app)


def ask(app_client, route, dataset, uri, params):
    answer = app_client.post(
        route,
        json={
            "operator_uri": uri,
            "dataset_name": dataset.name,
            "dataset_id": str(dataset._doc.id),
            "params": params,
            "target": "inputs",
        },
    )
    assert answer.status_code == 200, answer.text
    return answer


def test_form_over_the_wire(app_client, clustered):
    answer = ask(app_client, "/operators/resolve-type", clustered, names.CLUSTER_IMAGES, {})
    drawn = answer.json()["type"]["properties"]
    assert list(drawn)[:2] == ["heading_what", "view_target"]
    assert drawn["method"]["type"]["properties"]["name"]["type"]["values"]


def test_run_over_the_wire(app_client, digits_dataset):
    params = {"method": FROZEN, "key": "wire", "compute_brain": False}
    answer = ask(app_client, "/operators/execute", digits_dataset, names.CLUSTER_IMAGES, params)
    assert answer.json()["result"] == {"key": "wire", "background": False, "text": ""}
    digits_dataset.reload()
    assert digits_dataset.count("wire.label") == 200


def test_a_keystroke_loads_nothing_heavy(plugin, clustered):
    """The form is rebuilt at every keystroke; tested in a new process without previously loaded modules."""
    script = f"""
import sys
import fiftyone as fo, fiftyone.operators as foo
from fiftyone_deepcluster.app.operators import ClusterImages
from fiftyone_deepcluster.methods.base import list_methods
before = set(sys.modules)
for method in list_methods():
    params = {{"method": {{"name": method, method: {{"show_advanced": True}}}}, "key": "abc"}}
    context = foo.ExecutionContext(
        request_params={{"dataset_name": {clustered.name!r}, "params": params}}, executor=foo.executor.Executor()
    )
    assert ClusterImages().resolve_input(context) is not None
heavy = {{"torch", "torchvision", "timm", "transformers", "sklearn", "umap", "numba", "faiss", "scipy", "skimage"}}
heavy |= {{"pydicom", "mlxtend"}}
print(sorted({{name.split(".")[0] for name in set(sys.modules) - before}} & heavy))
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.strip().splitlines()[-1] == "[]"


def test_form_says_that_auto_takes_self_training_for_large_images_with_weights(make_context, tmp_path):
    for i in range(40):
        Image.fromarray(np.full((80, 80), i, np.uint8)).save(tmp_path / f"{i:02}.png")
    torch.save({}, tmp_path / "weights.pth")
    dataset = fo.Dataset.from_images_dir(str(tmp_path), name=f"large-{tmp_path.name}")
    auto = {"weights": str(tmp_path / "weights.pth"), "n_clusters": 2, "baselines": False}
    auto["backbone"] = {"name": "torchvision", "torchvision": {"model": "mobilenet_v2"}}
    inputs = inputs_of(ClusterImages(), make_context(dataset, {"method": {"name": "auto", "auto": auto}}))
    assert inputs.get_property("size").view.label.endswith("on this machine with 'self-training'")
    dataset.delete()
