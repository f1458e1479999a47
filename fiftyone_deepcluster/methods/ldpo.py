"""LDPO: looped deep pseudo-task optimization (Wang et al.: joint mining of deep features and image labels).

Every round: encode all images by a layer of the network (pooled, VLAD, Fisher vector, or mined patches), cluster,
train a new softmax layer and, at a lower learning rate, the layers below, on a part of the images (the paper: 70 %);
stop when the clusters of adjacent rounds agree by purity and NMI.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from fiftyone_deepcluster.backbones.base import BACKBONES, SMALL_SIDE
from fiftyone_deepcluster.clusterers.base import CLUSTERERS, Clusterer
from fiftyone_deepcluster.core.registry import PartOf
from fiftyone_deepcluster.features.base import ENCODERS, Encoder
from fiftyone_deepcluster.methods.base import ADVANCED, METHODS, KnownFields
from fiftyone_deepcluster.methods.encoder_choice import encoder_for, left_to_clusterer
from fiftyone_deepcluster.methods.published import Paper, Published
from fiftyone_deepcluster.methods.shared_options import WeightDecay
from fiftyone_deepcluster.methods.trained import AugmentName, Trained

if TYPE_CHECKING:
    from typing_extensions import Self

    from fiftyone_deepcluster.backbones.network import Network
    from fiftyone_deepcluster.images.inspect import ImageFacts
    from fiftyone_deepcluster.pseudo_labels.round_labels import RoundLabelsParts
    from fiftyone_deepcluster.training.optimizers import OptimizerSpec
    from fiftyone_deepcluster.training.stopping import StopRule

HEAD_FACTOR = 10
"""Learning rate of the new softmax layer relative to the backbone. The paper says "higher"; this is our default."""

TUNING_RATES, SCRATCH_RATES = {"sgd": 1e-3, "adamw": 1e-4}, {"sgd": 0.05, "adamw": 3e-3}
"""Learning rates of a pre-trained backbone and of one with random weights, by optimizer."""

CONFIDENT_SHARE = 0.8
"""Share of each cluster trained on with pre-trained weights: images far from the center are most often wrong."""

FINE_TUNING_BATCH = 64
"""Batch size with pre-trained weights: two epochs on some thousand images are then a hundred steps."""

SETTLED_SHARE = 0.05
"""The number of clusters has converged when it changes by at most this share. Our default, not the paper's."""

TOPIC_EPOCHS, TOPIC_TOLERANCE, TOPIC_MAX_EPOCHS = 20, 0.01, 100
"""Epochs of the first round on topics or labels, or its convergence: ours, the paper gives neither number nor rule."""

PAPER_RIM: dict[str, Any] = {"name": "rim", "penalty": 1.0, "n_init_clusters": 1000}
"""k-means with 1000 clusters, then RIM with lambda = 1 (section 3.2)."""


