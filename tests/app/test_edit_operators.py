"""The operators that edit clusters: rename, merge, label, undo."""

from __future__ import annotations

import fiftyone.operators as foo
import pytest

from fiftyone_deepcluster.app import names
from fiftyone_deepcluster.app.operators import (
    LabelCluster,
    MergeClusters,
    RenameCluster,
    UndoEdit,
)
from fiftyone_deepcluster.dataset.review.review import review
from fiftyone_deepcluster.dataset.runs.run import load_run
from tests.app.test_operators import inputs_of, requests_of


@pytest.fixture
def first(clustered):
    """The largest cluster and its size."""
    info = load_run(clustered, "dc").clusters()[0]
    return info.name, info.size


def test_rename_cluster(make_context, clustered, first):
    name, size = first
    params = {"key": "dc", "cluster": name, "new_name": "zero"}
    preview = inputs_of(RenameCluster(), make_context(clustered, params)).get_property("preview").view
    assert preview.description == f"{size} images would change"
    assert clustered.count_values("dc.label")[name] == size
    foo.execute_operator(names.RENAME_CLUSTER, {"dataset": clustered}, params=params)
    assert clustered.count_values("dc.label")["zero"] == size


def test_rename_cluster_to_a_name_that_is_there(make_context, clustered):
    one, two = load_run(clustered, "dc").names()[:2]
    params = {"key": "dc", "cluster": one, "new_name": two}
    place = inputs_of(RenameCluster(), make_context(clustered, params)).get_property("new_name")
    assert 'join the two: "Join"' in place.error_message


def test_merge_and_undo(make_context, clustered):
    one, two, *_ = load_run(clustered, "dc").names()
    before = clustered.count_values("dc.label")
    params = {"key": "dc", "clusters": [one, two], "into": "both"}
    assert "preview" in inputs_of(MergeClusters(), make_context(clustered, params)).properties
    foo.execute_operator(names.MERGE_CLUSTERS, {"dataset": clustered}, params=params)
    assert clustered.count_values("dc.label")["both"] == before[one] + before[two]
    going = inputs_of(UndoEdit(), make_context(clustered)).get_property("preview").view.description
    assert "both" in going
    foo.execute_operator(names.UNDO_EDIT, {"dataset": clustered})
    assert clustered.count_values("dc.label") == before


def test_label_cluster_counts_before_it_writes(make_context, clustered, first):
    name, size = first
    params = {"key": "dc", "cluster": name, "field": "person", "label": "zero"}
    preview = inputs_of(LabelCluster(), make_context(clustered, params)).get_property("preview").view
    assert f"{size} images would change" in preview.description
    assert not clustered.has_field("person")
    foo.execute_operator(names.LABEL_CLUSTER, {"dataset": clustered}, params=params)
    clustered.reload()
    assert clustered.count_values("person.label") == {"zero": size, None: 200 - size}


def test_label_cluster_keeps_what_a_person_wrote(make_context, clustered, first):
    name, size = first
    params = {"key": "dc", "cluster": name, "field": "ground_truth", "label": "mine"}
    preview = inputs_of(LabelCluster(), make_context(clustered, params)).get_property("preview").view
    assert preview.description == f"0 images would change; {size} keep the label they have"
    foo.execute_operator(names.LABEL_CLUSTER, {"dataset": clustered}, params={**params, "overwrite": True})
    assert clustered.count_values("ground_truth.label")["mine"] == size
    foo.execute_operator(names.UNDO_EDIT, {"dataset": clustered}, params={"key": "dc"})
    assert "mine" not in clustered.count_values("ground_truth.label")
    assert review(clustered, "dc").log()[0].undone


def test_undo_says_what_it_left_alone(make_context, clustered, first):
    name, size = first
    review(clustered, "dc").rename(name, "zero")
    moved = clustered.match({"dc.label": "zero"}).first()
    moved.dc.label = "by hand"
    moved.save()
    ctx = make_context(clustered, {"key": "dc"})
    assert UndoEdit().execute(ctx)["n_kept"] == 1
    assert requests_of(ctx)["notify"]["message"] == (
        f"Undone: renamed {name!r} to 'zero'; 1 image that was changed after the edit keeps its value"
    )
    assert clustered.count_values("dc.label")[name] == size - 1


# ---------------------------------------------------------------- the App's routes
