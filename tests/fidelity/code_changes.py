"""Changes of what the code fixes, for ``test_mutations.py``: DeepCluster-v2, UCNN, LDPO, and some of the others.

Each is (paper, test, arguments of the test, owner, attribute, other value).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.datasets import load_digits
from torch import nn

from fiftyone_deepcluster.analysis import category_tree
from fiftyone_deepcluster.backbones import ucnn
from fiftyone_deepcluster.backbones.projection import Projected
from fiftyone_deepcluster.backbones.torchvision import Torchvision
from fiftyone_deepcluster.clusterers.base import CLUSTERERS
from fiftyone_deepcluster.clusterers.kmeans import clusterer as kmeans
from fiftyone_deepcluster.clusterers.rim import information as rim
from fiftyone_deepcluster.clusterers.rim.clusterer import Rim
from fiftyone_deepcluster.features import streaming as codes
from fiftyone_deepcluster.features.fisher import Fisher
from fiftyone_deepcluster.features.patch_mining import detectors, itemsets, patches
from fiftyone_deepcluster.features.patch_mining.detectors import Background, Limit
from fiftyone_deepcluster.features.patch_mining.encoder import PatchMining
from fiftyone_deepcluster.features.vlad import Vlad
from fiftyone_deepcluster.methods import cardiac_mr, deepcluster_v2, ldpo
from fiftyone_deepcluster.methods.cardiac_mr import CardiacMR
from fiftyone_deepcluster.methods.dac import DAC
from fiftyone_deepcluster.methods.deepcluster_v2 import DeepClusterV2
from fiftyone_deepcluster.methods.ldpo import LDPO
from fiftyone_deepcluster.methods.trained import Trained
from fiftyone_deepcluster.methods.ucnn import UCNN
from fiftyone_deepcluster.metrics import agreement
from fiftyone_deepcluster.pseudo_labels import memory_bank, streaming
from fiftyone_deepcluster.pseudo_labels.convergence import LossConvergence
from fiftyone_deepcluster.pseudo_labels.holdout import Holdout, Split
from fiftyone_deepcluster.pseudo_labels.pairs import FrozenTargets
from fiftyone_deepcluster.pseudo_labels.round_labels import RoundLabels
from fiftyone_deepcluster.training import losses
from fiftyone_deepcluster.training.optimizers import OptimizerSpec
from fiftyone_deepcluster.training.stopping import StopOnAgreement
from tests.fidelity import test_paper_deepcluster_v2

if TYPE_CHECKING:
    from collections.abc import Callable

Change = tuple[str, str, dict[str, Any], object, str, object]


def with_given(make: Callable[..., Any], **changed: Any) -> Callable[..., Any]:
    """``make`` called with some arguments replaced."""
    return lambda *given, **named: make(*given, **{**named, **changed})


def then(make: Callable[..., Any], change: Callable[[Any], Any]) -> Callable[..., Any]:
    """``make``, and its result changed."""
    return lambda *given, **named: change(make(*given, **named))


def with_values(**changed: Any) -> Callable[[Any], Any]:
    """A copy of a pydantic model or a data class with other values."""
    return lambda found: (
        found.model_copy(update=changed) if hasattr(found, "model_copy") else replace(found, **changed)
    )


def only(owner: type, **changed: Any) -> Callable[[Any], Any]:
    """A copy with other values of results of one class; others unchanged."""
    return lambda found: with_values(**changed)(found) if isinstance(found, owner) else found


def wide_step(module: nn.Sequential) -> nn.Sequential:
    """A first convolution with stride 2."""
    module[0].stride = (2, 2)
    return module


def no_hidden_layer(self: Projected, backbone: nn.Module, hidden: int, dim: int) -> None:
    """A projection of one linear layer."""
    nn.Module.__init__(self)
    self.backbone, self.dim = backbone, dim
    self.projection = nn.Sequential(nn.Identity(), nn.Linear(int(backbone.dim), dim))


def no_norm(self: Projected, backbone: nn.Module, hidden: int, dim: int) -> None:
    """A projection without batch norm."""
    PROJECTED(self, backbone, hidden, dim)
    self.projection[2] = nn.Identity()


def pooled_maps(self: Torchvision, channels: int, size: int, weights: str | None) -> nn.Module:
    """ResNet-18, whose features are pooled maps."""
    return MAKE_TORCHVISION(Torchvision(model="resnet18"), channels, size, weights)


def mean_pooling(self: nn.Module, images: Any) -> Any:
    """UCNN's forward pass with the mean over the maps."""
    maps = self.adaptation(self.convolutions(images))
    return self.norm(self.full(maps.mean(dim=(2, 3))).float())


