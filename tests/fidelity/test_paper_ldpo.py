"""LDPO's preset is the paper (Wang et al. 2017): start, encodings, clustering, split, convergence."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import torch
from torch import nn

import fiftyone_deepcluster as fdc
from fiftyone_deepcluster.analysis import category_tree
from fiftyone_deepcluster.backbones.base import BACKBONES
from fiftyone_deepcluster.backbones.layers import layers_of
from fiftyone_deepcluster.backbones.network import Network
from fiftyone_deepcluster.clusterers.base import ClusterRequest
from fiftyone_deepcluster.clusterers.rim import clusterer as rim
from fiftyone_deepcluster.core.record import AgreementScores, Round, StopReason
from fiftyone_deepcluster.core.seeds import derive
from fiftyone_deepcluster.features.base import EncodeRequest
from fiftyone_deepcluster.features.patch_mining import itemsets
from fiftyone_deepcluster.features.patch_mining.detectors import Background, Limit, merge_elements
from fiftyone_deepcluster.features.patch_mining.encoder import PatchMining
from fiftyone_deepcluster.images.augment import Augment
from fiftyone_deepcluster.pseudo_labels.holdout import Holdout, Split
from fiftyone_deepcluster.pseudo_labels.initial import initial_labels
from fiftyone_deepcluster.pseudo_labels.round_labels import RoundLabels
from fiftyone_deepcluster.training.loop import LoopSettings, TrainingSpec, run
from fiftyone_deepcluster.training.losses import CrossEntropy
from tests.fidelity.papers import facts, plain_values

SETTINGS = {
    "rounds": 10,  # section 4.1: about ten iterations
    "image_size": 224,
    "image_fit": "stretch",  # "resized to fit the model definition"
    "backbone": {"name": "torchvision", "model": "alexnet"},
    "weights": "IMAGENET1K_V1",
    "input_norm": "imagenet",
    "pseudo_clusters": None,
    "pseudo_class_rounds": None,
    "merge": False,
    "initial": "features",
    "initial_epochs": None,  # section 4.1: "has already been fine-tuned" on the topics, so until it has converged
    "initial_tolerance": 0.01,
    "initial_max_epochs": 100,
    "training_share": 0.7,  # section 4
    "validation_share": 0.1,
    "confident_share": 1.0,
    "freeze_norm": False,
    "level_head": False,
    "epochs": 2,
    "min_steps": 0,
    "batch_size": 256,
    "optimizer": "sgd",
    "learning_rate": 0.001,
    "head_learning_rate": 0.01,  # "a higher learning rate than all other layers"
    "weight_decay": 5e-4,
    "label_smoothing": 0.0,
    "augmentation": "none",
    "sampling": "shuffled",
    "stop_nmi": 0.9,
    "stop_purity": 0.9,
    "encoder": {"name": "pooled", "pca": 0},  # table 1: FC7 has no encoding
    "reducer": {"name": "identity"},
    "clusterer": None,
}


def paper(**values):
    return fdc.LDPO(preset="paper", **values)


def resolved(n=215_786, side=512, **values):
    return paper(**values).resolve(facts(n, side, gray=True))


def of_digits(**values):
    """The preset for the digits of ``make_corpus``, which have a small network of random weights."""
    given = {"n_clusters": 4, "backbone": {"name": "small", "width": 8}, "weights": None, **values}
    return paper(**given).resolve(facts(60, 24, gray=True))


def test_ldpo_options_are_the_papers():
    found = plain_values(paper())
    assert {name: found[name] for name in SETTINGS} == SETTINGS


@pytest.mark.parametrize(
    ("model", "dim"), [("alexnet", 4096), ("googlenet", 1024), ("vgg16", 4096), ("vgg19", 4096)]
)
def test_networks_end_in_the_papers_layers(model, dim):
    """Table 1: FC7 of AlexNet and VGG, Pool5 of GoogLeNet."""
    with torch.device("meta"):
        body = BACKBONES.parse({"name": "torchvision", "model": model}).build(3, 224, None)
    assert body.dim == dim
    assert paper(backbone={"name": "torchvision", "model": model}).deviations() == []


def test_networks_are_those_of_torchvision():
    """Not Caffe's: filters of AlexNet, no response normalization; GoogLeNet has batch norm and one classifier."""
    with torch.device("meta"):
        alex, google = (
            BACKBONES.parse({"name": "torchvision", "model": model}).build(3, 224, None)
            for model in ("alexnet", "googlenet")
        )
        layers = {
            one.name: one for one in layers_of(Network(nn.Identity(), alex), torch.zeros(1, 3, 224, 224))
        }
    filters = [layer.out_channels for layer in alex.modules() if isinstance(layer, nn.Conv2d)]
    assert filters == [64, 192, 384, 256, 256]
    assert not any(isinstance(layer, nn.LocalResponseNorm) for layer in alex.modules())
    for name in ("conv5", "fc7"):
        assert isinstance(alex.get_submodule(layers[name].path), nn.ReLU)
    assert not alex.relu_before_head, "FC7 has passed its ReLU"
    assert any(isinstance(layer, nn.BatchNorm2d) for layer in google.modules())
    assert not any("aux" in name for name, _ in google.named_parameters())


