"""Encodings of maps and patches: each formula against a slow loop or another library, and the papers' sizes."""

import itertools

import numpy as np
import pandas as pd
import pytest
import torch
from mlxtend.frequent_patterns import fpgrowth
from skimage.feature import fisher_vector
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.mixture import GaussianMixture

import fiftyone_deepcluster as fdc
from fiftyone_deepcluster.compute import Compute
from fiftyone_deepcluster.corpus import Corpus
from fiftyone_deepcluster.encoders.base import ENCODERS, EncodeRequest
from fiftyone_deepcluster.encoders.codebook import cells_of
from fiftyone_deepcluster.encoders.elements import Background, Limit, merge
from fiftyone_deepcluster.encoders.ensemble_projection import EnsembleProjection, prototypes
from fiftyone_deepcluster.encoders.fisher import Fisher, Mixture, fisher_vectors, fit_mixture
from fiftyone_deepcluster.encoders.patch_mining import PatchMining
from fiftyone_deepcluster.encoders.patches import Patches, cells, patches_an_image, strongest
from fiftyone_deepcluster.encoders.pooled import Pooled
from fiftyone_deepcluster.encoders.reduce import fit_pca
from fiftyone_deepcluster.encoders.rules import Limits, Transactions, frequent, mine
from fiftyone_deepcluster.encoders.streaming import PAPER_DIMS, Shrink, apply_streamed, reduce_streamed
from fiftyone_deepcluster.encoders.vlad import Vlad
from fiftyone_deepcluster.errors import InputError, OptionsError
from fiftyone_deepcluster.images.cache import Decode, open_images
from fiftyone_deepcluster.networks.base import Network
from fiftyone_deepcluster.networks.fronts import make_front
from fiftyone_deepcluster.networks.taps import layers_of
from fiftyone_deepcluster.networks.trunks.base import TRUNKS
from fiftyone_deepcluster.observer import Silent
from fiftyone_deepcluster.seeds import rng

SMALL = {
    "pooled": {},
    "vlad": {"words": 8, "descriptors": 2000, "sample": 40, "pca": 12},
    "fisher": {"words": 4, "descriptors": 2000, "sample": 40, "pca": 12, "iterations": 5},
    "patch-mining": {
        "patches": "maps",
        "mined_patches": 600,
        "patterns": 10,
        "longest": 3,
        "sample": 40,
        "pca": 12,
    },
    "ensemble-projection": {"sets": 6, "classes": 5, "images": 3, "hypotheses": 4, "sample": 40, "pca": 12},
}


@pytest.fixture(scope="module")
def digits():
    return (load_digits().images[:60] * 15.9375).astype(np.uint8)


@pytest.fixture(scope="module")
def make_corpus(digits):
    """A corpus of 60 digits seen by a small network of random weights."""
    stores = []

    def make(batch_size=16, images=digits, given=None):
        store = open_images(images, Decode(size=24, color="grey"), observer=Silent())
        stores.append(store)
        front = make_front("zscore", 1)
        torch.manual_seed(1)
        network = Network(front, TRUNKS.parse({"name": "small", "width": 8}).build(1, 24, None))
        compute = Compute(torch.device("cpu"), torch.float32)
        return Corpus(store, network, compute, size=24, batch_size=batch_size, observer=Silent(), given=given)

    yield make
    for store in stores:
        store.close()


@pytest.fixture(scope="module")
def corpus(make_corpus):
    return make_corpus()


@pytest.fixture(params=ENCODERS.names())
def encoder(request):
    return ENCODERS.parse({"name": request.param, **SMALL.get(request.param, {})})


def test_an_encoder_gives_one_finite_vector_an_image_and_the_same_again(encoder, corpus):
    first, second = (encoder.encode(corpus, EncodeRequest(3, n_groups=4)) for _ in range(2))
    assert first.vectors.shape[0] == 60
    assert first.vectors.dtype == torch.float32
    assert torch.isfinite(first.vectors).all()
    assert torch.equal(first.vectors, second.vectors)
    assert all(isinstance(score, float) for score in first.scores.values())


def test_what_was_learnt_applies_to_other_images_and_survives_a_file(
    encoder, corpus, make_corpus, digits, tmp_path
):
    encoding = encoder.encode(corpus, EncodeRequest(3, n_groups=4))
    torch.save(encoding.fitted, tmp_path / "fitted.pt")
    fitted = torch.load(tmp_path / "fitted.pt", weights_only=True)
    torch.testing.assert_close(encoder.apply(corpus, fitted), encoding.vectors, atol=1e-5, rtol=1e-4)
    some = make_corpus(images=digits[[5, 41]])
    torch.testing.assert_close(encoder.apply(some, fitted), encoding.vectors[[5, 41]], atol=1e-5, rtol=1e-4)


