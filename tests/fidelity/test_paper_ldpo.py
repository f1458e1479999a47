"""LDPO's preset is the paper (Wang et al. 2017): settings, networks, clustering, hierarchy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import fiftyone_deepcluster as fdc
from fiftyone_deepcluster.analysis import category_tree
from fiftyone_deepcluster.backbones.base import BACKBONES
from fiftyone_deepcluster.backbones.layers import layers_of
from fiftyone_deepcluster.backbones.network import Network
from fiftyone_deepcluster.clusterers.base import ClusterRequest
from fiftyone_deepcluster.clusterers.rim import clusterer as rim
from fiftyone_deepcluster.features.base import EncodeRequest
from tests.fidelity.ldpo_presets import paper, resolved
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


def test_networks_are_those_of_torchvision():
    """Not Caffe's: filters of AlexNet, no response normalization; GoogLeNet has batch norm and one classifier."""
    with torch.device("meta"):
        alex, google = (
            BACKBONES.parse({"name": "torchvision", "model": model}).build(3, 224, None)
            for model in ("alexnet", "googlenet")
        )
        layers = {
            one.name: one for one in layers_of(Network(nn.Identity(), alex), torch.zeros(1, 3, 224, 224))
        }
    filters = [layer.out_channels for layer in alex.modules() if isinstance(layer, nn.Conv2d)]
    assert filters == [64, 192, 384, 256, 256]
    assert not any(isinstance(layer, nn.LocalResponseNorm) for layer in alex.modules())
    for name in ("conv5", "fc7"):
        assert isinstance(alex.get_submodule(layers[name].path), nn.ReLU)
    assert not alex.relu_before_head, "FC7 has passed its ReLU"
    assert any(isinstance(layer, nn.BatchNorm2d) for layer in google.modules())
    assert not any("aux" in name for name, _ in google.named_parameters())


def test_images_are_resized_to_the_size_of_the_model():
    options = resolved(side=512)
    assert (options.image_size, options.decoded_side, options.image_fit) == (224, 224, "stretch")
    assert options.make_augment().specs(224) == []


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
    assert resolved(n_clusters=270, clusterer="kmeans").clusterer.name == "kmeans"
    assert paper(n_clusters=270, clusterer="kmeans").deviations() == []
    assert paper(n_clusters=15).remarks(facts(4485))[0] == "preset='paper': as in the paper"


@pytest.mark.parametrize("name", ["pooled", "vlad", "fisher", "patch-mining"])
def test_kmeans_has_our_scale_and_starts(name):
    found = resolved(4485, n_clusters=15, encoder=name)
    assert found.encoder.l2_normalize
    assert (found.clusterer.init, found.clusterer.n_init, found.clusterer.warm_start) == (
        "kmeans++",
        None,
        True,
    )


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


def test_rim_maximizes_equations_1_to_3():
    """The objective of the solution by loops, on the vectors as they are; biases have no penalty."""
    draw = np.random.default_rng(4)
    vectors = 20 * draw.normal(size=(3, 2)).repeat(20, axis=0) + 8 * draw.normal(size=(60, 2))
    clusterer = resolved().clusterer.model_copy(update={"n_init_clusters": 3})
    points, unit = rim.standardized(torch.from_numpy(vectors))
    model = clusterer._initial_model(points, 1)
    point, found = rim.solve(points, model, penalty=clusterer.penalty / unit**2, max_iter=100)
    assert point.n_clusters == 3, "none is left out"
    weights = found.weights.numpy() / unit  # of the vectors themselves
    biases = found.biases.numpy() - vectors.mean(axis=0) @ weights

    def objective(weights, biases):
        p = np.exp(vectors @ weights + biases)
        p /= p.sum(axis=1, keepdims=True)
        mean = p.mean(axis=0)
        information = -sum(q * np.log(q) for q in mean) + sum(q * np.log(q) for row in p for q in row) / 60
        return information - 1.0 * sum(w @ w for w in weights.T)

    assert point.objective == pytest.approx(objective(weights, biases), abs=1e-5)
    for sign in (-1, 1):
        for step in np.eye(weights.size):
            moved = weights + 0.003 * sign * step.reshape(weights.shape)
            assert objective(moved, biases) < point.objective + 1e-6
        for step in np.eye(len(biases)):
            assert objective(weights, biases + 0.05 * sign * step) < point.objective + 1e-6
    (alone,) = clusterer._path(points, unit, model)
    assert (alone.penalty * unit**2, alone.objective) == pytest.approx((1.0, point.objective))


def test_the_hierarchy_is_equations_4_to_7():
    """Softmax scores of 90 images of 5 classes, and the affinities of classes and of merged classes, by loops."""
    draw = np.random.default_rng(6)
    labels = np.repeat(np.arange(5), [30, 22, 18, 12, 8])
    scores = draw.dirichlet(np.ones(5), 90) * 0.3 + 0.7 * np.eye(5)[labels]
    sizes = np.bincount(labels)
    mass = np.stack([scores[labels == i].sum(axis=0) for i in range(5)])
    confusion = category_tree.by_cluster(mass, sizes)
    for groups in (np.arange(5), np.array([0, 1, 0, 1, 1])):
        found = category_tree.affinity_of(confusion, sizes, groups)
        for i in range(groups.max() + 1):
            for j in range(groups.max() + 1):
                of = [np.flatnonzero(groups[labels] == one) for one in (i, j)]
                one = sum(scores[m, k] for m in of[0] for k in np.flatnonzero(groups == j)) / len(of[0])
                two = sum(scores[n, k] for n in of[1] for k in np.flatnonzero(groups == i)) / len(of[1])
                assert found[i, j] == pytest.approx((one + two) / 2)
