"""LDPO: held-out split, initial labels, confident images, convergence, frozen batch norm."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits

import fiftyone_deepcluster as fdc
from fiftyone_deepcluster.backbones.frozen_norms import freeze_norms
from fiftyone_deepcluster.backbones.network import Network
from fiftyone_deepcluster.core.record import AgreementScores, Round, StopReason
from fiftyone_deepcluster.errors import InputError, OptionsError
from fiftyone_deepcluster.images.inspect import ImageFacts, image_facts
from fiftyone_deepcluster.pseudo_labels.holdout import Holdout
from fiftyone_deepcluster.pseudo_labels.round_labels import most_confident
from fiftyone_deepcluster.training.stopping import StopOnAgreement


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 300), st.integers(0, 5), st.booleans())
def test_a_split_holds_every_row_once_and_splits_no_group(n, turn, grouped):
    groups = np.random.default_rng(n).integers(-1, 12, n) if grouped else None
    split = Holdout(seed=4).split(n, turn, groups)
    parts = (split.training, split.validation, split.test)

    assert sorted(np.concatenate(parts).tolist()) == list(range(n))
    if groups is not None:
        for group in set(groups.tolist()) - {-1}:
            assert sum(bool(np.isin(np.flatnonzero(groups == group), part).any()) for part in parts) == 1


def test_default_shares_are_the_papers_and_every_round_has_its_own_split():
    holdout = Holdout(seed=4)
    first, second = holdout.split(1000, 0), holdout.split(1000, 1)

    assert [len(part) for part in (first.training, first.validation, first.test)] == [700, 100, 200]
    assert not np.array_equal(first.test, second.test)
    assert np.array_equal(first.test, holdout.split(1000, 0).test)


def test_only_the_training_part_is_trained_on_and_the_rest_is_scored():
    images = (load_digits().images[:300] * 15.9).astype(np.uint8)
    result = fdc.fit(
        images, fdc.LDPO(n_clusters=10, rounds=2, min_steps=10, baselines=False, training_share=0.5),
        known=fdc.Known(groups=[None] * 100 + [f"p{i // 2}" for i in range(200)]),
    )  # fmt: skip

    trained = np.isfinite(result.round_losses)
    assert trained.sum(axis=0).tolist() == [150, 150]
    assert np.array_equal(trained[100::2], trained[101::2]), "the two images of a patient go together"
    for entry in result.record.rounds:
        assert 0 <= entry.scores["test_top1"] <= entry.scores["test_top5"] <= 1
        assert "validation_top1" in entry.scores


def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path):
    images = (load_digits().images[:200] * 15.9).astype(np.uint8)
    options = fdc.LDPO(n_clusters=5, rounds=3, min_steps=6, baselines=False, initial="random", stop_nmi=None)
    whole = fdc.fit(images, options)
    fdc.fit(images, options.model_copy(update={"rounds": 1}), run_dir=tmp_path)
    resumed = fdc.fit(images, options, run_dir=tmp_path)

    assert np.array_equal(whole.labels, resumed.labels)
    assert np.array_equal(whole.embeddings, resumed.embeddings)
    assert np.array_equal(whole.round_losses, resumed.round_losses, equal_nan=True)


def test_the_first_round_trains_on_the_initial_labels():
    digits = load_digits()
    images, classes = (digits.images[:300] * 15.9).astype(np.uint8), digits.target[:300]
    options = fdc.LDPO(
        n_clusters=10, initial="labels", rounds=1, min_steps=80, baselines=False, training_share=0.9
    )
    labeled = fdc.fit(images, options, truth=classes, known=fdc.Known(initial=classes.tolist()))
    random = fdc.fit(images, options.model_copy(update={"initial": "random"}), truth=classes)

    assert labeled.record.rounds[0].truth.acc > 0.9
    assert random.record.rounds[0].truth.acc < labeled.record.rounds[0].truth.acc - 0.1


def test_missing_initial_labels_are_an_error():
    images = (load_digits().images[:100] * 15.9).astype(np.uint8)

    with pytest.raises(InputError, match="give known=Known"):
        fdc.fit(images, fdc.LDPO(n_clusters=5, initial="labels", baselines=False))


def test_without_n_clusters_rim_clusters_unnormalized_features():
    images = (load_digits().images[:400] * 15.9).astype(np.uint8)
    result = fdc.fit(images, fdc.LDPO(rounds=1, min_steps=10, baselines=False))

    assert result.record.resolved["clusterer"]["name"] == "rim"
    assert result.record.n_clusters >= 2
    assert result.record.rounds[0].scores["scale"] > 1.5


def test_only_the_most_confident_of_each_cluster_keep_their_label():
    labels = torch.tensor([0, 0, 0, 1, 1, 1, 1])
    confidence = torch.tensor([0.1, 0.9, 0.5, 0.4, 0.3, 0.2, 0.1])
    assert most_confident(labels, confidence, 0.5).tolist() == [-1, 0, 0, 1, 1, -1, -1]
    assert most_confident(labels, confidence, 1.0).tolist() == labels.tolist()


def _round(index, nmi, purity, clusters):
    return Round(
        index=index,
        change=AgreementScores(nmi=nmi, ari=nmi, purity=purity, acc=purity),
        clusters_in_use=clusters,
    )


@pytest.mark.parametrize(
    ("rounds", "stops"),
    [
        ([(0.95, 0.95, 10)] * 3, True),
        ([(0.95, 0.95, 10)] * 2, False),  # the number of clusters was seen to hold once only
        ([(0.95, 0.95, 10), (0.95, 0.89, 10), (0.95, 0.95, 10)], False),
        ([(0.95, 0.95, 10), (0.89, 0.95, 10), (0.95, 0.95, 10)], False),
        ([(0.95, 0.95, 20), (0.95, 0.95, 12), (0.95, 0.95, 12)], False),
        ([(0.95, 0.95, 100), (0.95, 0.95, 97), (0.95, 0.95, 101)], True),
    ],
)
def test_convergence_needs_purity_nmi_and_a_stable_number(rounds, stops):
    rule = StopOnAgreement(0.9, patience=2, purity=0.9, settled=0.05)
    entries = [_round(index, *figures) for index, figures in enumerate(rounds)]

    assert rule.check(entries) == (StopReason.CONVERGED if stops else None)


@pytest.mark.usefixtures("seeded")
def test_frozen_norms_keep_their_statistics_and_their_outputs():
    norm = torch.nn.BatchNorm2d(3)
    norm(torch.randn(8, 3, 4, 4) * 5 + 2)
    body = torch.nn.Sequential(norm.eval())
    images = torch.randn(2, 3, 4, 4)
    before = body(images)
    frozen = freeze_norms(body).train()

    torch.testing.assert_close(frozen(images), before)
    frozen(images * 100)
    torch.testing.assert_close(frozen(images), before)
    assert not any(parameter.requires_grad for parameter in frozen.parameters())
    with torch.autocast("cpu", torch.bfloat16):
        assert frozen(images.bfloat16()).dtype == torch.bfloat16, "maps stay as narrow as they came"


def test_pretrained_weights_get_low_learning_rates_and_whole_images():
    facts = image_facts(np.zeros((40, 90, 120), np.uint8))
    tuned, scratch = (
        fdc.LDPO(n_clusters=4, weights=weights).resolve(facts) for weights in ("IMAGENET1K_V1", None)
    )
    assert (tuned.learning_rate, tuned.head_learning_rate) == (1e-4, pytest.approx(1e-3))
    assert (tuned.optimizer_spec().optimizer, tuned.optimizer_spec().one_cycle) == ("adamw", True)
    momentum = fdc.LDPO(n_clusters=4, weights="IMAGENET1K_V1", optimizer="sgd").resolve(facts)
    assert (momentum.learning_rate, momentum.head_learning_rate) == (1e-3, 0.01)
    assert (scratch.optimizer_spec().optimizer, scratch.optimizer_spec().one_cycle) == ("sgd", False)
    assert fdc.LDPO(n_clusters=4, optimizer="adamw").resolve(facts).learning_rate == 3e-3
    assert (tuned.confident_share, tuned.batch_size, tuned.freeze_norm) == (0.8, 64, True)
    assert (scratch.learning_rate, scratch.head_learning_rate) == (0.05, 0.05)
    assert (scratch.confident_share, scratch.batch_size, scratch.freeze_norm) == (1.0, 256, False)
    assert tuned.decoded_side == tuned.image_size == 224, "nothing is cut off"
    asked = fdc.LDPO(
        n_clusters=4, weights="IMAGENET1K_V1", confident_share=1, batch_size=8, pseudo_clusters=9
    ).resolve(facts)
    assert (asked.confident_share, asked.batch_size, asked.pseudo_clusters) == (1.0, 8, 9)


@pytest.mark.usefixtures("seeded")
@pytest.mark.parametrize("scale", [1.0, 300.0])
def test_a_leveled_head_trains_independently_of_the_length_of_the_features(scale):
    class Scaled(torch.nn.Module):
        dim = 12

        def forward(self, images):
            return scale * images.flatten(1)

    images = torch.rand(60, 1, 3, 4)
    classes = (images.mean(dim=(1, 2)).argmax(dim=1)).long()
    network = Network(torch.nn.Identity(), Scaled(), level_before_head=True)
    network.replace_head(4, seed=1)
    optimizer = torch.optim.SGD(network.head.parameters(), 0.5)
    for _ in range(300):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(network(images).logits, classes).backward()
        optimizer.step()
    assert (network(images).logits.argmax(dim=1) == classes).float().mean() > 0.9
    torch.testing.assert_close(network(images).features, scale * images.flatten(1))


def test_a_leveled_head_does_not_diverge_on_random_labels():
    class Plain(torch.nn.Module):
        dim = 1280

        def forward(self, images):
            return images.flatten(1)

    generator = torch.Generator().manual_seed(3)
    network = Network(torch.nn.Identity(), Plain(), level_before_head=True)
    network.replace_head(8, seed=1)
    options = fdc.LDPO(n_clusters=8, weights="w.pt", optimizer="sgd").resolve(
        ImageFacts(640, 128, True, 128, 128)
    )
    optimizer = torch.optim.SGD(network.head.parameters(), options.head_learning_rate)
    alike = 40.0 * torch.rand(1, 1280, 1, 1, generator=generator)
    losses = []
    for _ in range(100):  # no image comes twice: nothing can be learned, and guessing costs log 8
        images = alike + 5.0 * torch.randn(64, 1280, 1, 1, generator=generator)
        labels = torch.randint(8, (64,), generator=generator)
        loss = torch.nn.functional.cross_entropy(network(images).logits, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert max(losses) < 1.2 * math.log(8)


def test_shares_of_a_split_are_at_most_all_images():
    with pytest.raises(OptionsError, match=r"training_share=0.9 and validation_share=0.5 exceed 1"):
        fdc.LDPO(training_share=0.9, validation_share=0.5)
    fdc.LDPO(training_share=0.75, validation_share=0.25)
