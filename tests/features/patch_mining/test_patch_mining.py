"""Patch mining: patterns, detectors and Algorithm 1 against slow loops and other libraries."""

import itertools
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from mlxtend.frequent_patterns import fpgrowth

from benchmarks.ldpo_parts import encoders
from benchmarks.ldpo_scenes import drawn_per_class
from benchmarks.scene_rows import ROWS, Scenes, name_of, run, stratified_halves
from fiftyone_deepcluster.errors import InputError, OptionsError
from fiftyone_deepcluster.features.base import ENCODERS, EncodeRequest
from fiftyone_deepcluster.features.patch_mining.detectors import Background, Limit, merge_elements
from fiftyone_deepcluster.features.patch_mining.encoder import PatchMining, shares
from fiftyone_deepcluster.features.patch_mining.itemsets import Limits, Transactions, frequent, mine_patterns
from fiftyone_deepcluster.features.patch_mining.patches import Patches, cells, strongest
from fiftyone_deepcluster.metrics.agreement import agreement

MINING = {"patches": "maps", "mined_patches": 600, "patterns": 10, "longest": 3, "sample": 40, "pca": 12}


def _table(n=60, n_items=9, each=4, seed=0):
    rng = np.random.default_rng(seed)
    likes = rng.random((2, n_items))
    return np.stack([np.argsort(-(rng.random(n_items) * likes[i % 2]))[:each] for i in range(n)])


def _brute(items, least, longest):
    found = {}
    for size in range(1, longest + 1):
        for pattern in itertools.combinations(range(items.max() + 1), size):
            shown = sum(set(pattern) <= set(row) for row in items.tolist())
            if shown >= least:
                found[pattern] = shown
    return found


@pytest.mark.parametrize("least", [1, 5, 12])
@pytest.mark.parametrize("longest", [2, 4])
def test_frequent_sets_equal_brute_force_and_mlxtend(least, longest):
    items = _table()
    found = frequent(Transactions(items, 9), least, longest, 10_000)
    assert len(found) == len(dict(found))
    assert dict(found) == _brute(items, least, longest)
    shown = np.zeros((60, 9), dtype=bool)
    np.put_along_axis(shown, items, True, axis=1)
    theirs = fpgrowth(pd.DataFrame(shown), min_support=(least - 0.5) / 60, max_len=longest)
    assert {tuple(sorted(map(int, entry))) for entry in theirs.itemsets} == set(dict(found))
    assert frequent(Transactions(items, 9), least, longest, len(found) - 1) is None


def test_rules_equal_brute_force():
    items = _table()
    images = np.repeat(np.arange(20), 3)
    group = np.arange(60) % 2 == 0
    limits = Limits(0.05, 0.6, 2, 3, wanted=1000, overlap=1, searched=10_000)
    mined = mine_patterns(Transactions(items[group], 9), Transactions(items, 9), images[group], limits)
    found, n_rules = mined.patterns, mined.rules
    assert not mined.cut_short
    own, everything = _brute(items[group], 3, 3), _brute(items, 1, 3)
    expected = {}
    for pattern, n in own.items():
        rows = tuple(i for i, row in enumerate(items[group].tolist()) if set(pattern) <= set(row))
        several = len(set(images[group][list(rows)])) > 1
        if len(pattern) >= 2 and n / everything[pattern] >= 0.6 and several:
            expected.setdefault(rows, n / everything[pattern])  # the same patches count once
    rules = {tuple(pattern.patches): pattern.confidence for pattern in found[:n_rules]}
    assert rules == pytest.approx(expected)
    covered = [len(pattern.patches) for pattern in found[:n_rules]]
    assert covered == sorted(covered, reverse=True)
    few = mine_patterns(
        Transactions(items[group], 9),
        Transactions(items, 9),
        images[group],
        Limits(0.05, 0.6, 2, 3, 4, 1, 10_000),
    ).patterns
    assert [pattern.items for pattern in few] == [pattern.items for pattern in found[:4]]


