"""Names with characters of HTML, Markdown and MongoDB: stored as they are, and shown as text."""

from __future__ import annotations

from pathlib import Path

import fiftyone.operators as foo
import pytest

from fiftyone_deepcluster.app import names
from fiftyone_deepcluster.dataset.api import cluster
from fiftyone_deepcluster.dataset.results.categories import key_words
from fiftyone_deepcluster.dataset.review.review import review
from fiftyone_deepcluster.dataset.runs.run import load_run

FRONTEND = Path(__file__).parents[2] / "frontend" / "src"
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


def test_the_panel_sends_them_as_they_are(dataset, asker):
    """React writes them into the page as text."""
    edit = review(dataset, "dc")
    odd = (ODD[0], ODD[3], ODD[4])
    for cluster_name, name in zip(load_run(dataset, "dc").names(), odd, strict=True):
        edit.rename(cluster_name, name)
    key_words(dataset, "dc", "report")
    ask = asker(dataset)
    assert {row["name"] for row in ask("load", key="dc")["clusters"]} == set(odd)
    for name in odd:
        asked = {"key": "dc", "cluster": name, "order": "nearest", "offset": 0, "limit": 3}
        assert len(ask("images", **asked)["images"]) == 3


def test_nothing_in_the_frontend_writes_html():
    sources = [path.read_text(encoding="utf-8") for path in FRONTEND.rglob("*.ts*")]
    assert len(sources) > 20
    assert not [source for source in sources if "dangerouslySetInnerHTML" in source or "innerHTML" in source]
