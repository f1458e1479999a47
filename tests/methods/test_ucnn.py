"""UCNN: drift compensation against saved weights, whole runs."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

import fiftyone_deepcluster as fdc
from fiftyone_deepcluster.backbones.base import BACKBONES
from fiftyone_deepcluster.backbones.input_norms import make_input_norm
from fiftyone_deepcluster.backbones.network import Network
from fiftyone_deepcluster.clusterers.base import CLUSTERERS, ClusterRequest
from fiftyone_deepcluster.core.devices import choose_compute
from fiftyone_deepcluster.core.process_state import seeded_torch
from fiftyone_deepcluster.core.progress import Silent
from fiftyone_deepcluster.core.types import Batch
from fiftyone_deepcluster.errors import ImagesError
from fiftyone_deepcluster.features.corpus import Corpus
from fiftyone_deepcluster.images.cache.open_images import Decode, open_images
from fiftyone_deepcluster.images.thumbnails import thumbnail_vectors
from fiftyone_deepcluster.pseudo_labels.first_centers import different_rows, first_features
from fiftyone_deepcluster.pseudo_labels.pixel_warmup import PixelClusters, PixelWarmup
from fiftyone_deepcluster.pseudo_labels.streaming import StreamingCentroids, StreamingParts
from fiftyone_deepcluster.training.losses import CrossEntropy
from fiftyone_deepcluster.training.optimizers import Optimizer, OptimizerSpec
from tests.fits import same
from tests.observers import Watcher
from tests.pseudo_labels.test_streaming import slow_update

TINY = {"name": "ucnn", "maps": 16, "dim": 12, "width": 0.125, "adapted": 1 / 128}
FAST = {
    "n_clusters": 10,
    "rounds": 3,
    "baselines": False,
    "image_size": 16,
    "backbone": TINY,
    "pixel_epochs": 2,
}


@pytest.fixture(scope="module")
def digits():
    data = load_digits()
    return (data.images[:400] * 15.9375).astype(np.uint8), data.target[:400]


@pytest.fixture(scope="module")
def unbroken(digits, tmp_path_factory):
    return fdc.fit(digits[0], fdc.UCNN(**FAST), truth=digits[1], run_dir=tmp_path_factory.mktemp("unbroken"))


OPENED = []


@pytest.fixture(autouse=True)
def closed():
    """Close the image stores of ``corpus_of`` after each test."""
    yield
    while OPENED:
        OPENED.pop().close()


def corpus_of(images, norm="batch", observer=None):
    """A corpus in float32 with a tiny UCNN."""
    store = open_images(images, Decode(size=16, color="gray"), observer=Silent())
    OPENED.append(store)
    with seeded_torch(0):
        backbone = BACKBONES.parse({**TINY, "norm": norm}).build(1, 16, None)
    network = Network(make_input_norm("zscore", 1), backbone, relu_before_head=True)
    compute = choose_compute("cpu", "float32")
    return Corpus(store, network, compute, size=16, batch_size=50, observer=observer or Silent())


def test_first_centers_are_features_of_different_images(digits):
    images = np.concatenate([np.repeat(digits[0][:1], 380, axis=0), digits[0][:20]])
    corpus = corpus_of(images)
    rows = different_rows(corpus, 20, seed=3)
    assert len(np.unique(corpus.store.read(rows), axis=0)) == 20
    assert not np.array_equal(rows, different_rows(corpus, 20, seed=4))
    with pytest.raises(ImagesError, match=r"21 clusters need .* only 20 different ones; lower n_clusters"):
        different_rows(corpus, 21, seed=3)
    corpus.network.eval()
    images = torch.from_numpy(corpus.store.read(rows)).permute(0, 3, 1, 2).float() / 255
    with torch.no_grad():
        expected = corpus.network.features(images)
    torch.testing.assert_close(first_features(corpus, 20, "sample", seed=3), expected, rtol=1e-4, atol=1e-4)
    found = first_features(corpus, 20, "kmeans", seed=3)
    assert len(found.unique(dim=0)) == 20


class Steps:
    """Three plain steps of UCNN by hand, with the weights before each of them kept."""

    rate = 0.2

    def __init__(self, images, drift, norm="none"):
        self.corpus = corpus_of(images, norm)
        network = self.corpus.network
        self.task = StreamingCentroids(StreamingParts(10, seed=1, drift=drift))
        self.task.assign(self.corpus)
        plan = self.task.begin_round(0, self.corpus)
        network.replace_head(plan.n_outputs, seed=1)
        network.train()
        training = OptimizerSpec("sgd", self.rate, momentum=0.0, weight_decay=0.0)
        optimizer = Optimizer(network, training, self.corpus.compute)
        optimizer.begin_round(2)
        self.backbones, self.batches, self.before, self.centers, self.labels = [], [], [], [], []
        for at in (0, 50, 100):
            rows = torch.arange(at, at + 50)
            pixels = torch.from_numpy(self.corpus.store.read(rows.numpy())).permute(0, 3, 1, 2)
            batch = Batch(pixels.float() / 255, rows)
            self.backbones.append({k: v.detach().clone() for k, v in network.backbone.state_dict().items()})
            outputs = network(batch.images)
            targets = self.task.targets(batch, outputs)
            self.centers.append(self.task.state_dict()["centroids"]["centers"].clone())
            optimizer.step(CrossEntropy().losses(outputs, targets).mean())
            self.task.after_step(batch, outputs, network)
            self.batches.append(batch)
            self.before.append(outputs.features.detach())
            self.labels.append(targets.labels)

    def features(self, backbone, batch):
        """By the weights given, in training, without a trace."""
        with seeded_torch(0):
            other = BACKBONES.parse({**TINY, "norm": self.norm()}).build(1, 16, None)
        other.load_state_dict(backbone)
        with torch.no_grad():
            return other(self.corpus.network.input_norm(batch.images))

    def norm(self):
        return "batch" if any("running" in name for name in self.backbones[0]) else "none"

    def now(self):
        return {k: v.detach().clone() for k, v in self.corpus.network.backbone.state_dict().items()}

    def after(self):
        return self.task.state_dict()["centroids"]["centers"]


def expected_centers(steps, features):
    """The third step's centers by equations 2 and 3; the counts before are those of the first labels."""
    counts = torch.bincount(torch.cat(steps.labels[:2]), minlength=10).tolist()
    centers = steps.centers[2].double().clone()
    slow_update(centers, counts, features, steps.labels[2])
    return centers.float()


