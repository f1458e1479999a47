"""A changed setting of a paper fails a test: every option of every preset, and most of what the code fixes.

The tests of this folder are called here once more with one thing changed; they must not pass. ``code_changes.py`` has
more changes of the code.
"""

from __future__ import annotations

import importlib
import inspect
from dataclasses import replace
from typing import TYPE_CHECKING, get_args

import pytest
from torch import nn

from fiftyone_deepcluster.backbones import input_norms, ucnn
from fiftyone_deepcluster.backbones.alexnet import AlexNet
from fiftyone_deepcluster.backbones.base import BACKBONES
from fiftyone_deepcluster.backbones.network import Network
from fiftyone_deepcluster.backbones.vgg16 import VGG16
from fiftyone_deepcluster.clusterers.kmeans.clusterer import KMeans
from fiftyone_deepcluster.errors import OptionsError
from fiftyone_deepcluster.features.corpus import Corpus
from fiftyone_deepcluster.features.pooled import Pooled
from fiftyone_deepcluster.images.augment import Augment
from fiftyone_deepcluster.methods import dac, ldpo, trained
from fiftyone_deepcluster.methods.base import list_methods
from fiftyone_deepcluster.methods.cardiac_mr import CardiacMR
from fiftyone_deepcluster.methods.published import Published
from fiftyone_deepcluster.pseudo_labels import pairs
from fiftyone_deepcluster.pseudo_labels.samplers import Shuffled, UniformOverClusters
from fiftyone_deepcluster.training import losses
from fiftyone_deepcluster.training.optimizers import Cosine, Optimizer
from tests.fidelity import test_paper_dac, test_paper_deepcluster_v2
from tests.fidelity.code_changes import CHANGES

if TYPE_CHECKING:
    from collections.abc import Callable

OPTIONS_TESTS = {
    "deepcluster": ("deepcluster", "test_options_are_the_papers"),
    "deepcluster-v2": ("deepcluster_v2", "test_v2_options_are_the_papers"),
    "dac": ("dac", "test_dac_options_are_the_papers"),
    "ucnn": ("ucnn", "test_ucnn_options_are_the_papers"),
    "ldpo": ("ldpo", "test_ldpo_options_are_the_papers"),
    "cardiac-mr": ("cardiac_mr", "test_cardiac_options_are_the_papers"),
}
PUBLISHED = {name: options for name, options in list_methods().items() if issubclass(options, Published)}


def test_every_published_method_is_checked():
    assert set(OPTIONS_TESTS) == set(PUBLISHED)


def must_fail(request: pytest.FixtureRequest, paper: str, name: str, /, **given: object) -> None:
    """Call a test of ``test_paper_<paper>.py``, with its fixtures; it must not pass."""
    test = getattr(importlib.import_module(f"tests.fidelity.test_paper_{paper}"), name)
    test = inspect.unwrap(test)
    wanted = [one for one in inspect.signature(test).parameters if one not in given]
    fixtures = {one: request.getfixturevalue(one) for one in wanted}
    with pytest.raises((AssertionError, OptionsError)):
        test(**fixtures, **given)


OTHERS = {
    "clusterer": "pic", "reducer": "umap", "backbone": "resnet18", "encoder": {"name": "pooled", "pca": 9},
    "weights": "another.pth", "stop_nmi": 0.5,
}  # fmt: skip


def other(model: type[Published], option: str) -> object:
    """Another value of an option than the paper's: our default, or one that differs from both."""
    value, ours = getattr(model(preset="paper"), option), getattr(model(), option)
    if value != ours:
        return ours
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value / 2 or 0.5 if isinstance(value, float) else value + 1
    if isinstance(value, str) and option not in OTHERS:
        return next(one for one in get_args(model.model_fields[option].annotation) if one != value)
    return OTHERS.get(option, 7)


CASES = [(name, option) for name, options in PUBLISHED.items() for option in options.paper.values]