@METHODS.register
class LDPO(Published, Trained):
    """LDPO: clusters of a fine-tuned network's encodings, repeated until adjacent rounds agree.

    ``preset="paper"``: ImageNet's AlexNet, a split of 70/10/20 redrawn every round, PCA to 4096 for encodings, k-means
    with a known number or RIM with lambda = 1 that finds it, and convergence by purity and NMI of two rounds. With
    mined patches, ``initial="random"`` and ``"kmeans"`` are only the groups that patches are first mined in. The paper
    leaves open the thresholds, learning rates, epochs and the factor of the softmax layer; those of the preset are
    usual ones. Without pre-trained weights, which the paper always has, the backbone is trained from scratch at the
    head's rate.

    With pre-trained weights the default is AdamW with low learning rates, a one-cycle schedule per round, small
    batches, gentle crops (above 64 pixels) and only the most confident 80 % of each cluster: training on every image
    at the rates for random weights destroys more of the features than it improves. Not the paper's, and more effective
    than either: ``reducer="umap"`` before the clusterer, and more pseudo-classes than clusters (``pseudo_clusters`` of
    four times ``n_clusters``, ``confident_share=1``, ``epochs=6``, ``augmentation="crop-flip"``).
    """

    paper: ClassVar[Paper] = Paper(
        values={
            "rounds": 10,
            "image_size": 224,
            "image_fit": "stretch",
            "backbone": {"name": "torchvision", "model": "alexnet"},
            "weights": "IMAGENET1K_V1",
            "input_norm": "imagenet",
            "pseudo_clusters": None,
            "pseudo_class_rounds": None,
            "merge": False,
            "initial": "features",
            "initial_epochs": None,
            "initial_tolerance": TOPIC_TOLERANCE,
            "initial_max_epochs": TOPIC_MAX_EPOCHS,
            "training_share": 0.7,
            "validation_share": 0.1,
            "confident_share": 1.0,
            "freeze_norm": False,
            "level_head": False,
            "epochs": 2,
            "min_steps": 0,
            "batch_size": 256,
            "optimizer": "sgd",
            "learning_rate": 0.001,
            "head_learning_rate": 0.01,
            "weight_decay": 5e-4,
            "label_smoothing": 0.0,
            "augmentation": "none",
            "sampling": "shuffled",
            "stop_nmi": 0.9,
            "stop_purity": 0.9,
            "encoder": {"name": "pooled", "pca": 0},
            "reducer": "identity",
            "clusterer": None,
        },
        also={
            "backbone": tuple(
                {"name": "torchvision", "model": model} for model in ("googlenet", "vgg16", "vgg19")
            ),
            "initial": ("random", "kmeans", "topics"),
            "encoder": ({"name": "vlad"}, {"name": "fisher"}, {"name": "patch-mining"}),
            "clusterer": ("kmeans", PAPER_RIM),
        },
        free=frozenset({"n_clusters", "initial_field", "text_field", "group_field", "n_topics"}),
    )

    name: Literal["ldpo"] = "ldpo"
    n_clusters: int | None = Field(
        None, ge=2, description="Number of clusters; empty: found by RIM from an over-segmentation."
    )
    rounds: int = Field(
        10, ge=1, le=100_000, description="Maximum number of rounds; the paper's runs take about ten."
    )
    initial: Literal["features", "random", "kmeans", "labels", "topics"] = Field(
        "features",
        description="Pseudo-labels of the first round: clusters of the network's features, random groups, k-means, "
        "the labels in initial_field, or topics of the reports in text_field.",
    )
    initial_field: str | None = Field(
        None, description="Label field with the pseudo-labels of the first round, for initial = labels."
    )
    text_field: str | None = Field(
        None,
        description="Field with the report of each image, for keywords of the clusters and initial = topics.",
    )
    group_field: str | None = Field(
        None, description="Field with the group (patient, series) of each image; a group is never split."
    )
    initial_epochs: int | None = Field(
        TOPIC_EPOCHS,
        ge=1,
        le=1000,
        description="Epochs of the first round on topics or labels, so that clusters start from a trained network; "
        "empty: until its training loss has converged.",
        json_schema_extra=ADVANCED,
    )
    initial_tolerance: float = Field(
        TOPIC_TOLERANCE,
        gt=0,
        lt=1,
        description="With initial_epochs empty: the loss has converged when five epochs do not lower it by "
        "more than this share of the first epoch's loss.",
        json_schema_extra=ADVANCED,
    )
    initial_max_epochs: int = Field(
        TOPIC_MAX_EPOCHS,
        ge=1,
        le=100_000,
        description="With initial_epochs empty: maximum number of epochs of that round, also where epochs or min_steps "
        "ask for more; a note says if it is reached.",
        json_schema_extra=ADVANCED,
    )
    n_topics: int = Field(
        80,
        ge=2,
        description="Number of topics of the reports, for initial = topics.",
        json_schema_extra=ADVANCED,
    )
    training_share: float = Field(
        0.7,
        gt=0,
        lt=1,
        description="Share of the images for training in a round.",
        json_schema_extra=ADVANCED,
    )
    validation_share: float = Field(
        0.1,
        ge=0,
        lt=1,
        description="Share of the images for validation; the rest is for testing.",
        json_schema_extra=ADVANCED,
    )
    confident_share: float | None = Field(
        None,
        gt=0,
        le=1,
        description="Share of each cluster's images that are trained on, the most confident ones; empty: 0.8 with "
        "weights, else all.",
        json_schema_extra=ADVANCED,
    )
    freeze_norm: bool | None = Field(
        None,
        description="Freeze the batch norm of pre-trained weights; empty: yes with weights.",
        json_schema_extra=ADVANCED,
    )
    level_head: bool = Field(
        True,
        description="Normalize pre-trained features to a fixed length before the head, for any network.",
        json_schema_extra=ADVANCED,
    )
    epochs: int = Field(2, ge=1, le=1000, description="Epochs over the training images per round.")
    optimizer: Literal["auto", "sgd", "adamw"] = Field(
        "auto",
        description="sgd: with momentum and a constant learning rate; adamw: with warm-up and annealing per round; "
        "auto: adamw with weights, because its steps do not depend on the scale of the features.",
        json_schema_extra=ADVANCED,
    )
    learning_rate: float | None = Field(  # type: ignore[assignment]
        None,
        gt=0,
        le=100,
        description="Learning rate of the backbone; empty: sgd 0.05 and adamw 0.003, with weights 0.001 and 0.0001.",
    )
    weight_decay: WeightDecay = 5e-4
    augmentation: AugmentName = Field(
        "auto",
        description="Training augmentation; auto: affine up to 64 pixels, else gentle crops and flips.",
    )
    sampling: Literal["uniform", "shuffled"] = Field(
        "shuffled",
        description="Sampling of training images: every image once, or equally from all clusters.",
        json_schema_extra=ADVANCED,
    )
    stop_nmi: float | None = Field(
        0.9,
        gt=0,
        le=1,
        description="Stop when the NMI with the last round reaches this twice, with the preset of the paper once; "
        "empty: never.",
        json_schema_extra=ADVANCED,
    )
    stop_purity: float = Field(
        0.9,
        ge=0,
        le=1,
        description="Purity that the same rounds must also reach to stop; 0: no condition.",
        json_schema_extra=ADVANCED,
    )
    encoder: Annotated[Encoder, PartOf(ENCODERS)] = Field(
        default="pooled", validate_default=True, description="Converts features or feature maps to vectors."
    )
    clusterer: Annotated[Clusterer | None, PartOf(CLUSTERERS, optional=True)] = Field(  # type: ignore[assignment]
        default=None,
        description="Clustering algorithm; empty: k-means with n_clusters, else RIM, which finds the number.",
    )

    @property
    def known_fields(self) -> KnownFields:
        """See ``Options.known_fields``."""
        return KnownFields(
            texts=self.text_field,
            groups=self.group_field,
            initial=self.initial,
            labels=self.initial_field,
            n_topics=self.n_topics,
        )

    @property
    def held_out_share(self) -> float:
        """Share of the test part."""
        return round(1 - self.training_share - self.validation_share, 9)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.training_share + self.validation_share > 1:
            raise ValueError(
                f"training_share={self.training_share} and validation_share={self.validation_share} exceed 1 in "
                "total; lower one of them, so that their sum is 1 at most"
            )
        return self

    def resolve(self, facts: ImageFacts) -> LDPO:
        """See ``Options.resolve``."""
        small = (self.image_size or facts.side) <= SMALL_SIDE
        backbone = BACKBONES.parse("small" if small else {"name": "torchvision", "model": "alexnet"})
        rim: object = PAPER_RIM if self.preset == "paper" else "rim"
        clusterer = self.clusterer or CLUSTERERS.parse(rim if self.n_clusters is None else "kmeans")
        pretrained = self.weights is not None
        known: dict[str, Any] = {
            "confident_share": self.confident_share or (CONFIDENT_SHARE if pretrained else 1.0)
        }
        if self.augmentation == "auto" and not small:
            known["augmentation"] = "gentle"
        if self.batch_size is None and pretrained:
            known["batch_size"] = FINE_TUNING_BATCH
        options = self.model_copy(update=known)
        optimizer = ("adamw" if pretrained else "sgd") if self.optimizer == "auto" else self.optimizer
        rate = self.learning_rate or (TUNING_RATES if pretrained else SCRATCH_RATES)[optimizer]
        return options.settle_training(
            facts,
            backbone,
            clusterer=clusterer,
            encoder=encoder_for(self.encoder, clusterer),
            optimizer=optimizer,
            learning_rate=rate,
            head_learning_rate=self.head_learning_rate or (HEAD_FACTOR * rate if pretrained else rate),
            freeze_norm=pretrained if self.freeze_norm is None else self.freeze_norm,
            pseudo_clusters=self.pseudo_clusters or self.n_clusters,
        )

    def going_on(self, n_clusters: int) -> Self:
        """See ``Options.going_on``; as the number of clusters is known, k-means takes the place of RIM."""
        found = self.clusterer is not None and self.clusterer.finds_number
        known = {"clusterer": CLUSTERERS.parse("kmeans")} if found else {}
        return super().going_on(n_clusters).model_copy(update={**known, "initial": "features"})

    def remarks(self, facts: ImageFacts) -> list[str]:
        """See ``Options.remarks``; also if training starts without weights, labels and topics."""
        notes = super().remarks(facts)
        if self.weights is None and self.initial not in ("labels", "topics"):
            notes.append(
                "without weights this is no LDPO, which starts from a trained network: clusters of random features "
                "are refined; give weights, or use method='deepcluster'"
            )
        return notes

    def optimizer_spec(self) -> OptimizerSpec:
        """SGD with momentum, in the preset also of the head, or AdamW with a one-cycle schedule per round."""
        from fiftyone_deepcluster.training.optimizers import OptimizerSpec

        cycled = self.optimizer == "adamw"
        return OptimizerSpec(
            "adamw" if cycled else "sgd",
            self.learning_rate or 0.05,
            self.head_learning_rate,
            weight_decay=self.weight_decay,
            one_cycle=cycled,
            # without it, ten times the rate is no more than the rate with momentum 0.9, and the head not faster
            head_momentum=0.9 if self.preset == "paper" else 0.0,
        )

    def task_parts(self) -> RoundLabelsParts:
        """The parts common to all trained methods, with hold-out and initial pseudo-labels."""
        from dataclasses import replace

        from fiftyone_deepcluster.core.seeds import derive
        from fiftyone_deepcluster.pseudo_labels.convergence import LossConvergence
        from fiftyone_deepcluster.pseudo_labels.holdout import Holdout

        most = self.initial_max_epochs
        rule = LossConvergence(self.initial_tolerance, most, least=min(self.epochs, most))
        holdout = Holdout(self.training_share, self.validation_share, derive(self.seed, "holdout"))
        return replace(
            super().task_parts(),
            initial=self.initial,
            initial_epochs=self.initial_epochs or 1,
            initial_rule=rule if self.initial_epochs is None else None,
            holdout=holdout,
            confident_share=self.confident_share or 1.0,
            train_initial=self._trains_on_initial,
        )

    @property
    def _trains_on_initial(self) -> bool:
        """Whether the first round trains on the labels of ``initial``, and not on clusters.

        The paper's random and k-means groups "initialize the patch mining procedure" (section 3.2); the network is
        trained on the clusters of the codes.
        """
        only_mined = self.preset == "paper" and self.encoder.name == "patch-mining"
        return self.initial != "features" and not (only_mined and self.initial in ("random", "kmeans"))

    def stop_rules(self) -> tuple[StopRule, ...]:
        """Stop on purity and NMI with the last round: of two rounds in a row, with a stable number of clusters.

        In the preset of one round, as in the paper (section 3.2). The clusters before a first round on given labels do
        not count there: the network is not the one that the paper starts from.
        """
        from fiftyone_deepcluster.training.stopping import StopOnAgreement

        if self.stop_nmi is None:
            return ()
        if self.preset == "paper":
            least = 2 if self._trains_on_initial else 1
            return (StopOnAgreement(self.stop_nmi, not_before=least, purity=self.stop_purity),)
        return (StopOnAgreement(self.stop_nmi, patience=2, purity=self.stop_purity, settled=SETTLED_SHARE),)

    def make_network(self) -> Network:
        """Input norm and backbone, its batch norm frozen with ``freeze_norm``.

        With weights and ``level_head`` the head does not depend on the scale of the features.
        """
        from fiftyone_deepcluster.backbones.frozen_norms import freeze_norms

        network = super().make_network()
        network.level_before_head = self.weights is not None and self.level_head
        return freeze_norms(network) if self.freeze_norm else network

    def as_given(self) -> dict[str, Any]:
        """See ``Options.as_given``; also without values of the encoder that depend on the clusterer."""
        found = super().as_given()
        for name in left_to_clusterer(self.encoder):
            del found["encoder"][name]
        return found