def test_images_are_resized_to_the_size_of_the_model():
    options = resolved(side=512)
    assert (options.image_size, options.decoded_side, options.image_fit) == (224, 224, "stretch")
    assert options.make_augment().specs(224) == []


@pytest.mark.parametrize(
    ("model", "layer", "shape"),
    [("alexnet", "conv5", (256, 13, 13)), ("googlenet", "inception5b", (1024, 7, 7))],
)
def test_vlad_and_fisher_vectors_are_of_the_papers_maps(model, layer, shape):
    """Table 1: Conv5 (13, 13, 256) of AlexNet, Inception5b (7, 7, 1024) of GoogLeNet."""
    options = resolved(backbone={"name": "torchvision", "model": model}, encoder="vlad")
    with torch.device("meta"):
        body = BACKBONES.parse({"name": "torchvision", "model": model}).build(3, options.image_size, None)
        images = torch.zeros(1, 3, options.image_size, options.image_size)
        layers = layers_of(Network(nn.Identity(), body), images)
    last = [one for one in layers if len(one.shape) == 3][-1]
    assert (last.name, last.shape) == (layer, shape)
    for name in ("vlad", "fisher"):
        assert resolved(encoder=name).encoder.layer is None, "the last layer with maps"


def test_rim_with_lambda_1_finds_one_cluster_in_codes_of_length_1(corpus):
    """The paper's numbers of clusters for FV and VLAD need longer codes, but it gives no scale."""
    for name in ("vlad", "fisher"):
        options = resolved(encoder=name)
        vectors = options.encoder.encode(corpus, EncodeRequest(1, None, None)).vectors
        assert float(vectors.norm(dim=1).max()) < 1.5, "of length 1 before PCA subtracts their mean"
        found = options.clusterer.cluster(vectors, ClusterRequest(None, 1))
        assert len(found.labels.unique()) == 1
        longer = options.clusterer.cluster(30 * vectors, ClusterRequest(None, 1))
        assert len(longer.labels.unique()) > 1


def test_medical_images_are_clustered_by_rim_with_lambda_1():
    found = resolved()
    assert found.clusterer.name == "rim"
    assert (found.clusterer.penalty, found.clusterer.n_init_clusters) == (1.0, 1000)
    assert paper().remarks(facts(gray=True))[0] == "preset='paper': as in the paper"


def test_scenes_are_clustered_by_kmeans_with_the_known_number():
    found = resolved(4485, n_clusters=15)
    assert found.clusterer.name == "kmeans"
    assert (found.n_clusters, found.pseudo_clusters) == (15, 15)
    assert resolved(n_clusters=270, clusterer="kmeans").clusterer.name == "kmeans"
    assert paper(n_clusters=270, clusterer="kmeans").deviations() == []
    assert paper(n_clusters=15).remarks(facts(4485))[0] == "preset='paper': as in the paper"


