"""LDPO's preset is the paper (Wang et al. 2017): encodings and patch mining."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import torch
from torch import nn

from fiftyone_deepcluster.core.seeds import derive
from fiftyone_deepcluster.features.base import EncodeRequest
from fiftyone_deepcluster.features.patch_mining import itemsets
from fiftyone_deepcluster.features.patch_mining.detectors import Background, Limit, merge_elements
from fiftyone_deepcluster.features.patch_mining.encoder import PatchMining
from fiftyone_deepcluster.pseudo_labels.initial import initial_labels
from fiftyone_deepcluster.pseudo_labels.round_labels import RoundLabels
from tests.fidelity.ldpo_presets import of_digits, paper, resolved


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


def test_mining_has_the_numbers_of_mdpm():
    """Section 3.1: "a procedure similar to that in [34]": 128, 160 and 192 of 256 pixels every 32, and its rules."""
    mining = resolved(encoder="patch-mining").encoder
    assert [256 * scale for scale in mining.scales] == [128, 160, 192]
    assert 256 * mining.stride == 32
    assert (mining.activations, mining.support, mining.confidence) == (20, 1e-4, 0.3)
    assert mining.layer is None, "FC7, the features"
    assert (mining.shortest, mining.longest) == (3, 6), "ours"
    assert not mining.cross_fit


def test_transactions_are_the_indices_of_the_largest_activations():
    """Section 3.1: each patch of both images of a group has all items of its pattern among its 20 largest."""
    mining = resolved(encoder="patch-mining").encoder.model_copy(update={"longest": 3})
    draw = np.random.default_rng(1)
    ranks = np.array([draw.permutation(40) for _ in range(80)])
    places = np.flatnonzero(np.arange(80) % 2)
    for row in places:  # the items 1, 2 and 3 have the ranks 17 to 19 of the group's patches
        others = [item for item in ranks[row].argsort() if item not in (1, 2, 3)]
        ranks[row, [*others[:17], 1, 2, 3, *others[17:]]] = np.arange(40)
    groups = np.arange(80) % 2
    found, _ = mining._patterns(torch.from_numpy(40.0 - ranks).float(), np.arange(80), groups)
    assert (1, 2, 3) in [pattern.items for pattern in found]
    for pattern in found:
        (group,) = set(groups[pattern.patches])
        rows = [
            row for row in range(80) if groups[row] == group and ranks[row, list(pattern.items)].max() < 20
        ]
        assert pattern.patches.tolist() == rows


def test_the_patterns_of_a_group_are_those_that_cover_most_of_its_patches():
    """Section 3.1: "the top 50 mined patterns (which cover the maximum numbers of patches) per image cluster"."""
    draw = np.random.default_rng(2)
    items = np.array([draw.choice(8, 4, replace=False, p=np.arange(1, 9) / 36) for _ in range(90)])
    group = np.arange(90) < 60
    limits = itemsets.Limits(0.01, 0.6, 2, 2, wanted=5, overlap=1, searched=10_000)
    mined = itemsets.mine_patterns(
        itemsets.Transactions(items[group], 8), itemsets.Transactions(items, 8), np.arange(60), limits
    )
    shown = {
        (a, b): np.array([a in row and b in row for row in items]) for a in range(8) for b in range(a + 1, 8)
    }
    rules = sorted(
        (int(has[group].sum()) for has in shown.values() if has[group].sum() >= 0.6 * has.sum()), reverse=True
    )
    assert [len(pattern.patches) for pattern in mined.patterns] == rules[:5]
    for pattern in mined.patterns:
        has = shown[pattern.items]
        assert pattern.confidence == pytest.approx(has[group].sum() / has.sum())
    assert rules[0] > rules[4] > rules[-1], "some are left out"


def test_merging_is_algorithm_1():
    """S_ij by its sum; i and j are merged only if both S_ij and S_ji exceed the threshold, with a new detector."""
    draw = np.random.default_rng(3)
    middles = np.array([[-1, 5, -1], [-1, 5, -1], [-3, 5, 5], [0, 4, 2]])
    features = np.concatenate([draw.normal(size=(20, 3)) + middle for middle in middles])
    spread, middle = np.cov(features.T, bias=True), features.mean(axis=0)
    patches = [np.arange(20 * i, 20 * i + 20) for i in range(4)]

    def lda(rows):
        return np.linalg.solve(spread, features[rows].mean(axis=0) - middle)

    scores = np.array([[np.mean([lda(i) @ features[x] for x in j]) for j in patches] for i in patches])
    above = scores > 0.5
    assert above[0, 1]
    assert above[1, 0]
    assert above[2, 3] != above[3, 2]
    given = torch.from_numpy(features).float()
    found, detectors = merge_elements(given, patches, Background.of(given, 1e-9), Limit(0.5, 0.8))
    assert [rows.tolist() for rows in found] == [[*range(40)], [*range(40, 60)], [*range(60, 80)]]
    np.testing.assert_allclose(detectors.numpy(), [lda(rows) for rows in found], atol=1e-3)


def test_a_code_has_the_largest_score_of_every_detector_in_the_image_and_its_quarters(corpus):
    """Section 3.1: "bag-of-elements" as in [34], over all patches of all scales."""
    few = {"mined_patches": 400, "longest": 3, "patterns": 4, "activations": 8}
    values = {**few, "pca": 0, "l2_normalize": False}
    mining = resolved(encoder="patch-mining").encoder.model_copy(update=values)
    encoding = mining.encode(corpus, EncodeRequest(1, torch.arange(60) % 3))
    detectors = encoding.fitted["detectors"].numpy()
    _, scales = next(mining._cut(mining.scales).of(corpus, np.arange(1)))
    expected = np.full((5, len(detectors)), -np.inf)
    for activations, middles in scales:
        for x, (down, across) in zip(activations[0].numpy(), middles.tolist(), strict=True):
            for cell in (0, 1 + 2 * (down >= 0.5) + (across >= 0.5)):
                expected[cell] = np.maximum(expected[cell], detectors @ x)
    np.testing.assert_allclose(encoding.vectors[0].numpy(), expected.ravel(), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("initial", ["features", "random", "kmeans"])
def test_patches_are_mined_in_the_first_groups_and_then_in_clusters(initial, make_corpus, monkeypatch):
    """Sections 3.1 and 4.2: random groups, or those of k-means on the network's features; training is on clusters."""
    mined_in = []
    mined = PatchMining._mined

    def watched(self, corpus, groups, *others):
        mined_in.append(groups)
        return mined(self, corpus, groups, *others)

    monkeypatch.setattr(PatchMining, "_mined", watched)
    few = {"mined_patches": 400, "longest": 3, "patterns": 4, "activations": 8, "pca": 8}
    encoder = {"name": "patch-mining", "scales": (0.5,), "stride": 0.25, **few}
    corpus, parts = make_corpus(), of_digits(initial=initial, encoder=encoder).task_parts()
    task = RoundLabels(parts)
    found = task.assign(corpus)
    if initial == "features":
        assert np.bincount(mined_in[0]).tolist() == [15] * 4
        other = parts.encoder._groups(60, EncodeRequest(derive(1, "other"), None, 4))
        assert not np.array_equal(mined_in[0], other), "drawn by the seed"
    else:
        groups = initial_labels(initial, 4, corpus, seed=parts.seed)
        assert np.array_equal(mined_in[0], groups)
        assert not np.array_equal(task._pseudo, groups)
    assert np.array_equal(task._pseudo, found.labels), "trained on the clusters of the codes"
    task.assign(corpus)
    assert np.array_equal(mined_in[1], found.labels)


def test_random_labels_without_mining_are_trained_on(make_corpus):
    """Section 2: "randomly-assigned labels"; otherwise they would change nothing."""
    corpus, parts = make_corpus(), of_digits(initial="random").task_parts()
    task = RoundLabels(parts)
    task.assign(corpus)
    assert torch.equal(task._pseudo, initial_labels("random", 4, corpus, seed=parts.seed))


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