def test_unit_length_is_an_option_of_every_encoder(encoder, corpus):
    unit, plain = (
        encoder.model_copy(update={"unit": unit}).encode(corpus, EncodeRequest(3, n_groups=4)).vectors
        for unit in (True, False)
    )
    torch.testing.assert_close(unit.norm(dim=1), torch.ones(60), atol=1e-5, rtol=0)
    assert plain.norm(dim=1).std() > 1e-3
    torch.testing.assert_close(torch.nn.functional.normalize(plain), unit, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", ["vlad", "fisher", "patch-mining"])
def test_given_features_have_no_layers(name, make_corpus):
    given = make_corpus(given=torch.rand(60, 4))
    with pytest.raises(OptionsError, match="features were given in place of images"):
        ENCODERS.parse(name).encode(given, EncodeRequest(0, n_groups=4))


def test_maps_are_the_last_ones_or_those_of_a_layer_by_name(corpus):
    rows = np.array([4, 1, 7])
    ((taken, last),) = corpus.maps(rows)
    assert taken.tolist() == [4, 1, 7]
    assert last.shape == (3, 32, 6, 6)
    ((_, first),) = corpus.maps(rows, "conv1")
    assert first.shape == (3, 8, 24, 24)
    with pytest.raises(InputError, match="conv9"):
        next(corpus.maps(rows, "conv9"))


def test_pooled_layer_is_the_mean_of_its_maps(corpus):
    found = Pooled(tap="conv3", pca=0, unit=False).encode(corpus, EncodeRequest(0)).vectors
    maps = torch.cat([maps for _, maps in corpus.maps(np.arange(60), "conv3")])
    torch.testing.assert_close(found, maps.mean(dim=(2, 3)))


@pytest.mark.parametrize(
    ("model", "layer", "shape", "dim"),
    [
        ("alexnet", "conv5", (256, 13, 13), 4096),
        ("googlenet", "inception5b", (1024, 7, 7), 1024),
        ("vgg16", "conv13", (512, 14, 14), 4096),
        ("vgg19", "conv16", (512, 14, 14), 4096),
    ],
)
def test_layers_of_the_paper_are_there(model, layer, shape, dim):
    with torch.device("meta"):  # shapes only: no weights are drawn
        front = make_front("imagenet", 3)
        network = Network(front, TRUNKS.parse({"name": "torchvision", "model": model}).build(3, 224, None))
        layers = {entry.name: entry.shape for entry in layers_of(network, torch.zeros(1, 3, 224, 224))}
    assert layers[layer] == shape
    assert network.dim == dim


@pytest.mark.parametrize(("encoder", "channels", "expected"), [
    (Vlad(), 256, 16_384), (Vlad(), 1024, 65_536), (Fisher(iterations=0), 256, 32_768),
])  # fmt: skip
def test_descriptions_have_the_papers_lengths(encoder, channels, expected):
    cells = torch.rand(2, 40, channels)
    codebook = encoder.learn(cells.flatten(0, 1), seed=0)
    assert encoder.describe(cells, codebook).shape == (2, expected)
    assert PAPER_DIMS == 4096


def test_dimensions_are_cut_to_what_the_images_allow_and_the_log_says_so(corpus, caplog):
    with caplog.at_level("INFO"):
        vectors = Vlad(words=8, sample=30).encode(corpus, EncodeRequest(0)).vectors
    assert vectors.shape == (60, 29)
    assert "256 dimensions, reduced by PCA to 29 and not 4096, which 30 images do not allow" in caplog.text


def test_vlad_is_the_sum_of_differences_from_the_nearest_word():
    torch.manual_seed(0)
    maps, centers = torch.rand(3, 4, 2, 3), torch.rand(5, 4)
    found = Vlad(words=5).describe(cells_of(maps), {"centers": centers})
    for b in range(3):
        total = np.zeros((5, 4))
        for y, x in itertools.product(range(2), range(3)):
            cell = maps[b, :, y, x].numpy()
            word = int(np.argmin([np.sum((cell - c) ** 2) for c in centers.numpy()]))
            total[word] += cell - centers[word].numpy()
        powered = np.sign(total.ravel()) * np.sqrt(np.abs(total.ravel()))
        np.testing.assert_allclose(found[b].numpy(), powered / np.linalg.norm(powered), atol=1e-5)


def test_fisher_vector_is_scikit_images():
    rng = np.random.default_rng(0)
    points = rng.normal(size=(400, 6)) * rng.uniform(0.5, 3, 6) + rng.integers(0, 3, (400, 1)) * 4
    gmm = GaussianMixture(3, covariance_type="diag", random_state=0).fit(points)
    cells = rng.normal(size=(2, 50, 6)) * 2 + 4
    weights, means, variances = (torch.from_numpy(a) for a in (gmm.weights_, gmm.means_, gmm.covariances_))
    ours = fisher_vectors(torch.from_numpy(cells), Mixture(weights, means, variances))
    for image, found in zip(cells, ours.numpy(), strict=True):
        theirs = fisher_vector(image, gmm)[3:]  # without the gradients by the weights
        theirs[18:] *= -1  # scikit-image has the other sign for the variances
        np.testing.assert_allclose(found, theirs, rtol=1e-6, atol=1e-9)
    described = Fisher(words=3).describe(
        torch.from_numpy(cells), {"weights": weights, "means": means, "variances": variances}
    )
    np.testing.assert_allclose(described.norm(dim=1).numpy(), 1, rtol=1e-9)


def test_mixture_is_as_likely_as_scikit_learns():
    rng = np.random.default_rng(1)
    points = np.concatenate([rng.normal(m, s, (300, 4)) for m, s in ((0, 1), (6, 0.5), (-5, 2))])
    ours = fit_mixture(torch.from_numpy(points).float(), 3, 100, seed=0)
    joint = ours.log_joint(torch.from_numpy(points).float()).logsumexp(dim=1).mean() - 2 * np.log(2 * np.pi)
    theirs = GaussianMixture(3, covariance_type="diag", n_init=3, random_state=0).fit(points)
    assert float(joint) > theirs.score(points) - 0.01
    np.testing.assert_allclose(sorted(ours.weights.numpy()), sorted(theirs.weights_), atol=0.01)


def test_silent_channels_make_no_infinite_pulls():
    cells = torch.rand(4, 30, 5)
    cells[:, :, 2] = 0
    encoder = Fisher(words=3)
    assert torch.isfinite(encoder.describe(cells, encoder.learn(cells.flatten(0, 1), seed=0))).all()


def test_pca_of_more_dimensions_than_rows_is_scikit_learns():
    rng = np.random.default_rng(2)
    features = (rng.normal(size=(30, 200)) + 5).astype(np.float32)
    ours = fit_pca(torch.from_numpy(features), 100, whiten=False, unit=False)
    found = ours.apply(torch.from_numpy(features)).numpy()
    theirs = PCA(29, svd_solver="full").fit_transform(features)
    assert found.shape == (30, 29)
    np.testing.assert_allclose(np.abs(found), np.abs(theirs), atol=1e-3)
    flat = torch.from_numpy(np.repeat(features[:2], 5, axis=0))  # ten rows on one line
    line = fit_pca(flat, 9, whiten=False, unit=False).apply(flat)
    torch.testing.assert_close(line[:, 0].abs(), torch.full((10,), float((flat[0] - flat[5]).norm() / 2)))
    assert line[:, 1:].abs().max() < 1e-2


@pytest.mark.parametrize("sample", [60, 25])
def test_streamed_is_whole(make_corpus, sample):
    vectors = []
    for batch_size in (7, 100):
        corpus = make_corpus(batch_size)

        def describe(rows, corpus=corpus):
            return ((taken, maps.flatten(1)) for taken, maps in corpus.maps(rows))

        found, reduction = reduce_streamed(corpus, describe, Shrink(10, True, sample, 5), "maps")
        torch.testing.assert_close(apply_streamed(corpus, describe, reduction), found, atol=1e-5, rtol=1e-4)
        vectors.append(found)
    torch.testing.assert_close(*vectors, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("seed", range(5))
def test_prototypes_are_the_draw_whose_nearest_two_are_farthest_apart_and_their_nearest(seed):
    points = np.random.default_rng(seed).standard_normal((40, 3))
    how = EnsembleProjection(classes=4, images=3, hypotheses=7)
    rows, classes = prototypes(points, how, np.random.default_rng(9))

    draw, best, seeds = np.random.default_rng(9), -1.0, None
    for _ in range(7):
        drawn = draw.choice(40, 4, replace=False)
        least = min(np.linalg.norm(points[i] - points[j]) for i, j in itertools.combinations(drawn, 2))
        if least > best:
            best, seeds = least, drawn
    expected = [np.argsort(np.linalg.norm(points - points[i], axis=1))[:3] for i in seeds]
    assert rows.reshape(4, 3).tolist() == [near.tolist() for near in expected]
    assert rows[::3].tolist() == seeds.tolist()
    assert classes.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]


@pytest.mark.parametrize("classes", [2, 5])
def test_an_image_is_the_probabilities_of_all_sets(corpus, classes):
    encoder = EnsembleProjection(
        sets=3, classes=classes, images=4, hypotheses=4, pca=0, unit=False, strictness=2
    )
    encoding = encoder.encode(corpus, EncodeRequest(3))
    assert encoding.vectors.shape == (60, 3 * classes)
    torch.testing.assert_close(encoding.vectors.view(60, 3, classes).sum(dim=2), torch.ones(60, 3))

    points = encoder.base.encode(corpus, EncodeRequest(3)).vectors.double().numpy()
    for turn in range(3):
        rows, names = prototypes(points, encoder, rng(3, "prototypes", turn))
        model = LogisticRegression(C=2, max_iter=100).fit(points[rows], names)
        expected = torch.from_numpy(model.predict_proba(points)).float()
        found = encoding.vectors[:, turn * classes : (turn + 1) * classes]
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-3)


