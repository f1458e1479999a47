"""DeepCluster-v2's preset is the paper (Caron et al. 2020, SwAV) and its released code."""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from torch import nn

import fiftyone_deepcluster as fdc
from fiftyone_deepcluster.api.assembly import build_parts
from fiftyone_deepcluster.backbones.synced_norms import SyncedNorm, sync_norms
from fiftyone_deepcluster.core.devices import Compute
from fiftyone_deepcluster.pseudo_labels.memory_bank import BankLabels
from fiftyone_deepcluster.training.losses import PrototypeCrossEntropy
from fiftyone_deepcluster.training.optimizers import Cosine, scale_by_trust
from tests.fidelity.papers import facts, plain_values

SETTINGS = {
    "n_clusters": 3000,
    "pseudo_clusters": 3000,
    "rounds": 800,
    "image_size": 224,
    "image_fit": "crop",
    "backbone": {"name": "torchvision", "model": "resnet50"},
    "weights": None,
    "input_norm": "imagenet",
    "heads": 3,
    "large_crops": 2,
    "small_crops": 6,
    "small_size": 96,
    "least_area": 0.05,
    "split_area": 0.14,
    "dim": 128,
    "hidden": 2048,
    "temperature": 0.1,
    "epochs": 1,
    "min_steps": 0,
    "batch_size": 4096,
    "learning_rate": 4.8,
    "weight_decay": 1e-6,
    "warmup_rounds": 10,
    "warmup_start": 0.3 / 4.8,
    "larc": True,
    "sync_norm": 8,
    "augmentation": "original-crop-color",
}


def paper(**values):
    return fdc.DeepClusterV2(preset="paper", **values)


def built():
    """The parts of the preset with a smaller backbone, and without memory for the weights."""
    with torch.device("meta"):
        return paper(backbone={"name": "resnet18"}, small_crops=0).resolve(facts()).build()


def test_v2_options_are_the_papers():
    found = plain_values(paper())
    assert {name: found[name] for name in SETTINGS} == SETTINGS


def test_crops_are_the_papers():
    augment = paper().resolve(facts())._crops()
    assert (augment.n_large, augment.n_small, augment.small_size) == (2, 6, 96)
    assert augment.large.crop == (0.14, 1.0)
    assert augment.small.crop == (0.05, 0.14)
    for one in (augment.large, augment.small):
        assert one.flip
        assert one.original
        assert one.jitter == (0.8, 0.8, 0.8, 0.2)
        assert (one.jitter_share, one.grayscale, one.blur, one.sigma) == (0.8, 0.2, 0.5, (0.1, 2.0))
    assert [spec.size for spec in augment.specs(224)] == [224, 224] + 6 * [96]


def test_heads_are_spherical_kmeans_from_random_images():
    parts = built()
    task = parts.training_spec.task
    assert isinstance(task, BankLabels)
    heads = task.parts.heads
    assert (heads.spherical, heads.init, heads.max_iter, heads.n_init, heads.tolerance) == (
        True,
        "sample",
        10,
        1,
        0,
    )
    assert not heads.warm_start
    assert (task.parts.n_heads, task.parts.n_banks, task.parts.n_pseudo) == (3, 2, 3000)
    assert parts.training_spec.objective == PrototypeCrossEntropy(0.1)


def test_the_projection_has_the_papers_widths():
    parts = built()
    first, *layers = parts.network.backbone.projection
    assert isinstance(first, nn.Identity), "ResNets end in a ReLU"
    assert [type(layer) for layer in layers] == [nn.Linear, nn.BatchNorm1d, nn.ReLU, nn.Linear]
    assert [layer.out_features for layer in layers if isinstance(layer, nn.Linear)] == [2048, 128]
    assert parts.synced_norms == 8


def test_the_learning_rate_warms_up_and_decays():
    spec = paper().resolve(facts())._optimizer_spec()
    assert (spec.optimizer, spec.momentum, spec.trust, spec.weight_decay) == ("sgd", 0.9, 0.001, 1e-6)
    assert spec.cosine == Cosine(800, 10, 0.0625, 0.001)
    rates = [spec.learning_rate * spec.cosine.factor(at) for at in (0, 5, 10, 405, 800)]
    middle = 0.0048 + (4.8 - 0.0048) / 2
    assert np.allclose(rates, [0.3, 2.55, 4.8, middle, 0.0048])


