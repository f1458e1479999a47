"""Fields with vectors in forms: one or several, what is wrong with them, and what operators do with them."""

from __future__ import annotations

import fiftyone as fo
import fiftyone.operators as foo
import numpy as np
import pytest
from fiftyone.operators.executor import ExecutionError

from fiftyone_deepcluster.app import names
from fiftyone_deepcluster.app.operators import AuditLabels, ClusterImages, RecommendNumber
from fiftyone_deepcluster.dataset.audit.audit import load_audit
from fiftyone_deepcluster.dataset.results.numbers import sweep_of_fields
from fiftyone_deepcluster.dataset.runs import status
from fiftyone_deepcluster.dataset.runs.run import load_run
from fiftyone_deepcluster.errors import InputError
from tests.app.test_jobs import LAYOUT, until_ended
from tests.app.test_operators import inputs_of

FROZEN = {"name": "frozen", "n_clusters": 3, "baselines": False}


@pytest.fixture
def vectors(plugin, make_digits):
    """60 digits with vectors of three groups in the fields ``clip`` and ``dino``."""
    dataset = make_digits(60, persistent=True)
    draw = np.random.default_rng(0)
    groups = np.eye(8)[np.arange(60) % 3]
    dataset.add_sample_field("clip", fo.VectorField)
    dataset.set_values("clip", list(500 * groups + draw.standard_normal((60, 8))))
    dataset.add_sample_field("dino", fo.VectorField)
    dataset.set_values("dino", list(5 * groups[:, :4] + 0.1 * draw.standard_normal((60, 4))))
    return dataset


def chosen(make_context, dataset, given, **params):
    return inputs_of(
        ClusterImages(), make_context(dataset, {"method": FROZEN, "embeddings_field": given, **params})
    )


def cluster(dataset, given, key):
    params = {"method": FROZEN, "embeddings_field": given, "key": key, "compute_brain": False}
    foo.execute_operator(names.CLUSTER_IMAGES, {"dataset": dataset}, params=params)
    return load_run(dataset, key)


def test_several_fields_can_be_chosen_only_if_there_are_several(make_context, vectors):
    several = chosen(make_context, vectors, None).get_property("embeddings_field")
    assert isinstance(several.type, foo.types.List)
    assert several.view.to_json()["multiple"]
    assert [choice.value for choice in several.view.choices] == ["clip", "dino"]
    assert "scaled to length 1 and joined" in several.view.description
    vectors.delete_sample_field("dino")
    single = chosen(make_context, vectors, None).get_property("embeddings_field")
    assert single.type.values == ["", "clip"]


def test_the_vectors_of_objects_are_offered_for_objects(make_context, vectors):
    boxes = fo.Detections(detections=[fo.Detection(bounding_box=[0, 0, 1, 1], vector=np.ones(3))])
    vectors.set_values("objects", [boxes] * 60)
    vectors.add_sample_field("objects.detections.vector", fo.VectorField)
    single = chosen(make_context, vectors, None, patches_field="objects").get_property("embeddings_field")
    assert single.type.values == ["", "vector"]


@pytest.mark.parametrize(
    ("given", "kept"), [(["clip", "dino"], ["clip", "dino"]), (["dino"], "dino"), ("dino", "dino")]
)
def test_a_run_gets_the_fields_as_the_sdk_takes_them(vectors, given, kept):
    """One field in a list is that field: its vectors are not scaled."""
    run = cluster(vectors, given, "dc")
    assert run.settings["embeddings_field"] == kept
    assert sorted(vectors.count_values("dc.label").values()) == [20, 20, 20]


@pytest.mark.parametrize(
    ("broken", "error"),
    [
        (lambda d: d.set_values("dino", [np.ones(3 + (row > 40)) for row in range(60)]), "vectors of shapes"),
        (lambda d: d.set_values("dino", [None] * 60), "'dino' is empty for all 60 images"),
        (lambda d: d.set_values("dino", [np.zeros(4)] * 60), "'dino' has vectors of zeros only"),
        (
            lambda d: (d.delete_sample_field("dino"), d.set_values("dino", [np.ones((2, 4))] * 60)),
            "one vector for each image",
        ),
    ],
    ids=["lengths", "empty", "zeros", "views"],
)
def test_what_a_run_refuses_is_shown_in_the_form(make_context, vectors, broken, error):
    assert not chosen(make_context, vectors, ["clip", "dino"]).get_property("embeddings_field").invalid
    broken(vectors)
    place = chosen(make_context, vectors, ["clip", "dino"]).get_property("embeddings_field")
    assert place.invalid
    assert error in place.error_message
    with pytest.raises(ExecutionError, match=error):
        cluster(vectors, ["clip", "dino"], "dc")
    assert not chosen(make_context, vectors, ["clip"]).get_property("embeddings_field").invalid