def test_more_surrogate_classes_than_images_are_refused(corpus):
    with pytest.raises(
        InputError, match=r"60 images cannot have classes=61 surrogate classes; lower classes"
    ):
        EnsembleProjection(classes=61).encode(corpus, EncodeRequest(3))


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
def test_frequent_sets_are_those_of_brute_force_and_of_mlxtend(least, longest):
    items = _table()
    found = frequent(Transactions(items, 9), least, longest, 10_000)
    assert len(found) == len(dict(found))
    assert dict(found) == _brute(items, least, longest)
    shown = np.zeros((60, 9), dtype=bool)
    np.put_along_axis(shown, items, True, axis=1)
    theirs = fpgrowth(pd.DataFrame(shown), min_support=(least - 0.5) / 60, max_len=longest)
    assert {tuple(sorted(map(int, entry))) for entry in theirs.itemsets} == set(dict(found))
    assert frequent(Transactions(items, 9), least, longest, len(found) - 1) is None


def test_rules_are_those_of_brute_force():
    items = _table()
    images = np.repeat(np.arange(20), 3)
    group = np.arange(60) % 2 == 0
    limits = Limits(0.05, 0.6, 2, 3, wanted=1000, overlap=1, searched=10_000)
    found, n_rules = mine(Transactions(items[group], 9), Transactions(items, 9), images[group], limits)
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
    few, _ = mine(
        Transactions(items[group], 9),
        Transactions(items, 9),
        images[group],
        Limits(0.05, 0.6, 2, 3, 4, 1, 10_000),
    )
    assert [pattern.items for pattern in few] == [pattern.items for pattern in found[:4]]


