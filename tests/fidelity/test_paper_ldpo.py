"""LDPO's preset is the paper (Wang et al. 2017): start, encodings, clustering, split, convergence."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import torch
from torch import nn

import fiftyone_deepcluster as fdc
from fiftyone_deepcluster.backbones.base import BACKBONES
from fiftyone_deepcluster.backbones.layers import layers_of
from fiftyone_deepcluster.backbones.network import Network
from fiftyone_deepcluster.clusterers.base import ClusterRequest
from fiftyone_deepcluster.features.base import EncodeRequest
from fiftyone_deepcluster.pseudo_labels.holdout import Holdout, Split
from fiftyone_deepcluster.pseudo_labels.round_labels import RoundLabels
from tests.fidelity.papers import facts, plain_values

SETTINGS = {
    "rounds": 10,  # section 4.1: about ten iterations
    "image_size": 224,
    "image_fit": "stretch",  # "resized to fit the model definition"
    "backbone": {"name": "torchvision", "model": "alexnet"},
    "weights": "IMAGENET1K_V1",
    "input_norm": "imagenet",
    "pseudo_clusters": None,
    "pseudo_class_rounds": None,
    "merge": False,
    "initial": "features",
    "initial_epochs": None,  # section 4.1: "has already been fine-tuned" on the topics, so until it has converged
    "initial_tolerance": 0.01,
    "initial_max_epochs": 100,
    "training_share": 0.7,  # section 4
    "validation_share": 0.1,
    "confident_share": 1.0,
    "freeze_norm": False,
    "level_head": False,
    "epochs": 2,
    "min_steps": 0,
    "batch_size": 256,
    "optimizer": "sgd",
    "learning_rate": 0.001,
    "head_learning_rate": 0.01,  # "a higher learning rate than all other layers"
    "weight_decay": 5e-4,
    "label_smoothing": 0.0,
    "augmentation": "none",
    "sampling": "shuffled",
    "stop_nmi": 0.9,
    "stop_purity": 0.9,
    "encoder": {"name": "pooled", "pca": 0},  # table 1: FC7 has no encoding
    "reducer": {"name": "identity"},
    "clusterer": None,
}


def paper(**values):
    return fdc.LDPO(preset="paper", **values)


def resolved(n=215_786, side=512, **values):
    return paper(**values).resolve(facts(n, side, gray=True))


def test_ldpo_options_are_the_papers():
    found = plain_values(paper())
    assert {name: found[name] for name in SETTINGS} == SETTINGS


@pytest.mark.parametrize(
    ("model", "dim"), [("alexnet", 4096), ("googlenet", 1024), ("vgg16", 4096), ("vgg19", 4096)]
)
def test_networks_end_in_the_papers_layers(model, dim):
    """Table 1: FC7 of AlexNet and VGG, Pool5 of GoogLeNet."""
    with torch.device("meta"):
        body = BACKBONES.parse({"name": "torchvision", "model": model}).build(3, 224, None)
    assert body.dim == dim
    assert paper(backbone={"name": "torchvision", "model": model}).deviations() == []


@pytest.mark.parametrize(
    ("model", "layer", "shape"),
    [("alexnet", "conv5", (256, 13, 13)), ("googlenet", "inception5b", (1024, 7, 7))],
)
def test_vlad_and_fisher_vectors_are_of_the_papers_maps(model, layer, shape):
    """Table 1: Conv5 (13, 13, 256) of AlexNet, Inception5b (7, 7, 1024) of GoogLeNet."""
    options = resolved(backbone={"name": "torchvision", "model": model}, encoder="vlad")
    with torch.device("meta"):
        body = BACKBONES.parse({"name": "torchvision", "model": model}).build(3, options.image_size, None)
        images = torch.zeros(1, 3, options.image_size, options.image_size)
        layers = layers_of(Network(nn.Identity(), body), images)
    last = [one for one in layers if len(one.shape) == 3][-1]
    assert (last.name, last.shape) == (layer, shape)
    for name in ("vlad", "fisher"):
        assert resolved(encoder=name).encoder.layer is None, "the last layer with maps"


def test_rim_with_lambda_1_finds_one_cluster_in_codes_of_length_1(corpus):
    """The paper's numbers of clusters for FV and VLAD need longer codes, but it gives no scale."""
    for name in ("vlad", "fisher"):
        options = resolved(encoder=name)
        vectors = options.encoder.encode(corpus, EncodeRequest(1, None, None)).vectors
        assert float(vectors.norm(dim=1).max()) < 1.5, "of length 1 before PCA subtracts their mean"
        found = options.clusterer.cluster(vectors, ClusterRequest(None, 1))
        assert len(found.labels.unique()) == 1
        longer = options.clusterer.cluster(30 * vectors, ClusterRequest(None, 1))
        assert len(longer.labels.unique()) > 1