def of_training_images(self: Holdout, corpus: Any, labels: Any, split: Any) -> dict[str, float]:
    """The accuracies on the images that the network was trained on."""
    return SCORES(self, corpus, labels, replace(split, test=split.training))


def without_holdout(self: Holdout, n: int, round_index: int, groups: Any = None) -> Split:
    """All images in the training part."""
    return replace(SPLIT(self, n, round_index, groups), training=np.arange(n))


def begins_anew(self: RoundLabels, corpus: Any) -> Any:
    """An assignment after which the network has other weights than it was trained to."""
    found = ASSIGN(self, corpus)
    for weights in corpus.network.backbone.parameters():
        weights.data.mul_(0.5)
    return found


def certain(model: Any, points: Any) -> Any:
    """Minus the mean entropy, and not the mutual information."""
    value, by_weights, by_biases = INFORMATION(model, points)
    mean = sum(logs.exp().sum(dim=0) for _, logs in model.log_probabilities(points)) / len(points)
    return value + float((mean * mean.log()).sum()), by_weights, by_biases


def half_the_penalty(gain: Any, start: Any, *, penalty: float, max_iter: int) -> Any:
    """RIM's optimization with another factor in equation 3."""
    return ASCEND(gain, start, penalty=penalty / 2, max_iter=max_iter)


def one_way(confusion: Any, sizes: Any, groups: Any) -> Any:
    """Prob(i|j) of equation 4 without Prob(j|i)."""
    member = np.eye(int(groups.max()) + 1)[groups]
    return member.T @ confusion @ member


ASSIGN, INFORMATION, ASCEND = RoundLabels.assign, rim.information, rim.ascend
UCNN_MODULE = ucnn.module_class()
PROJECTED, MAKE_TORCHVISION, SCORES = Projected.__init__, Torchvision.make_module, Holdout.scores
HEADS, CROPS, RATES = (
    "test_heads_are_spherical_kmeans_from_random_images",
    "test_crops_are_the_papers",
    "test_the_learning_rate_warms_up_and_decays",
)
WIDTHS = "test_the_projection_has_the_papers_widths"
KMEANS = kmeans.KMeans
BANK = memory_bank.BankLabelsParts

V2: dict[str, Change] = {
    "v2: 20 iterations": ("deepcluster_v2", HEADS, {}, kmeans, "KMeans", then(KMEANS, with_values(max_iter=20))),
    "v2: Euclidean k-means": (
        "deepcluster_v2", HEADS, {}, kmeans, "KMeans", then(KMEANS, with_values(spherical=False)),
    ),
    "v2: k-means++": ("deepcluster_v2", HEADS, {}, kmeans, "KMeans", then(KMEANS, with_values(init="k-means++"))),
    "v2: one bank": ("deepcluster_v2", HEADS, {}, memory_bank, "BankLabelsParts", with_given(BANK, n_banks=1)),
    "v2: other temperature": (
        "deepcluster_v2", HEADS, {}, losses, "PrototypeCrossEntropy", lambda value: PROTOTYPES(2 * value),
    ),
    "v2: one linear layer": ("deepcluster_v2", WIDTHS, {}, Projected, "__init__", no_hidden_layer),
    "v2: projection without norm": ("deepcluster_v2", WIDTHS, {}, Projected, "__init__", no_norm),
    "v2: embeddings of any length": (
        "deepcluster_v2", "test_banks_start_from_two_augmented_crops", {}, Projected, "forward",
        lambda self, images: self.projection(self.backbone(images)).float(),
    ),
    "v2: no blur": (
        "deepcluster_v2", CROPS, {}, deepcluster_v2, "augmentation",
        then(deepcluster_v2.augmentation, with_values(blur=0.0)),
    ),
    "v2: weaker jitter": (
        "deepcluster_v2", CROPS, {}, deepcluster_v2, "augmentation",
        then(deepcluster_v2.augmentation, with_values(jitter=(0.4, 0.4, 0.4, 0.1))),
    ),
    "v2: no gray": (
        "deepcluster_v2", CROPS, {}, deepcluster_v2, "augmentation",
        then(deepcluster_v2.augmentation, with_values(grayscale=0.0)),
    ),
    "v2: no flips": (
        "deepcluster_v2", CROPS, {}, deepcluster_v2, "augmentation",
        then(deepcluster_v2.augmentation, with_values(flip=False)),
    ),
    "v2: other trust": ("deepcluster_v2", RATES, {}, deepcluster_v2, "TRUST", 0.02),
    "v2: no momentum": (
        "deepcluster_v2", RATES, {}, DeepClusterV2, "_optimizer_spec",
        then(DeepClusterV2._optimizer_spec, with_values(momentum=0.0)),
    ),
    "v2: a rate that ends at 0": (
        "deepcluster_v2", RATES, {}, DeepClusterV2, "_optimizer_spec",
        then(DeepClusterV2._optimizer_spec, lambda spec: replace(spec, cosine=replace(spec.cosine, last=0.0))),
    ),
    "v2: batch norm of each process": (
        "deepcluster_v2", "test_batch_norm_shares_its_statistics_in_a_group", {"world": 2, "at_most": 8},
        test_paper_deepcluster_v2, "sync_norms", lambda network, compute, at_most: network,
    ),
}  # fmt: skip

