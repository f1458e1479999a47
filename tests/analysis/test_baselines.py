"""Baselines beside a run: bounded in time, and compared on the same images."""

from itertools import count

import numpy as np
import pytest
import torch

from fiftyone_deepcluster.analysis import baselines
from fiftyone_deepcluster.analysis.baselines import BaselineSettings, measure, verdict
from fiftyone_deepcluster.core.record import AgreementScores, Baseline, RunRecord


def settings(n, n_clusters=4):
    return BaselineSettings(n_clusters, 0, np.arange(n) % 4, np.arange(n) % 4, skip=("UMAP + GMM",))


def groups(n):
    draw = torch.Generator().manual_seed(0)
    return 10 * torch.eye(4)[torch.arange(n) % 4] + torch.randn(n, 4, generator=draw)


@pytest.mark.parametrize(("seconds", "n_images"), [(0.1, 6_000), (15.0, 3_000), (30.0, 1_000)])
def test_more_images_are_taken_only_if_they_fit_into_the_time(monkeypatch, seconds, n_images):
    clock = count()
    monkeypatch.setattr(baselines.time, "perf_counter", lambda: seconds * next(clock))
    (found,) = measure(groups(6_000), "pixels", settings(6_000))
    assert found.n_images == n_images
    assert found.truth.nmi == pytest.approx(1)
    assert found.run_truth.nmi == 1
    assert found.agreement == pytest.approx(1)


def test_each_cluster_has_some_images_at_least(monkeypatch):
    clock = count()
    monkeypatch.setattr(baselines.time, "perf_counter", lambda: 100.0 * next(clock))
    (found,) = measure(groups(3_000), "pixels", settings(3_000, n_clusters=200))
    assert found.n_images == 2_000


def entry(name, nmi, own, n_images=100):
    truth, run_truth = (AgreementScores(nmi=value, ari=0, purity=0, acc=0) for value in (nmi, own))
    return Baseline(
        name=name,
        features="pixels",
        n_images=n_images,
        silhouette=0,
        truth=truth,
        run_truth=run_truth,
        seconds=1,
    )


@pytest.mark.parametrize(
    ("found", "text", "beaten"),
    [
        ([("k-means", 0.7, 0.9), ("UMAP + GMM", 0.8, 0.9)],
         ("This run is better than simple methods: NMI with the truth 0.900, UMAP + GMM on pixels 0.800, "
         "k-means on pixels 0.700."), False),
        ([("k-means", 0.7, 0.9), ("UMAP + GMM", 0.895, 0.9)],
         ("This run is about as good as UMAP + GMM on pixels: NMI with the truth 0.900, UMAP + GMM on pixels 0.895, "
         "k-means on pixels 0.700."), False),
        ([("k-means", 0.95, 0.9, 50)],
         ("k-means on pixels is BETTER than this run: NMI with the truth 0.900, k-means on pixels (50 images) 0.950. "
         "Consider the method 'frozen' with clusterer='kmeans' on pixels, which can do the same."), True),
        ([], "", False),
    ],
)  # fmt: skip
def test_the_verdict_in_words(found, text, beaten):
    record = RunRecord(method="deepcluster", n_images=100, baselines=[entry(*values) for values in found])
    assert verdict(record) == (text, beaten)
