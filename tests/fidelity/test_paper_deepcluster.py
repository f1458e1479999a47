"""DeepCluster's preset is the paper (Caron et al. 2018): settings, network, optimizer, clustering, crops."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import fiftyone_deepcluster as fdc
from fiftyone_deepcluster.backbones.input_norms import make_input_norm
from fiftyone_deepcluster.clusterers.base import ClusterRequest
from fiftyone_deepcluster.core.progress import Silent
from fiftyone_deepcluster.errors import OptionsError
from fiftyone_deepcluster.features.corpus import Corpus
from fiftyone_deepcluster.images.cache.open_images import Decode, open_images
from fiftyone_deepcluster.images.originals import CropSpec, Originals, draw_window
from fiftyone_deepcluster.training.optimizers import Optimizer
from tests.fidelity.papers import facts, plain_values

SETTINGS = {
    "n_clusters": 10_000,  # article, figure (c): k = 10,000 performs best
    "pseudo_clusters": None,  # the clusters themselves are the classes
    "pseudo_class_rounds": 0,
    "merge": False,
    "rounds": 200,  # epochs of the released code
    "image_size": 224,
    "image_fit": "crop",  # resized to 256, the center cut out
    "backbone": {"name": "alexnet"},
    "weights": None,  # no supervision
    "input_norm": "sobel",
    "epochs": 1,  # clusters are assigned anew after every epoch
    "min_steps": 0,
    "batch_size": 256,
    "learning_rate": 0.05,
    "head_learning_rate": 0.05,
    "weight_decay": 1e-5,
    "label_smoothing": 0.0,
    "augmentation": "original-crop-flip",
    "sampling": "uniform",
    "stop_nmi": None,
    "encoder": {"name": "pooled", "pca": 256, "whiten": True},
    "reducer": {"name": "identity"},
    "clusterer": {"name": "kmeans", "init": "sample", "n_init": 1, "tolerance": 0.0, "warm_start": False},
}

ALEXNET = [(96, 11, 4, 2), (256, 5, 1, 2), (384, 3, 1, 1), (384, 3, 1, 1), (256, 3, 1, 1)]
VGG16 = [64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512]


def paper(**values):
    return fdc.DeepCluster(preset="paper", **values)


def network(**values):
    """The preset's network, without memory for its 60 million weights."""
    with torch.device("meta"):
        return paper(**values).resolve(facts()).make_network()


def test_options_are_the_papers():
    found = plain_values(paper())
    assert {name: found[name] for name in SETTINGS} == SETTINGS


def test_alexnet_has_batch_norm_dropout_and_no_normalization_of_responses():
    layers = [layer for layer in network().backbone.modules() if not list(layer.children())]
    convolutions = [layer for layer in layers if isinstance(layer, nn.Conv2d)]
    assert [(c.out_channels, c.kernel_size[0], c.stride[0], c.padding[0]) for c in convolutions] == ALEXNET
    assert [c.groups for c in convolutions] == [1] * 5
    assert convolutions[0].in_channels == 2
    for convolution in convolutions:
        following = layers[layers.index(convolution) + 1]
        assert isinstance(following, nn.BatchNorm2d)
    assert not any(isinstance(layer, nn.LocalResponseNorm) for layer in layers)
    pools = [layer for layer in layers if isinstance(layer, nn.MaxPool2d)]
    assert [(pool.kernel_size, pool.stride) for pool in pools] == [(3, 2)] * 3
    linear = [layer for layer in layers if isinstance(layer, nn.Linear)]
    assert [(layer.in_features, layer.out_features) for layer in linear] == [(9216, 4096), (4096, 4096)]
    assert [layer.p for layer in layers if hasattr(layer, "p")] == [0.5, 0.5]
    assert [type(layers[layers.index(one) - 1]).__name__.lower().count("dropout") for one in linear] == [1, 1]


def test_vgg16_has_batch_norm():
    layers = [layer for layer in network(backbone="vgg16").backbone.modules() if not list(layer.children())]
    convolutions = [layer for layer in layers if isinstance(layer, nn.Conv2d)]
    assert [c.out_channels for c in convolutions] == VGG16
    assert convolutions[0].in_channels == 2
    assert all(isinstance(layers[layers.index(c) + 1], nn.BatchNorm2d) for c in convolutions)
    linear = [layer for layer in layers if isinstance(layer, nn.Linear)]
    assert [(layer.in_features, layer.out_features) for layer in linear] == [(25_088, 4096), (4096, 4096)]
    assert paper(backbone="vgg16").deviations() == []


def test_features_are_fc7_before_its_relu():
    found = network()
    assert found.dim == 4096
    assert found.relu_before_head
    assert not found.level_before_head
    assert isinstance([*found.backbone.modules()][-1], nn.Linear)