def test_a_field_that_is_not_there_is_shown_in_the_form(make_context, vectors):
    place = chosen(make_context, vectors, ["clip", "absent"]).get_property("embeddings_field")
    assert "Embeddings 'absent' is not a field" in place.error_message


def test_images_without_a_vector_are_counted_in_the_view(make_context, vectors):
    values = vectors.values("dino")
    values[0], values[1], values[50] = None, np.zeros(4), None
    vectors.set_values("dino", values)
    assert "no_vectors" not in chosen(make_context, vectors, ["clip"]).properties
    shown = chosen(make_context, vectors, ["clip", "dino"]).get_property("no_vectors").view
    assert shown.label == "3 of 60 images have no vector: left out"
    assert shown.description == "no vector in 'dino': 2; embeddings_field='dino' has a vector of zeros: 1"
    view = {"view": vectors.limit(40)._serialize()}
    params = {"method": FROZEN, "embeddings_field": ["dino"], "view_target": "CURRENT_VIEW"}
    form = inputs_of(ClusterImages(), make_context(vectors, params, **view))
    assert form.get_property("no_vectors").view.label.startswith("2 of 40 images")
    assert vectors.count("dino") == 58
    cluster(vectors, ["clip", "dino"], "dc")
    assert vectors.count("dc.label") == 57


def test_self_training_takes_one_vector_for_each_image_and_needs_none(make_context, vectors):
    vectors.set_values("views", [np.ones((2, 4))] * 60)
    vectors.set_values("dino", [None, *vectors.values("dino")[1:]])
    params = {"method": {"name": "self-training"}, "embeddings_field": ["views"]}
    place = inputs_of(ClusterImages(), make_context(vectors, params)).get_property("embeddings_field")
    assert "'views' has 2 vectors for each image" in place.error_message.replace("['views']", "'views'")
    params["embeddings_field"] = ["dino"]
    shown = inputs_of(ClusterImages(), make_context(vectors, params)).get_property("no_vectors").view
    assert shown.label == "1 of 60 images has no vector: clustered by the network only"


def test_an_open_form_reads_the_vectors_once(make_context, vectors):
    first = {"method": FROZEN, "embeddings_field": ["clip", "dino"]}
    for prompt, invalid in (("one", False), ("one", False), ("two", True)):
        place = inputs_of(ClusterImages(), make_context(vectors, dict(first), prompt_id=prompt))
        assert place.get_property("embeddings_field").invalid == invalid
        vectors.set_values("dino", [None] * 60)


def test_a_form_is_opened_again_when_there_are_more_fields(make_context, asker, vectors):
    vectors.delete_sample_field("dino")
    params = {"method": FROZEN, "embeddings_field": "clip", "key": "dc"}
    status.keep_form(vectors, "dc", {"operator": names.CLUSTER_IMAGES, "params": params})
    ask = asker(vectors)
    ask("start_again", key="dc")
    assert ask.calls["prompt_user_for_operation"]["params"]["embeddings_field"] == "clip"
    vectors.set_values("more", [np.ones(3)] * 60)
    ask("start_again", key="dc")
    assert ask.calls["prompt_user_for_operation"]["params"]["embeddings_field"] == ["clip"]


def test_an_audit_takes_several_fields(make_context, vectors):
    vectors.set_values("group", [f"group {row % 3}" for row in range(60)])
    params = {"label_field": "group", "embeddings_field": ["clip", "dino"]}
    form = inputs_of(AuditLabels(), make_context(vectors, dict(params)))
    assert not form.get_property("embeddings_field").invalid
    assert [choice.value for choice in form.get_property("embeddings_field").view.choices] == ["clip", "dino"]
    foo.execute_operator(names.AUDIT_LABELS, {"dataset": vectors}, params=params)
    vectors.reload()
    assert load_audit(vectors, "audit").settings["embeddings_field"] == ["clip", "dino"]


