"""Key words and the category tree in the App: operators, icicle plot, click events."""

from __future__ import annotations

import uuid

import fiftyone as fo
import fiftyone.operators as foo
import pytest

from fiftyone_deepcluster.app import names
from fiftyone_deepcluster.app.operators import BuildCategoryTree, FindKeyWords
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


def test_the_tree_is_sent_with_all_nodes(asker, reported):
    shown = asker(reported)("analyses", key="dc")["tree"]
    nodes = stored_tree(load_run(reported, "dc"))
    assert [(node["name"], node["parent"], node["size"]) for node in shown] == [
        (node.name, node.parent, node.size) for node in nodes
    ]


def test_a_click_on_a_node_shows_its_images(asker, reported):
    ask = asker(reported)
    node = next(node for node in stored_tree(load_run(reported, "dc")) if node.leaf)
    ask("show_node", key="dc", clusters=list(node.clusters))
    view = fo.DatasetView._build(reported, ask.calls["set_view"]["view"])
    assert sorted(view.distinct("dc.label")) == sorted(node.clusters)
    assert len(view) == node.size
    assert "Build the tree again" in ask.send("show_node", key="dc", clusters=["gone"])["message"]


def test_key_words_stand_beside_the_clusters_and_are_suggested_as_names(asker, reported):
    words = stored_key_words(load_run(reported, "dc"))
    ask = asker(reported)
    shown = {row["name"]: row["key_words"] for row in ask("load", key="dc")["clusters"]}
    assert shown == {name: [word.word for word in some] for name, some in words.items()}
    name = next(name for name in words if words[name])
    assert ask("names", key="dc", cluster=name)["names"][0] == words[name][0].word


@pytest.mark.parametrize("uri", [names.FIND_KEY_WORDS, names.BUILD_CATEGORY_TREE])
def test_buttons_open_the_forms(asker, reported, uri):
    ask = asker(reported)
    ask("start", operator=uri.rpartition("/")[2], key="dc")
    prompt = ask.calls["prompt_user_for_operation"]
    assert (prompt["operator_uri"], prompt["params"]) == (uri, {"key": "dc"})
