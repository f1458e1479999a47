"""Analyses of learned features in the App: forms, operators, sections of the Clusters panel."""

from __future__ import annotations

import uuid

import fiftyone as fo
import fiftyone.operators as foo
import pytest
from fiftyone.operators.executor import ExecutionError

from fiftyone_deepcluster.app import names
from fiftyone_deepcluster.app.operators import (
    ClusterImages,
    DrawFilters,
    FindNeighbors,
    ProbeLayers,
    RecommendNumber,
)
from fiftyone_deepcluster.clusterers.gain import STANDS_OUT
from fiftyone_deepcluster.dataset.api import cluster
from fiftyone_deepcluster.dataset.results.filters import stored_filters
from fiftyone_deepcluster.dataset.results.neighbors import indexed_neighbors, stored_scores
from fiftyone_deepcluster.dataset.results.numbers import stored_sweep
from fiftyone_deepcluster.dataset.results.open_run import storing
from fiftyone_deepcluster.dataset.results.probes import save_layers, stored_probe
from fiftyone_deepcluster.dataset.results.results_cache import Findings
from fiftyone_deepcluster.dataset.runs import status
from fiftyone_deepcluster.dataset.runs.run import load_run

N = 80


@pytest.fixture(scope="module")
def learned(plugin, digits_dir):
    """80 digits with a run ``dc`` of one round with a small network."""
    dataset = fo.Dataset(f"learned-{uuid.uuid4().hex[:8]}")
    files = sorted(digits_dir.iterdir())[:N]
    samples = [fo.Sample(str(file), ground_truth=fo.Classification(label=file.stem[-1])) for file in files]
    dataset.add_samples(samples, progress=False)
    dataset.add_sample_field("kind", fo.StringField)
    cluster(
        dataset,
        "deepcluster",
        "dc",
        n_clusters=4,
        rounds=1,
        backbone={"name": "small", "width": 8},
        min_steps=5,
        truth_field="ground_truth",
        baselines=False,
        progress=False,
        compute_brain=False,
    )
    yield dataset
    dataset.delete()


@pytest.fixture
def run(learned):
    return load_run(learned, "dc")


def inputs_of(operator, ctx):
    return operator.resolve_input(ctx).type


def called(ctx):
    return {item["operator_uri"]: item["params"] for item in ctx.executor.to_json()["requests"]}


# ---------------------------------------------------------------- forms


def test_forms_offer_runs_classes_and_layers(make_context, learned, run):
    probe = inputs_of(ProbeLayers(), make_context(learned))
    assert probe.get_property("key").type.values == ["dc"]
    assert probe.get_property("label_field").default == "ground_truth"
    assert "dc" not in probe.get_property("label_field").type.values
    near = inputs_of(FindNeighbors(), make_context(learned)).get_property("label_field")
    assert near.default == "ground_truth"
    assert "" in near.type.values, "it also works without classes"
    Findings(run).path("layers", "").with_suffix(".json").unlink(missing_ok=True)
    unknown = inputs_of(DrawFilters(), make_context(learned))
    assert unknown.get_property("layer").view.values() == []
    foo.execute_operator(
        names.DRAW_FILTERS,
        {"dataset": learned},
        params={"key": "dc", "layer": "conv1", "units": "0", "steps": 2},
    )
    known = inputs_of(DrawFilters(), make_context(learned)).get_property("layer").view
    assert known.values() == ["conv1", "conv2", "conv3", "conv4", "conv5", "fc6"]


def test_units_are_checked_while_they_are_typed(make_context, learned):
    wrong = inputs_of(DrawFilters(), make_context(learned, {"units": "1, two"})).get_property("units")
    assert wrong.invalid
    assert "'two' is not a unit index" in wrong.error_message
    assert (
        not inputs_of(DrawFilters(), make_context(learned, {"units": "1, 2 3"})).get_property("units").invalid
    )


def test_units_are_those_of_the_layer(make_context, learned, run):
    with storing(run) as now:
        save_layers(now, {"conv1": 8, "conv2": 16})
    for layer, unit, invalid in (("conv1", "8", True), ("conv1", "7", False), ("conv2", "8", False)):
        ctx = make_context(learned, {"layer": layer, "units": unit})
        assert bool(inputs_of(DrawFilters(), ctx).get_property("units").invalid) is invalid
    ctx = make_context(learned, {"layer": "conv1", "units": "0 8"})
    message = inputs_of(DrawFilters(), ctx).get_property("units").error_message
    assert message == "units has 8; the layer 'conv1' has the units 0 to 7"


@pytest.mark.parametrize("operator", [ProbeLayers, DrawFilters, FindNeighbors, RecommendNumber])
def test_forms_say_so_where_there_is_no_run(make_context, digits_dataset, operator):
    assert (
        "No clustering run"
        in inputs_of(operator(), make_context(digits_dataset)).get_property("nothing").view.label
    )