def test_patterns_of_too_many_shared_patches_count_as_one():
    items = _table(n=200)
    everything, images = Transactions(items, 9), np.arange(200)
    found, _ = mine(everything, everything, images, Limits(0.01, 0.5, 1, 3, 50, 0.5, 10_000))
    sets = [set(pattern.patches) for pattern in found]
    assert len(sets) > 3
    assert max(len(a & b) / len(a | b) for a, b in itertools.combinations(sets, 2)) <= 0.5


def test_the_search_ends_where_everything_fires_together():
    items = np.tile(np.arange(12), (50, 1))
    found, _ = mine(
        Transactions(items, 30), Transactions(items, 30), np.arange(50), Limits(1e-4, 0.3, 3, 6, 5, 1, 1000)
    )
    assert [len(pattern.patches) for pattern in found] == [50]


def test_detectors_solve_the_shrunken_covariance():
    torch.manual_seed(0)
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


def test_levelled_detectors_score_all_patches_with_deviation_1_and_keep_their_direction():
    torch.manual_seed(0)
    features = torch.randn(400, 6) @ torch.randn(6, 6)
    background = Background.of(features, 1e-9)
    detectors = background.detectors(features[:40].view(4, 10, 6).mean(dim=1))
    found = background.levelled(detectors)
    torch.testing.assert_close(
        (features @ found.T).std(dim=0, correction=0), torch.ones(4), atol=1e-3, rtol=0
    )
    torch.testing.assert_close(
        torch.nn.functional.normalize(found), torch.nn.functional.normalize(detectors), atol=1e-5, rtol=1e-4
    )
    assert torch.isfinite(background.levelled(torch.zeros(2, 6))).all()


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