def test_sobel_filters_replace_color():
    """A horizontal ramp of x / 10 of one color: gradient 8 / 10 in x, none in y, after the scale of ImageNet."""
    first = make_input_norm(paper().input_norm, 3)
    ramp = (torch.arange(8) / 10).expand(1, 3, 8, 8)
    found = first(ramp)[0, :, 1:-1, 1:-1]
    scale = (1 / torch.tensor([0.229, 0.224, 0.225])).mean()
    assert torch.allclose(found[0], torch.full((6, 6), -0.8) * scale, atol=1e-5)
    assert torch.allclose(found[1], torch.zeros(6, 6), atol=1e-5)


@pytest.mark.parametrize("n", [100, 60_000, 2_000_000])
def test_pca_is_256_and_whitened_at_any_number_of_images(n):
    assert paper().resolve(facts(n)).encoder.settle(n, 4096) == (256, True)
    assert paper().encoder.l2_normalize


def test_kmeans_starts_anew_from_random_images(seeded):
    vectors, clusterer = torch.randn(300, 8), paper().clusterer
    warm = torch.randn(12, 8)
    for seed in range(3):
        anew = clusterer.cluster(vectors, ClusterRequest(12, seed))
        beside = clusterer.cluster(vectors, ClusterRequest(12, seed, init_centers=warm))
        assert torch.equal(anew.labels, beside.labels)
    assert clusterer.max_iter == 20
    assert clusterer.sample_per_cluster is None


def test_the_head_is_new_and_without_momentum_in_every_round(make_corpus):
    options = paper(n_clusters=4).resolve(facts())
    corpus = make_corpus()
    corpus.network.replace_head(4, seed=1)
    optimizer = Optimizer(corpus.network, options.optimizer_spec(), corpus.compute)
    optimizer.begin_round(steps=3)
    backbone, head = optimizer._backbone.param_groups[0], optimizer._head.param_groups[0]
    assert (backbone["lr"], backbone["momentum"], backbone["weight_decay"]) == (0.05, 0.9, 1e-5)
    assert (head["lr"], head["momentum"], head["weight_decay"]) == (0.05, 0.0, 1e-5)
    first = optimizer._head
    optimizer.begin_round(steps=3)
    assert optimizer._head is not first
    assert abs(float(corpus.network.head.weight.detach().std()) - 0.01) < 0.002
    assert not corpus.network.head.bias.any()


def test_every_round_trains_on_the_clusters_sampled_uniformly():
    task = paper(n_clusters=7).resolve(facts()).task_parts()
    assert (task.n_clusters, task.n_pseudo, task.pseudo_class_rounds, task.epochs) == (7, 7, 0, 1)
    labels = np.repeat([0, 1, 2], [900, 90, 10])
    drawn = np.bincount(labels[task.sampler.draw(labels, np.random.default_rng(1))])
    assert drawn.sum() == 1000
    assert drawn.max() - drawn.min() <= 2


def test_training_crops_are_8_to_100_percent_of_the_original_image():
    spec = paper().resolve(facts()).make_augment().specs(224)
    assert spec == [CropSpec((0.08, 1.0), (3 / 4, 4 / 3), 224)]
    rng = np.random.default_rng(5)
    windows = np.array([draw_window(300, 500, spec[0], rng) for _ in range(2000)])
    width, height = windows[:, 2] - windows[:, 0], windows[:, 3] - windows[:, 1]
    assert (windows >= 0).all()
    assert (windows <= [500, 300, 500, 300]).all()
    area = width * height / 150_000
    assert 0.079 < area.min() < 0.1
    assert 0.75 < area.max() < 0.801, "4:3 is the widest window of this image"
    assert ((width / height > 0.74) & (width / height < 1.35)).all()
    # also beyond the central square of 300 pixels
    assert windows[:, 0].min() < 20
    assert windows[:, 2].max() > 480
    assert paper().resolve(facts()).make_augment().flip


def test_windows_are_distributed_as_torchvisions(seeded):
    from torchvision.transforms import RandomResizedCrop

    rng = np.random.default_rng(5)
    ours = np.array([draw_window(200, 600, CropSpec((0.5, 1.0), (0.75, 4 / 3), 8), rng) for _ in range(3000)])
    picture = torch.zeros(1, 200, 600)
    theirs = np.array([RandomResizedCrop.get_params(picture, (0.5, 1.0), (0.75, 4 / 3)) for _ in range(3000)])
    top, left, height, width = theirs.T  # most draws do not fit: both take the center then
    theirs = np.stack([left, top, left + width, top + height], axis=1)
    assert np.abs(ours.mean(axis=0) - theirs.mean(axis=0)).max() < 6
    assert np.abs(ours.std(axis=0) - theirs.std(axis=0)).max() < 6