def test_a_probe_needs_classes(make_context, stored_pixels):
    inputs = inputs_of(ProbeLayers(), make_context(stored_pixels))
    assert inputs.get_property("label_field").invalid
    assert "No field with classes" in inputs.get_property("no_classes").view.label
    with pytest.raises(ExecutionError, match="no field with classes; add one first"):
        foo.execute_operator(names.PROBE_LAYERS, {"dataset": stored_pixels}, params={"key": "dc"})


@pytest.fixture
def stored_pixels(plugin, make_digits):
    """Digits without classes, with a run on pixels."""
    dataset = make_digits(20)
    dataset.delete_sample_field("ground_truth")
    cluster(dataset, "frozen", "dc", n_clusters=2, baselines=False, progress=False, compute_brain=False)
    return dataset


# ---------------------------------------------------------------- execution


def test_a_probe_says_what_came_of_it(make_context, learned, run):
    ctx = make_context(learned, {"key": "dc", "label_field": "ground_truth", "folds": 2})
    answer = ProbeLayers().execute(ctx)
    assert (answer["key"], answer["background"]) == ("dc", False)
    assert "before training" in answer["text"]
    state = status.read_states(learned)["job-probe_layers-dc"]
    assert (state.status, state.method, state.result) == ("finished", "Probe layers", answer["text"])
    assert stored_probe(run).label_field == "ground_truth"


def test_neighbors_are_found_with_a_score(make_context, learned, run):
    ctx = make_context(learned, {"key": "dc", "label_field": "ground_truth"})
    assert "80 images" in FindNeighbors().execute(ctx)["text"]
    assert stored_scores(run).label_field == "ground_truth"
    assert len(indexed_neighbors(run, learned.first().id)["learned"]) == 10


def test_failures_are_told_in_words_and_then_the_form_knows_the_layers(make_context, learned, run):
    Findings(run).path("layers", "").with_suffix(".json").unlink(missing_ok=True)
    layer = inputs_of(DrawFilters(), make_context(learned, {"layer": "conv9"})).get_property("layer")
    assert not layer.invalid
    assert "offered here once" in layer.view.description
    with pytest.raises(ExecutionError, match="conv1, conv2"):
        foo.execute_operator(names.DRAW_FILTERS, {"dataset": learned}, params={"key": "dc", "layer": "conv9"})
    state = status.read_states(learned)["job-draw_filters-dc"]
    assert state.status == "failed"
    assert "conv1, conv2" in state.error
    layer = inputs_of(DrawFilters(), make_context(learned, {"layer": "conv9"})).get_property("layer")
    assert layer.error_message.startswith(
        "Layer 'conv9' is not a layer of this network; choose one of: conv1, conv2"
    )
    assert layer.invalid
    assert "offered here once" not in layer.view.description


# ---------------------------------------------------------------- the panel


def test_a_run_without_analyses_has_none(asker, stored_pixels):
    found = asker(stored_pixels)("analyses", key="dc")
    assert found == {
        "probe": None,
        "layer": None,
        "units": [],
        "retrieval": None,
        "tree": [],
        "numbers": None,
    }


@pytest.mark.parametrize(
    "uri", [names.PROBE_LAYERS, names.DRAW_FILTERS, names.FIND_NEIGHBORS, names.RECOMMEND_NUMBER]
)
def test_buttons_open_the_forms(asker, learned, uri):
    ask = asker(learned)
    ask("start", operator=uri.rpartition("/")[2], key="dc")
    prompt = ask.calls["prompt_user_for_operation"]
    assert prompt["operator_uri"] == uri
    assert prompt["params"] == {"key": "dc"}


def test_probes_have_every_layer_trained_and_before(asker, learned, run):
    foo.execute_operator(
        names.PROBE_LAYERS,
        {"dataset": learned},
        params={"key": "dc", "label_field": "ground_truth", "folds": 2},
    )
    shown = asker(learned)("analyses", key="dc")["probe"]
    found = stored_probe(run)
    assert (shown["n_images"], shown["chance"]) == (found.n_images, found.chance)
    assert [(score["layer"], score["network"], score["svm"]) for score in shown["scores"]] == [
        (score.layer, score.network, score.svm) for score in found.scores
    ]
    assert {score["network"] for score in shown["scores"]} == {"trained", "initial"}


def test_a_click_on_a_unit_shows_its_images(asker, learned, run):
    params = {"key": "dc", "layer": "conv2", "units": "3 5", "steps": 2}
    foo.execute_operator(names.DRAW_FILTERS, {"dataset": learned}, params=params)
    ask = asker(learned)
    assert [unit["unit"] for unit in ask("analyses", key="dc")["units"]] == [3, 5]
    ask("show_unit", key="dc", unit=5)
    stages = ask.calls["set_view"]["view"]
    assert list(stored_filters(run)[1][1].top_samples) == dict(stages[-1]["kwargs"])["sample_ids"]
    assert "was not drawn" in ask.send("show_unit", key="dc", unit=4)["message"]