def test_patterns_of_too_many_shared_patches_count_as_one():
    items = _table(n=200)
    everything, images = Transactions(items, 9), np.arange(200)
    limits = Limits(0.01, 0.5, 1, 3, 50, 0.5, 10_000)
    found = mine_patterns(everything, everything, images, limits).patterns
    sets = [set(pattern.patches) for pattern in found]
    assert len(sets) > 3
    assert max(len(a & b) / len(a | b) for a, b in itertools.combinations(sets, 2)) <= 0.5


def test_the_search_ends_if_all_indices_occur_together():
    items = np.tile(np.arange(12), (50, 1))
    mined = mine_patterns(
        Transactions(items, 30), Transactions(items, 30), np.arange(50), Limits(1e-4, 0.3, 3, 6, 5, 1, 1000)
    )
    assert [len(pattern.patches) for pattern in mined.patterns] == [50]
    assert mined.cut_short, "longer patterns were not searched"


@pytest.mark.usefixtures("seeded")
def test_detectors_solve_the_system_with_shrinkage():
    features = torch.randn(300, 7) @ torch.randn(7, 7)
    background = Background.of(features, 0.01)
    means = features[:40].view(2, 20, 7).mean(dim=1)
    found = background.detectors(means)
    spread = torch.from_numpy(np.cov(features.numpy().T, bias=True))
    spread += 0.01 * spread.diagonal().mean() * torch.eye(7)
    torch.testing.assert_close(
        spread @ found.double().T, (means - features.mean(dim=0)).double().T, atol=1e-3, rtol=1e-3
    )
    scaled = Background.of(30 * features, 0.01)
    torch.testing.assert_close(scaled.detectors(30 * means), found / 30, atol=1e-5, rtol=1e-3)


@pytest.mark.usefixtures("seeded")
def test_leveled_detectors_have_score_deviation_1_and_the_same_direction():
    features = torch.randn(400, 6) @ torch.randn(6, 6)
    background = Background.of(features, 1e-9)
    detectors = background.detectors(features[:40].view(4, 10, 6).mean(dim=1))
    found = background.leveled(detectors)
    torch.testing.assert_close(
        (features @ found.T).std(dim=0, correction=0), torch.ones(4), atol=1e-3, rtol=0
    )
    torch.testing.assert_close(
        torch.nn.functional.normalize(found), torch.nn.functional.normalize(detectors), atol=1e-5, rtol=1e-4
    )
    assert torch.isfinite(background.leveled(torch.zeros(2, 6))).all()


def _merged_slowly(features, patches, background, limit):
    """Algorithm 1 by the paper's sum, the pairs that fit best first where that is mutual."""
    patches = [np.asarray(rows) for rows in patches]
    while True:
        detectors = [background.detectors(features[rows].mean(dim=0)[None])[0] for rows in patches]
        n = len(patches)
        scores = np.array(
            [[np.mean([float(d @ features[x]) for x in rows]) for rows in patches] for d in detectors]
        )
        strength = np.minimum(scores, scores.T) - limit
        np.fill_diagonal(strength, -np.inf)
        best = strength.argmax(axis=1)
        pairs = [
            (i, best[i]) for i in range(n) if i < best[i] and best[best[i]] == i and strength[i, best[i]] > 0
        ]
        if not pairs:
            return patches
        for i, j in pairs:
            patches[i] = np.union1d(patches[i], patches[j])
        patches = [rows for k, rows in enumerate(patches) if k not in {j for _, j in pairs}]


