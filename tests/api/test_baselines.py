"""Baselines of a run on real digits, and the verdict."""

from typing import Literal

import numpy as np
import pytest

import fiftyone_deepcluster as fdc
from fiftyone_deepcluster.clusterers.base import CLUSTERERS, Clusterer
from tests.fits import FAST, some_digits


@pytest.fixture(scope="module")
def digits():
    return some_digits()


def test_a_run_is_compared_with_what_one_would_do_otherwise(digits):
    found = fdc.fit(digits[0], fdc.DeepCluster(**{**FAST, "baselines": True, "rounds": 1}), truth=digits[1])
    assert [(entry.name, entry.features) for entry in found.record.baselines] == [
        ("k-means", "pixels"),
        ("UMAP + GMM", "pixels"),
    ], "not with clusters of its own features"
    ours = found.record.rounds[-1].truth.nmi
    assert {entry.run_truth.nmi for entry in found.record.baselines} == {ours}
    best = max(entry.truth.nmi for entry in found.record.baselines)
    assert best > 0.7, "digits are easy for UMAP + GMM"
    assert found.record.beaten == (best > ours + 0.01)
    assert ("BETTER than this run" in found.record.verdict) == found.record.beaten
    assert (
        f"NMI with the truth {ours:.3f}, UMAP + GMM on pixels {best:.3f}, k-means on pixels"
        in found.record.verdict
    )


def test_fixed_features_are_not_compared_with_the_same_clustering_of_them(digits):
    found = fdc.fit(digits[0], fdc.Frozen(n_clusters=10), truth=digits[1])
    assert [(entry.name, entry.features) for entry in found.record.baselines] == [
        ("UMAP + GMM", "the same vectors")
    ]
    assert found.record.beaten
    mapped = fdc.fit(digits[0], fdc.Frozen(n_clusters=10, reducer="umap", clusterer="gmm"), truth=digits[1])
    assert [entry.name for entry in mapped.record.baselines] == ["k-means"]
    assert mapped.record.verdict.startswith("This run is better than simple methods: NMI with the truth")


def test_without_known_classes_the_verdict_takes_no_side(digits):
    found = fdc.fit(digits[0], fdc.Frozen(n_clusters=10))
    assert not found.record.beaten
    agrees = found.record.baselines[0].agreement
    assert 0.5 < agrees < 1
    assert found.record.verdict.startswith("Without known classes it cannot be measured")
    assert f"It agrees with UMAP + GMM on the same vectors to NMI {agrees:.3f}." in found.record.verdict


def test_baselines_that_fail_do_not_cost_the_run(few_digits, monkeypatch, caplog):
    class Fails(Clusterer):
        name: Literal["kmeans"] = "kmeans"

        def find(self, vectors, request):
            raise MemoryError("no room for centers")

    assert "kmeans" in CLUSTERERS.names()
    monkeypatch.setitem(CLUSTERERS._parts, "kmeans", Fails)
    result = fdc.fit(few_digits, fdc.Frozen(n_clusters=3, clusterer="gmm", image_size=16))
    assert len(np.unique(result.labels)) == 3
    assert result.record.baselines == []
    notes = [note for note in result.record.notes if "baselines" in note]
    assert [note.split(" (")[0] for note in notes] == [
        "the baselines on the same vectors could not be computed"
    ]
    assert "no room for centers" in notes[0]
    assert notes[0] in caplog.text


@pytest.mark.parametrize("n", [2, 3])
def test_images_too_few_for_umap_have_no_such_baseline(digits, n):
    result = fdc.fit(digits[0][:n], fdc.Frozen(n_clusters=2, clusterer="agglomerative"))
    assert {entry.name for entry in result.record.baselines} == {"k-means"}