# ---------------------------------------------------------------- the number of clusters


def test_a_number_is_recommended_without_a_run(make_context, vectors):
    form = inputs_of(RecommendNumber(), make_context(vectors))
    assert "source" not in form.properties
    assert form.get_property("embeddings_field").invalid
    assert (form.get_property("smallest").default, form.get_property("largest").default) == (2, 12)
    params = {"embeddings_field": ["clip", "dino"], "largest": 4, "repetitions": 2}
    form = inputs_of(RecommendNumber(), make_context(vectors, dict(params)))
    assert not form.get_property("embeddings_field").invalid
    assert "curves" not in form.properties
    ctx = make_context(vectors, dict(params), spaces=LAYOUT, operator_uri=names.RECOMMEND_NUMBER)
    assert RecommendNumber().execute(ctx) == {"key": "", "background": True, "text": ""}
    state = until_ended(vectors, "job-recommend_number")
    assert (state.status, state.error) == ("finished", "")
    fields, found = sweep_of_fields(vectors)
    assert (fields, found.numbers, found.recommended) == (["clip", "dino"], (2, 3, 4), 3)
    form = inputs_of(RecommendNumber(), make_context(vectors, dict(params)))
    assert form.get_property("curves").view.data[0]["x"] == [2, 3, 4]
    form = inputs_of(RecommendNumber(), make_context(vectors, {"embeddings_field": ["clip"]}))
    assert "curves" not in form.properties


def test_cluster_images_shows_the_number_of_the_chosen_fields(make_context, vectors):
    params = {"embeddings_field": ["clip", "dino"], "largest": 4, "repetitions": 2}
    answer = foo.execute_operator(names.RECOMMEND_NUMBER, {"dataset": vectors}, params=params).result
    assert answer["text"].startswith("Recommended: 3 clusters, ")
    shown = inputs_of(ClusterImages(), make_context(vectors)).get_property("number").view
    assert shown.label.startswith("Number of clusters: recommended: 3 clusters, ")
    assert shown.description.startswith("From the vectors in clip, dino; ")
    assert "number" in chosen(make_context, vectors, ["dino", "clip"]).properties
    assert "number" not in chosen(make_context, vectors, ["clip"]).properties


def test_with_a_run_and_fields_the_form_asks_which(make_context, vectors):
    cluster(vectors, "dino", "dc")
    form = inputs_of(RecommendNumber(), make_context(vectors))
    assert form.get_property("source").default == "run"
    assert "key" in form.properties
    # what was entered for the other choice stays in the parameters
    params = {"source": "fields", "key": "dc", "embeddings_field": ["clip"], "largest": 4, "repetitions": 2}
    form = inputs_of(RecommendNumber(), make_context(vectors, dict(params)))
    assert "key" not in form.properties
    foo.execute_operator(names.RECOMMEND_NUMBER, {"dataset": vectors}, params=dict(params))
    assert sweep_of_fields(vectors, ["clip"])[1].recommended == 3
    params["source"] = "run"
    result = foo.execute_operator(names.RECOMMEND_NUMBER, {"dataset": vectors}, params=params).result
    assert result["key"] == "dc"
    for wrong, error in (
        ({"key": "dc", "embeddings_field": "clip"}, "give one of the two"),
        ({"source": "files"}, "source='files' is not known"),
        ({"source": "fields"}, "choose a field with vectors"),
    ):
        with pytest.raises((ExecutionError, InputError), match=error):
            foo.execute_operator(names.RECOMMEND_NUMBER, {"dataset": vectors}, params=wrong)


def test_the_number_of_a_view(vectors):
    params = {"embeddings_field": "dino", "largest": 19, "repetitions": 2, "view_target": "CURRENT_VIEW"}
    with pytest.raises(ExecutionError, match="19 images have a vector in embeddings_field='dino'"):
        foo.execute_operator(names.RECOMMEND_NUMBER, {"view": vectors.limit(19)}, params=params)