@pytest.mark.usefixtures("seeded")
@pytest.mark.parametrize("limit", [0.5, 2.0, 6.0])
def test_merging_equals_a_loop_of_algorithm_1(limit):
    rng = np.random.default_rng(3)
    features = torch.from_numpy(
        rng.normal(size=(120, 5)) + 3 * rng.normal(size=(4, 5))[np.arange(120) % 4]
    ).float()
    patches = [np.flatnonzero(np.arange(120) % 4 == i % 4)[i : i + 12] for i in range(8)]
    background = Background.of(features, 0.01)
    found, detectors = merge_elements(features, patches, background, Limit(limit, 0.5))
    expected = _merged_slowly(features, patches, background, limit)
    assert [rows.tolist() for rows in found] == [rows.tolist() for rows in expected]
    means = torch.stack([features[torch.from_numpy(rows)].mean(dim=0) for rows in found])
    torch.testing.assert_close(detectors, background.detectors(means))
    assert len(found) < 8 or limit > 2


def test_merging_by_share_does_not_depend_on_the_scale():
    rng = np.random.default_rng(4)
    middles = 6 * np.eye(4)
    features = torch.from_numpy(rng.normal(size=(200, 4)) + middles[np.arange(200) % 4]).float()
    patches = [np.flatnonzero(np.arange(200) % 4 == i % 4)[i // 4 :: 2] for i in range(8)]
    for scale in (1.0, 30.0):
        background = Background.of(scale * features, 1e-6)
        found, _ = merge_elements(scale * features, patches, background, Limit(None, 0.5))
        assert [rows.tolist() for rows in found] == [
            np.flatnonzero(np.arange(200) % 4 == i).tolist() for i in range(4)
        ]


@pytest.mark.usefixtures("seeded")
def test_an_image_is_five_numbers_a_detector_and_patches_of_a_cell_may_change_places():
    middles = torch.cartesian_prod(torch.tensor([0.2, 0.4, 0.6, 0.8]), torch.tensor([0.2, 0.4, 0.6, 0.8]))
    scores = torch.rand(3, 16, 7)
    found = strongest(scores, middles)
    assert found.flatten(1).shape == (3, 5 * 7)
    torch.testing.assert_close(found[:, 0], scores.amax(dim=1))
    upper_left, upper_right = [0, 1, 4, 5], [2, 3, 6, 7]
    torch.testing.assert_close(found[:, 1], scores[:, upper_left].amax(dim=1))
    order = torch.arange(16)
    order[upper_left] = torch.tensor([5, 0, 4, 1])
    assert torch.equal(strongest(scores[:, order], middles), found)
    order[upper_left], order[upper_right] = torch.tensor(upper_right), torch.tensor(upper_left)
    assert not torch.equal(strongest(scores[:, order], middles), found)


def test_cells_without_patches_use_all_patches():
    inside = cells(torch.tensor([[0.1, 0.1], [0.2, 0.3]]))
    assert inside.all(dim=0).tolist() == [True, True, True, True, True]


def test_crop_features_equal_those_of_the_cut_images(corpus):
    rows = np.array([3, 9])
    ((taken, (scale,)),) = Patches("crops", (0.5,), 0.25, None).of(corpus, rows)
    scores, middles = scale
    assert taken.tolist() == [3, 9]
    assert scores.shape == (2, 9, corpus.network.dim)
    pixels = torch.from_numpy(corpus.store.read(rows)).permute(0, 3, 1, 2).float() / 255
    cut = torch.nn.functional.interpolate(pixels[:, :, 6:18, 12:24], (24, 24), mode="bilinear")
    with torch.no_grad():
        torch.testing.assert_close(scores[:, 5], corpus.network.features(cut), atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(middles[5], torch.tensor([0.5, 0.75]))


def test_window_features_equal_means_of_the_maps(corpus):
    rows = np.arange(4)
    ((_, (scale,)),) = Patches("maps", (0.5,), 0.3, "conv5").of(corpus, rows)
    ((_, maps),) = corpus.maps(rows, "conv5")
    scores, middles = scale
    assert scores.shape == (4, 4, 32)  # 6 x 6 maps, windows of 3, steps of 2
    torch.testing.assert_close(scores[:, 1], maps[:, :, 0:3, 2:5].mean(dim=(2, 3)))
    torch.testing.assert_close(middles[1], torch.tensor([1.5 / 6, 3.5 / 6]))


def test_patch_mining_uses_the_given_groups(corpus):
    encoder = PatchMining(**MINING)
    groups = torch.arange(60) % 3
    one, again = (encoder.encode(corpus, EncodeRequest(1, groups)) for _ in range(2))
    other = encoder.encode(corpus, EncodeRequest(1, torch.arange(60) // 20))
    assert torch.equal(one.fitted["detectors"], again.fitted["detectors"])
    assert one.fitted["detectors"].shape != other.fitted["detectors"].shape or not torch.equal(
        one.fitted["detectors"], other.fitted["detectors"]
    )
    assert one.scores["elements"] <= one.scores["patterns"] <= 30
    noise = torch.full((60,), -1)
    chance = encoder.encode(corpus, EncodeRequest(1, noise, 3)).vectors
    assert torch.equal(chance, encoder.encode(corpus, EncodeRequest(1, n_groups=3)).vectors)
    noise[:10] = 0
    assert torch.isfinite(encoder.encode(corpus, EncodeRequest(1, noise)).vectors).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scales": [2.0]}, r"scales=2\.0: give shares"),
        ({"scales": [float("nan")]}, "scales=nan: give shares"),
        ({"scales": [0.5, -1.0]}, r"scales=-1\.0: give shares"),
        ({"scales": [0.0]}, r"scales=0\.0: give shares"),
        ({"shortest": 5, "longest": 2}, "shortest=5 is more than longest=2"),
        ({"merge_score": float("nan")}, "merge_score"),
        ({"stride": 1e-9}, "stride"),
    ],
)
def test_invalid_shares_and_lengths_are_refused(options, message):
    with pytest.raises(OptionsError, match=message):
        PatchMining(**options)


def test_no_pattern_is_an_error(corpus):
    encoder = PatchMining(patches="maps", mined_patches=600, activations=2, shortest=3, longest=3)
    with pytest.raises(InputError, match=r"found no pattern in 592 patches of 37 images; lower"):
        encoder.encode(corpus, EncodeRequest(1, n_groups=3))


def test_windows_that_two_scales_share_are_taken_once(corpus):
    """On maps of few cells .5 and .55 of the side are the same windows."""
    rows = np.arange(2)
    ((_, one),) = Patches("maps", (0.5, 0.75), 0.25, None).of(corpus, rows)
    ((_, two),) = Patches("maps", (0.5, 0.501, 0.75), 0.25, None).of(corpus, rows)
    assert len(one) == len(two) == 2
    for (found, middles), (again, same) in zip(one, two, strict=True):
        assert torch.equal(found, again)
        assert torch.equal(middles, same)


@pytest.mark.parametrize(("patches", "stride"), [("crops", 0.125), ("maps", 0.3)])
def test_as_many_patches_are_mined_as_asked_for(corpus, patches, stride):
    """By the real number of windows; what a small group cannot use goes to the others."""
    encoder = PatchMining(patches=patches, stride=stride, mined_patches=500)
    groups = np.repeat([0, 1, -1], [50, 4, 6])
    features, images = encoder._mined(corpus, groups, seed=1)
    each = encoder._cut(encoder.scales[:1]).count(corpus)
    wanted = min(54, 500 // each)
    assert len(features) == each * wanted
    assert set(images) <= set(range(54))
    assert len({image for image in images if image >= 50}) == min(4, wanted // 2)


def test_shares_are_equal_but_for_small_groups():
    assert shares(np.array([100, 3, 100, 100]), 60).tolist() == [19, 3, 19, 19]
    assert shares(np.array([5, 5]), 100).tolist() == [5, 5]
    assert shares(np.array([9, 9]), 5).sum() == 5


def test_patterns_below_the_confidence_are_left_out():
    """Two groups of patches with items of their own, and one without."""
    draw = np.random.default_rng(3)
    items = np.array([draw.choice(60, 8, replace=False) for _ in range(300)])
    items[:100, :4], items[100:200, :4] = [60, 61, 62, 63], [64, 65, 66, 67]
    groups = np.repeat([0, 1, 2], 100)
    features = torch.zeros(300, 70)
    features[torch.arange(300)[:, None], torch.from_numpy(items)] = 1.0
    encoder = PatchMining(activations=8, confidence=0.9, support=0.05)
    found, figures = encoder._patterns(features, np.arange(300), groups)
    assert found
    assert all(pattern.confidence >= 0.9 for pattern in found)
    assert figures["rules"] == len(found)
    alike = features[:100].repeat(3, 1)
    rest, none = encoder._patterns(alike, np.arange(300), groups)
    assert rest, "without any rule, the most confident patterns"
    assert none["rules"] == 0


@pytest.fixture(scope="module")
def scenes():
    from sklearn.datasets import load_digits

    digits = load_digits()
    rows = drawn_per_class(digits.target, 10)
    mining = {"scales": (0.5,), "stride": 0.5, "longest": 3}
    images = (digits.images[rows] * 15.9375).astype("uint8")
    return Scenes(images, digits.target[rows], "squeezenet1_0", None, 40, mining=mining)


class TestRowsOfTheBenchmark:
    """``benchmarks.ldpo_scenes`` on digits, with a SqueezeNet of random weights."""

    def test_patches_are_crops_unless_the_row_says_maps(self, scenes):
        assert scenes.miner().patches == "crops"
        maps = replace(scenes, mining={**scenes.mining, "patches": "maps"})
        assert maps.miner().patches == "maps"
        assert name_of("MDPM", scenes) == "MDPM"
        assert name_of("LDPO-PM, UMAP", maps) == "LDPO-PM, UMAP, maps"
        assert name_of("LDPO-FC", maps) == "LDPO-FC"
        assert encoders(maps=False)[-1] == "patch-mining"
        assert ENCODERS.parse(encoders(maps=False)[-1]).patches == "crops"
        assert encoders(maps=True)[-1] == "patch-mining:patches=maps"

    def test_kept_patches_give_the_same_vectors(self, scenes):
        groups = torch.from_numpy(scenes.classes)
        with scenes.corpus() as corpus:
            request = EncodeRequest(1, groups)
            kept = scenes.miner().encode(corpus, request).vectors
            fresh = PatchMining(**scenes.mining, merge_share=1.0).encode(corpus, request).vectors
        torch.testing.assert_close(kept, fresh, atol=1e-4, rtol=1e-3)

    def test_the_oracle_encodes_and_is_measured_on_images_it_was_not_mined_in(self, scenes):
        seen, rows = stratified_halves(scenes.classes, 51)
        assert (
            np.bincount(scenes.classes[seen]).tolist()
            == np.bincount(scenes.classes[rows]).tolist()
            == [5] * 10
        )
        assert sorted([*seen, *rows]) == list(range(100))
        assert not np.array_equal(seen, stratified_halves(scenes.classes, 52)[0])
        found = ROWS["PM, true classes, unseen images"](scenes, 51)
        assert found.rows.tolist() == rows.tolist()
        encoder = PatchMining(**scenes.mining, merge_share=1.0)
        with scenes.corpus(seen) as corpus:
            known = torch.from_numpy(scenes.classes[seen])
            fitted = encoder.encode(corpus, EncodeRequest(51, known)).fitted
        with scenes.corpus(rows) as corpus:
            expected = encoder.apply(corpus, fitted)
        torch.testing.assert_close(found.vectors, expected, atol=1e-4, rtol=1e-3)
        done = run("PM, true classes, unseen images", scenes, 51)
        assert done["images"] == 50
        assert done["purity"] == agreement(found.labels, scenes.classes[rows]).purity
        again = run("KM, the same unseen images", scenes, 51)
        assert (again["images"], again["mining"]) == (50, {})
