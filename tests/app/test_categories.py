"""Key words and the category tree in the App: operators, icicle plot, click events."""

from __future__ import annotations

import json
import uuid

import fiftyone as fo
import fiftyone.operators as foo
import pytest

from fiftyone_deepcluster.app import names
from fiftyone_deepcluster.app.operators import BuildCategoryTree, FindKeyWords
from fiftyone_deepcluster.app.panels.clusters import ClustersPanel
from fiftyone_deepcluster.dataset.api import cluster
from fiftyone_deepcluster.dataset.results.categories import key_words, stored_key_words, stored_tree
from fiftyone_deepcluster.dataset.runs.run import load_run

N = 80
BONES = ["ulna", "tibia", "femur", "skull", "spine", "wrist", "ankle", "elbow", "pelvis", "clavicle"]


@pytest.fixture(scope="module")
def reported(plugin, digits_dir):
    """80 digits with one report each, and a run ``dc`` of one round with category tree and key words."""
    dataset = fo.Dataset(f"reported-{uuid.uuid4().hex[:8]}")
    files = sorted(digits_dir.iterdir())[:N]
    samples = [fo.Sample(str(file), report=f"Scan of the {BONES[int(file.stem[-1])]}") for file in files]
    dataset.add_samples(samples, progress=False)
    cluster(
        dataset, "deepcluster", "dc", n_clusters=6, rounds=1, backbone={"name": "small", "width": 8}, min_steps=20,
        baselines=False, progress=False, compute_brain=False,
    )  # fmt: skip
    foo.execute_operator(names.BUILD_CATEGORY_TREE, {"dataset": dataset}, params={"key": "dc"})
    foo.execute_operator(
        names.FIND_KEY_WORDS, {"dataset": dataset}, params={"key": "dc", "text_field": "report", "n_words": 3}
    )
    yield dataset
    dataset.delete()


def drawn(make_context, dataset, event="on_load", state=None, **params):
    """Content of the panel after an event, and the operations requested from the App."""
    dataset.reload()
    ctx = make_context(dataset, {"panel_id": "p", "panel_state": state or {}, "__method__": event, **params})
    ClustersPanel().execute(ctx)
    requests = ctx.executor.to_json()["requests"]
    json.dumps(requests)
    output = next(r["params"] for r in reversed(requests) if r["operator_uri"] == "show_panel_output")
    return output["output"]["type"]["properties"], {r["operator_uri"]: r["params"] for r in requests}


def test_forms_offer_the_texts_and_not_what_runs_wrote(make_context, reported):
    inputs = FindKeyWords().resolve_input(make_context(reported)).type

    assert inputs.get_property("text_field").type.values == ["report"]
    assert inputs.get_property("text_field").default == "report"
    assert BuildCategoryTree().resolve_input(make_context(reported)).type.get_property("key").default == "dc"


def test_key_words_operator_finds_distinct_words(reported):
    run = load_run(reported, "dc")
    before = stored_key_words(run)
    params = {"key": "dc", "text_field": "report", "n_words": 3, "rank": "distinct"}
    foo.execute_operator(names.FIND_KEY_WORDS, {"dataset": reported}, params=params)
    words = stored_key_words(run)
    assert words == key_words(reported, "dc", "report", n_words=3, rank="distinct")
    assert words != before
    foo.execute_operator(names.FIND_KEY_WORDS, {"dataset": reported}, params={**params, "rank": "count"})
    assert stored_key_words(run) == before


def test_the_operators_leave_a_tree_and_words(reported):
    run = load_run(reported, "dc")
    words = stored_key_words(run)

    assert sorted(words) == run.names()
    assert {word.word for some in words.values() for word in some} <= set(BONES)
    assert all(len(some) <= 3 for some in words.values())
    assert {node.name for node in stored_tree(run) if node.leaf} == set(run.names())


def test_cells_lie_within_their_group_and_side_by_side(make_context, reported):
    shown, _ = drawn(make_context, reported)
    plot = shown["categories"]["type"]["properties"]["tree"]["view"]["data"][0]
    cells = {name: (base, base + size, y) for name, base, size, y in zip(
        plot["ids"], plot["base"], plot["x"], plot["y"], strict=True)}  # fmt: skip
    nodes = {node.name: node for node in stored_tree(load_run(reported, "dc"))}

    assert set(cells) == set(nodes)
    for name, (left, right, y) in cells.items():
        if nodes[name].parent:
            outer = cells[nodes[name].parent]
            assert outer[0] <= left < right <= outer[1]
            assert y == outer[2] - 1
        for other, (start, _, level) in cells.items():
            if other != name and level == y:
                assert not left <= start < right


def test_a_click_on_a_cell_shows_its_images(make_context, reported):
    node = next(node for node in stored_tree(load_run(reported, "dc")) if node.leaf)
    _, requests = drawn(make_context, reported, "on_node", id=node.name)

    view = fo.DatasetView._build(reported, requests["set_view"]["view"])
    assert view.distinct("dc.label") == [node.name]
    assert len(view) == node.size
    assert "set_view" not in drawn(make_context, reported, "on_node", id="nobody")[1]


def test_words_stand_above_the_montage_of_the_chosen_cluster(make_context, reported):
    name, words = next((n, w) for n, w in stored_key_words(load_run(reported, "dc")).items() if w)
    shown, _ = drawn(make_context, reported, state={"cluster": name, "cluster_of": "dc"})

    assert shown["words"]["default"] == f"Key words: {', '.join(word.word for word in words)}"


@pytest.mark.parametrize(
    ("event", "uri"), [("on_key_words", names.FIND_KEY_WORDS), ("on_build_tree", names.BUILD_CATEGORY_TREE)]
)
def test_buttons_open_the_forms(make_context, reported, event, uri):
    prompt = drawn(make_context, reported, event)[1]["prompt_user_for_operation"]

    assert (prompt["operator_uri"], prompt["params"]) == (uri, {"key": "dc", "from_panel": True})