def test_neighbors_of_the_selected_image(asker, learned, run):
    ask = asker(learned)
    foo.execute_operator(
        names.FIND_NEIGHBORS, {"dataset": learned}, params={"key": "dc", "label_field": "ground_truth"}
    )
    assert ask("analyses", key="dc")["retrieval"]["label_field"] == "ground_truth"
    image = learned.first().id
    shown = ask("neighbors", key="dc", image=image)["neighbors"]
    assert [len(shown[kind]) for kind in ("learned", "initial")] == [10, 10]
    wanted = indexed_neighbors(run, image)["learned"]
    assert [near["sample"] for near in shown["learned"]] == [near.sample_id for near in wanted]
    assert shown["learned"][0]["path"] == learned[wanted[0].sample_id].filepath
    assert ask("neighbors", key="dc", image="")["neighbors"] == {}


def test_the_recommended_number_is_in_the_forms_and_the_panel(make_context, asker, stored_pixels):
    ask = asker(stored_pixels)
    assert "number" not in inputs_of(ClusterImages(), make_context(stored_pixels)).properties
    form = inputs_of(RecommendNumber(), make_context(stored_pixels))
    assert form.get_property("smallest").default == 2
    assert form.get_property("largest").default == 4, "20 images, five for each cluster"
    assert "curves" not in form.properties

    ctx = make_context(stored_pixels, {"key": "dc", "largest": 5, "repetitions": 2})
    answer = RecommendNumber().execute(ctx)
    found = stored_sweep(load_run(stored_pixels, "dc"))
    assert found.numbers == (2, 3, 4, 5)
    low, high = found.interval
    advice = found.advice
    assert answer["text"] == f"R{advice[1:]}"

    shown = ask("analyses", key="dc")["numbers"]
    assert shown["numbers"] == [2, 3, 4, 5]
    assert (shown["recommended"], shown["interval"], shown["advice"]) == (
        found.recommended,
        [low, high],
        f"R{advice[1:]}",
    )
    assert shown["stands_out"] == STANDS_OUT
    curves = {line["name"]: line["values"] for line in shown["lines"]}
    assert set(curves) == {"Score", "Stability", "Silhouette", "Linear"}
    assert shown["gain"] == list(found.gain)
    form = inputs_of(RecommendNumber(), make_context(stored_pixels))
    drawn = form.get_property("curves").view
    assert [line["x"] for line in drawn.data] == [[2, 3, 4, 5]] * 5
    assert drawn.data[0]["y"] == list(found.gain)
    layout = drawn.layout
    assert layout["showlegend"], "the App draws none by default"
    axes = [layout[axis]["title"]["text"] for axis in ("xaxis", "yaxis", "yaxis2")]
    assert axes == ["number of clusters", "score", f"gain (stands out from {STANDS_OUT})"]
    assert [shape.get("line", {}).get("color", "gray") for shape in layout["shapes"]] == ["gray"] * 3
    assert layout["yaxis2"]["range"] == [0, 1.1 * max(STANDS_OUT, *found.gain)], "the line can be seen"
    assert [layout["shapes"][2][end] for end in ("yref", "y0", "y1")] == ["y2", STANDS_OUT, STANDS_OUT]
    assert advice[1:] in form.get_property("advice").view.label
    assert advice in inputs_of(ClusterImages(), make_context(stored_pixels)).get_property("number").view.label


def test_a_range_without_numbers_is_refused_while_it_is_typed(make_context, stored_pixels):
    form = inputs_of(RecommendNumber(), make_context(stored_pixels, {"smallest": 6, "largest": 6}))
    assert form.get_property("largest").invalid
    with pytest.raises(ExecutionError, match="give more than the smallest number, 6"):
        foo.execute_operator(
            names.RECOMMEND_NUMBER,
            {"dataset": stored_pixels},
            params={"key": "dc", "smallest": 6, "largest": 6},
        )
    fractions = {"smallest": 2.5, "largest": 6.5, "repetitions": 3.5, "max_images": 20.5}
    form = inputs_of(RecommendNumber(), make_context(stored_pixels, dict(fractions)))
    for name, value in fractions.items():
        assert f" {value} is not a whole number; give " in form.get_property(name).error_message
    assert form.get_property("smallest").error_message.startswith("Smallest number of clusters 2.5 is not")
    whole = {"smallest": 2, "largest": 6.0, "repetitions": 3, "max_images": None}
    form = inputs_of(RecommendNumber(), make_context(stored_pixels, dict(whole)))
    assert not any(form.get_property(name).invalid for name in whole)
