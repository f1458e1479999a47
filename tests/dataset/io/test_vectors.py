"""Vectors that are given instead of learned ones."""

from __future__ import annotations

import numpy as np
import pytest

import fiftyone_deepcluster as fdc
from fiftyone_deepcluster.dataset.io.read_images import collect_images
from fiftyone_deepcluster.dataset.io.vectors import stored_vectors
from fiftyone_deepcluster.errors import InputError, OptionsError


def test_a_vector_of_zeros_is_reported_as_none_is(make_digits):
    dataset = make_digits(4)
    dataset.set_values("emb", [np.ones(3), np.zeros(3), None, np.array([0.0, 0.0, -1e-9])])
    vectors, missing = stored_vectors(collect_images(dataset), "emb")
    assert missing == {1: "embeddings_field='emb' has a vector of zeros", 2: "no vector in 'emb'"}
    np.testing.assert_array_equal(np.isnan(vectors).all(1), [False, True, True, False])


def test_zeros_only_are_refused(make_digits):
    dataset = make_digits(3)
    dataset.set_values("emb", [np.zeros(3), np.zeros(3), None])
    with pytest.raises(InputError, match=r"'emb' has vectors of zeros only.*compute the embeddings again"):
        fdc.cluster(dataset, "frozen", "dc", embeddings_field="emb", n_clusters=2, progress=False)
    assert not dataset.has_field("dc")


def test_the_image_says_why_it_has_no_cluster(make_digits):
    dataset = make_digits(12)
    vectors = np.random.default_rng(51).normal(size=(12, 4))
    vectors[5] = 0
    dataset.set_values("emb", list(vectors))
    fdc.cluster(
        dataset,
        "frozen",
        "dc",
        embeddings_field="emb",
        n_clusters=2,
        progress=False,
        compute_brain=False,
        baselines=False,
    )
    assert dataset.count("dc.label") == 11
    assert dataset.values("dc_error")[5] == "embeddings_field='emb' has a vector of zeros"


def test_several_fields_have_the_same_weight_and_need_a_vector_in_each(make_digits):
    dataset = make_digits(6)
    random = np.random.default_rng(0)
    one, two = 100 * random.normal(size=(6, 3)), random.normal(size=(6, 5))
    two[4] = 0
    dataset.set_values("one", list(one))
    dataset.set_values("two", list(two))
    vectors, missing = stored_vectors(collect_images(dataset), ["one", "two"])
    np.testing.assert_allclose(np.linalg.norm(vectors[:4, :3], axis=1), 0.5**0.5, rtol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(vectors[:4, 3:], axis=1), 0.5**0.5, rtol=1e-5)
    assert missing == {4: "embeddings_field='two' has a vector of zeros"}
    run = fdc.cluster(
        dataset,
        "frozen",
        "dc",
        embeddings_field=["one", "two"],
        n_clusters=2,
        progress=False,
        compute_brain=False,
    )
    assert dataset.count("dc.label") == 5
    assert run.settings["embeddings_field"] == ["one", "two"]
    for wrong, text in (
        (["one", "one"], "has a name twice"),
        ([], "not a list of names"),
        (["one", "x"], "'x'"),
    ):
        with pytest.raises(InputError, match=text):
            fdc.cluster(dataset, "frozen", "dc2", embeddings_field=wrong, n_clusters=2, progress=False)


def test_a_field_with_the_same_vector_for_all_images_is_refused_also_beside_another(make_digits):
    dataset = make_digits(6)
    dataset.set_values("one", list(np.random.default_rng(0).normal(size=(6, 3))))
    dataset.set_values("same", [np.ones(5)] * 6)
    for call in (
        lambda given: fdc.cluster(
            dataset, "frozen", "dc", embeddings_field=given, n_clusters=2, progress=False
        ),
        lambda given: fdc.recommend_number(dataset, embeddings_field=given),
    ):
        with pytest.raises(OptionsError, match="embeddings_field='same' has the same vector for all images"):
            call(["one", "same"])
    assert not dataset.has_field("dc")


def test_a_field_with_several_vectors_for_each_image_is_view_whitened(make_digits):
    dataset = make_digits(12)
    dataset.set_values("views", list(np.random.default_rng(0).normal(size=(12, 4, 6))))
    encoder = "view-whitened"
    options = {"embeddings_field": "views", "encoder": encoder, "n_clusters": 2, "progress": False}
    fdc.cluster(dataset, "frozen", "dc", compute_brain=False, **options)
    assert len(dataset.first()["dc_embedding"]) == 6