@pytest.mark.parametrize(("name", "option"), CASES, ids=[f"{name}-{option}" for name, option in CASES])
def test_a_changed_option_of_a_preset_fails(name, option, monkeypatch, request):
    model = PUBLISHED[name]
    changed = other(model, option)
    assert changed != model.paper.values[option]
    monkeypatch.setattr(model, "paper", replace(model.paper, values={**model.paper.values, option: changed}))
    must_fail(request, *OPTIONS_TESTS[name])


def swapped(make: Callable[..., nn.Module], change: Callable[[nn.Module], None]) -> Callable[..., nn.Module]:
    """A function that makes a module and then changes each of its layers."""

    def made(*given, **named):
        module = make(*given, **named)
        for layer in list(module.modules()):
            change(layer)
        return module

    return made


def no_dropout(layer: nn.Module) -> None:
    if isinstance(layer, nn.Dropout):
        layer.p = 0.0


def no_norm(layer: nn.Module) -> None:
    for name, child in layer.named_children():
        if isinstance(child, nn.BatchNorm2d):
            setattr(layer, name, nn.Identity())


def mean_pooling(layer: nn.Module) -> None:
    for name, child in layer.named_children():
        if isinstance(child, nn.MaxPool2d):
            setattr(layer, name, nn.AvgPool2d(child.kernel_size, child.stride))


def wider(layer: nn.Module) -> None:
    if isinstance(layer, nn.Conv2d) and layer.out_channels == 96:
        layer.out_channels = 64


def no_adaptive_pooling(layer: nn.Module) -> None:
    for name, child in layer.named_children():
        if isinstance(child, nn.AdaptiveAvgPool2d):
            setattr(layer, name, nn.Identity())


def resnet(self, channels, size, weights):
    return BACKBONES.parse("resnet18").make_module(channels, size, weights)


def with_momentum(make):
    return lambda self, module, rate, momentum: make(self, module, rate, 0.9)


def equal_head(self, n_outputs, seed):
    self.head = nn.utils.skip_init(nn.Linear, self.dim, n_outputs)
    for weights in self.head.parameters():
        nn.init.constant_(weights, 0.5)


def without_relu(make):
    def made(*given):
        network = make(*given)
        network.relu_before_head = False
        return network

    return made


def other_crops(make):
    return lambda name: make(name).model_copy(update={"crop": (0.3, 1.0)})


NET = "test_alexnet_has_batch_norm_dropout_and_no_normalization_of_responses"
PLAIN_FEATURES = Corpus.features