def test_training_sees_the_margins_of_the_original_files(tmp_path, make_corpus):
    """Images that are white outside of their central square, which is black."""
    pixels = np.full((64, 128, 3), 255, np.uint8)
    pixels[:, 32:96] = 0
    files = [tmp_path / f"{i}.png" for i in range(4)]
    for file in files:
        Image.fromarray(pixels).save(file)
    augment = paper().resolve(facts()).make_augment()
    inner = make_corpus()
    with open_images(files, Decode(size=32, color="rgb", crop=True), observer=Silent()) as store:
        corpus = Corpus(
            store, inner.network, inner.compute, size=24, batch_size=4, observer=Silent(),
            originals=Originals(files, store.kept, "rgb"),
        )  # fmt: skip
        order = np.tile(np.arange(4), 8)
        batches = list(corpus.training_batches(order, augment, seed=3))
        decoded = corpus.store.read(np.arange(4))
        again = list(corpus.training_batches(order, augment, seed=3))
    assert decoded[:, :, 1:-1].max() == 0
    assert max(float(batch.images.max()) for batch in batches) == 1
    assert batches[0].images.shape == (4, 3, 24, 24)
    assert all(torch.equal(one.images, two.images) for one, two in zip(batches, again, strict=True))


def test_it_trains_at_224_pixels():
    """Two steps of the 60 million weights, on images of 30 x 40 pixels."""
    images = np.random.default_rng(1).integers(0, 256, (8, 30, 40, 3), dtype=np.uint8)
    options = paper(n_clusters=2, rounds=1, batch_size=4, baselines=False, precision="float32")
    found = fdc.fit(images, options)
    assert found.record.resolved["image_size"] == 224
    assert np.isfinite(found.record.rounds[0].loss)
    assert found.record.notes[0] == (
        "preset='paper': as in the paper, except n_clusters=2 (paper: 10000), rounds=1 (paper: 200), "
        "batch_size=4 (paper: 256)"
    )


def released(module, features, classifier):
    """The state of a module under the keys of the released checkpoints, with what these hold besides."""
    state = {}
    for key, value in module.state_dict().items():
        state[key.replace(features, "features.module.").replace(classifier, "classifier.")] = value + 1
    return {
        **state,
        "top_layer.weight": torch.zeros(10, 4096),
        "top_layer.bias": torch.zeros(10),
        "sobel.0.weight": torch.zeros(1, 3, 1, 1),
        "sobel.1.weight": torch.zeros(2, 1, 3, 3),
    }


def test_released_checkpoints_load(tmp_path, seeded):
    """Keys of the released AlexNet and VGG-16; the large layers are made small, as their sizes do not matter here."""
    from fiftyone_deepcluster.backbones import weights
    from fiftyone_deepcluster.backbones.adapt import Cut

    small = nn.Module()
    small.layers = nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4))
    small.full = nn.Sequential(nn.Dropout(), nn.Linear(4, 4))
    file = tmp_path / "checkpoint.pth.tar"
    torch.save({"epoch": 3, "arch": "alexnet", "state_dict": released(small, "layers.", "full.")}, file)
    before = {key: value.clone() for key, value in small.state_dict().items()}
    weights.load_file(small, str(file), "alexnet", released=("layers.", "full."))
    assert all(torch.equal(value, before[key] + 1) for key, value in small.state_dict().items())

    inner = nn.Module()
    inner.features, inner.classifier = nn.Sequential(nn.Conv2d(2, 4, 3)), nn.Sequential(nn.Linear(4, 4))
    cut = Cut(inner, 4, relu_before_head=True)
    torch.save({"state_dict": released(cut, "model.features.", "model.classifier.")}, file)
    before = {key: value.clone() for key, value in cut.state_dict().items()}
    weights.load_file(cut, str(file), "vgg16", released=("model.features.", "model.classifier."))
    assert all(torch.equal(value, before[key] + 1) for key, value in cut.state_dict().items())


@pytest.mark.parametrize("backbone", ["alexnet", "vgg16"])
def test_keys_of_the_released_checkpoints_are_those_of_the_networks(backbone):
    """The layers' numbers in the released code, by hand."""
    from fiftyone_deepcluster.backbones.weights import released_layers

    found = network(backbone=backbone).backbone
    state = dict.fromkeys(("features.module.0.weight", "top_layer.weight"))
    features, classifier = (
        ("layers.", "full.") if backbone == "alexnet" else ("model.features.", "model.classifier.")
    )
    numbers = (
        [0, 4, 8, 11, 14] if backbone == "alexnet" else [0, 3, 7, 10, 14, 17, 20, 24, 27, 30, 34, 37, 40]
    )
    full = [1, 4] if backbone == "alexnet" else [0, 3]
    state |= dict.fromkeys(f"features.module.{i}.bias" for i in [*numbers, *(i + 1 for i in numbers)])
    state |= dict.fromkeys(f"classifier.{i}.weight" for i in full)
    assert set(released_layers(state, features, classifier)) <= set(found.state_dict())


def test_a_file_that_fits_neither_is_refused(tmp_path):
    file = tmp_path / "other.pth"
    torch.save({"features.module.0.weight": torch.zeros(1)}, file)
    with pytest.raises(OptionsError, match="does not fit"):
        network(weights=str(file))
