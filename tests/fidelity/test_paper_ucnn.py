"""UCNN's preset is the paper (Hsu and Lin 2017): layers, stream, update, memory."""

from __future__ import annotations

import gc

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn

import fiftyone_deepcluster as fdc
from fiftyone_deepcluster.pseudo_labels.streaming import StreamingCentroids
from fiftyone_deepcluster.training.losses import CrossEntropy
from tests.fidelity.papers import facts, plain_values
from tests.observers import Watcher

SETTINGS = {
    "rounds": 10,  # section 3.2: epochs
    "variant": "proposed",
    "image_size": 256,  # section 3.1
    "image_fit": "crop",
    "backbone": None,
    "weights": "IMAGENET1K_V1",
    "input_norm": "imagenet",
    "learning_rate": 0.001,  # not in the paper
    "head_learning_rate": 0.01,  # not in the paper
    "update": "last",  # equations 1, 4 and 5
    "batch_size": 50,
    "pixel_epochs": 0,
    "init": "sample",  # features of k random images
    "compensation": "compensated",
    "recount": False,  # counts are never reset
    "patience": 10**9,
    "augmentation": "none",
    "augment_always": False,
    "keep_embeddings": False,
}


def paper(**values):
    return fdc.UCNN(preset="paper", **values)


def built(k=365, **values):
    """The parts of the preset without pre-trained weights, and without memory for the random ones."""
    resolved = paper(n_clusters=k, **values).resolve(facts())
    with torch.device("meta"):
        return resolved.model_copy(update={"weights": None}).build()


@pytest.fixture
def digits():
    return (load_digits().images[:400] * 15.9375).astype(np.uint8)


def small(**values):
    """The preset on digits: a tiny network, and random weights."""
    known = {
        "n_clusters": 10, "rounds": 1, "image_size": 16, "weights": None, "input_norm": "zscore",
        "backbone": {"name": "ucnn", "maps": 12, "dim": 300}, "baselines": False, "precision": "float32",
    }  # fmt: skip
    return paper(**{**known, **values})


def test_ucnn_options_are_the_papers():
    found = plain_values(paper())
    assert {name: found[name] for name in SETTINGS} == SETTINGS


@pytest.mark.parametrize("k", [365, 1000])
def test_the_network_has_the_papers_layers(k):
    network = built(k).network
    body = network.backbone
    convolutions = [layer for layer in body.modules() if isinstance(layer, nn.Conv2d)]
    shape = [(c.out_channels, c.kernel_size[0], c.stride[0]) for c in convolutions]
    # torchvision's, whose weights are loaded
    alexnet = [(64, 11, 4), (192, 5, 1), (384, 3, 1), (256, 3, 1), (256, 3, 1)]
    assert shape == [*alexnet, (6144, 3, 1), (2048, 3, 1), (k, 3, 1)]
    pools = [layer for layer in body.modules() if isinstance(layer, nn.MaxPool2d)]
    assert [(pool.kernel_size, pool.stride) for pool in pools] == [(3, 2)] * 3
    assert (body.full.in_features, body.full.out_features) == (k, k)
    assert not any(isinstance(layer, nn.BatchNorm2d | nn.BatchNorm1d) for layer in body.modules())
    assert network.relu_before_head


def test_global_max_pooling_leaves_one_value_a_channel(seeded):
    from fiftyone_deepcluster.backbones.base import BACKBONES

    body = BACKBONES.parse({"name": "ucnn", "maps": 5, "dim": 5}).build(1, 24, None).eval()
    images = torch.rand(3, 1, 24, 24)
    with torch.no_grad():
        maps = body.adaptation(body.convolutions(images))
        assert torch.allclose(
            body(images), body.norm(body.full(maps.flatten(2).max(dim=2).values)), atol=1e-6
        )


def test_images_are_cropped_to_256_without_a_margin():
    resolved = paper().resolve(facts())
    assert (resolved.image_size, resolved.decoded_side) == (256, 256)


def test_fc9_and_softmax_are_trained_by_plain_sgd():
    made = built()
    trained = {name for name, value in made.network.backbone.named_parameters() if value.requires_grad}
    assert trained == {"full.weight", "full.bias"}
    optimizer = made.training_spec.optimizer
    assert (optimizer.optimizer, optimizer.momentum, optimizer.weight_decay) == ("sgd", 0.0, 0.0)
    assert made.training_spec.objective == CrossEntropy()
    everything = built(update="all").network.backbone
    assert all(value.requires_grad for value in everything.parameters())
    assert paper(update="all").deviations() == []


def test_the_stream_has_the_papers_parts():
    made = built()
    task = made.training_spec.task
    assert isinstance(task, StreamingCentroids)
    parts = task.parts
    assert (parts.drift, parts.init, parts.recount, parts.augmented) == (
        "compensated",
        "sample",
        False,
        False,
    )
    assert made.batch_size == 50
    assert built(variant="baseline-1").training_spec.task.parts.drift == "ignored"


def test_there_is_no_pass_over_all_images(digits):
    seen = Watcher()
    fdc.fit(digits, small(), observer=seen)
    assert ("first centers", 10) in seen.phases
    assert not set(seen.names) & {"embed", "predict"}


def test_no_vectors_of_all_images_are_kept(digits):
    """The largest tensor that is alive after a batch has far less than N x D = 600,000 numbers."""
    largest = []

    class Watching(Watcher):
        def advance(self, steps):
            if self.names[-1] != "train":
                return
            gc.collect()
            alive = [one for one in gc.get_objects() if type(one) is torch.Tensor and one.is_floating_point()]
            largest.append(max((one.numel() for one in alive), default=0))

    backbone = {"name": "ucnn", "maps": 12, "dim": 3000}
    result = fdc.fit(digits[:200], small(backbone=backbone), observer=Watching())
    assert len(largest) == 4
    assert max(largest) < 200_000
    assert result.embeddings.shape == (200, 0)


def test_clusters_are_those_of_the_training_pass(digits):
    """Every image has the cluster that its batch was assigned to, with its distances."""
    result = fdc.fit(digits, small(n_clusters=4))
    assert result.labels.min() >= 0
    assert len(np.unique(result.labels)) > 1
    assert np.isfinite(result.distance).all()
    assert (result.margin >= 0).all()
    assert result.record.rounds[0].change is None
    assert result.record.rounds[0].clusters_in_use == len(np.unique(result.labels))


def test_a_resumed_stream_equals_an_uninterrupted_one(digits, tmp_path):
    whole = fdc.fit(digits, small(rounds=2))
    fdc.fit(digits, small(rounds=1), run_dir=tmp_path)
    resumed = fdc.fit(digits, small(rounds=2), run_dir=tmp_path)
    assert np.array_equal(whole.labels, resumed.labels)
    assert np.array_equal(whole.distance, resumed.distance)
    assert resumed.record.rounds[1].change.nmi == pytest.approx(whole.record.rounds[1].change.nmi)


def test_layers_that_stay_random_are_said():
    notes = paper().remarks(facts())
    assert notes[1] == (
        "update='last' leaves conv6-8 random: weights='IMAGENET1K_V1' has conv1-5 only; give a file of a whole UCNN, "
        "or update='all'"
    )
    assert paper(update="all").remarks(facts()) == ["preset='paper': as in the paper"]
