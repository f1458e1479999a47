"""Samplers: how often each image is drawn."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from fiftyone_deepcluster.pseudo_labels.samplers import Shuffled, UniformOverClusters


def test_uniform_sampler_draws_equally_and_as_many_as_images():
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2, 5], [700, 200, 90, 10])
    drawn = UniformOverClusters().draw(labels, rng)
    assert len(drawn) == 1000
    counts = np.bincount(labels[drawn], minlength=6)
    assert set(np.flatnonzero(counts)) == {0, 1, 2, 5}
    assert counts[counts > 0].max() - counts[counts > 0].min() <= 4  # the cut to N takes a few
    assert len(np.unique(drawn[labels[drawn] == 0])) == counts[0], "large clusters are drawn without repeats"
    assert len(np.unique(drawn[labels[drawn] == 5])) == 10, "no image of a small cluster is left out"


def test_sampler_limits_repeats_and_skips_unlabeled_images():
    labels = np.repeat([0, 1, -1], [98, 2, 5])
    drawn = UniformOverClusters(most_repeats=3).draw(labels, np.random.default_rng(0))
    assert np.bincount(drawn).max() <= 3
    assert (labels[drawn] >= 0).all()
    assert sorted(Shuffled().draw(labels, np.random.default_rng(0))) == list(range(100))
    assert len(UniformOverClusters().draw(np.full(4, -1), np.random.default_rng(0))) == 0


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 6), min_size=1, max_size=200), st.integers(0, 2**31 - 1))
def test_sampler_is_uniform_whatever_the_sizes(labels, seed):
    labels = np.array(labels)
    drawn = UniformOverClusters().draw(labels, np.random.default_rng(seed))
    assert len(drawn) == len(labels)
    each = len(labels) // len(np.unique(labels)) + 1
    assert np.bincount(labels[drawn]).max() <= each
