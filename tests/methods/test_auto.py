"""``method="auto"``: the method chosen for the images, and the reason in the notes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

import fiftyone_deepcluster as fdc
from fiftyone_deepcluster.backbones.base import BACKBONES
from fiftyone_deepcluster.core.process_state import seeded_torch
from fiftyone_deepcluster.errors import OptionsError
from fiftyone_deepcluster.images.inspect import ImageFacts, image_facts
from tests.observers import Watcher
from tests.pretend_cuda import pretended_gpu

MOBILENET = {"name": "torchvision", "model": "mobilenet_v2"}
WEIGHTS = {"weights": "w.pth", "backbone": MOBILENET}


def _facts(side):
    return ImageFacts(n=500, side=side, gray=True, height=side, width=side)


@pytest.mark.parametrize(
    ("side", "accelerated", "given", "method", "settled"),
    [
        (28, False, {}, "deepcluster-manifold", {"image_size": None}),
        (28, True, {"n_clusters": None}, "ldpo", {"n_clusters": None}),
        (300, False, {}, "deepcluster", {"image_size": 64}),
        (300, False, {"n_clusters": None}, "ldpo", {"image_size": 64}),
        (300, True, {"n_clusters": 7}, "deepcluster", {"image_size": None, "n_clusters": 7}),
        (300, False, WEIGHTS, "self-training", {"weights": "w.pth", "n_clusters": 10, "rounds": 2}),
        (300, True, {**WEIGHTS, "rounds": 4}, "self-training", {"weights": "w.pth", "rounds": 4}),
        (28, False, {**WEIGHTS, "image_size": 224}, "self-training", {"image_size": 224}),
        (300, True, {**WEIGHTS, "n_clusters": 26, "rounds": 4}, "ldpo", {"n_clusters": 26, "rounds": 4}),
        (300, False, {**WEIGHTS, "n_clusters": 26}, "frozen", {"weights": "w.pth", "n_clusters": 26}),
        (64, False, WEIGHTS, "frozen", {"n_clusters": 10}),
        (64, False, {**WEIGHTS, "rounds": 4}, "frozen", {"rounds": 1}),
        (64, True, {**WEIGHTS, "seed": 3}, "ldpo", {"seed": 3, "weights": "w.pth"}),
    ],
)  # fmt: skip
def test_the_method_is_chosen_by_size_number_weights_and_device(side, accelerated, given, method, settled):
    chosen, why = fdc.Auto(**given).choose(_facts(side), accelerated=accelerated)

    assert chosen.name == method
    assert {name: getattr(chosen, name) for name in settled} == settled
    assert why


@pytest.mark.parametrize(
    ("n", "accelerated", "method"),
    [
        (5_000, False, "self-training"), (5_001, False, "frozen"), (20_000, True, "self-training"),
        (20_001, True, "ldpo"), (200, False, "self-training"), (199, False, "frozen"),
    ],
)  # fmt: skip
def test_self_training_is_for_enough_and_not_too_many_images(n, accelerated, method):
    facts = ImageFacts(n=n, side=300, gray=False, height=300, width=300)
    assert fdc.Auto(**WEIGHTS).choose(facts, accelerated=accelerated)[0].name == method


@pytest.mark.parametrize(("n", "why"), [(200_000, "200,000 images, too many"), (3, "3 images, too few")])
def test_too_many_or_too_few_small_images_get_deepcluster_without_umap(n, why):
    chosen, said = fdc.Auto().choose(
        ImageFacts(n=n, side=28, gray=True, height=28, width=28), accelerated=True
    )

    assert chosen.name == "deepcluster"
    assert said == f"{why} for UMAP"


@pytest.mark.parametrize("accelerated", [True, False])
def test_weights_and_too_few_images_get_no_umap(accelerated):
    auto = fdc.Auto(weights="w.pth", backbone=MOBILENET, n_clusters=2)
    few = ImageFacts(n=3, side=300, gray=True, height=300, width=300)

    assert auto.choose(few, accelerated=accelerated)[0].reducer.name == "identity"


def test_three_images_are_clustered():
    images = (load_digits().images[:3] * 15.9).astype(np.uint8)
    options = fdc.Auto(n_clusters=2, rounds=1, baselines=False, device="cpu", image_size=16)

    assert fdc.fit(images, options).record.resolved["name"] == "deepcluster"


def test_without_n_clusters_weights_get_a_clusterer_that_finds_the_number():
    auto = fdc.Auto(n_clusters=None, weights="w.pth", backbone=MOBILENET)

    assert auto.choose(_facts(300), accelerated=False)[0].clusterer.finds_number


@pytest.mark.parametrize(("n", "pieces"), [(2_000, 40), (150, 15), (90, None)])
def test_fine_tuning_uses_pseudo_classes_if_there_are_enough_images(n, pieces):
    facts = ImageFacts(n=n, side=64, gray=True, height=64, width=64)
    chosen, _ = fdc.Auto(weights="w.pth", backbone=MOBILENET, n_clusters=10).choose(facts, accelerated=True)

    assert (chosen.pseudo_clusters, chosen.reducer.name) == (pieces, "umap")


def test_weights_without_a_backbone_are_refused():
    with pytest.raises(OptionsError, match="set backbone to their architecture"):
        fdc.Auto(weights="w.pth").choose(_facts(300), accelerated=True)


def test_a_run_has_a_note_with_the_chosen_method_and_can_predict(tmp_path):
    images = (load_digits().images[:300] * 15.9).astype(np.uint8)
    result = fdc.fit(
        images,
        fdc.Auto(n_clusters=10, rounds=1, baselines=False, device="cpu", image_size=16),
        run_dir=tmp_path,
    )

    assert result.record.method == "auto"
    assert result.record.resolved["name"] == "deepcluster-manifold"
    assert result.record.notes[0].startswith("method='auto' chose 'deepcluster-manifold': small images")
    assert np.mean(fdc.predict(tmp_path, images).labels == result.labels) > 0.95


def test_resumed_on_another_device_it_goes_on_with_the_method_that_it_chose_first(tmp_path):
    images = (load_digits().images[:60] * 15.9).astype(np.uint8)
    weights = tmp_path / "weights.pt"
    backbone = {"name": "small", "width": 8}
    with seeded_torch(1):
        torch.save(BACKBONES.parse(backbone).build(3, 16, None).state_dict(), weights)
    given = {"n_clusters": None, "image_size": 16, "backbone": backbone, "weights": str(weights)}
    given |= {"baselines": False}
    options = fdc.Auto(rounds=2, **given)
    with pretended_gpu():
        first = fdc.fit(images, options, run_dir=tmp_path / "run", observer=Watcher(after_rounds=1))
    assert (first.record.resolved["name"], len(first.record.rounds)) == ("ldpo", 1)
    assert options.resolve(image_facts(images)).name == "frozen"
    resumed = fdc.fit(images, options, run_dir=tmp_path / "run")
    assert (resumed.record.resolved["name"], len(resumed.record.rounds)) == ("ldpo", 2)
    assert resumed.record.notes[0].startswith("method='auto' chose 'ldpo': pre-trained weights and a GPU")