def test_medical_images_are_clustered_by_rim_with_lambda_1():
    found = resolved()
    assert found.clusterer.name == "rim"
    assert (found.clusterer.penalty, found.clusterer.n_init_clusters) == (1.0, 1000)
    assert paper().remarks(facts(gray=True))[0] == "preset='paper': as in the paper"


def test_scenes_are_clustered_by_kmeans_with_the_known_number():
    found = resolved(4485, n_clusters=15)
    assert found.clusterer.name == "kmeans"
    assert (found.n_clusters, found.pseudo_clusters) == (15, 15)
    assert paper(n_clusters=15).remarks(facts(4485))[0] == "preset='paper': as in the paper"


@pytest.mark.parametrize("name", ["pooled", "vlad", "fisher", "patch-mining"])
@pytest.mark.parametrize("n", [1000, 60_000])
def test_rim_clusters_vectors_that_are_neither_whitened_nor_of_length_1(name, n):
    found = resolved(n, encoder=name).encoder
    assert not found.l2_normalize
    if name == "pooled":
        assert found.settle(n, 4096)[1] is False
    default = fdc.LDPO(encoder=name).resolve(facts(n))
    assert not default.encoder.l2_normalize
    assert name != "pooled" or default.encoder.settle(n, 4096)[1] is False


def test_encodings_have_the_papers_sizes(corpus, caplog):
    """Section 3.1: 64 Gaussians, k-means with k = 64, 50 patterns, 4096 dimensions by PCA; conv5 has 256 channels."""
    caplog.set_level(logging.INFO, "fiftyone_deepcluster")
    descriptors = torch.rand(200, 256, generator=torch.Generator().manual_seed(1))
    for name, values in (("vlad", 64 * 256), ("fisher", 2 * 64 * 256)):
        encoder = resolved(encoder=name).encoder
        codes = encoder.describe(descriptors.view(2, 100, 256), encoder.learn(descriptors, seed=1))
        assert codes.shape == (2, values)
        caplog.clear()
        encoder.encode(corpus, EncodeRequest(1, None, 3))
        assert "instead of 4096" in caplog.text, "60 images allow fewer"
    mining = resolved(encoder="patch-mining").encoder
    assert (mining.patterns, mining.patches) == (50, "crops")
    caplog.clear()
    mining.encode(corpus, EncodeRequest(1, None, 3))
    assert "instead of 4096" in caplog.text
    for name in ("vlad", "fisher", "patch-mining"):
        assert paper(encoder=name).deviations() == []


def test_the_softmax_layer_learns_faster_and_is_sized_by_the_clusters():
    spec = resolved(n_clusters=15).optimizer_spec()
    assert (spec.optimizer, spec.momentum) == ("sgd", 0.9)
    assert spec.head_learning_rate == 10 * spec.learning_rate
    # momentum m multiplies a steady step by 1 / (1 - m), so that the layer is faster only with the same m
    assert spec.head_momentum == spec.momentum
    assert (spec.one_cycle, spec.cosine) == (False, None)


def test_the_split_is_70_10_20_and_new_in_every_round():
    holdout = resolved(n_clusters=15).task_parts().holdout
    one, two = holdout.split(1000, 0), holdout.split(1000, 1)
    assert [len(part) for part in (one.training, one.validation, one.test)] == [700, 100, 200]
    assert not np.array_equal(one.test, two.test)


def test_convergence_is_purity_and_nmi_of_adjacent_rounds():
    (rule,) = resolved(n_clusters=15).stop_rules()
    assert (rule.nmi, rule.purity) == (0.9, 0.9)


