"""Cardiac-MR DeepCluster's preset is the paper (Kart et al. 2021): what it changes in DeepCluster, and its figures."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import fiftyone_deepcluster as fdc
from fiftyone_deepcluster.backbones.input_norms import make_input_norm
from fiftyone_deepcluster.methods.cardiac_mr import PAPER_SETTINGS
from fiftyone_deepcluster.metrics.agreement import agreement, nmi
from tests.fidelity.papers import facts, plain_values

SETTINGS = {
    "n_clusters": None,
    "pseudo_clusters": None,  # eight for each class
    "pseudo_class_rounds": None,
    "merge": False,
    "rounds": 200,  # section 4, "Experiment settings"
    "image_size": 224,
    "backbone": {"name": "vgg16"},
    "weights": None,  # from scratch
    "input_norm": "zscore",  # normalized independently
    "epochs": 1,
    "min_steps": 0,
    "batch_size": 256,
    "learning_rate": 0.05,
    "head_learning_rate": 0.05,
    "weight_decay": 1e-5,
    "label_smoothing": 0.0,
    "augmentation": "rotate-crop",
    "sampling": "uniform",
    "stop_nmi": None,  # no stopping criterion
    "encoder": {"name": "pooled", "pca": 0, "augmented": True},
    "reducer": {"name": "identity"},
    "clusterer": {"name": "kmeans", "init": "sample", "n_init": 1, "tolerance": 0.0, "warm_start": False},
}


def paper(**values):
    return fdc.CardiacMR(preset="paper", **values)


def test_cardiac_options_are_the_papers():
    found = plain_values(paper())
    assert {name: found[name] for name in SETTINGS} == SETTINGS


@pytest.mark.parametrize(("side", "n"), [(28, 100), (64, 3000), (512, 192_272)])
def test_the_recipe_is_the_same_for_any_images(side, n):
    found = paper(classes=3).resolve(facts(n, side, gray=True))
    assert (found.pseudo_clusters, found.n_clusters) == (24, 24)
    assert (found.backbone.name, found.image_size, found.batch_size) == ("vgg16", 224, 256)
    assert paper(setting="imbalanced-large").resolve(facts(n, side, gray=True)).pseudo_clusters == 104


def test_vgg16_pools_adaptively_and_sees_raw_images():
    with torch.device("meta"):
        network = paper().resolve(facts(gray=True)).make_network()
    layers = [layer for layer in network.backbone.modules() if not list(layer.children())]
    convolutions = [layer for layer in layers if isinstance(layer, nn.Conv2d)]
    assert len(convolutions) == 13
    assert convolutions[0].in_channels == 1  # no Sobel filters
    assert all(isinstance(layers[layers.index(one) + 1], nn.BatchNorm2d) for one in convolutions)
    pools = [layer for layer in layers if isinstance(layer, nn.AdaptiveAvgPool2d)]
    assert len(pools) == 1
    assert isinstance(layers[layers.index(pools[0]) + 1], nn.Linear)


def test_every_image_is_normalized_on_its_own(seeded):
    images = torch.rand(3, 1, 8, 8) * torch.tensor([1.0, 0.1, 0.5]).view(3, 1, 1, 1)
    found = make_input_norm(paper().input_norm, 1)(images)
    assert torch.allclose(found.mean(dim=(1, 2, 3)), torch.zeros(3), atol=1e-5)
    assert torch.allclose(found.square().mean(dim=(1, 2, 3)), torch.ones(3), atol=1e-3)


def test_training_and_clustering_rotate_and_crop():
    resolved = paper().resolve(facts(gray=True))
    augment = resolved.make_augment()
    assert (augment.rotate, augment.crop, augment.ratio, augment.flip) == (
        30.0,
        (0.5, 1.0),
        (3 / 4, 4 / 3),
        False,
    )
    assert resolved.encoder.augmented
    assert resolved.encoder.settle(200_000, 4096) == (0, False)
    assert resolved.encoder.l2_normalize


def test_the_ranges_of_the_augmentation_are_options():
    augment = paper(rotate=10, least_area=0.8, most_ratio=1.1).resolve(facts(gray=True)).make_augment()
    assert (augment.rotate, augment.crop, augment.ratio) == (10, (0.8, 1.0), (1 / 1.1, 1.1))
    assert paper(rotate=10, least_area=0.8, most_ratio=1.1).deviations() == []


def test_optimizer_is_the_papers():
    spec = paper().resolve(facts(gray=True)).optimizer_spec()
    assert (spec.optimizer, spec.learning_rate, spec.momentum, spec.weight_decay) == ("sgd", 0.05, 0.9, 1e-5)
    assert paper().resolve(facts(gray=True)).stop_rules() == ()


def test_the_papers_experiments():
    found = {
        name: (one.classes, one.images, one.clusters, one.nmi_last, one.nmi_truth, one.purity)
        for name, one in PAPER_SETTINGS.items()
    }
    assert found == {
        "balanced": (3, 47_637, 24, 0.675, 0.519, 0.997),
        "imbalanced-large": (13, 192_272, 104, 0.782, 0.605, 0.991),
        "imbalanced-small": (13, 23_943, 104, 0.745, 0.609, 0.994),
    }


def test_metrics_are_equations_2_and_3():
    rng = np.random.default_rng(1)
    clusters, classes = rng.integers(0, 5, 200), rng.integers(0, 3, 200)
    table = np.array([[np.sum((clusters == i) & (classes == j)) for j in range(3)] for i in range(5)]) / 200
    rows, columns = table.sum(axis=1), table.sum(axis=0)
    information = sum(
        table[i, j] * np.log(table[i, j] / rows[i] / columns[j])
        for i in range(5)
        for j in range(3)
        if table[i, j]
    )
    entropy = -(rows * np.log(rows)).sum() - (columns * np.log(columns)).sum()
    assert nmi(clusters, classes) == pytest.approx(2 * information / entropy)
    purity = sum(max(np.sum((clusters == i) & (classes == j)) for j in range(3)) for i in range(5)) / 200
    assert agreement(clusters, classes).purity == pytest.approx(purity)


def test_a_guessed_number_of_classes_is_said():
    notes = fdc.CardiacMR().remarks(facts(9000, 200, gray=True))
    assert notes[0].startswith(
        "the number of classes was not given: 10 are guessed, for 80 clusters; set classes"
    )
    for given in ({"classes": 10}, {"setting": "balanced"}, {"n_clusters": 12}):
        assert not any(
            "guessed" in note for note in fdc.CardiacMR(**given).remarks(facts(9000, 200, gray=True))
        )