def test_larc_is_the_formula(seeded):
    weights, bias = nn.Parameter(torch.randn(4, 3)), nn.Parameter(torch.zeros(4))
    weights.grad, bias.grad = torch.randn(4, 3), torch.randn(4)
    gradient, free = weights.grad.clone(), bias.grad.clone()
    optimizer = torch.optim.SGD([weights, bias], 1.0)
    scale_by_trust(optimizer, 0.001, 0.1)
    length = math.sqrt(sum(float(w) ** 2 for w in weights.detach().flatten()))
    slope = math.sqrt(sum(float(g) ** 2 for g in gradient.flatten()))
    rate = 0.001 * length / (slope + 0.1 * length)
    assert torch.allclose(weights.grad, rate * (gradient + 0.1 * weights.detach()), rtol=1e-4)
    assert torch.equal(bias.grad, free)  # weights of length 0


def test_banks_start_from_two_augmented_crops():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (24, 80, 80, 3), dtype=np.uint8)
    options = paper(
        backbone={"name": "small", "width": 8}, image_size=32, small_size=16, n_clusters=2, pseudo_clusters=4,
        batch_size=8, hidden=16, dim=8, precision="float32",
    )  # fmt: skip
    from fiftyone_deepcluster.api.assembly import assemble, open_store
    from fiftyone_deepcluster.core.progress import Silent

    resolved = options.resolve(facts(24, 80))
    with open_store(images, resolved, Silent()) as store:
        corpus, made = assemble(resolved, store, Silent(), None, images)
        task = made.training_spec.task
        task.assign(corpus)
        one, two = task._bank
        unchanged = corpus.features()
    assert not torch.allclose(one, two)
    assert not torch.allclose(one, unchanged)
    assert torch.allclose(one.norm(dim=1), torch.ones(24))


@dataclass(frozen=True)
class Together(Compute):
    """A process among threads: ``all_reduce_sum`` adds what all of them bring."""

    brought: list = field(default_factory=list)
    meet: threading.Barrier | None = None

    def all_reduce_sum(self, values):
        self.brought[self.rank] = values
        self.meet.wait(60)
        total = torch.stack(self.brought).sum(dim=0)
        self.meet.wait(60)
        return total


@pytest.mark.parametrize(("world", "at_most"), [(2, 8), (4, 2)])
def test_batch_norm_shares_its_statistics_in_a_group(world, at_most):
    """Each group finds what one process with all its images does: outputs, gradients, running statistics."""
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(5 * world, 3, 4, 4, generator=generator) * 3 + 1
    size = min(world, at_most)
    bounds = [0, *(5 * rank + 4 for rank in range(world - 1)), 5 * world]  # of unequal sizes
    brought, meet, found = [None] * world, threading.Barrier(world), [None] * world

    def run(rank):
        compute = Together(torch.device("cpu"), torch.float32, rank, world, brought, meet)
        network = nn.Sequential(nn.BatchNorm2d(3))
        sync_norms(network, compute, at_most)
        part = images[bounds[rank] : bounds[rank + 1]].clone().requires_grad_()
        result = network(part)
        (result**3).sum().backward()
        found[rank] = (result.detach(), part.grad, network[0].running_mean, network[0].running_var)

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(world)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for first in range(0, world, size):
        whole = nn.BatchNorm2d(3)
        given = images[bounds[first] : bounds[first + size]].clone().requires_grad_()
        wanted = whole(given)
        (wanted**3).sum().backward()
        results, gradients, means, variances = zip(*found[first : first + size], strict=True)
        assert torch.allclose(torch.cat(results), wanted, atol=1e-5)
        assert torch.allclose(torch.cat(gradients), given.grad, atol=1e-4)
        for mean, variance in zip(means, variances, strict=True):
            assert torch.allclose(mean, whole.running_mean, atol=1e-6)
            assert torch.allclose(variance, whole.running_var, atol=1e-5)


def test_one_process_keeps_its_layers():
    resolved = paper(backbone={"name": "small", "width": 8}, small_crops=0).resolve(facts(100, 30))
    made = build_parts(resolved.model_copy(update={"image_size": 32}))
    assert not any(isinstance(layer, SyncedNorm) for layer in made.network.modules())
