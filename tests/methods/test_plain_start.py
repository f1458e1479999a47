"""Self-training starts from UMAP + k-means on the images' own features where these clusters are better."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

import fiftyone_deepcluster as fdc
from fiftyone_deepcluster.api.trained_run import reopen
from fiftyone_deepcluster.features.base import EncodeRequest
from fiftyone_deepcluster.features.pooled import Pooled
from fiftyone_deepcluster.features.view_outputs import image_features
from fiftyone_deepcluster.metrics.agreement import agreement
from fiftyone_deepcluster.pseudo_labels.plain_clusters import plain_clusters
from tests.methods.test_self_training import options as of_self_training

POOR = {"name": "kmeans", "n_init": 1, "max_iter": 1, "sample_per_cluster": 2}


@pytest.fixture(scope="module")
def digits():
    """(120, 8, 8) uint8 of five classes."""
    return (load_digits(n_class=5).images[:120] * 15.9375).astype(np.uint8)


def options(**values):
    """Those of ``test_self_training``, with poor clusters, and with steps so large that training improves nothing."""
    own = {
        "rounds": 1,
        "clusterer": POOR,
        "plain_start": True,
        "keep_first": True,
        "learning_rate": 50,
        "average": 0,
    }
    return of_self_training(**{**own, **values})


def said_about_the_start(result):
    return [note for note in result.record.notes if "training started from UMAP + k-means" in note]


def test_features_of_the_images_are_those_without_views(digits, tmp_path):
    fdc.fit(digits, options(plain_start=False), run_dir=tmp_path)
    with torch.random.fork_rng(), reopen(tmp_path, digits) as reopened:
        corpus = reopened.initial
        own = image_features(corpus, reopened.options.encoder.view_settings)
        pooled = Pooled(pca=0, l2_normalize=True).encode(corpus, EncodeRequest(0)).vectors
    torch.testing.assert_close(own, pooled, atol=1e-5, rtol=0)


def test_the_better_clusters_are_the_start(digits, tmp_path):
    kept = fdc.fit(digits, options(), run_dir=tmp_path)
    scores = kept.record.rounds[0].scores
    assert scores["information_plain"] > scores["information_views"]
    assert scores["information_first"] == pytest.approx(scores["information_plain"])
    (note,) = said_about_the_start(kept)
    assert f"{scores['information_plain']:.3f}" in note
    assert f"{scores['information_views']:.3f}" in note
    with torch.random.fork_rng(), reopen(tmp_path, digits) as reopened:
        views, seed = reopened.options.encoder.view_settings, reopened.options.seed
        plain = plain_clusters(reopened.initial, views, 5, seed)
    assert agreement(kept.labels, plain.labels.numpy()).acc == 1


def test_clusters_of_the_views_are_the_start_where_they_are_better(digits):
    classes = load_digits(n_class=5).target[:120]
    known = fdc.Known(other_vectors=np.eye(5, dtype=np.float32)[classes])
    found = fdc.fit(digits, options(other_weight=0.9, clusterer="kmeans"), known=known, truth=classes)
    scores = found.record.rounds[0].scores
    assert scores["information_views"] > scores["information_plain"] > 0
    assert found.record.rounds[0].truth.acc == 1
    assert not said_about_the_start(found)


@pytest.mark.parametrize("images", ["few", "the same"])
def test_what_cannot_be_compared_starts_from_the_views(digits, images):
    found = fdc.fit(digits[:60] if images == "few" else np.full((120, 8, 8), 77, np.uint8), options())
    assert all("information_plain" not in one.scores for one in found.record.rounds)
    assert not said_about_the_start(found)


def test_a_resumed_run_has_the_same_start(digits, tmp_path):
    values = {"learning_rate": 0.003, "keep_first": False}
    whole = fdc.fit(digits, options(**values, rounds=2))
    fdc.fit(digits, options(**values, rounds=1), run_dir=tmp_path)
    resumed = fdc.fit(digits, options(**values, rounds=2), run_dir=tmp_path)
    assert said_about_the_start(resumed) == said_about_the_start(whole) != []
    np.testing.assert_array_equal(whole.labels, resumed.labels)
    assert whole.record.rounds[0].scores == resumed.record.rounds[0].scores
