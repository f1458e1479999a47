"""Encodings of maps and patches: each formula against a slow loop or another library, and the papers' sizes."""

import itertools

import numpy as np
import pytest
import torch
from skimage.feature import fisher_vector
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.mixture import GaussianMixture

import fiftyone_deepcluster as fdc
from fiftyone_deepcluster.backbones.base import BACKBONES
from fiftyone_deepcluster.backbones.input_norms import make_input_norm
from fiftyone_deepcluster.backbones.layers import layers_of
from fiftyone_deepcluster.backbones.network import Network
from fiftyone_deepcluster.core.seeds import rng
from fiftyone_deepcluster.errors import ImagesError, InputError, OptionsError
from fiftyone_deepcluster.features.base import ENCODERS, EncodeRequest
from fiftyone_deepcluster.features.codebook import cells_of
from fiftyone_deepcluster.features.ensemble_projection import EnsembleProjection, prototypes
from fiftyone_deepcluster.features.fisher import Fisher, Mixture, fisher_vectors, fit_mixture
from fiftyone_deepcluster.features.pooled import Pooled
from fiftyone_deepcluster.features.reduce import fit_pca
from fiftyone_deepcluster.features.streaming import (
    LDPO_COMPONENTS,
    Shrink,
    apply_streamed,
    averaged,
    reduce_streamed,
)
from fiftyone_deepcluster.features.vlad import Vlad
from fiftyone_deepcluster.testing import ENCODER_CHECKS