CODE = {
    "ResNet-18 for AlexNet": ("deepcluster", NET, {}, AlexNet, "make_module", resnet),
    "dropout 0": ("deepcluster", NET, {}, AlexNet, "make_module", swapped(AlexNet.make_module, no_dropout)),
    "no batch norm": ("deepcluster", NET, {}, AlexNet, "make_module", swapped(AlexNet.make_module, no_norm)),
    "mean pooling": ("deepcluster", NET, {}, AlexNet, "make_module", swapped(AlexNet.make_module, mean_pooling)),
    "64 filters": ("deepcluster", NET, {}, AlexNet, "make_module", swapped(AlexNet.make_module, wider)),
    "VGG without norm": (
        "deepcluster", "test_vgg16_has_batch_norm", {}, VGG16, "make_module", swapped(VGG16.make_module, no_norm),
    ),
    "color for Sobel": (
        "deepcluster", "test_sobel_filters_replace_color", {}, input_norms, "_INPUT_NORMS",
        {**input_norms._INPUT_NORMS, "sobel": input_norms.Plain},
    ),
    "features after the ReLU": (
        "deepcluster", "test_features_are_fc7_before_its_relu", {}, trained, "make_network",
        without_relu(trained.make_network),
    ),
    "PCA 64": (
        "deepcluster", "test_pca_is_256_and_whitened_at_any_number_of_images", {"n": 100}, Pooled, "settle",
        lambda self, n, d: (64, True),
    ),
    "no whitening": (
        "deepcluster", "test_pca_is_256_and_whitened_at_any_number_of_images", {"n": 100}, Pooled, "settle",
        lambda self, n, d: (256, False),
    ),
    "warm start": (
        "deepcluster", "test_kmeans_starts_anew_from_random_images", {}, KMeans, "_warm_start",
        lambda self, vectors, n_clusters, request: request.init_centers,
    ),
    "head momentum": (
        "deepcluster", "test_the_head_is_new_and_without_momentum_in_every_round", {}, Optimizer, "_make",
        with_momentum(Optimizer._make),
    ),
    "head weights": (
        "deepcluster",
        "test_the_head_is_new_and_without_momentum_in_every_round",
        {},
        Network,
        "replace_head",
        equal_head,
    ),
    "plain sampling": (
        "deepcluster", "test_every_round_trains_on_the_clusters_sampled_uniformly", {}, UniformOverClusters, "draw",
        lambda self, labels, rng: Shuffled().draw(labels, rng),
    ),
    "other crops": (
        "deepcluster", "test_training_crops_are_8_to_100_percent_of_the_original_image", {}, trained,
        "augmentation", other_crops(trained.augmentation),
    ),
    "decoded crops": (
        "deepcluster", "test_training_crops_are_8_to_100_percent_of_the_original_image", {}, Augment, "specs",
        lambda self, size: [],
    ),
    "v2: no LARC": (
        "deepcluster_v2", "test_larc_is_the_formula", {}, test_paper_deepcluster_v2,
        "scale_by_trust", lambda optimizer, trust, decay: None,
    ),
    "v2: constant rate": (
        "deepcluster_v2", "test_the_learning_rate_warms_up_and_decays", {}, Cosine, "factor", lambda self, at: 1.0,
    ),
    "v2: banks of unchanged images": (
        "deepcluster_v2", "test_banks_start_from_two_augmented_crops", {}, Corpus, "features",
        lambda self, augmented=False, seed=0: PLAIN_FEATURES(self),
    ),
    "DAC: other step of lambda": (
        "dac", "test_the_thresholds_are_those_of_section_54", {}, dac, "FALL", 1.0,
    ),
    "DAC: other selection": (
        "dac", "test_selection_is_equation_6", {}, test_paper_dac, "select",
        lambda features, upper, lower: pairs.select(features, upper - 0.2, lower),
    ),
    "DAC: squares for entropy": (
        "dac", "test_training_is_algorithm_1", {}, dac.DAC, "objective", lambda self: losses.PairLoss("squares"),
    ),
    "UCNN: AlexNet's width": (
        "ucnn", "test_the_network_has_the_papers_layers", {"k": 365}, ucnn, "ADAPTATION", (4096, 2048),
    ),
    "UCNN: all layers": (
        "ucnn", "test_fc9_and_softmax_are_trained_by_plain_sgd", {}, ucnn, "last_layer", lambda backbone: backbone,
    ),
    "cardiac MR: no adaptive pooling": (
        "cardiac_mr", "test_vgg16_pools_adaptively_and_sees_raw_images", {}, VGG16, "make_module",
        swapped(VGG16.make_module, no_adaptive_pooling),
    ),
    "cardiac MR: one mean for all": (
        "cardiac_mr", "test_every_image_is_normalized_on_its_own", {}, input_norms, "_INPUT_NORMS",
        {**input_norms._INPUT_NORMS, "zscore": input_norms.Plain},
    ),
    "cardiac MR: no augmentation": (
        "cardiac_mr", "test_training_and_clustering_rotate_and_crop", {}, CardiacMR, "make_augment",
        lambda self: Augment(),
    ),
    "LDPO: lambda 0.1": (
        "ldpo", "test_medical_images_are_clustered_by_rim_with_lambda_1", {}, ldpo, "PAPER_RIM",
        {**ldpo.PAPER_RIM, "penalty": 0.1},
    ),
    **CHANGES,
}  # fmt: skip


@pytest.mark.parametrize("change", CODE)
def test_a_change_in_the_code_fails(change, monkeypatch, request):
    paper, name, given, owner, attribute, value = CODE[change]
    monkeypatch.setattr(owner, attribute, value)
    must_fail(request, paper, name, **given)