def test_accuracies_are_over_all_held_out_images(make_corpus):
    """Also over those that are too uncertain to train on."""
    corpus = make_corpus()
    parts = fdc.LDPO(n_clusters=4, confident_share=0.5).resolve(facts(60, 24, gray=True)).task_parts()
    task = RoundLabels(parts)
    task.assign(corpus)
    assert (task._pseudo < 0).sum() >= 20
    assert (task._whole >= 0).all()
    corpus.network.replace_head(4, seed=1)
    test = np.arange(20)
    found = Holdout().scores(corpus, task._whole.numpy(), Split(np.arange(20, 60), np.zeros(0, int), test))
    top = corpus.logits()[:20].topk(4, dim=1).indices.numpy()
    hits = top == task._whole.numpy()[:20, None]
    assert found["test_top1"] == pytest.approx(hits[:, 0].mean())
    assert found["test_top5"] == 1.0


def test_topics_train_a_network_until_it_has_converged_before_clusters_follow(make_corpus):
    """Section 4.1: AlexNet-FC7-Topic "has already been fine-tuned by the report-derived category information"."""
    corpus = make_corpus()
    corpus.initial = np.arange(60) % 3
    parts = paper(
        n_clusters=4, initial="topics", text_field="report", backbone={"name": "small", "width": 8}, weights=None
    ).resolve(facts(60, 24, gray=True)).task_parts()  # fmt: skip
    task = RoundLabels(parts)
    task.assign(corpus)
    first = task.begin_round(0, corpus)
    assert first.next_epoch is not None, "their number depends on the loss"
    orders, losses = [first.order], []
    while orders[-1] is not None:
        losses.append(0.8 ** len(losses))
        orders.append(first.next_epoch(losses))
    assert first.n_outputs == 3
    # the last loss that counts is 0.8 ** 22 = 0.0074, as 0.8 ** 18 = 0.0180 did; five epochs follow without another
    assert len(losses) == 28
    assert len({tuple(order) for order in orders[:-1]}) == 28, "every epoch in another order"
    assert {tuple(sorted(order)) for order in orders[:-1]} == {tuple(sorted(first.order))}
    assert len(first.order) == 42, "70 % of the images"
    corpus.network.replace_head(3, seed=1)
    scores = task.assign(corpus).scores
    assert (scores["initial_epochs"], scores["initial_converged"]) == (28, 1)
    second = task.begin_round(1, corpus)
    assert (len(second.order), second.n_outputs, second.next_epoch) == (2 * 42, 4, None)


def test_a_network_for_topics_that_does_not_converge_is_said():
    """The paper gives no limit; ours is 100 epochs, and a run that reaches it says so."""
    rule = paper(initial="topics").resolve(facts(60, 24, gray=True)).task_parts().initial_rule
    falling = [1 - 0.005 * epoch for epoch in range(100)]
    assert not rule.ended(falling[:99])
    assert rule.ended(falling)
    assert not rule.converged(falling)


def test_ldpo_without_a_trained_network_is_said():
    notes = fdc.LDPO(n_clusters=5).remarks(facts(500, 28, gray=True))
    assert notes[0].startswith("without weights this is no LDPO")
    assert fdc.LDPO(n_clusters=5, weights="IMAGENET1K_V1").remarks(facts(500)) == []
    assert fdc.LDPO(n_clusters=5, initial="topics", text_field="report").remarks(facts(500)) == []


def test_patch_mining_crops_pass_through_the_network(corpus):
    """Every crop of the image, resized to the network's input; the first is its upper left quarter."""
    mining = resolved(encoder="patch-mining").encoder
    seen = []
    handle = corpus.network.input_norm.register_forward_hook(lambda _, given, __: seen.append(given[0]))
    try:
        _, scales = next(mining._cut(mining.scales).of(corpus, np.arange(3)))
    finally:
        handle.remove()
    assert {tuple(images.shape[1:]) for images in seen} == {(1, 24, 24)}
    images = torch.cat(seen)
    # sides of 12, 15 and 18 of 24 pixels, every 3 pixels
    assert [activations.shape[:2] for activations, _ in scales] == [(3, 25), (3, 16), (3, 9)]
    assert len(images) == 3 * (25 + 16 + 9)
    quarter = torch.from_numpy(corpus.store.read(np.arange(1))).permute(0, 3, 1, 2)[:, :, :12, :12] / 255
    assert torch.allclose(
        images[:1], nn.functional.interpolate(quarter, (24, 24), mode="bilinear"), atol=1e-6
    )