PROTOTYPES = losses.PrototypeCrossEntropy
LAYERS, SGD = "test_the_network_has_the_papers_layers", "test_fc9_and_softmax_are_trained_by_plain_sgd"
STREAM = "test_the_stream_has_the_papers_parts"
STREAMING = streaming.StreamingParts
DIGITS = (load_digits().images[:200] * 15.9375).astype(np.uint8)

UCNNS: dict[str, Change] = {
    "UCNN: widths of AlexNet's article": (
        "ucnn", LAYERS, {"k": 365}, ucnn, "CONVOLUTIONS", (96, 256, 384, 384, 256),
    ),
    "UCNN: stride 2 in conv1": ("ucnn", LAYERS, {"k": 365}, ucnn, "_large", then(ucnn._large, wide_step)),
    "UCNN: 1 x 1 kernels in conv6-8": (
        "ucnn", LAYERS, {"k": 365}, ucnn._block, "__defaults__", ((1, 1, 0),),
    ),
    "UCNN: batch norm": (
        "ucnn", LAYERS, {"k": 365}, UCNN, "_default_backbone",
        then(UCNN._default_backbone, with_values(norm="batch")),
    ),
    "UCNN: 1000 outputs of FC9": (
        "ucnn", LAYERS, {"k": 365}, UCNN, "_default_backbone",
        then(UCNN._default_backbone, with_values(dim=1000)),
    ),
    "UCNN: no ReLU before the softmax": ("ucnn", LAYERS, {"k": 365}, UCNN_MODULE, "relu_before_head", False),
    "UCNN: mean pooling": (
        "ucnn", "test_global_max_pooling_leaves_one_value_a_channel", {}, UCNN_MODULE, "forward", mean_pooling,
    ),
    "UCNN: a margin around the crop": (
        "ucnn", "test_images_are_cropped_to_256_without_a_margin", {}, UCNN, "decoded_side", property(lambda self: 292),
    ),
    "UCNN: momentum": ("ucnn", SGD, {}, OptimizerSpec, "__init__", with_given(OptimizerSpec.__init__, momentum=0.9)),
    "UCNN: weight decay": (
        "ucnn", SGD, {}, OptimizerSpec, "__init__", with_given(OptimizerSpec.__init__, weight_decay=5e-4),
    ),
    "UCNN: label smoothing": ("ucnn", SGD, {}, losses, "CrossEntropy", lambda: CROSS_ENTROPY(0.1)),
    "UCNN: no compensation": ("ucnn", STREAM, {}, streaming, "StreamingParts", with_given(STREAMING, drift="ignored")),
    "UCNN: centers of k-means": ("ucnn", STREAM, {}, streaming, "StreamingParts", with_given(STREAMING, init="kmeans")),
    "UCNN: counts begin anew": ("ucnn", STREAM, {}, streaming, "StreamingParts", with_given(STREAMING, recount=True)),
    "UCNN: vectors of all images": (
        "ucnn", "test_there_is_no_pass_over_all_images", {"digits": DIGITS}, streaming, "StreamingParts",
        with_given(STREAMING, vectors=True),
    ),
}  # fmt: skip

CROSS_ENTROPY = losses.CrossEntropy
SIZES = "test_encodings_have_the_papers_sizes"
UNSCALED = "test_rim_clusters_vectors_that_are_neither_whitened_nor_of_length_1"
SPLIT, ENCODER_FOR = Holdout.split, ldpo.encoder_for

