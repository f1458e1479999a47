"""DAC: the paper's numbers, formulas against slow loops, both variants, and training."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits
from torch import nn

import fiftyone_deepcluster as fdc
from fiftyone_deepcluster.api.assembly import assemble, open_store
from fiftyone_deepcluster.backbones.all_conv import AllConvNet, Restraint
from fiftyone_deepcluster.core.progress import Silent
from fiftyone_deepcluster.core.types import Batch, Outputs
from fiftyone_deepcluster.images.augment import Augment
from fiftyone_deepcluster.images.inspect import ImageFacts, image_facts
from fiftyone_deepcluster.pseudo_labels.pairs import select
from fiftyone_deepcluster.training.losses import PairLoss

TINY = {"baselines": False, "width": 4, "precision": "float32", "min_steps": 0, "init": "random"}


@pytest.fixture(scope="module")
def digits():
    data = load_digits()
    return (data.images * 15.9375).astype(np.uint8), data.target


def label_features(n, k, seed):
    generator = torch.Generator().manual_seed(seed)
    return Restraint()(torch.randn(n, k, generator=generator) * 2)


@pytest.fixture
def made(digits):
    """Corpus and parts of any DAC on 100 digits or other images, and the stores closed at the end."""
    stores = []

    def make(images=digits[0][:100], **values):
        options = fdc.DAC(**{**TINY, **values}).resolve(image_facts(images))
        store = open_store(images, options, Silent())
        stores.append(store)
        return assemble(options, store.__enter__(), Silent(), None)

    yield make
    for store in stores:
        store.__exit__(None, None, None)


# --- numbers of the paper ---------------------------------------------------------------------------------


def schedule(options):
    """(λ, u, l) of every round until the task is finished."""
    thresholds, lam, found = options.thresholds(), 0.0, []
    while not thresholds.over(lam, len(found)):
        found.append((lam, *thresholds.at(lam)))
        lam += thresholds.step
    return found


def resolved(side, gray, n=5000, **values):
    return fdc.DAC(**values).resolve(ImageFacts(n=n, side=side, gray=gray, height=side, width=side))


def test_dac_stops_after_46_rounds():
    found = schedule(fdc.DAC())
    assert len(found) == 46
    assert found[0] == (0.0, 0.95, 0.455)
    assert found[1][0] == pytest.approx(0.009 * 1.1)
    assert all(lower <= upper for _, upper, lower in found)
    past = found[-1][0] + 0.009 * 1.1
    assert 0.455 + 0.1 * past > 0.95 - past


def test_the_loop_ends_when_the_thresholds_meet(digits):
    result = fdc.fit(digits[0][:60], fdc.DAC(**TINY))
    assert result.record.stop_reason is fdc.StopReason.TASK_FINISHED
    assert len(result.record.rounds) == 46
    lambdas = [entry.scores["lambda"] for entry in result.record.rounds]
    assert lambdas == pytest.approx([0.0099 * i for i in range(46)])


def test_dac_star_threshold_decreases_linearly_from_095_to_05():
    found = schedule(resolved(28, True, star=True, init="random"))
    assert [upper for _, upper, _ in found] == pytest.approx(np.linspace(0.95, 0.5, 46).tolist())
    assert all(upper == lower for _, upper, lower in found)


@pytest.mark.parametrize(
    ("side", "gray", "star", "rounds", "first", "last"),
    [
        (28, True, True, 20, (0.9, 0.9), (0.52, 0.52)),  # MNIST/mnist.py
        (32, False, True, 50, (0.99, 0.99), (0.7548, 0.7548)),  # CIFAR10/cifar10_1.py
        (32, False, False, 50, (0.99, 0.8), (0.8969, 0.8931)),  # CIFAR10/cifar10_2.py
        (96, False, True, 75, (0.99, 0.99), (0.99 - 0.49 * 74 / 75,) * 2),  # STL10/stl.py
    ],
)
def test_released_thresholds_are_those_of_the_scripts(side, gray, star, rounds, first, last):
    found = schedule(resolved(side, gray, star=star, variant="released"))
    assert len(found) == rounds
    assert found[0][1:] == pytest.approx(first)
    assert found[-1][1:] == pytest.approx(last)


def test_released_settings_are_those_of_the_scripts():
    mnist = resolved(28, True, star=True, variant="released")
    assert (mnist.batch_size, mnist.inner_epochs, mnist.augmentation) == (128, 5, "released")
    assert mnist.objective() == PairLoss("squares")
    assert mnist.make_augment().n_large == 2, "pairs across two views, in one step"
    assert mnist.frozen().views == 1
    cifar = resolved(32, False, variant="released")
    assert (cifar.batch_size, cifar.inner_epochs, cifar.views, cifar.augmentation) == (32, 10, 2, "released")
    assert isinstance(cifar.make_augment(), Augment)
    assert cifar.frozen().views == 2, "two steps, one after the other"
    assert cifar.objective() == PairLoss("distance", hold=32 / -math.log(1e-7))
    assert resolved(32, False, star=True, variant="released").objective() == PairLoss(hold=10.0)
    large = resolved(96, False, star=True, variant="released").objective()
    assert large == PairLoss(hold=10.0, hold_on="features")


def test_batches_have_the_papers_size_if_there_are_enough_images():
    assert resolved(28, True, n=70_000).batch_size == 1000
    assert resolved(28, True, n=1797).batch_size == 250
    assert resolved(28, True, n=100).batch_size == 100
    assert resolved(96, False, n=70_000).batch_size < 500, "what a batch keeps in memory is bounded"


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31 - 1), st.integers(2, 12))
def test_more_pairs_are_selected_as_lambda_grows_and_all_when_the_thresholds_meet(seed, k):
    features = label_features(25, k, seed)
    counts = [float(select(features, upper, lower).chosen.sum()) for _, upper, lower in schedule(fdc.DAC())]
    assert counts == sorted(counts)
    assert select(features, 0.5, 0.5).chosen.all()


# --- network ----------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("seeded")
def test_restraint_equals_the_softmax_divided_by_its_length():
    scores = torch.randn(200, 10, dtype=torch.float64) * 10
    softmax = scores.softmax(1)
    found = Restraint()(scores)
    torch.testing.assert_close(found, softmax / softmax.norm(dim=1, keepdim=True), atol=1e-7, rtol=0)
    torch.testing.assert_close(Restraint()(scores.float()), found.float(), atol=1e-6, rtol=0)
    torch.testing.assert_close(found.square().sum(1), torch.ones(200, dtype=torch.float64))
    assert (found >= 0).all()
    assert torch.isfinite(Restraint()(torch.tensor([[1e4, -1e4, 0.0]]))).all()


@pytest.mark.usefixtures("seeded")
@pytest.mark.parametrize("size", [8, 16, 20, 28, 32, 64, 96])
def test_network_is_sized_by_the_image(size):
    features = AllConvNet(3, size, 7, width=4)(torch.rand(5, 3, size, size))
    assert features.shape == (5, 7)
    torch.testing.assert_close(features.norm(dim=1), torch.ones(5))


@pytest.mark.usefixtures("seeded")
@pytest.mark.parametrize(
    ("size", "filters"),
    [(28, [64] * 3 + [128] * 3), (32, [64] * 3 + [128] * 3), (96, [64] * 3 + [128] * 3 + [256] * 3)],
)
def test_network_has_the_authors_layers(size, filters):
    network = AllConvNet(1, size, 10)
    convolutions = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d)]
    assert [layer.out_channels for layer in convolutions] == [*filters, 10]
    assert {layer.kernel_size for layer in convolutions[:-1]} == {(3, 3)}
    linear = [layer for layer in network.modules() if isinstance(layer, nn.Linear)]
    assert all(torch.equal(layer.weight, torch.eye(10)) for layer in linear)
    pooling = next(layer for layer in network.modules() if isinstance(layer, nn.AvgPool2d))
    assert pooling.kernel_size == {28: 2, 32: 3, 96: 6}[size]


# --- variants ---------------------------------------------------------------------------------------------


def test_released_trains_on_macro_batches_in_two_views_of_each_mini_batch(made):
    corpus, parts = made(variant="released", batch_size=10, inner_epochs=3)
    plan = parts.training_spec.task.begin_round(0, corpus)
    minis = plan.order.reshape(-1, 10)
    assert len(minis) == 10 * 3 * 2
    assert (minis[0::2] == minis[1::2]).all(), "each mini-batch comes twice in a row"
    passes = minis[0::2].reshape(3, 100)
    assert all(len(set(rows)) == 100 for rows in passes.tolist()), "every inner epoch is a whole pass"
    assert not (passes[0] == passes[1]).all(), "shuffled anew"
    batches = corpus.training_batches(plan.order, parts.training_spec.augment, 1)
    first, second = next(batches), next(batches)
    assert torch.equal(first.rows, second.rows)
    assert not torch.equal(first.images, second.images), "augmented anew"
    batches.close()


@pytest.mark.usefixtures("seeded")
def test_released_targets_are_frozen_inside_a_macro_batch(made):
    corpus, parts = made(
        variant="released", star=True, batch_size=10, inner_epochs=2, macro_batch=50, norm="running"
    )
    task, per_macro = parts.training_spec.task, 5 * 2  # mini-batches, epochs; both views in one step
    order = task.begin_round(0, corpus).order.reshape(-1, 10)
    assert len(order) == 2 * per_macro
    for step, rows in enumerate(order):
        if step % per_macro == 0:
            before = corpus.features().clone()
        batch = Batch(torch.zeros(10, 1, 16, 16), torch.from_numpy(rows))
        own = before[batch.rows]
        targets = task.targets(batch, Outputs(torch.rand(10, 10), torch.zeros(10, 0)))
        torch.testing.assert_close(targets.before, own)
        assert torch.equal(targets.same, (torch.sign(own @ own.T - 0.9) + 1) / 2)
        assert targets.chosen.all()
        with torch.no_grad():  # the network moves on; the targets must not
            for parameter in corpus.network.parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))
        task.after_step(batch, Outputs(own, own), corpus.network)


def test_paper_without_augmentation_selects_pairs_of_the_networks_output(made):
    corpus, parts = made(batch_size=20, augmentation="none")
    plan = parts.training_spec.task.begin_round(0, corpus)
    assert sorted(plan.order) == list(range(100))
    features = label_features(20, 10, seed=0)
    batch = Batch(torch.zeros(20, 1, 16, 16), torch.from_numpy(plan.order[:20]))
    targets = parts.training_spec.task.targets(batch, Outputs(features, torch.zeros(20, 0)))
    assert targets.before is None
    assert torch.equal(targets.chosen, select(features, 0.95, 0.455).chosen)


@pytest.mark.usefixtures("seeded")
def test_paper_selects_pairs_on_unchanged_images_and_trains_on_augmented_ones(made):
    corpus, parts = made(batch_size=20, norm="running")
    task = parts.training_spec.task
    order = task.begin_round(0, corpus).order.reshape(-1, 20)
    assert sorted(order.ravel()) == list(range(100))
    for rows in order:
        own = corpus.features()[torch.from_numpy(rows)]
        batch = Batch(torch.zeros(20, 1, 16, 16), torch.from_numpy(rows))
        targets = task.targets(batch, Outputs(torch.rand(20, 10), torch.zeros(20, 0)))
        assert torch.equal(targets.chosen, select(own, 0.95, 0.455).chosen)
        with torch.no_grad():
            for parameter in corpus.network.parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))
        task.after_step(batch, Outputs(own, own), corpus.network)


# --- clusters ---------------------------------------------------------------------------------------------


def test_clusters_are_the_largest_label_features_and_the_nearest_one_hot_centers(made):
    corpus, parts = made()
    found = parts.training_spec.task.assign(corpus)
    assert np.array_equal(found.labels, found.embeddings.argmax(1))
    assert np.array_equal(found.centers, np.eye(10))
    distances = np.sort(np.linalg.norm(found.embeddings[:, None] - found.centers[None], axis=2), axis=1)
    np.testing.assert_allclose(found.distance, distances[:, 0], atol=1e-5)
    np.testing.assert_allclose(found.margin, distances[:, 1] - distances[:, 0], atol=1e-5)
    shares = [found.scores[f"features_from_{low}"] for low in ("0", "0.1", "0.5", "0.9")]
    edges = [0, 0.1, 0.5, 0.9, 1.1]
    np.testing.assert_allclose(shares, np.histogram(found.embeddings, edges)[0] / 1000, atol=1e-6)


def test_clusters_do_not_depend_on_the_order_of_files(made, digits):
    by_class = np.argsort(digits[1][:100], kind="stable")
    found = []
    for images in (digits[0][:100], digits[0][:100][by_class]):
        corpus, parts = made(images)
        found.append(parts.training_spec.task.assign(corpus).embeddings)
    np.testing.assert_allclose(found[1], found[0][by_class], atol=1e-4)


@pytest.mark.parametrize(
    ("side", "gray", "n", "asked", "start"),
    [
        (28, True, 19_999, "auto", "pixels"),
        (28, True, 20_000, "auto", "random"),  # the paper's sets are larger
        (32, False, 5000, "auto", "random"),  # pixels say little of photographs
        (96, True, 5000, "auto", "random"),
        (28, True, 5000, "random", "random"),
        (32, False, 50_000, "pixels", "pixels"),
    ],
)
def test_few_small_gray_images_start_from_their_pixels(side, gray, n, asked, start):
    settled = resolved(side, gray, n, init=asked)
    assert settled.init == start
    assert settled.stop_nmi == (0.98 if start == "pixels" else None)
    assert resolved(side, gray, n, init=asked, stop_nmi=0.9).stop_nmi == 0.9
    star = resolved(side, gray, n, init=asked, star=True)
    assert (star.stop_nmi, star.star_rounds) == (None, 12 if start == "pixels" else 46)


def test_a_run_from_pixels_ends_when_its_clusters_have_settled(digits):
    result = fdc.fit(digits[0][:100], fdc.DAC(**{**TINY, "init": "pixels", "stop_nmi": 0.8, "n_clusters": 4}))
    assert result.record.stop_reason is fdc.StopReason.CONVERGED
    assert all(entry.change.nmi >= 0.8 for entry in result.record.rounds[-2:])
    assert 3 <= len(result.record.rounds) < 46


@pytest.mark.usefixtures("seeded")
def test_the_round_on_pixels_trains_on_pairs_of_pixel_clusters(made, digits):
    corpus, parts = made(digits[0][:400], init="pixels", batch_size=100)
    task = parts.training_spec.task
    task.assign(corpus)
    plan = task.begin_round(0, corpus)
    assert plan.n_outputs is None
    assert len(plan.order) == 35 * 400
    assert all(len(set(rows)) == 100 for rows in plan.order.reshape(-1, 100))
    rows = torch.arange(100)
    noise = Batch(torch.rand(100, 1, 16, 16), rows)
    found = task.targets(noise, corpus.network(noise.images))
    assert found.chosen.all()
    same = found.same.bool()
    assert torch.equal(same[same[0]], same[0].expand(int(same[0].sum()), 100)), "clusters, not any pairs"
    classes = torch.from_numpy(digits[1][:100])
    alike = classes[:, None] == classes[None, :]
    assert (same == alike).float().mean() > 0.9
    task.assign(corpus)
    task.begin_round(1, corpus)
    assert task.targets(noise, corpus.network(noise.images)).chosen.float().mean() < 1, "now DAC's own"


def test_the_round_on_pixels_comes_before_all_others(digits):
    options = {**TINY, "init": "pixels", "n_clusters": 4, "eta": 0.45}
    result = fdc.fit(digits[0][:100], fdc.DAC(**options))
    scores = [entry.scores for entry in result.record.rounds]
    assert result.record.stop_reason is fdc.StopReason.TASK_FINISHED
    assert "lambda" not in scores[0]
    assert [entry["lambda"] for entry in scores[1:]] == [0.0]


@pytest.mark.parametrize(
    ("variant", "start"), [("paper", "random"), ("released", "random"), ("paper", "pixels")]
)
def test_a_resumed_run_equals_an_uninterrupted_one(digits, tmp_path, variant, start):
    options = {**TINY, "variant": variant, "init": start, "batch_size": 40, "inner_epochs": 1}
    images = digits[0][:120]
    whole = fdc.fit(images, fdc.DAC(**options, rounds=4), run_dir=tmp_path / "whole")
    fdc.fit(images, fdc.DAC(**options, rounds=2), run_dir=tmp_path / "parts")
    again = fdc.fit(images, fdc.DAC(**options, rounds=4), run_dir=tmp_path / "parts")
    assert np.array_equal(whole.round_labels, again.round_labels)
    assert np.array_equal(whole.embeddings, again.embeddings)
    assert again.record.rounds[3].scores["lambda"] == whole.record.rounds[3].scores["lambda"] > 0
    predicted = fdc.predict(tmp_path / "whole", images)
    assert np.array_equal(predicted.labels, whole.labels)
    np.testing.assert_allclose(predicted.confidence, whole.confidence, atol=1e-3)
