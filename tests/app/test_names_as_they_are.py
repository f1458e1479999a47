"""Names with characters of HTML, Markdown and MongoDB: stored as they are, and shown as text."""

from __future__ import annotations

import json

import fiftyone.operators as foo
import pytest

from fiftyone_deepcluster.app import names
from fiftyone_deepcluster.app.panels.clusters import ClustersPanel
from fiftyone_deepcluster.app.panels.plain_text import in_markdown, in_plot
from fiftyone_deepcluster.dataset.api import cluster
from fiftyone_deepcluster.dataset.results.categories import key_words
from fiftyone_deepcluster.dataset.review.review import review
from fiftyone_deepcluster.dataset.runs.run import load_run

ODD = (
    "<img src=x onerror=alert(1)>",
    "$where",
    "a.b.$c",
    "![](http://example.invalid/x.png)",
    "*_`~",
    "{'$ne': 1}",
)


@pytest.fixture
def dataset(plugin, make_digits):
    """60 digits with reports and classes of odd names."""
    dataset = make_digits(60, persistent=True)
    for number, sample in enumerate(dataset.iter_samples(autosave=True)):
        sample["ground_truth"].label = ODD[number % len(ODD)]
        sample["report"] = f"{ODD[number % len(ODD)]} digit"
    cluster(
        dataset, "frozen", "dc", n_clusters=3, truth_field="ground_truth", baselines=False, compute_brain=False,
        progress=False,
    )  # fmt: skip
    return dataset


def test_names_of_clusters_and_labels_are_stored_as_they_are(dataset):
    context = {"dataset": dataset}
    size = load_run(dataset, "dc").clusters(n_exemplars=0)[0].size
    now = load_run(dataset, "dc").clusters(n_exemplars=0)[0].name
    for name in ODD:
        params = {"key": "dc", "cluster": now, "new_name": name}
        foo.execute_operator(names.RENAME_CLUSTER, context, params=params)
        params = {"key": "dc", "cluster": name, "field": "mine", "label": name, "overwrite": True}
        foo.execute_operator(names.LABEL_CLUSTER, context, params=params)
        dataset.reload()
        run = load_run(dataset, "dc")
        assert name in run.names()
        assert len(run.cluster_view(name)) == size
        assert dataset.count_values("mine.label")[name] == size
        now = name
    assert len(review(dataset, "dc").undo(2 * len(ODD))) == 2 * len(ODD)
    assert not set(ODD) & set(load_run(dataset, "dc").names())


def test_the_panel_shows_them_as_text(dataset, make_context):
    edit = review(dataset, "dc")
    for cluster_name, odd in zip(load_run(dataset, "dc").names(), (ODD[0], ODD[3], ODD[4]), strict=True):
        edit.rename(cluster_name, odd)
    key_words(dataset, "dc", "report")
    for odd in (ODD[0], ODD[3], ODD[4]):
        state = {"cluster": odd, "cluster_of": "dc", "edits": {"label": {"text": odd}}}
        params = {"panel_id": "p", "panel_state": state, "__method__": "on_tick"}
        panel = ClustersPanel().render(make_context(dataset, params))
        shown = [text for view, text in texts(panel.to_json()) if view == "MarkdownView"]
        assert any(in_markdown(odd) in text for text in shown)
        assert not any(odd in text for text in shown)


def texts(value: object):
    """Name of the view, and text, of everything that a panel shows."""
    if isinstance(value, dict):
        view = value.get("view")
        if isinstance(view, dict) and isinstance(value.get("default"), str):
            yield view.get("name"), value["default"]
        for inner in value.values():
            yield from texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from texts(inner)


def test_markdown_of_a_name_is_the_name():
    for name in ODD:
        assert not any(mark in in_markdown(name).replace(f"\\{mark}", "") for mark in "<*_`[~")
        assert in_markdown(name).replace("\\", "") == name
    assert in_markdown("a\n# b") == r"a \# b"
    assert json.loads(json.dumps(in_plot("<b>&"))) == "&lt;b&gt;&amp;"
