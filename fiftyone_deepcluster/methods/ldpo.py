"""LDPO: looped deep pseudo-task optimization (Wang et al.: joint mining of deep features and image labels).

Every round: encode all images by a layer of the network (pooled, VLAD, Fisher vector, or mined patches), cluster,
teach a new softmax layer and, more gently, the layers below, on 70 % of the images; stop when the clusters of
adjacent rounds agree by purity and NMI.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, model_validator

from fiftyone_deepcluster.backbones.base import BACKBONES
from fiftyone_deepcluster.clusterers.base import CLUSTERERS, Clusterer
from fiftyone_deepcluster.core.registry import PartOf
from fiftyone_deepcluster.features.base import ENCODERS, Encoder
from fiftyone_deepcluster.methods.base import ADVANCED, METHODS, SMALL_SIDE
from fiftyone_deepcluster.methods.trained import AugmentName, Trained

if TYPE_CHECKING:
    from typing_extensions import Self

    from fiftyone_deepcluster.backbones.network import Network
    from fiftyone_deepcluster.images.inspect import ImageFacts
    from fiftyone_deepcluster.pseudo_labels.round_labels import RoundLabelsParts
    from fiftyone_deepcluster.training.optimizers import OptimizerSpec
    from fiftyone_deepcluster.training.stopping import StopRule

HEAD_FACTOR = 10
"""The new softmax layer learns this much faster than the backbone. The paper says "higher"; this is a default."""

TUNING_RATES, SCRATCH_RATES = {"sgd": 1e-3, "adamw": 1e-4}, {"sgd": 0.05, "adamw": 3e-3}
"""Of a pre-trained backbone and of one with random weights, by the optimizer."""

CONFIDENT_SHARE = 0.8
"""With pre-trained weights, share of each cluster that is taught: at its rim the clusters are wrong most often."""

FINE_TUNING_BATCH = 64
"""Images in a batch with pre-trained weights: two passes over some thousand images are then a hundred steps."""

SETTLED_SHARE = 0.05
"""The number of clusters has settled when it changes by at most this share. A default, not the paper's."""