SMALL = {
    "pooled": {},
    "vlad": {"words": 8, "descriptors": 2000, "sample": 40, "pca": 12},
    "fisher": {"words": 4, "descriptors": 2000, "sample": 40, "pca": 12, "max_iter": 5},
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


@pytest.fixture(params=ENCODERS.names())
def encoder(request):
    return ENCODERS.parse({"name": request.param, **SMALL.get(request.param, {})})


def test_augmented_excludes_layer_cells_and_mirror():
    for other in ({"layer": "features.3"}, {"bands": 2}, {"columns": 2}, {"mirror": True}):
        with pytest.raises(OptionsError, match="leave layer, bands, columns and mirror out"):
            Pooled(augmented=True, **other)


@pytest.mark.parametrize("check", ENCODER_CHECKS, ids=lambda check: check.__name__)
def test_encoder_keeps_its_contract(encoder, check):
    check(encoder)


def test_l2_normalize_scales_vectors_of_every_encoder_to_length_1(encoder, corpus):
    unit, plain = (
        encoder.model_copy(update={"l2_normalize": unit}).encode(corpus, EncodeRequest(3, n_groups=4)).vectors
        for unit in (True, False)
    )
    torch.testing.assert_close(unit.norm(dim=1), torch.ones(60), atol=1e-5, rtol=0)
    assert plain.norm(dim=1).std() > 1e-3
    torch.testing.assert_close(torch.nn.functional.normalize(plain), unit, atol=1e-4, rtol=1e-4)


@pytest.mark.usefixtures("seeded")
@pytest.mark.parametrize("name", ["vlad", "fisher", "patch-mining"])
def test_encoders_of_layers_refuse_given_features(name, make_corpus):
    given = make_corpus(given=torch.rand(60, 4))
    with pytest.raises(OptionsError, match="features were given instead of images"):
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
    found = Pooled(layer="conv3", pca=0, l2_normalize=False).encode(corpus, EncodeRequest(0)).vectors
    maps = torch.cat([maps for _, maps in corpus.maps(np.arange(60), "conv3")])
    torch.testing.assert_close(found, maps.mean(dim=(2, 3)))


def test_bands_are_means_of_rows_from_top_to_bottom(corpus):
    maps = torch.cat([maps for _, maps in corpus.maps(np.arange(60), "conv3")])
    rows = maps.shape[2]
    expected = torch.stack([maps[:, :, : rows // 2], maps[:, :, rows // 2 :]], dim=2).mean(dim=(3, 4))
    found = Pooled(layer="conv3", bands=2, pca=0, l2_normalize=False).encode(corpus, EncodeRequest(0)).vectors
    torch.testing.assert_close(found, expected.flatten(1))
    last = Pooled(bands=2, pca=0).encode(corpus, EncodeRequest(0))
    assert last.vectors.shape == (60, 64), "of the last maps, where no layer is named"
    torch.testing.assert_close(Pooled(bands=2, pca=0).apply(corpus, last.fitted), last.vectors)


def test_several_layers_have_equal_weight(corpus):
    encoder = Pooled(layer="conv5, conv3", pca=0, l2_normalize=False)
    found = encoder.encode(corpus, EncodeRequest(0)).vectors
    parts = [
        Pooled(layer=name, pca=0).encode(corpus, EncodeRequest(0)).vectors for name in ("conv3", "conv5")
    ]
    torch.testing.assert_close(found, torch.cat(parts, dim=1))


def test_columns_and_mirror_give_means_of_cells_of_the_image_and_its_mirror_image(corpus):
    rows = np.arange(len(corpus))
    maps = torch.cat([maps for _, maps in corpus.maps(rows, "conv3")])  # (60, C, 12, 12)
    flipped = torch.cat([maps for _, (maps,) in corpus.maps_of(rows, ["conv3"], mirror=True)])
    assert maps.shape[2:] == (12, 12)
    cells = [
        (maps[:, :, y : y + 6, x : x + 6] + flipped[:, :, y : y + 6, x : x + 6]).mean((2, 3)) / 2
        for y in (0, 6)
        for x in (0, 6)
    ]
    encoder = Pooled(layer="conv3", bands=2, columns=2, mirror=True, pca=0, l2_normalize=False)
    found = encoder.encode(corpus, EncodeRequest(0)).vectors
    torch.testing.assert_close(found, torch.stack(cells, dim=2).flatten(1))
    both = Pooled(mirror=True, pca=0, l2_normalize=False).encode(corpus, EncodeRequest(0)).vectors
    torch.testing.assert_close(both, (corpus.features() + corpus.features(mirror=True)) / 2)
    assert not torch.allclose(both, corpus.features())


def test_unknown_layers_and_too_many_bands_are_refused(corpus):
    with pytest.raises(InputError, match="layer='conv9' is not a layer of this network"):
        Pooled(layer="conv3,conv9").encode(corpus, EncodeRequest(0))
    with pytest.raises(
        OptionsError, match=r"bands=9 needs a layer whose maps have at least 9 rows, but .* has 6"
    ):
        Pooled(bands=9).encode(corpus, EncodeRequest(0))
    with pytest.raises(
        OptionsError, match=r"bands=2 needs a layer whose maps have at least 2 rows, but .* has 0"
    ):
        averaged(torch.zeros(2, 5, 7), bands=2)


@pytest.mark.parametrize("layer", ["", " , ", None])
def test_empty_layer_names_are_ignored(layer):
    assert Pooled(layer=layer).layer is None
    assert Pooled(layer="conv3,, conv5 ,conv3").layer == "conv3,conv5"


def test_features_with_nan_are_refused(make_corpus):
    corpus = make_corpus()
    for weights in corpus.network.backbone.parameters():
        torch.nn.init.constant_(weights, torch.nan)
    for encoder in (Pooled(), Pooled(bands=2), Pooled(layer="conv3")):
        with pytest.raises(ImagesError, match="NaN or infinite values, so its weights are invalid"):
            encoder.encode(corpus, EncodeRequest(0))


@pytest.mark.usefixtures("seeded")
def test_maps_with_channels_last_are_transposed():
    backbone = BACKBONES.parse({"name": "torchvision", "model": "swin_t"}).build(3, 64, None)
    network = Network(make_input_norm("imagenet", 3), backbone)
    layers = {layer.name: layer for layer in layers_of(network, torch.zeros(1, 3, 64, 64))}
    assert layers["features.7.0"].units == 768
    assert layers["features.3.0"].shape == (192, 8, 8)


@pytest.mark.usefixtures("seeded")
def test_tokens_are_averaged_over_positions():
    tokens = torch.rand(2, 5, 7)
    torch.testing.assert_close(averaged(tokens), tokens.mean(dim=1))


@pytest.mark.usefixtures("seeded")
@pytest.mark.parametrize(
    ("model", "layer", "shape", "dim"),
    [
        ("alexnet", "conv5", (256, 13, 13), 4096),
        ("googlenet", "inception5b", (1024, 7, 7), 1024),
        ("vgg16", "conv13", (512, 14, 14), 4096),
        ("vgg19", "conv16", (512, 14, 14), 4096),
    ],
)
def test_layers_of_the_paper_exist_with_their_shapes(model, layer, shape, dim):
    with torch.device("meta"):  # shapes only: no weights are drawn
        input_norm = make_input_norm("imagenet", 3)
        network = Network(
            input_norm, BACKBONES.parse({"name": "torchvision", "model": model}).build(3, 224, None)
        )
        layers = {entry.name: entry.shape for entry in layers_of(network, torch.zeros(1, 3, 224, 224))}
    assert layers[layer] == shape
    assert network.dim == dim


@pytest.mark.usefixtures("seeded")
@pytest.mark.parametrize(("encoder", "channels", "expected"), [
    (Vlad(), 256, 16_384), (Vlad(), 1024, 65_536), (Fisher(max_iter=1), 256, 32_768),
])  # fmt: skip
def test_encodings_have_the_papers_dimensions(encoder, channels, expected):
    cells = torch.rand(2, 40, channels)
    codebook = encoder.learn(cells.flatten(0, 1), seed=0)
    assert encoder.describe(cells, codebook).shape == (2, expected)
    assert LDPO_COMPONENTS == 4096


def test_pca_dimensions_are_limited_by_the_images_and_logged(corpus, caplog):
    with caplog.at_level("INFO"):
        vectors = Vlad(words=8, sample=30).encode(corpus, EncodeRequest(0)).vectors
    assert vectors.shape == (60, 29)
    assert (
        "256 dimensions, reduced by PCA to 29 instead of 4096, the most that 30 images allow" in caplog.text
    )


@pytest.mark.usefixtures("seeded")
def test_vlad_equals_the_sum_of_residuals_to_the_nearest_word():
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


def test_fisher_vector_equals_scikit_images():
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


def test_mixture_has_the_likelihood_of_scikit_learns():
    rng = np.random.default_rng(1)
    points = np.concatenate([rng.normal(m, s, (300, 4)) for m, s in ((0, 1), (6, 0.5), (-5, 2))])
    ours = fit_mixture(torch.from_numpy(points).float(), 3, 100, seed=0)
    joint = ours.log_joint(torch.from_numpy(points).float()).logsumexp(dim=1).mean() - 2 * np.log(2 * np.pi)
    theirs = GaussianMixture(3, covariance_type="diag", n_init=3, random_state=0).fit(points)
    assert float(joint) > theirs.score(points) - 0.01
    np.testing.assert_allclose(sorted(ours.weights.numpy()), sorted(theirs.weights_), atol=0.01)


@pytest.mark.usefixtures("seeded")
def test_constant_channels_give_finite_fisher_vectors():
    cells = torch.rand(4, 30, 5)
    cells[:, :, 2] = 0
    encoder = Fisher(words=3)
    assert torch.isfinite(encoder.describe(cells, encoder.learn(cells.flatten(0, 1), seed=0))).all()


def test_pca_of_more_dimensions_than_rows_is_scikit_learns():
    rng = np.random.default_rng(2)
    features = (rng.normal(size=(30, 200)) + 5).astype(np.float32)
    ours = fit_pca(torch.from_numpy(features), 100, whiten=False, l2_normalize=False)
    found = ours.apply(torch.from_numpy(features)).numpy()
    theirs = PCA(29, svd_solver="full").fit_transform(features)
    assert found.shape == (30, 29)
    np.testing.assert_allclose(np.abs(found), np.abs(theirs), atol=1e-3)
    flat = torch.from_numpy(np.repeat(features[:2], 5, axis=0))  # ten rows on one line
    line = fit_pca(flat, 9, whiten=False, l2_normalize=False).apply(flat)
    torch.testing.assert_close(line[:, 0].abs(), torch.full((10,), float((flat[0] - flat[5]).norm() / 2)))
    assert line[:, 1:].abs().max() < 1e-2


@pytest.mark.parametrize("sample", [60, 25])
def test_streamed_encoding_equals_the_encoding_at_once(make_corpus, sample):
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
def test_prototypes_are_the_seeds_with_the_largest_minimum_distance_and_their_neighbors(seed):
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
def test_encoding_holds_the_class_probabilities_of_all_sets(corpus, classes):
    encoder = EnsembleProjection(
        sets=3, classes=classes, images=4, hypotheses=4, pca=0, l2_normalize=False, strictness=2
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


@pytest.mark.parametrize("name", ["vlad", "patch-mining"])
def test_predict_encodes_images_as_the_run_did(name, few_digits, tmp_path):
    encoder = {"name": name, **SMALL[name]}
    options = fdc.DeepCluster(
        n_clusters=4, rounds=1, encoder=encoder, baselines=False, image_size=16, backbone={"name": "small", "width": 8},
        min_steps=0, pseudo_clusters=4, precision="float32",
    )  # fmt: skip
    result = fdc.fit(few_digits, options, run_dir=tmp_path)
    assert result.record.rounds[0].scores["dimensions"] == 12
    from fiftyone_deepcluster.api.predict import predict

    found = predict(tmp_path, few_digits[:7])
    np.testing.assert_allclose(found.embeddings, result.embeddings[:7], atol=1e-4)