FIRST_GROUPS = "test_patches_are_mined_in_the_first_groups_and_then_in_clusters"
ALGORITHM_1, RIM = "test_merging_is_algorithm_1", "test_rim_maximizes_equations_1_to_3"
CODE = "test_a_code_has_the_largest_score_of_every_detector_in_the_image_and_its_quarters"
HIERARCHY, AFFINITY = "test_the_hierarchy_is_equations_4_to_7", category_tree.affinity_of
DETECTORS, DESCRIBER, PATH = Background.detectors, PatchMining._describer, Rim._path
TOPICS = "test_topics_train_a_network_until_it_has_converged_before_clusters_follow"
LDPOS: dict[str, Change] = {
    "LDPO: RIM from 100 clusters": (
        "ldpo", "test_medical_images_are_clustered_by_rim_with_lambda_1", {}, ldpo, "PAPER_RIM",
        {**ldpo.PAPER_RIM, "n_init_clusters": 100},
    ),
    "LDPO: VLAD with 32 words": (
        "ldpo_mining", SIZES, {}, Vlad, "learn",
        then(Vlad.learn, lambda codebook: {name: values[:32] for name, values in codebook.items()}),
    ),
    "LDPO: Fisher vectors of 32 Gaussians": (
        "ldpo_mining", SIZES, {}, Fisher, "learn",
        then(Fisher.learn, lambda codebook: {name: values[:32] for name, values in codebook.items()}),
    ),
    "LDPO: Fisher vectors without variances": (
        "ldpo_mining", SIZES,
        {}, Fisher, "describe", then(Fisher.describe, lambda found: found[:, : found.shape[1] // 2]),
    ),
    "LDPO: PCA to 2048": ("ldpo_mining", SIZES, {}, codes, "LDPO_COMPONENTS", 2048),
    "LDPO: 20 patterns a group": (
        "ldpo_mining", SIZES, {}, ldpo, "encoder_for", then(ENCODER_FOR, only(PatchMining, patterns=20)),
    ),
    "LDPO: windows of maps": (
        "ldpo_mining", SIZES, {}, ldpo, "encoder_for", then(ENCODER_FOR, only(PatchMining, patches="maps")),
    ),
    "LDPO: crops at their own size": (
        "ldpo_mining", "test_patch_mining_crops_pass_through_the_network", {}, patches, "_resized",
        lambda cut, size: RESIZED(cut, cut.shape[-1]),
    ),
    "LDPO: vectors of length 1": (
        "ldpo", UNSCALED, {"name": "vlad", "n": 1000}, ldpo, "encoder_for", lambda encoder, clusterer: encoder,
    ),
    "LDPO: whitened features": (
        "ldpo", UNSCALED, {"name": "pooled", "n": 1000}, ldpo, "encoder_for",
        then(ENCODER_FOR, with_values(whiten=True, pca=256)),
    ),
    "LDPO: a mixture for k-means": (
        "ldpo", "test_scenes_are_clustered_by_kmeans_with_the_known_number", {}, LDPO, "resolve",
        then(LDPO.resolve, with_values(clusterer=CLUSTERERS.parse("gmm"))),
    ),
    "LDPO: 8 pseudo-classes per cluster": (
        "ldpo", "test_scenes_are_clustered_by_kmeans_with_the_known_number", {}, LDPO, "resolve",
        then(LDPO.resolve, with_values(pseudo_clusters=120)),
    ),
    "LDPO: no momentum": (
        "ldpo_training", "test_the_softmax_layer_learns_faster_and_is_sized_by_the_clusters",
        {}, LDPO, "optimizer_spec",
        then(LDPO.optimizer_spec, with_values(momentum=0.0)),
    ),
    "LDPO: momentum below the softmax layer only": (
        "ldpo_training", "test_the_softmax_layer_learns_faster_and_is_sized_by_the_clusters",
        {}, LDPO, "optimizer_spec",
        then(LDPO.optimizer_spec, with_values(head_momentum=0.0)),
    ),
    "LDPO: one learning rate": (
        "ldpo_training", "test_the_softmax_layer_learns_faster_and_is_sized_by_the_clusters",
        {}, LDPO, "optimizer_spec",
        then(LDPO.optimizer_spec, with_values(head_learning_rate=0.001)),
    ),
    "LDPO: one split for all rounds": (
        "ldpo_training", "test_the_split_is_70_10_20_and_new_in_every_round", {}, Holdout, "split",
        lambda self, n, round_index, groups=None: SPLIT(self, n, 0, groups),
    ),
    "LDPO: accuracy on the images trained on": (
        "ldpo_training", "test_accuracies_are_over_all_held_out_images", {}, Holdout, "scores", of_training_images,
    ),
    "LDPO: convergence by NMI alone": (
        "ldpo_training", "test_convergence_is_purity_and_nmi_of_adjacent_rounds", {}, LDPO, "stop_rules",
        lambda self: (StopOnAgreement(self.stop_nmi or 1.0),),
    ),
    "LDPO: convergence of two rounds in a row": (
        "ldpo_training", "test_convergence_is_purity_and_nmi_of_adjacent_rounds", {}, LDPO, "stop_rules",
        then(LDPO.stop_rules, lambda rules: (replace(rules[0], patience=2),)),
    ),
    "LDPO: convergence needs a settled number": (
        "ldpo_training", "test_convergence_is_purity_and_nmi_of_adjacent_rounds", {}, LDPO, "stop_rules",
        then(LDPO.stop_rules, lambda rules: (replace(rules[0], settled=0.05),)),
    ),
    "LDPO: clusters before topics count": (
        "ldpo_training", "test_clusters_before_a_first_round_on_given_labels_are_not_of_the_loop",
        {}, LDPO, "stop_rules",
        then(LDPO.stop_rules, lambda rules: (replace(rules[0], not_before=0),)),
    ),
    "LDPO: NMI by the larger entropy": (
        "ldpo_training", "test_purity_and_nmi_are_of_the_clusters_of_adjacent_rounds", {}, agreement, "_nmi",
        lambda counts, average: NMI(counts, "max"),
    ),
    "LDPO: the network begins anew in every round": (
        "ldpo_training", "test_the_network_is_fine_tuned_further_in_every_round",
        {}, RoundLabels, "assign", begins_anew,
    ),
    "LDPO: training on all images": (
        "ldpo_training", "test_the_network_is_fine_tuned_further_in_every_round", {}, Holdout, "split", without_holdout,
    ),
    "LDPO: training on random groups": (
        "ldpo_mining", FIRST_GROUPS, {"initial": "random"}, LDPO, "task_parts",
        then(LDPO.task_parts, with_values(train_initial=True)),
    ),
    "LDPO: the same groups in every first round": (
        "ldpo_mining", FIRST_GROUPS, {"initial": "features"}, PatchMining, "_groups",
        lambda self, n, request: np.arange(n) % request.n_groups,
    ),
    "LDPO: 10 activations a transaction": (
        "ldpo_mining", "test_transactions_are_the_indices_of_the_largest_activations", {}, ldpo, "encoder_for",
        then(ENCODER_FOR, only(PatchMining, activations=10)),
    ),
    "LDPO: other scales": (
        "ldpo_mining", "test_mining_has_the_numbers_of_mdpm", {}, ldpo, "encoder_for",
        then(ENCODER_FOR, only(PatchMining, scales=(0.5, 0.75))),
    ),
    "LDPO: the patterns of most patches are left out": (
        "ldpo_mining", "test_the_patterns_of_a_group_are_those_that_cover_most_of_its_patches",
        {}, itemsets, "_confidence",
        lambda everything, sets: np.where(np.arange(len(sets)) < 12, 0.1, CONFIDENCE(everything, sets)),
    ),
    "LDPO: merging where one score is above the threshold": (
        "ldpo_mining", ALGORITHM_1, {}, Limit, "strength",
        lambda self, scores, ground: scores.maximum(scores.T) - self.score,
    ),
    "LDPO: merging at any score": (
        "ldpo_mining", ALGORITHM_1, {}, Limit, "strength", lambda self, scores, ground: scores + 9,
    ),
    "LDPO: no merging": ("ldpo_mining", ALGORITHM_1, {}, detectors, "_mutual", lambda strength: []),
    "LDPO: detectors without the background": (
        "ldpo_mining", ALGORITHM_1, {}, Background, "detectors", lambda self, means: DETECTORS(self, means + self.mean),
    ),
    "LDPO: mean scores of the windows": (
        "ldpo_mining", CODE, {}, patches, "strongest",
        lambda scores, middles: STRONGEST(scores.mean(dim=1, keepdim=True).expand_as(scores), middles),
    ),
    "LDPO: codes of the first scale": (
        "ldpo_mining", CODE, {}, PatchMining, "_describer",
        lambda self, corpus, found: DESCRIBER(self.model_copy(update={"scales": self.scales[:1]}), corpus, found),
    ),
    "LDPO: no entropy of the mean": ("ldpo", RIM, {}, rim, "information", certain),
    "LDPO: half the penalty": ("ldpo", RIM, {}, rim, "ascend", half_the_penalty),
    "LDPO: lambda of vectors of length 1": (
        "ldpo", RIM, {}, Rim, "_path", lambda self, points, unit, model: PATH(self, points, 1.0, model),
    ),
    "LDPO: affinity in one direction": (
        "ldpo", HIERARCHY, {}, category_tree, "affinity_of", one_way,
    ),
    "LDPO: affinity without the sizes of classes": (
        "ldpo", HIERARCHY, {}, category_tree, "affinity_of",
        lambda confusion, sizes, groups: AFFINITY(confusion, np.ones_like(sizes), groups),
    ),
    "LDPO: topics are not used": (
        "ldpo_training", TOPICS, {}, LDPO, "task_parts", then(LDPO.task_parts, with_values(initial="features")),
    ),
    "LDPO: a fixed number of epochs on topics": (
        "ldpo_training", TOPICS, {}, LDPO, "task_parts",
        then(LDPO.task_parts, with_values(initial_rule=LossConvergence(0.01, most=20))),
    ),
    "LDPO: one epoch without a lower loss is convergence": (
        "ldpo_training", TOPICS, {}, LDPO, "task_parts",
        then(LDPO.task_parts, with_values(initial_rule=LossConvergence(0.01, most=100, patience=1))),
    ),
    "LDPO: another tolerance": (
        "ldpo_training", TOPICS, {}, LDPO, "task_parts",
        then(LDPO.task_parts, with_values(initial_rule=LossConvergence(0.02, most=100))),
    ),
    "LDPO: convergence relative to the last loss": (
        "ldpo_training", TOPICS, {}, LossConvergence, "converged",
        lambda self, losses: len(losses) > 5 and losses[-6] - losses[-1] <= self.tolerance * losses[-6],
    ),
    "LDPO: the maximum counts as convergence": (
        "ldpo_training", "test_a_network_for_topics_that_does_not_converge_is_said", {}, LossConvergence, "converged",
        lambda self, losses: len(losses) >= self.most,
    ),
    "LDPO: pooled maps for FC7": (
        "ldpo", "test_networks_end_in_the_papers_layers", {"model": "alexnet", "dim": 4096}, Torchvision,
        "make_module", pooled_maps,
    ),
}  # fmt: skip

RESIZED, STRONGEST, CONFIDENCE, NMI = (
    patches._resized,
    patches.strongest,
    itemsets._confidence,
    agreement._nmi,
)

OTHERS: dict[str, Change] = {
    "cardiac MR: 4 clusters per class": (
        "cardiac_mr", "test_the_recipe_is_the_same_for_any_images", {"side": 512, "n": 192_272}, cardiac_mr,
        "CLUSTERS_A_CLASS", 4,
    ),
    "cardiac MR: fewer clusters of few images": (
        "cardiac_mr", "test_the_recipe_is_the_same_for_any_images", {"side": 28, "n": 100}, CardiacMR, "_clusters_for",
        lambda self, n: 3,
    ),
    "cardiac MR: no momentum": (
        "cardiac_mr", "test_optimizer_is_the_papers", {}, CardiacMR, "optimizer_spec",
        then(Trained.optimizer_spec, with_values(momentum=0.0)),
    ),
    "DAC: thresholds from 0.99": (
        "dac", "test_the_thresholds_are_those_of_section_54", {}, DAC, "thresholds",
        then(DAC.thresholds, with_values(upper=(0.99, -1.0))),
    ),
    "DAC*: thresholds to 0.7": (
        "dac", "test_dac_star_goes_from_095_to_05", {}, DAC, "thresholds",
        then(DAC.thresholds, with_values(step=0.25 / 45)),
    ),
    "DAC: targets of a macro-batch": (
        "dac", "test_training_is_algorithm_1", {}, DAC, "frozen", lambda self: FrozenTargets(),
    ),
}  # fmt: skip

CHANGES: dict[str, Change] = {**V2, **UCNNS, **LDPOS, **OTHERS}