@METHODS.register
class LDPO(Trained):
    """LDPO: clusters of a fine-tuned network's encodings, looped until adjacent rounds agree.

    The paper gives the split of 70/10/20 made anew every round, PCA to 4096, k-means with a known number or RIM
    that finds it, and convergence by purity and NMI. It leaves open the thresholds, optimizer, rates, epochs and the
    factor of the softmax layer: those here are defaults of ours. Without pre-trained weights the backbone learns from
    scratch at the head's rate.

    With pre-trained weights AdamW takes small steps, on a cycle a round, and only the surest 80 % of each cluster are
    taught, in small batches and with gentle crops: learning from every image at rates for random weights unlearns more
    than it teaches. Not the paper's, and worth more than either: ``reducer="umap"`` before the clusterer, and more
    pseudo-classes than clusters (``pseudo_clusters`` of four times ``n_clusters``, ``confident_share=1``, ``epochs=6``,
    ``augmentation="crop-flip"``).
    """

    name: Literal["ldpo"] = "ldpo"
    n_clusters: int | None = Field(
        None, ge=2, description="Number of clusters; empty: found by RIM from an over-segmentation."
    )
    rounds: int = Field(10, ge=1, le=100_000, description="Rounds at most; the paper's runs take about ten.")
    initial: Literal["features", "random", "kmeans", "labels", "topics"] = Field(
        "features",
        description="What the first round is taught: clusters of the network's features, random groups, k-means, "
        "the labels in initial_field, or topics of the reports in text_field.",
    )
    initial_field: str | None = Field(
        None, description="Label field with what the first round is taught, for initial = labels."
    )
    text_field: str | None = Field(
        None,
        description="Field with each image's report: key words of the clusters, and topics to start from.",
    )
    group_field: str | None = Field(
        None, description="Field that says who belongs together (patient, series): a split never parts them."
    )
    n_topics: int = Field(
        80, ge=2, description="Topics of the reports, for initial = topics.", json_schema_extra=ADVANCED
    )
    training_share: float = Field(
        0.7, gt=0, lt=1, description="Share of the images that a round teaches.", json_schema_extra=ADVANCED
    )
    validation_share: float = Field(
        0.1, ge=0, lt=1, description="Share to watch; the rest is the test part.", json_schema_extra=ADVANCED
    )
    confident_share: float | None = Field(
        None,
        gt=0,
        le=1,
        description="Share of each cluster's images that may be taught, the most confident ones; empty: 0.8 with "
        "weights, else all.",
        json_schema_extra=ADVANCED,
    )
    freeze_norm: bool | None = Field(
        None,
        description="Keep the batch norm of pre-trained weights as it is; empty: yes with weights.",
        json_schema_extra=ADVANCED,
    )
    epochs: int = Field(2, ge=1, le=1000, description="Passes over the taught images in a round.")
    optimizer: Literal["auto", "sgd", "adamw"] = Field(
        "auto",
        description="sgd: with momentum, at a constant rate; adamw: warmed up and annealed in every round; auto: adamw "
        "with weights, whose steps do not depend on how large a network's features are.",
        json_schema_extra=ADVANCED,
    )
    learning_rate: float | None = Field(  # type: ignore[assignment]
        None,
        gt=0,
        le=100,
        description="Of the backbone; empty: 0.05 by sgd and 0.003 by adamw, with weights 0.001 and 0.0001.",
    )
    weight_decay: float = Field(
        5e-4, ge=0, le=1, description="Pull of the weights to 0.", json_schema_extra=ADVANCED
    )
    augmentation: AugmentName = Field(
        "auto",
        description="How training images change; auto: affine up to 64 pixels, else gentle crops and flips.",
    )
    sampling: Literal["uniform", "shuffled"] = Field(
        "shuffled", description="Every image once, or equally from all clusters.", json_schema_extra=ADVANCED
    )
    stop_nmi: float | None = Field(
        0.9,
        gt=0,
        le=1,
        description="Stop when NMI with the last round reaches this twice; empty: never.",
        json_schema_extra=ADVANCED,
    )
    stop_purity: float = Field(
        0.9,
        ge=0,
        le=1,
        description="And purity this, in the same rounds; 0: whatever it is.",
        json_schema_extra=ADVANCED,
    )
    encoder: Annotated[Encoder, PartOf(ENCODERS)] = Field(
        default="pooled", validate_default=True, description="From features or maps to vectors."
    )
    clusterer: Annotated[Clusterer | None, PartOf(CLUSTERERS, optional=True)] = Field(  # type: ignore[assignment]
        default=None,
        description="Groups the vectors; empty: k-means with n_clusters, else RIM, which finds it.",
    )

    @property
    def decoded_side(self) -> int:
        """Side in pixels of the decoded images: the paper resizes them to what the network sees, and cuts nothing."""
        return self.image_size or SMALL_SIDE

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.training_share + self.validation_share > 1:
            raise ValueError(
                f"training_share={self.training_share} and validation_share={self.validation_share} are more than all "
                "images; lower one of them, so that their sum is 1 at most"
            )
        return self

    def resolve(self, facts: ImageFacts) -> LDPO:
        """See ``Options.resolve``."""
        small = (self.image_size or facts.side) <= SMALL_SIDE
        backbone = BACKBONES.parse("small" if small else {"name": "torchvision", "model": "alexnet"})
        clusterer = self.clusterer or CLUSTERERS.parse("rim" if self.n_clusters is None else "kmeans")
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
            encoder=self._encoder_for(clusterer),
            optimizer=optimizer,
            learning_rate=rate,
            head_learning_rate=self.head_learning_rate or (HEAD_FACTOR * rate if pretrained else rate),
            freeze_norm=pretrained if self.freeze_norm is None else self.freeze_norm,
            pseudo_clusters=self.pseudo_clusters or self.n_clusters,
        )

    def optimizer_spec(self) -> OptimizerSpec:
        """SGD with momentum, or AdamW on a cycle a round; both rates are settled."""
        from fiftyone_deepcluster.training.optimizers import OptimizerSpec

        cycled = self.optimizer == "adamw"
        return OptimizerSpec(
            "adamw" if cycled else "sgd",
            self.learning_rate or 0.05,
            self.head_learning_rate,
            weight_decay=self.weight_decay,
            one_cycle=cycled,
        )

    def task_parts(self) -> RoundLabelsParts:
        """Those of every trained method, with images held out and a first round of its own."""
        from dataclasses import replace

        from fiftyone_deepcluster.core.seeds import derive
        from fiftyone_deepcluster.pseudo_labels.holdout import Holdout

        holdout = Holdout(self.training_share, self.validation_share, derive(self.seed, "holdout"))
        return replace(
            super().task_parts(),
            initial=self.initial,
            holdout=holdout,
            confident_share=self.confident_share or 1.0,
        )

    def stop_rules(self) -> tuple[StopRule, ...]:
        """Purity and NMI of two adjacent pairs of rounds, and a settled number of clusters."""
        from fiftyone_deepcluster.training.stopping import StopOnAgreement

        if self.stop_nmi is None:
            return ()
        return (StopOnAgreement(self.stop_nmi, patience=2, purity=self.stop_purity, settled=SETTLED_SHARE),)

    def make_network(self) -> Network:
        """Input norm and backbone, batch norm frozen where it came with the weights, and a head that minds no scale."""
        from fiftyone_deepcluster.backbones.frozen_norms import freeze_norms

        network = super().make_network()
        network.level_before_head = self.weights is not None
        return freeze_norms(network) if self.freeze_norm else network

    def _encoder_for(self, clusterer: Clusterer) -> Encoder:
        """Pooled features as the paper has them: without a PCA (its table 1), and for RIM of their own length.

        RIM weighs its penalty by the scale of the vectors, and has a weight for each of their numbers and clusters.
        """
        encoder = self.encoder
        if encoder.name != "pooled":
            return encoder
        wanted: dict[str, object] = {"l2_normalize": False} if clusterer.name == "rim" else {"pca": 0}
        left = {name: value for name, value in wanted.items() if name not in encoder.model_fields_set}
        return encoder.model_copy(update=left)
