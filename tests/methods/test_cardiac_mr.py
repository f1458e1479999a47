"""The cardiac-MR method: the paper's settings, our settings, and a run on digits."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

import fiftyone_deepcluster as fdc
from fiftyone_deepcluster.api.assembly import assemble
from fiftyone_deepcluster.backbones.base import BACKBONES
from fiftyone_deepcluster.core.progress import Silent
from fiftyone_deepcluster.core.record import StopReason
from fiftyone_deepcluster.errors import OptionsError
from fiftyone_deepcluster.features.base import EncodeRequest
from fiftyone_deepcluster.images.inspect import ImageFacts
from fiftyone_deepcluster.images.store import ArrayStore
from fiftyone_deepcluster.methods.base import parse_options
from fiftyone_deepcluster.methods.cardiac_mr import PAPER_SETTINGS, CardiacMR

LARGE = ImageFacts(n=47_637, side=200, gray=True, height=200, width=200)
SMALL = ImageFacts(n=9_000, side=64, gray=True, height=64, width=64)


def resolved(facts, **values):
    return parse_options("cardiac-mr", values).resolve(facts)


class TestThePaper:
    def test_large_images_get_the_papers_network_and_clustering(self):
        options = resolved(LARGE, classes=3)
        assert (options.backbone.name, options.input_norm, options.weights) == ("vgg16", "zscore", None)
        assert (options.image_size, options.color) == (224, "gray")
        assert (options.encoder.pca, options.encoder.l2_normalize, options.encoder.augmented) == (
            0,
            True,
            True,
        )
        assert (options.clusterer.name, options.reducer.name, options.sampling) == (
            "kmeans",
            "identity",
            "uniform",
        )

    def test_large_images_get_the_papers_training(self):
        options = resolved(LARGE, classes=3)
        training = options.optimizer_spec()
        assert (training.optimizer, training.learning_rate, training.weight_decay) == ("sgd", 0.05, 1e-5)
        assert training.momentum == 0.9
        assert (options.batch_size, options.epochs, options.rounds) == (256, 1, 200)
        assert options.stop_nmi is None

    @pytest.mark.usefixtures("seeded")
    def test_paper_settings_augment_in_training_and_in_clustering(self):
        options = resolved(SMALL, setting="balanced")
        assert options.encoder.augmented
        parts = options.build()
        assert parts.training_spec.augment.rotate > 0
        assert parts.training_spec.augment.crop[0] < 1
        assert parts.training_spec.stopping == ()

    @pytest.mark.usefixtures("seeded")
    def test_vgg_pools_adaptively_before_its_classifier(self):
        with torch.device("meta"):  # its layers without their 130 million weights
            backbone = BACKBONES.parse("vgg16").build(1, 224, None)
        kinds = [type(part) for part in backbone.modules()]
        assert kinds.count(torch.nn.AdaptiveAvgPool2d) == 1
        assert kinds.index(torch.nn.AdaptiveAvgPool2d) < kinds.index(torch.nn.Linear)
        assert kinds.count(torch.nn.BatchNorm2d) == kinds.count(torch.nn.Conv2d) == 13

    @pytest.mark.parametrize(
        ("setting", "classes", "clusters"),
        [("balanced", 3, 24), ("imbalanced-large", 13, 104), ("imbalanced-small", 13, 104)],
    )
    def test_settings_match_the_papers_three_experiments(self, setting, classes, clusters):
        options = resolved(LARGE, setting=setting)
        assert (options.classes, options.n_clusters, options.pseudo_clusters) == (classes, clusters, clusters)
        known = PAPER_SETTINGS[setting]
        assert (known.classes, known.clusters) == (classes, clusters)
        assert setting in CardiacMR.model_fields["setting"].description
        assert classes * known.smallest <= known.images <= classes * known.largest


class TestHowManyClusters:
    def test_eight_clusters_per_class_are_trained_on_and_written(self):
        options = resolved(SMALL, classes=6)
        assert (options.pseudo_clusters, options.n_clusters) == (48, 48)

    def test_fewer_clusters_may_be_written_than_trained_on(self):
        options = resolved(SMALL, classes=6, n_clusters=6)
        assert (options.pseudo_clusters, options.n_clusters, options.pseudo_class_rounds) == (48, 6, 200)

    def test_n_clusters_without_classes_sets_both_numbers(self):
        options = resolved(SMALL, n_clusters=20)
        assert (options.pseudo_clusters, options.n_clusters) == (20, 20)

    def test_classes_override_the_setting(self):
        assert resolved(SMALL, setting="balanced", classes=5).n_clusters == 40

    def test_few_images_get_fewer_clusters_but_at_least_one_per_class(self):
        few = ImageFacts(n=100, side=64, gray=True, height=64, width=64)
        assert resolved(few, classes=6).n_clusters == 10
        assert resolved(few, classes=13).n_clusters == 13

    def test_the_default_is_ten_classes(self):
        assert resolved(SMALL).n_clusters == 80

    def test_changing_classes_changes_clusters(self):
        assert parse_options(CardiacMR(classes=6), {"classes": 3}).resolve(SMALL).n_clusters == 24

    def test_one_class_is_refused(self):
        with pytest.raises(OptionsError, match="classes=1"):
            parse_options("cardiac-mr", {"classes": 1})


@pytest.mark.parametrize(
    ("n", "batch"), [(47_637, 256), (23_943, 256), (23_000, 128), (9_000, 64), (3_000, 64), (100, 64)]
)
def test_few_images_get_smaller_batches(n, batch):
    facts = ImageFacts(n=n, side=64, gray=True, height=64, width=64)
    assert resolved(facts, classes=3).batch_size == batch
    assert resolved(facts, classes=3, batch_size=17).batch_size == 17


class TestSmallImages:
    def test_small_images_are_clustered_unchanged_by_a_small_network(self):
        options = resolved(SMALL, classes=6)
        assert (options.backbone.name, options.image_size, options.augmentation) == ("small", 64, "affine")
        assert (options.encoder.augmented, options.encoder.pca, options.encoder.l2_normalize) == (
            False,
            0,
            True,
        )

    def test_given_options_override_the_defaults(self):
        options = resolved(
            SMALL,
            classes=6,
            backbone="slim-vgg",
            augmentation="rotate-crop",
            encoder={"name": "pooled", "augmented": True},
        )
        assert (options.backbone.name, options.augmentation) == ("slim-vgg", "rotate-crop")
        assert options.encoder.augmented

    @pytest.mark.usefixtures("seeded")
    def test_small_images_with_a_paper_setting_get_vgg_with_an_eighth_of_the_filters(self):
        options = resolved(SMALL, setting="balanced")
        assert (options.backbone.name, options.image_size) == ("slim-vgg", 64)
        with torch.device("meta"):
            backbone = options.backbone.build(1, 64, None)
            vgg = BACKBONES.parse("vgg16").build(1, 64, None)
        ours, theirs = (
            [layer.out_channels for layer in net.modules() if isinstance(layer, torch.nn.Conv2d)]
            for net in (backbone, vgg)
        )
        assert [8 * width for width in ours] == theirs

    @pytest.mark.usefixtures("seeded")
    @pytest.mark.parametrize(("size", "maps"), [(16, 4), (28, 7), (32, 4), (48, 6), (64, 4)])
    def test_maps_are_averaged_from_four_cells_or_more(self, size, maps):
        backbone = BACKBONES.parse("slim-vgg").build(1, size, None)
        pooled = next(layer for layer in backbone.modules() if isinstance(layer, torch.nn.AdaptiveAvgPool2d))
        seen = []
        pooled.register_forward_hook(lambda _m, inputs, _o: seen.append(inputs[0].shape[-1]))
        features = backbone(torch.randn(4, 1, size, size))
        assert seen == [maps]
        assert features.shape == (4, 256)
        assert (features < 0).any(), "features come before the ReLU"


@pytest.fixture(scope="module")
def digits():
    data = load_digits()
    return np.kron(data.images * 15.9375, np.ones((2, 2))).astype(np.uint8)[:600], data.target[:600]


OPTIONS = CardiacMR(
    setting="balanced", classes=10, rounds=3, baselines=False, min_steps=12, seed=3, batch_size=64
)


class TestChangedImagesAreClustered:
    @pytest.fixture(scope="class")
    @staticmethod
    def corpus(digits):
        store = ArrayStore(digits[0][..., None], "gray")
        options = OPTIONS.resolve(ImageFacts(n=600, side=16, gray=True, height=16, width=16))
        corpus, _ = assemble(options, store, Silent(), None)
        return corpus, options.encoder

    def test_augmented_features_repeat_with_the_seed(self, corpus):
        network, _ = corpus
        changed = network.features(augmented=True, seed=4)
        assert torch.equal(changed, network.features(augmented=True, seed=4))
        assert not torch.equal(changed, network.features(augmented=True, seed=5))
        assert not torch.equal(changed, network.features())

    def test_encoder_augments_the_runs_images_and_not_new_ones(self, corpus):
        network, encoder = corpus
        encoding = encoder.encode(network, EncodeRequest(seed=4))
        expected = torch.nn.functional.normalize(network.features(augmented=True, seed=4))
        torch.testing.assert_close(encoding.vectors, expected)
        plain = torch.nn.functional.normalize(network.features())
        torch.testing.assert_close(encoder.apply(network, encoding.fitted), plain)


def test_a_run_writes_all_clusters_and_nothing_stops_it(digits):
    result = fdc.fit(digits[0], OPTIONS, truth=digits[1])
    record = result.record
    assert record.stop_reason is StopReason.ROUNDS_DONE
    assert record.resolved["n_clusters"] == record.resolved["pseudo_clusters"] == 60
    assert result.labels.max() < 60 + 60  # names are kept, so that empty ones may leave gaps
    assert [entry.scores["pseudo_clusters"] for entry in record.rounds] == [60, 60, 60]
    assert all(entry.change is not None and 0 < entry.change.nmi < 1 for entry in record.rounds)
    # chance is .3 with 60 clusters of 10 images
    assert record.rounds[-1].truth.purity > 0.45
    assert np.isfinite(result.embeddings).all()
    np.testing.assert_allclose(np.linalg.norm(result.embeddings, axis=1), 1, atol=1e-4)
