"""The Clusters panel and the App's view: its images are counted, and what is put into the grid stays inside it."""

from __future__ import annotations

import fiftyone as fo

from fiftyone_deepcluster.app.panels.clusters import ClustersPanel
from fiftyone_deepcluster.dataset.api import cluster
from fiftyone_deepcluster.dataset.runs.run import load_run


def test_the_view_is_counted(asker, make_context, clustered):
    view = clustered.match({"ground_truth.label": "3"})
    params = {"__method__": "in_view", "panel_id": "p", "key": "dc"}
    ctx = make_context(clustered, params, view=view._serialize())
    assert ClustersPanel().execute(ctx)["value"]["counts"] == view.count_values("dc.label")
    assert asker(clustered)("in_view", key="dc")["counts"] is None


def test_what_is_put_into_the_grid_leaves_the_view_of_the_user(make_context, clustered):
    mine = clustered.match({"ground_truth.label": {"$in": ["3", "8"]}})

    def send(event, view, **params):
        given = {"__method__": event, "panel_id": "p", "key": "dc", **params}
        ctx = make_context(clustered, given, view=[] if view is None else view._serialize())
        value = ClustersPanel().execute(ctx)["value"]
        calls = {item["operator_uri"]: item["params"] for item in ctx.executor.to_json()["requests"]}
        shown = calls.get("set_view", {}).get("view")
        return value, calls, shown and fo.DatasetView._build(clustered, shown)

    first, second, *_ = (info.name for info in load_run(clustered, "dc").clusters(n_exemplars=0))
    _, _, shown = send("show", mine, cluster=first, ids=None)
    assert shown.values("id") == mine.match({"dc.label": first}).sort_by("dc.distance").values("id")
    assert send("in_view", shown)[0]["counts"] == mine.count_values("dc.label")
    _, _, again = send("show", shown, cluster=second, ids=None)
    assert sorted(again.values("id")) == sorted(mine.match({"dc.label": second}).values("id"))
    ids = clustered.values("id")[:9]
    _, _, some = send("show", again, cluster=None, ids=ids)
    assert some.values("id") == [name for name in ids if name in mine.values("id")]
    _, _, back = send("show", some, cluster=None, ids=None)
    assert back._serialize(include_uuids=False) == mine._serialize(include_uuids=False)
    _, _, alone = send("show", None, cluster=first, ids=None)
    assert len(alone) == clustered.count_values("dc.label")[first]
    assert send("in_view", alone)[0]["counts"] is None
    assert "clear_view" in send("show", alone, cluster=None, ids=None)[1]


def test_patches_that_are_put_into_the_grid(make_context, make_digits):
    dataset = make_digits(20)
    dataset.set_values(
        "objects",
        [
            fo.Detections(detections=[fo.Detection(label=f"{i % 2}", bounding_box=[0, 0, 1, 1])])
            for i in range(20)
        ],
    )
    patches = dataset.to_patches("objects")
    cluster(patches, "frozen", "dc", n_clusters=2, baselines=False, progress=False, compute_brain=False)
    name = load_run(dataset, "dc").names()[0]

    def shown(view):
        given = {"__method__": "show", "panel_id": "p", "key": "dc", "cluster": name, "ids": None}
        ctx = make_context(dataset, given, view=view._serialize())
        assert ClustersPanel().execute(ctx) == {"value": None}
        calls = {item["operator_uri"]: item["params"] for item in ctx.executor.to_json()["requests"]}
        return fo.DatasetView._build(dataset, calls["set_view"]["view"])

    all_of_it = [one.id for one in dataset.to_patches("objects").match({"objects.dc": name})]
    assert sorted(shown(dataset.view()).values("id")) == sorted(all_of_it)
    ones = dataset.to_patches("objects").match({"objects.label": "1"})
    assert sorted(shown(ones).values("id")) == sorted(set(all_of_it) & set(ones.values("id")))
    half = dataset.limit(10)
    inside = set(half.to_patches("objects").values("id"))
    assert sorted(shown(half).values("id")) == sorted(set(all_of_it) & inside)


def test_a_view_without_images_of_the_run_is_not_counted(make_context, clustered):
    clustered.add_sample_field("objects", fo.EmbeddedDocumentField, embedded_doc_type=fo.Detections)
    sample = clustered.first()
    sample["objects"] = fo.Detections(detections=[fo.Detection(label="a", bounding_box=[0, 0, 1, 1])])
    sample.save()
    params = {"__method__": "in_view", "panel_id": "p", "key": "dc"}
    ctx = make_context(clustered, params, view=clustered.to_patches("objects")._serialize())
    assert ClustersPanel().execute(ctx) == {"value": {"counts": None}}