@pytest.mark.parametrize("limit", [0.5, 2.0, 6.0])
def test_merging_is_the_slow_loop_of_algorithm_1(limit):
    rng = np.random.default_rng(3)
    features = torch.from_numpy(
        rng.normal(size=(120, 5)) + 3 * rng.normal(size=(4, 5))[np.arange(120) % 4]
    ).float()
    patches = [np.flatnonzero(np.arange(120) % 4 == i % 4)[i : i + 12] for i in range(8)]
    background = Background.of(features, 0.01)
    found, detectors = merge(features, patches, background, Limit(limit, 0.5))
    expected = _merged_slowly(features, patches, background, limit)
    assert [rows.tolist() for rows in found] == [rows.tolist() for rows in expected]
    means = torch.stack([features[torch.from_numpy(rows)].mean(dim=0) for rows in found])
    torch.testing.assert_close(detectors, background.detectors(means))
    assert len(found) < 8 or limit > 2


def test_like_elements_merge_by_share_whatever_the_scale_and_unlike_ones_stay():
    rng = np.random.default_rng(4)
    middles = 6 * np.eye(4)
    features = torch.from_numpy(rng.normal(size=(200, 4)) + middles[np.arange(200) % 4]).float()
    patches = [np.flatnonzero(np.arange(200) % 4 == i % 4)[i // 4 :: 2] for i in range(8)]
    for scale in (1.0, 30.0):
        background = Background.of(scale * features, 1e-6)
        found, _ = merge(scale * features, patches, background, Limit(None, 0.5))
        assert [rows.tolist() for rows in found] == [
            np.flatnonzero(np.arange(200) % 4 == i).tolist() for i in range(4)
        ]


def test_an_image_is_five_numbers_a_detector_and_patches_of_a_cell_may_change_places():
    torch.manual_seed(0)
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


def test_a_quarter_without_patches_is_the_whole():
    inside = cells(torch.tensor([[0.1, 0.1], [0.2, 0.3]]))
    assert inside.all(dim=0).tolist() == [True, True, True, True, True]


def test_crops_are_the_images_parts_through_the_network(corpus):
    rows = np.array([3, 9])
    ((taken, (scale,)),) = Patches("crops", (0.5,), 0.25, None).of(corpus, rows)
    said, middles = scale
    assert taken.tolist() == [3, 9]
    assert said.shape == (2, patches_an_image(0.5, 0.25), corpus.network.dim)
    pixels = torch.from_numpy(corpus.store.read(rows)).permute(0, 3, 1, 2).float() / 255
    cut = torch.nn.functional.interpolate(pixels[:, :, 6:18, 12:24], (24, 24), mode="bilinear")
    with torch.no_grad():
        torch.testing.assert_close(said[:, 5], corpus.network.features(cut), atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(middles[5], torch.tensor([0.5, 0.75]))


def test_windows_are_means_of_the_maps(corpus):
    rows = np.arange(4)
    ((_, (scale,)),) = Patches("maps", (0.5,), 0.3, "conv5").of(corpus, rows)
    ((_, maps),) = corpus.maps(rows, "conv5")
    said, middles = scale
    assert said.shape == (4, 4, 32)  # 6 x 6 maps, windows of 3, steps of 2
    torch.testing.assert_close(said[:, 1], maps[:, :, 0:3, 2:5].mean(dim=(2, 3)))
    torch.testing.assert_close(middles[1], torch.tensor([1.5 / 6, 3.5 / 6]))


def test_patch_mining_follows_the_groups_it_is_told(corpus):
    encoder = PatchMining(**SMALL["patch-mining"])
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


def test_no_pattern_at_all_is_said(corpus):
    encoder = PatchMining(patches="maps", mined_patches=600, activations=2, shortest=3, longest=3)
    with pytest.raises(InputError, match=r"found no pattern in 384 patches of 24 images; lower"):
        encoder.encode(corpus, EncodeRequest(1, n_groups=3))


@pytest.mark.parametrize("name", ["vlad", "patch-mining"])
def test_a_finished_run_encodes_new_images_as_its_own(name, digits, tmp_path):
    encoder = {"name": name, **SMALL[name]}
    options = fdc.DeepCluster(
        n_clusters=4, rounds=1, encoder=encoder, baselines=False, image_size=16, trunk={"name": "small", "width": 8},
        min_steps=0, pseudo_clusters=4, precision="float32",
    )  # fmt: skip
    result = fdc.fit(digits, options, run_dir=tmp_path)
    assert result.record.rounds[0].scores["dimensions"] == 12
    from fiftyone_deepcluster.prediction import predict

    found = predict(tmp_path, digits[:7])
    np.testing.assert_allclose(found.embeddings, result.embeddings[:7], atol=1e-4)
