"""LDPO's preset is the paper (Wang et al. 2017): training, split, convergence, first round."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import fiftyone_deepcluster as fdc
from fiftyone_deepcluster.core.record import AgreementScores, Round, StopReason
from fiftyone_deepcluster.images.augment import Augment
from fiftyone_deepcluster.pseudo_labels.holdout import Holdout, Split
from fiftyone_deepcluster.pseudo_labels.round_labels import RoundLabels
from fiftyone_deepcluster.training.loop import LoopSettings, TrainingSpec, run
from fiftyone_deepcluster.training.losses import CrossEntropy
from tests.fidelity.ldpo_presets import of_digits, paper, resolved
from tests.fidelity.papers import facts


def test_the_softmax_layer_learns_faster_and_is_sized_by_the_clusters():
    spec = resolved(n_clusters=15).optimizer_spec()
    assert (spec.optimizer, spec.momentum) == ("sgd", 0.9)
    assert spec.head_learning_rate == 10 * spec.learning_rate
    # momentum m multiplies a steady step by 1 / (1 - m), so that the layer is faster only with the same m
    assert spec.head_momentum == spec.momentum
    assert (spec.one_cycle, spec.cosine) == (False, None)


def test_the_split_is_70_10_20_and_new_in_every_round():
    holdout = resolved(n_clusters=15).task_parts().holdout
    one, two = holdout.split(1000, 0), holdout.split(1000, 1)
    assert [len(part) for part in (one.training, one.validation, one.test)] == [700, 100, 200]
    assert not np.array_equal(one.test, two.test)


def stops(options, *pairs):
    """Whether a run ends after rounds with these pairs of NMI and purity, each with fewer clusters than the last."""
    (rule,) = options.stop_rules()
    entries = [
        Round(
            index=index,
            change=AgreementScores(nmi=nmi, ari=0.0, purity=purity, acc=0.0),
            clusters_in_use=700 - 100 * index,
        )
        for index, (nmi, purity) in enumerate(pairs)
    ]
    return rule.check(entries) is StopReason.CONVERGED


def test_convergence_is_purity_and_nmi_of_adjacent_rounds():
    """Section 3.2: both are above the threshold, for one pair of rounds, whatever the number of clusters."""
    options = resolved(n_clusters=15)
    assert stops(options, (0.91, 0.91))
    assert stops(options, (0.1, 0.1), (0.91, 0.91))
    assert not stops(options, (0.91, 0.89))
    assert not stops(options, (0.89, 0.91))
    assert not stops(options, (0.95, 0.95), (0.89, 0.89))


def test_clusters_before_a_first_round_on_given_labels_are_not_of_the_loop():
    """They are of the network before it has been fine-tuned; groups that are only mined in are not trained on."""
    topics = resolved(initial="topics", text_field="report")
    assert not stops(topics, (0.91, 0.91))
    assert stops(topics, (0.91, 0.91), (0.91, 0.91))
    assert not stops(resolved(n_clusters=15, initial="random"), (0.91, 0.91))
    assert stops(resolved(n_clusters=15, initial="random", encoder="patch-mining"), (0.91, 0.91))


def test_purity_and_nmi_are_of_the_clusters_of_adjacent_rounds(make_corpus):
    """Purity: the share of images in the largest overlaps; NMI: by the mean entropy, as the paper names none."""
    options, labels = of_digits(stop_nmi=None), []
    task = RoundLabels(options.task_parts())
    found = run(
        TrainingSpec(task, CrossEntropy(), Augment(), options.optimizer_spec()),
        make_corpus(),
        LoopSettings(3, seed=1),
        keep=lambda state: labels.append(state["assignment"]["labels"].numpy()),
    )
    assert len(labels) == 4, "of the first clustering and of three rounds"
    for entry, before, after in zip(found.rounds, labels, labels[1:], strict=False):
        table = np.array([[np.sum((after == i) & (before == j)) for j in range(4)] for i in range(4)]) / 60
        rows, columns = table.sum(axis=1), table.sum(axis=0)
        shared = sum(
            table[i, j] * np.log(table[i, j] / rows[i] / columns[j])
            for i in range(4) for j in range(4) if table[i, j]
        )  # fmt: skip
        entropies = [-sum(p * np.log(p) for p in shares if p) for shares in (rows, columns)]
        assert entry.change.purity == pytest.approx(table.max(axis=1).sum())
        assert entry.change.nmi == pytest.approx(2 * shared / sum(entropies))


class Watched(RoundLabels):
    """Keeps the weights of the network before and after every round, and what was trained on."""

    def __init__(self, parts):
        super().__init__(parts)
        self.before, self.after, self.plans = [], [], []

    def begin_round(self, round_index, corpus):
        self.before.append(weights_of(corpus))
        self.plans.append((super().begin_round(round_index, corpus), self._split))
        return self.plans[-1][0]

    def assign(self, corpus):
        self.after.append(weights_of(corpus))
        return super().assign(corpus)


def weights_of(corpus):
    return torch.cat([weights.detach().flatten() for weights in corpus.network.backbone.parameters()])


def test_the_network_is_fine_tuned_further_in_every_round(make_corpus):
    """Section 1: the new labels "fine-tune the current CNN models"; section 4: on 70 %, with all images clustered."""
    options = of_digits(rounds=2, stop_nmi=None)
    task, corpus = Watched(options.task_parts()), make_corpus()
    state = run(
        TrainingSpec(task, CrossEntropy(), Augment(), options.optimizer_spec(), options.stop_rules()),
        corpus,
        LoopSettings(2, seed=1),
    )
    first, one, two = task.after
    assert torch.equal(task.before[0], first)
    assert torch.equal(task.before[1], one), "not the pre-trained weights again"
    assert not torch.equal(first, one)
    assert not torch.equal(one, two)
    for plan, split in task.plans:
        assert plan.n_outputs == 4, "a new softmax layer"
        assert sorted(plan.order) == sorted([*split.training] * 2), "two epochs"
        assert len(split.training) == 42
    assert len(state.assignment.labels) == 60
    assert state.assignment.labels.min() >= 0


def test_accuracies_are_over_all_held_out_images(make_corpus):
    """Also over those that are too uncertain to train on."""
    corpus = make_corpus()
    parts = fdc.LDPO(n_clusters=4, confident_share=0.5).resolve(facts(60, 24, gray=True)).task_parts()
    task = RoundLabels(parts)
    task.assign(corpus)
    assert (task._pseudo < 0).sum() >= 20
    assert (task._whole >= 0).all()
    corpus.network.replace_head(4, seed=1)
    test = np.arange(20)
    found = Holdout().scores(corpus, task._whole.numpy(), Split(np.arange(20, 60), np.zeros(0, int), test))
    top = corpus.logits()[:20].topk(4, dim=1).indices.numpy()
    hits = top == task._whole.numpy()[:20, None]
    assert found["test_top1"] == pytest.approx(hits[:, 0].mean())
    assert found["test_top5"] == 1.0


def test_topics_train_a_network_until_it_has_converged_before_clusters_follow(make_corpus):
    """Section 4.1: AlexNet-FC7-Topic "has already been fine-tuned by the report-derived category information"."""
    corpus = make_corpus()
    corpus.initial = np.arange(60) % 3
    assert paper().n_topics == 80, "section 2: the report-derived categories of the reference 49"
    task = RoundLabels(of_digits(initial="topics", text_field="report").task_parts())
    task.assign(corpus)
    first = task.begin_round(0, corpus)
    assert first.next_epoch is not None, "their number depends on the loss"
    orders, losses = [first.order], []
    while orders[-1] is not None:
        losses.append(0.8 ** len(losses))
        orders.append(first.next_epoch(losses))
    assert first.n_outputs == 3
    # the last loss that counts is 0.8 ** 22 = 0.0074, as 0.8 ** 18 = 0.0180 did; five epochs follow without another
    assert len(losses) == 28
    assert len({tuple(order) for order in orders[:-1]}) == 28, "every epoch in another order"
    assert {tuple(sorted(order)) for order in orders[:-1]} == {tuple(sorted(first.order))}
    assert len(first.order) == 42, "70 % of the images"
    corpus.network.replace_head(3, seed=1)
    scores = task.assign(corpus).scores
    assert (scores["initial_epochs"], scores["initial_converged"]) == (28, 1)
    second = task.begin_round(1, corpus)
    assert (len(second.order), second.n_outputs, second.next_epoch) == (2 * 42, 4, None)


def test_a_network_for_topics_that_does_not_converge_is_said():
    """The paper gives no limit; ours is 100 epochs, and a run that reaches it says so."""
    rule = paper(initial="topics").resolve(facts(60, 24, gray=True)).task_parts().initial_rule
    falling = [1 - 0.005 * epoch for epoch in range(100)]
    assert not rule.ended(falling[:99])
    assert rule.ended(falling)
    assert not rule.converged(falling)


def test_ldpo_without_a_trained_network_is_said():
    notes = fdc.LDPO(n_clusters=5).remarks(facts(500, 28, gray=True))
    assert notes[0].startswith("without weights this is no LDPO")
    assert fdc.LDPO(n_clusters=5, weights="IMAGENET1K_V1").remarks(facts(500)) == []
    assert fdc.LDPO(n_clusters=5, initial="topics", text_field="report").remarks(facts(500)) == []
