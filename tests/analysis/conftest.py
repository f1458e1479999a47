"""A trained run on digits, for tests of analyses."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import load_digits

import fiftyone_deepcluster as fdc
from fiftyone_deepcluster.api.trained_run import reopen
from fiftyone_deepcluster.backbones.layers import layers_of

N = 300


def batch(corpus, rows):
    """Images of some rows, at the size of the network's input."""
    return next(corpus.plain_batches(np.asarray(rows))).images


@pytest.fixture(scope="package")
def digits():
    found = load_digits()
    return (found.images[:N] * 15.9375).astype(np.uint8), found.target[:N].astype(np.int64)


@pytest.fixture(scope="package")
def run_dir(digits, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    options = fdc.DeepCluster(
        n_clusters=10, rounds=2, min_steps=10, backbone={"name": "small", "width": 8}, baselines=False
    )
    fdc.fit(digits[0], options, run_dir=folder)
    return folder


@pytest.fixture
def trained_run(run_dir, digits):
    with reopen(run_dir, digits[0]) as run:
        yield run


@pytest.fixture
def layers(trained_run):
    return layers_of(trained_run.trained.network, batch(trained_run.trained, [0]))