@pytest.mark.parametrize("name", ["pooled", "vlad", "fisher", "patch-mining"])
def test_kmeans_has_our_scale_and_starts(name):
    found = resolved(4485, n_clusters=15, encoder=name)
    assert found.encoder.l2_normalize
    assert (found.clusterer.init, found.clusterer.n_init, found.clusterer.warm_start) == (
        "kmeans++",
        None,
        True,
    )


@pytest.mark.parametrize("name", ["pooled", "vlad", "fisher", "patch-mining"])
@pytest.mark.parametrize("n", [1000, 60_000])
def test_rim_clusters_vectors_that_are_neither_whitened_nor_of_length_1(name, n):
    found = resolved(n, encoder=name).encoder
    assert not found.l2_normalize
    if name == "pooled":
        assert found.settle(n, 4096)[1] is False
    default = fdc.LDPO(encoder=name).resolve(facts(n))
    assert not default.encoder.l2_normalize
    assert name != "pooled" or default.encoder.settle(n, 4096)[1] is False


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


def test_rim_maximizes_equations_1_to_3():
    """The objective of the solution by loops, on the vectors as they are; biases have no penalty."""
    draw = np.random.default_rng(4)
    vectors = 20 * draw.normal(size=(3, 2)).repeat(20, axis=0) + 8 * draw.normal(size=(60, 2))
    clusterer = resolved().clusterer.model_copy(update={"n_init_clusters": 3})
    points, unit = rim.standardized(torch.from_numpy(vectors))
    model = clusterer._initial_model(points, 1)
    point, found = rim.solve(points, model, penalty=clusterer.penalty / unit**2, max_iter=100)
    assert point.n_clusters == 3, "none is left out"
    weights = found.weights.numpy() / unit  # of the vectors themselves
    biases = found.biases.numpy() - vectors.mean(axis=0) @ weights

    def objective(weights, biases):
        p = np.exp(vectors @ weights + biases)
        p /= p.sum(axis=1, keepdims=True)
        mean = p.mean(axis=0)
        information = -sum(q * np.log(q) for q in mean) + sum(q * np.log(q) for row in p for q in row) / 60
        return information - 1.0 * sum(w @ w for w in weights.T)

    assert point.objective == pytest.approx(objective(weights, biases), abs=1e-5)
    for sign in (-1, 1):
        for step in np.eye(weights.size):
            moved = weights + 0.003 * sign * step.reshape(weights.shape)
            assert objective(moved, biases) < point.objective + 1e-6
        for step in np.eye(len(biases)):
            assert objective(weights, biases + 0.05 * sign * step) < point.objective + 1e-6
    (alone,) = clusterer._path(points, unit, model)
    assert (alone.penalty * unit**2, alone.objective) == pytest.approx((1.0, point.objective))


def test_the_hierarchy_is_equations_4_to_7():
    """Softmax scores of 90 images of 5 classes, and the affinities of classes and of merged classes, by loops."""
    draw = np.random.default_rng(6)
    labels = np.repeat(np.arange(5), [30, 22, 18, 12, 8])
    scores = draw.dirichlet(np.ones(5), 90) * 0.3 + 0.7 * np.eye(5)[labels]
    sizes = np.bincount(labels)
    mass = np.stack([scores[labels == i].sum(axis=0) for i in range(5)])
    confusion = category_tree.by_cluster(mass, sizes)
    for groups in (np.arange(5), np.array([0, 1, 0, 1, 1])):
        found = category_tree.affinity_of(confusion, sizes, groups)
        for i in range(groups.max() + 1):
            for j in range(groups.max() + 1):
                of = [np.flatnonzero(groups[labels] == one) for one in (i, j)]
                one = sum(scores[m, k] for m in of[0] for k in np.flatnonzero(groups == j)) / len(of[0])
                two = sum(scores[n, k] for n in of[1] for k in np.flatnonzero(groups == i)) / len(of[1])
                assert found[i, j] == pytest.approx((one + two) / 2)


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
