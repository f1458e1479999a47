"""DeepCluster-v2: bank, heads, crops, and no embedding pass in a round."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

import fiftyone_deepcluster as fdc
from fiftyone_deepcluster.api.assembly import assemble, open_store
from fiftyone_deepcluster.core.devices import choose_compute
from fiftyone_deepcluster.core.progress import Silent
from fiftyone_deepcluster.core.types import ClassTargets, Outputs, PairTargets
from fiftyone_deepcluster.errors import OptionsError
from fiftyone_deepcluster.images.augment import Augment, MultiCrop, plain
from fiftyone_deepcluster.images.inspect import image_facts
from fiftyone_deepcluster.methods.base import parse_options
from fiftyone_deepcluster.pseudo_labels.memory_bank import BankLabels
from fiftyone_deepcluster.training.loop import LoopSettings, run
from fiftyone_deepcluster.training.losses import PrototypeCrossEntropy
from fiftyone_deepcluster.training.optimizers import Cosine, Optimizer, OptimizerSpec
from tests.fits import same
from tests.observers import Watcher

FAST = {
    "n_clusters": 10,
    "pseudo_clusters": 20,
    "rounds": 3,
    "baselines": False,
    "batch_size": 64,
    "min_steps": 6,
    "small_crops": 2,
    "precision": "float32",
    "backbone": {"name": "small", "width": 8, "dim": 32},
    "dim": 32,
}


class RecordingLabels(BankLabels):
    """A task that also records the features of every image before each step."""

    def __init__(self, parts):
        super().__init__(parts)
        self.features_before = {}
        self.plans = []

    def begin_round(self, round_index, corpus):
        plan = super().begin_round(round_index, corpus)
        self.plans.append((plan, self._labels.clone(), self._bank.clone()))
        return plan

    def after_step(self, batch, before, network):
        super().after_step(batch, before, network)
        crops = before.features.detach().view(-1, len(batch.rows), before.features.shape[1])
        for place, row in enumerate(batch.rows.tolist()):
            self.features_before[row] = crops[:, place].clone()


@pytest.fixture(scope="module")
def digits():
    data = load_digits()
    return (data.images[:300] * 15.9375).astype(np.uint8), data.target[:300]


@pytest.fixture(scope="module")
def options():
    return fdc.DeepClusterV2(**FAST)


@pytest.fixture(scope="module")
def unbroken(digits, options, tmp_path_factory):
    return fdc.fit(digits[0], options, truth=digits[1], run_dir=tmp_path_factory.mktemp("v2"))


@pytest.fixture
def trained(digits, options):
    """A corpus of 300 digits and the recording task after two rounds."""
    resolved = options.resolve(image_facts(digits[0]))
    with open_store(digits[0], resolved, Silent()) as store:
        corpus, parts = assemble(resolved, store, Silent(), None)
        task = RecordingLabels(parts.training_spec.task.parts)
        run(replace(parts.training_spec, task=task, finish=None), corpus, LoopSettings(2, 51))
        yield corpus, task


def test_bank_holds_the_features_of_the_last_training_pass(trained):
    corpus, task = trained
    bank = task.state_dict()["bank"]
    assert bank.shape == (2, len(corpus), corpus.network.dim)
    assert len(task.features_before) == len(corpus)
    for row, crops in task.features_before.items():
        torch.testing.assert_close(bank[:, row], crops[:2])
        assert not torch.equal(crops[0], crops[1])
    torch.testing.assert_close(bank.norm(dim=2), torch.ones(bank.shape[:2]))


def test_heads_equal_the_cluster_means_of_their_bank_and_are_not_trained(trained):
    corpus, task = trained
    plan, labels, bank = task.plans[-1]
    prototypes = plan.prototypes.view(3, -1, bank.shape[2])
    for head in range(3):
        vectors = bank[head % 2]
        for cluster in range(20):
            members = vectors[labels[:, head] == cluster]
            mean = torch.nn.functional.normalize(members.mean(dim=0), dim=0)
            torch.testing.assert_close(prototypes[head, cluster], mean, atol=1e-5, rtol=0)
    assert not torch.equal(labels[:, 0], labels[:, 2]), "the same bank, but another seed"
    assert torch.equal(corpus.network.head.weight, plan.prototypes)
    assert not corpus.network.head.weight.requires_grad


def test_images_missing_in_the_last_pass_have_no_label(trained):
    corpus, task = trained
    features = corpus.features()
    task.begin_round(2, corpus)
    rows = torch.arange(250)
    task.after_step(_batch(rows), Outputs(features[rows].repeat(4, 1), torch.zeros(0)), corpus.network)
    task.assign(corpus)
    task.begin_round(3, corpus)
    labels = task.targets(_batch(torch.arange(300)), Outputs(features, features)).labels
    assert (labels[250:] == -1).all()
    assert (labels[:250] >= 0).all()


def _batch(rows):
    from fiftyone_deepcluster.core.types import Batch

    return Batch(torch.zeros(len(rows), 1, 16, 16), rows)


def test_loss_is_the_mean_over_heads_and_crops():
    generator = torch.Generator().manual_seed(0)
    crops, size, heads, k = 6, 5, 3, 4
    logits = torch.randn(crops * size, heads * k, generator=generator)
    labels = torch.randint(0, k, (size, heads), generator=generator)
    labels[2] = -1
    labels[3, 1] = -1
    found = PrototypeCrossEntropy(0.1).losses(Outputs(logits, logits), ClassTargets(labels))
    for image in range(size):
        total = 0.0
        for crop in range(crops):
            for head in range(heads):
                row = (logits[crop * size + image, head * k : (head + 1) * k] / 0.1).double().numpy()
                if labels[image, head] >= 0:
                    total += math.log(np.exp(row - row.max()).sum()) + row.max() - row[labels[image, head]]
        assert float(found[image]) == pytest.approx(total / (crops * heads), rel=1e-5)
    with pytest.raises(TypeError, match="other targets"):
        PrototypeCrossEntropy().losses(Outputs(logits, logits), PairTargets(torch.eye(3), torch.eye(3)))


@pytest.mark.usefixtures("seeded")
def test_crops_are_ordered_by_crop_and_have_two_sizes():
    images = torch.randint(
        0, 256, (5, 1, 20, 20), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    crops = MultiCrop(large=Augment(), small=Augment(crop=(0.2, 0.5)), n_large=2, n_small=3, small_size=8)
    large, small = crops.views(images, 20, torch.Generator().manual_seed(1))
    assert large.shape == (10, 1, 20, 20)
    assert small.shape == (15, 1, 8, 8)
    torch.testing.assert_close(large, plain(images, 20).repeat(2, 1, 1, 1))
    assert not torch.equal(small[:5], small[5:10])
    flat = torch.arange(0, 250, 50, dtype=torch.uint8).view(5, 1, 1, 1).expand(5, 1, 20, 20)
    _, small = crops.views(flat, 20, torch.Generator().manual_seed(1))
    torch.testing.assert_close(small[:, 0, 0, 0] * 255, torch.arange(0.0, 250, 50).repeat(3))
    assert crops.model_copy(update={"n_small": 0}).views(images, 20, torch.Generator())[1] is None


@pytest.mark.usefixtures("seeded")
def test_learning_rate_warms_up_decays_and_continues_after_resume(digits, options):
    cosine = Cosine(rounds=10, warmup=2, first=0.1, last=0.001)
    assert [round(cosine.factor(at), 6) for at in (0, 1, 2)] == [0.1, 0.55, 1.0]
    assert cosine.factor(6) == pytest.approx((1 + 0.001) / 2)
    assert cosine.factor(10) == cosine.factor(12) == pytest.approx(0.001)

    network = options.resolve(image_facts(digits[0])).build().network
    images = torch.rand(4, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    training, compute = OptimizerSpec("sgd", 0.2, cosine=cosine), choose_compute("cpu", "float32")

    def rates(optimizer, rounds):
        found = []
        for _ in range(rounds):
            optimizer.begin_round(3)
            for _ in range(3):
                found.append(optimizer.state_dict()["backbone"]["param_groups"][0]["lr"])
                optimizer.step(network(images).features.square().mean())
        return found

    whole = rates(Optimizer(network, training, compute), 4)
    assert whole == pytest.approx([0.2 * cosine.factor(step / 3) for step in range(12)])
    first = Optimizer(network, training, compute)
    begun = rates(first, 1)
    second = Optimizer(network, training, compute)
    second.load_state_dict(first.state_dict())
    assert begun + rates(second, 3) == whole


def test_a_round_has_no_embedding_pass(digits, options):
    phases = Watcher()
    fdc.fit(digits[0], options, observer=phases)
    assert phases.names.count("train") == 3
    assert phases.names.count("embed") == 3, "to fill two banks with two crops, and once at the very end"
    assert phases.names[-2:] == ["embed", "cluster"]


def test_final_labels_equal_those_of_predict(unbroken, digits):
    assert unbroken.record.stop_reason is fdc.StopReason.ROUNDS_DONE
    assert np.array_equal(unbroken.round_labels[:, -1], unbroken.labels)
    found = fdc.predict(unbroken.run_dir, digits[0])
    np.testing.assert_allclose(found.embeddings, unbroken.embeddings, atol=1e-5)
    assert (found.labels == unbroken.labels).mean() > 0.99
    np.testing.assert_allclose(np.linalg.norm(found.embeddings, axis=1), 1, atol=1e-5)
    last = unbroken.record.rounds[-1]
    assert last.truth.nmi > 0.4
    assert last.loss > 0
    assert {"train", "cluster"} <= set(last.seconds)
    assert "embed" not in last.seconds


def test_a_cancelled_and_resumed_run_equals_an_uninterrupted_one(unbroken, digits, options, tmp_path):
    cut = fdc.fit(digits[0], options, truth=digits[1], run_dir=tmp_path, observer=Watcher(after_rounds=2))
    assert cut.record.stop_reason is fdc.StopReason.CANCELLED
    assert len(cut.record.rounds) == 2
    assert np.array_equal(cut.round_labels, unbroken.round_labels[:, :2])
    whole = fdc.fit(digits[0], options, truth=digits[1], run_dir=tmp_path)
    assert same(whole, unbroken)
    again = fdc.fit(digits[0], options, truth=digits[1], run_dir=tmp_path)
    assert same(again, unbroken), "a finished run computes its final labels again, with the same result"


def test_same_seed_same_clusters_other_seed_others(unbroken, digits, options):
    assert same(unbroken, fdc.fit(digits[0], options, truth=digits[1]))
    other = fdc.fit(digits[0], options.model_copy(update={"seed": 52}))
    assert not np.array_equal(unbroken.labels, other.labels)


def test_errors_name_value_need_and_way_out(digits):
    with pytest.raises(OptionsError, match="n_clusters=None: deepcluster-v2 needs a number"):
        parse_options("deepcluster-v2", {"n_clusters": None})
    with pytest.raises(OptionsError, match=r"least_area=0.6 is more than split_area=0.5"):
        parse_options("deepcluster-v2", {"least_area": 0.6, "split_area": 0.5})
    large = {**FAST, "backbone": "alexnet", "image_size": 64}
    with pytest.raises(
        OptionsError, match=r"small_size=28: the backbone accepts images of 64 pixels only.*small_crops=0"
    ):
        fdc.fit(digits[0], parse_options("deepcluster-v2", large))