@pytest.mark.parametrize("norm", ["none", "batch"])
def test_compensated_features_are_a_forward_pass_with_the_weights_before_the_step(digits, norm):
    steps = Steps(digits[0], "compensated", norm)
    known = steps.features(steps.backbones[2], steps.batches[2])
    # A few dozen additions a layer, over six layers, each rounded by half an ulp of the largest feature.
    rounding = 100 * torch.finfo(torch.float32).eps * float(steps.before[2].abs().max())
    assert float((known - steps.before[2]).abs().max()) < rounding
    # Equation 4: the weights after the step plus rate x gradient.
    grads = {name: p.grad for name, p in steps.corpus.network.backbone.named_parameters()}
    tracked = {
        k: v + steps.rate * grads[k] if k in grads else steps.backbones[2][k] for k, v in steps.now().items()
    }
    assert float((steps.features(tracked, steps.batches[2]) - steps.before[2]).abs().max()) < rounding
    assert (
        float((steps.features(steps.now(), steps.batches[2]) - steps.before[2]).abs().max()) > 10 * rounding
    )
    torch.testing.assert_close(steps.after(), expected_centers(steps, known), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("norm", ["none", "batch"])
def test_baseline_1_moves_centers_by_the_features_after_the_step(digits, norm):
    steps = Steps(digits[0], "ignored", norm)
    features = steps.features(steps.now(), steps.batches[2])
    torch.testing.assert_close(steps.after(), expected_centers(steps, features), rtol=1e-4, atol=1e-5)
    compensated = expected_centers(steps, steps.before[2])
    assert float((steps.after() - compensated).abs().max()) > 1e-3
    other = Steps(digits[0], "compensated", norm)
    for name, value in steps.now().items():
        if "running" in name:
            torch.testing.assert_close(value, other.now()[name], msg="running statistics are unchanged")


def test_compensation_older_uses_weights_one_step_older(digits):
    steps = Steps(digits[0], "older")
    older = steps.features(steps.backbones[1], steps.batches[2])
    assert float((older - steps.before[2]).abs().max()) > 1e-3
    torch.testing.assert_close(steps.after(), expected_centers(steps, older), rtol=1e-4, atol=1e-5)


def test_the_pixel_round_has_its_own_learning_rate_and_augmentation(digits):
    corpus = corpus_of(digits[0])
    task = PixelWarmup(
        PixelClusters(30, 1, 1, rate_factor=5.0), lambda: StreamingCentroids(StreamingParts(10, 1))
    )
    task.assign(corpus)
    plans = [task.begin_round(0, corpus)]
    task.assign(corpus)
    plans += [task.begin_round(1, corpus), task.begin_round(2, corpus)]
    assert [(plan.augmented, plan.rate_factor, plan.n_outputs) for plan in plans] == [
        (True, 5.0, 30), (False, 1.0, 10), (False, 1.0, None),
    ]  # fmt: skip
    network = corpus.network
    network.replace_head(30, 1)
    optimizer = Optimizer(network, OptimizerSpec("sgd", 0.02, 0.04, momentum=0.0), corpus.compute)
    for plan, rates in zip(plans[:2], ([0.1, 0.2], [0.02, 0.04]), strict=True):
        optimizer.begin_round(3, plan.rate_factor)
        found = [part.param_groups[0]["lr"] for part in (optimizer._backbone, optimizer._head)]
        assert found == pytest.approx(rates)
        optimizer.load_state_dict(optimizer.state_dict())


@pytest.mark.usefixtures("seeded")
def test_all_variants_use_sgd_without_momentum(digits):
    from fiftyone_deepcluster.images.inspect import image_facts

    for variant in ("proposed", "baseline-1", "baseline-2", "baseline-3"):
        training = (
            fdc.UCNN(**FAST, variant=variant).resolve(image_facts(digits[0])).build().training_spec.optimizer
        )
        assert (training.optimizer, training.momentum, training.weight_decay) == ("sgd", 0.0, 0.0)
        assert not training.one_cycle


@pytest.mark.usefixtures("seeded")
def test_pixel_warmup_targets_the_cluster_of_the_unchanged_image(digits):
    corpus = corpus_of(digits[0])
    task = PixelWarmup(PixelClusters(30, epochs=2, seed=1), lambda: StreamingCentroids(StreamingParts(10, 1)))
    task.assign(corpus)
    plan = task.begin_round(0, corpus)
    assert plan.n_outputs == 30
    assert sorted(plan.order) == sorted(np.tile(np.arange(400), 2))
    rows = torch.arange(100)
    noise = Batch(torch.rand(100, 1, 16, 16), rows)
    corpus.network.replace_head(30, 1)
    labels = task.targets(noise, corpus.network(noise.images)).labels
    vectors = thumbnail_vectors(torch.from_numpy(corpus.store.read(np.arange(400))).permute(0, 3, 1, 2))
    same = CLUSTERERS.parse("kmeans").cluster(vectors, ClusterRequest(30, 5)).labels[:100]
    assert fdc_agreement(labels, same).nmi > 0.7
    assert len(labels.unique()) > 20


def fdc_agreement(labels, reference):
    from fiftyone_deepcluster.metrics.agreement import agreement

    return agreement(labels.numpy(), reference.numpy())


@pytest.mark.usefixtures("seeded")
def test_thumbnails_are_small_and_have_mean_0():
    large = torch.randint(0, 255, (3, 3, 80, 80), dtype=torch.uint8)
    found = thumbnail_vectors(large)
    assert found.shape == (3, 3 * 32 * 32)
    torch.testing.assert_close(found.mean(dim=1), torch.zeros(3), atol=1e-5, rtol=0)
    assert not thumbnail_vectors(torch.full((1, 1, 4, 4), 9, dtype=torch.uint8)).any()


def test_training_embeds_all_images_only_at_start_and_end(digits):
    listener = Watcher()
    fdc.fit(digits[0], fdc.UCNN(**{**FAST, "rounds": 4, "pixel_epochs": 0}), observer=listener)
    assert listener.names.count("train") == 4
    assert listener.names.count("embed") == 2, (
        "once before anything is learned, once for the labels that are kept"
    )


def test_variants_give_different_centers(digits, unbroken):
    found = {"proposed": unbroken}
    for variant in ("baseline-1", "baseline-2", "baseline-3"):
        found[variant] = fdc.fit(digits[0], fdc.UCNN(**FAST, variant=variant), truth=digits[1])
    # Whether a tiny network's labels change, and with them its features, is left to chance; its centers must differ.
    assert apart(found["proposed"], found["baseline-1"]) > 1e-3
    assert found["baseline-1"].record.rounds[-1].scores["drift"] > 0
    frozen = found["baseline-2"], found["baseline-3"]
    np.testing.assert_array_equal(frozen[0].embeddings, frozen[1].embeddings)
    for result in frozen:
        assert result.record.stop_reason is fdc.StopReason.TASK_FINISHED
        assert len(result.record.rounds) == 1
    spread = [float((result.distance**2).sum()) for result in frozen]
    assert spread[1] <= spread[0]
    other = fdc.fit(digits[0], fdc.UCNN(**FAST, compensation="older"))
    assert apart(other, unbroken) > 1e-3


def apart(one, other):
    """Largest difference of the images' distances to their centers, beside the mean distance."""
    return float(np.abs(one.distance - other.distance).max() / one.distance.mean())


@pytest.mark.parametrize(("rounds", "asked"), [(1, 0), (2, 3)])
def test_a_cancelled_and_resumed_run_equals_an_uninterrupted_one(digits, unbroken, tmp_path, rounds, asked):
    cut = fdc.fit(
        digits[0], fdc.UCNN(**FAST), run_dir=tmp_path, observer=Watcher(after_rounds=rounds, checks=asked)
    )
    assert cut.record.stop_reason is fdc.StopReason.CANCELLED
    assert len(cut.record.rounds) == rounds
    whole = fdc.fit(digits[0], fdc.UCNN(**FAST), run_dir=tmp_path)
    assert same(whole, unbroken)


def test_compensation_older_can_be_resumed(digits, tmp_path):
    options = fdc.UCNN(**{**FAST, "pixel_epochs": 0, "compensation": "older", "recount": True})
    whole = fdc.fit(digits[0], options)
    fdc.fit(digits[0], options, run_dir=tmp_path, observer=Watcher(after_rounds=1))
    assert same(fdc.fit(digits[0], options, run_dir=tmp_path), whole)


def test_a_finished_run_can_be_continued_with_more_rounds(digits, unbroken, tmp_path):
    fdc.fit(digits[0], fdc.UCNN(**{**FAST, "rounds": 2}), run_dir=tmp_path)
    whole = fdc.fit(digits[0], fdc.UCNN(**FAST), run_dir=tmp_path)
    assert np.array_equal(whole.labels, unbroken.labels)
    assert np.array_equal(whole.embeddings, unbroken.embeddings)


def test_predict_gives_the_clusters_of_the_run(digits, unbroken):
    found = fdc.predict(unbroken.run_dir, digits[0])
    np.testing.assert_array_equal(found.labels, unbroken.labels)
    np.testing.assert_allclose(found.distance, unbroken.distance, rtol=1e-3, atol=1e-3)


def test_too_high_a_learning_rate_ends_as_collapsed_or_diverged(digits):
    options = fdc.UCNN(**{**FAST, "rounds": 30, "pixel_epochs": 0, "learning_rate": 1.0, "augmentation": "none",
                          "backbone": {**TINY, "norm": "none"}})  # fmt: skip
    found = fdc.fit(digits[0], options)
    assert found.record.stop_reason in (fdc.StopReason.COLLAPSED, fdc.StopReason.DIVERGED)
    assert np.isfinite(found.embeddings).all()


def test_more_clusters_than_different_images_are_refused(digits):
    alike = np.repeat(digits[0][:3], 20, axis=0)
    with pytest.raises(ImagesError, match="have only 3 different ones"):
        fdc.fit(alike, fdc.UCNN(**{**FAST, "n_clusters": 4, "pixel_epochs": 0}))
