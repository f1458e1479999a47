"""A corpus of a few digits, for parts that look at images through a network."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from fiftyone_deepcluster.backbones.base import TRUNKS
from fiftyone_deepcluster.backbones.input_norms import make_front
from fiftyone_deepcluster.backbones.network import Network
from fiftyone_deepcluster.core.devices import Compute
from fiftyone_deepcluster.core.progress import Silent
from fiftyone_deepcluster.features.corpus import Corpus
from fiftyone_deepcluster.images.cache.open_images import Decode, open_images


@pytest.fixture(scope="module")
def few_digits():
    return (load_digits().images[:60] * 15.9375).astype(np.uint8)


@pytest.fixture(scope="module")
def make_corpus(few_digits):
    """A corpus of 60 digits seen by a small network of random weights."""
    stores = []

    def make(batch_size=16, images=few_digits, given=None):
        store = open_images(images, Decode(size=24, color="grey"), observer=Silent())
        stores.append(store)
        front = make_front("zscore", 1)
        torch.manual_seed(1)
        network = Network(front, TRUNKS.parse({"name": "small", "width": 8}).build(1, 24, None))
        compute = Compute(torch.device("cpu"), torch.float32)
        return Corpus(store, network, compute, size=24, batch_size=batch_size, observer=Silent(), given=given)

    yield make
    for store in stores:
        store.close()


@pytest.fixture(scope="module")
def corpus(make_corpus):
    return make_corpus()
