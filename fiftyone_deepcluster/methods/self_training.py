"""Self-training of the upper layers of a pre-trained network on the most confident images of a consensus clustering.

Ours. Before training, the features of several views are whitened by the covariance between views of one image
(``features.view_whitening``), and clustered, by default by a consensus of many clusterings (``clusterers.consensus``).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from fiftyone_deepcluster.backbones.base import BACKBONES, Backbone, InputNormName
from fiftyone_deepcluster.clusterers.base import CLUSTERERS, Clusterer
from fiftyone_deepcluster.core.registry import PartOf
from fiftyone_deepcluster.errors import OptionsError
from fiftyone_deepcluster.features.base import ENCODERS, Encoder
from fiftyone_deepcluster.methods.base import ADVANCED, METHODS, Parts
from fiftyone_deepcluster.methods.shared_options import (
    Epochs,
    LabelSmoothing,
    MinSteps,
    StopNmi,
    WeightDecay,
    WithEncoder,
)
from fiftyone_deepcluster.methods.trained import make_network

if TYPE_CHECKING:
    from fiftyone_deepcluster.backbones.network import Network
    from fiftyone_deepcluster.images.inspect import ImageFacts

FAST: dict[str, Any] = {"views": 4, "runs": 6}
"""Views and runs with ``fast``."""

ENLARGED = 2
"""Images enlarged this many times look unlike those of the pre-training: one more stage adapts to them (measured)."""


@METHODS.register
class SelfTraining(WithEncoder):
    """Self-training: fine-tunes a pre-trained network on the most confident images of a consensus clustering.

    Each round trains the upper layers and a new head on the most confident images of each cluster; the head then labels
    all images. The layers below are frozen and their maps are cached, so that a round takes a fraction of the first
    pass. Where training does not improve the clusters, by a criterion that needs no classes, those before training are
    returned, and a note says so.
    """

    joins_vectors: ClassVar[bool] = True

    name: Literal["self-training"] = "self-training"
    n_clusters: int | None = Field(10, ge=2, description="Number of clusters.")
    rounds: int = Field(2, ge=1, le=1000, description="Maximum number of rounds of training.")
    backbone: Annotated[Backbone, PartOf(BACKBONES)] = Field(
        default={"name": "torchvision", "model": "mobilenet_v2"},
        validate_default=True,
        description="Network architecture of the weights.",
    )
    weights: str | None = Field(
        None,
        description="Pre-trained weights: a torchvision name such as IMAGENET1K_V1, "
        "pretrained for a model of timm or transformers, or a file; empty: random, which gives poor clusters.",
    )
    fast: bool = Field(
        False, description="Half the time: 4 views of every image and 6 runs of the consensus."
    )
    layer: str | None = Field(
        None,
        description="Layer up to which the network is frozen; empty: the last one below the trained stages.",
        json_schema_extra=ADVANCED,
    )
    trained_stages: int | None = Field(
        None,
        ge=1,
        le=3,
        description="Number of stages that are trained, from the last one; a stage is the layers with maps of the same "
        "size, or a quarter of a transformer's blocks. Empty: 1; 2 for images that are enlarged to twice their size or "
        "more.",
        json_schema_extra=ADVANCED,
    )
    confident_share: float = Field(
        0.8,
        gt=0,
        le=1,
        description="Share of each cluster's images that are trained on, the most confident ones.",
    )
    epochs: Epochs = 8
    min_steps: MinSteps = 120
    batch_size: int = Field(96, ge=2, le=65_536, description="Batch size.", json_schema_extra=ADVANCED)
    learning_rate: float = Field(
        0.003,
        gt=0,
        le=100,
        description="Peak learning rate of the backbone in the one-cycle schedule of a round.",
    )
    head_learning_rate: float = Field(
        0.1, gt=0, le=100, description="Peak learning rate of the head.", json_schema_extra=ADVANCED
    )
    weight_decay: WeightDecay = 1e-4
    label_smoothing: LabelSmoothing = 0.1
    average: float = Field(
        0.99,
        ge=0,
        lt=1,
        description="Decay of the moving average of the weights, which is kept at the end of a round; 0: none.",
        json_schema_extra=ADVANCED,
    )
    recluster: bool = Field(
        True,
        description="Cluster the learned vectors anew before every round; off: train on the labels of the head.",
        json_schema_extra=ADVANCED,
    )
    other_weight: float = Field(
        0.5,
        gt=0,
        le=100,
        description="Weight of given vectors (embeddings_field, model), relative to the network's features; without "
        "such vectors it has no effect.",
        json_schema_extra=ADVANCED,
    )
    plain_start: bool = Field(
        True,
        description="Also cluster the images' own features, without views, by UMAP and k-means, and start from these "
        "clusters if the view-whitened features give more information about them.",
        json_schema_extra=ADVANCED,
    )
    keep_first: bool = Field(
        True,
        description="Return the clusters and the network of before training if the features before training give more "
        "information about these clusters than about those after it; off: always those after training.",
        json_schema_extra=ADVANCED,
    )
    stop_nmi: StopNmi = 0.97
    input_norm: InputNormName | None = Field(
        None,
        description="Fixed first layer; empty: that of the backbone's pre-trained weights.",
        json_schema_extra=ADVANCED,
    )
    encoder: Annotated[Encoder, PartOf(ENCODERS)] = Field(
        default={"name": "view-whitened", "layer": "auto"},
        validate_default=True,
        description="view-whitened, with its options.",
        json_schema_extra=ADVANCED,
    )
    clusterer: Annotated[Clusterer, PartOf(CLUSTERERS)] = Field(
        default="consensus",
        validate_default=True,
        description="Clustering algorithm; its confidence selects the images to train on.",
        json_schema_extra=ADVANCED,
    )

    @property
    def views_of_an_image(self) -> int:
        """See ``Options.views_of_an_image``."""
        return FAST["views"] if self.fast else getattr(self.encoder, "views", 1)

    @property
    def trained_share(self) -> float:
        """See ``Options.trained_share``: measured with MobileNetV2, whose stages take similar time."""
        return 0.05 * (self.trained_stages or 1)

    def chosen_for(self, facts: ImageFacts, *, accelerated: bool) -> SelfTraining:
        """These options with the number of trained stages; see ``Options.chosen_for``."""
        return self._with_stages(facts)

    def _with_stages(self, facts: ImageFacts) -> SelfTraining:
        if self.layer is not None or self.trained_stages is not None:
            return self
        enlarged = (self.image_size or 0) >= ENLARGED * facts.side
        return self.model_copy(update={"trained_stages": 2 if enlarged else 1})

    @property
    def starts_from_pixels(self) -> bool:
        """True for random weights."""
        return self.weights is None

    def resolve(self, facts: ImageFacts) -> SelfTraining:
        """See ``Options.resolve``.

        Raises:
            OptionsError: an encoder without views, or both ``layer`` and ``trained_stages``.
        """
        if self.encoder.name != "view-whitened":
            raise OptionsError(
                f"encoder={self.encoder.name!r} has no views of the images, by which the head labels them; use "
                "'view-whitened'"
            )
        if self.layer is not None and self.trained_stages is not None:
            raise OptionsError(
                f"layer={self.layer!r} and trained_stages={self.trained_stages} both say what is trained; give one of "
                "the two"
            )
        epochs = max(
            self.epochs, math.ceil(self.min_steps * self.batch_size / (self.confident_share * facts.n))
        )
        parts = {
            name: part.model_copy(
                update={
                    key: value for key, value in FAST.items() if self.fast and key in type(part).model_fields
                }
            )
            for name, part in (("encoder", self.encoder), ("clusterer", self.clusterer))
        }
        input_norm = self.input_norm or self.backbone.pretrained_norm
        settled = self.settled(facts, epochs=epochs, input_norm=input_norm, **parts)
        return settled._with_stages(facts)

    def remarks(self, facts: ImageFacts) -> list[str]:
        """See ``Options.remarks``."""
        if self.weights is not None:
            return []
        why = "the network has random weights, but self-training improves pre-trained features"
        return [f"{why}; set weights, or use another method"]

    def build(self) -> Parts:
        """See ``Options.build``."""
        from fiftyone_deepcluster.pseudo_labels.self_training import SelfTrainingParts, SelfTrainingTask
        from fiftyone_deepcluster.training.loop import TrainingSpec
        from fiftyone_deepcluster.training.losses import CrossEntropy
        from fiftyone_deepcluster.training.optimizers import OptimizerSpec
        from fiftyone_deepcluster.training.stopping import StopOnAgreement

        encoder: Any = self.encoder
        task = SelfTrainingTask(
            SelfTrainingParts(
                encoder=encoder,
                clusterer=self.clusterer,
                n_clusters=self.n_clusters or 2,
                confident_share=self.confident_share,
                epochs=self.epochs,
                layer=self.layer,
                stages=self.trained_stages or 1,
                recluster=self.recluster,
                other_weight=self.other_weight,
                plain_start=self.plain_start,
                keep_first=self.keep_first,
                seed=self.seed,
            )
        )
        # Used only where the maps of the frozen layers cannot be kept.
        augment = encoder.view_settings.augment
        optimizer = OptimizerSpec(
            "sgd",
            self.learning_rate,
            self.head_learning_rate,
            weight_decay=self.weight_decay,
            one_cycle=True,
            head_momentum=0.9,
            average=self.average,
        )
        rules = () if self.stop_nmi is None else (StopOnAgreement(self.stop_nmi, not_before=2),)
        training_spec = TrainingSpec(
            task, CrossEntropy(self.label_smoothing), augment, optimizer, rules, task.finish
        )
        return Parts(self._frozen_network(), training_spec, self.batch_size)

    def _frozen_network(self) -> Network:
        """The network with fixed batch norm; only the layers above the cut are trained."""
        import torch

        from fiftyone_deepcluster.backbones.cut import cut_layer, freeze_until
        from fiftyone_deepcluster.backbones.frozen_norms import freeze_norms

        norm = self.input_norm or self.backbone.pretrained_norm
        network = freeze_norms(make_network(self.backbone, norm, self, self.weights))
        side = self.image_size or 0
        blank = torch.zeros(1, self.channels, side, side)
        freeze_until(network, cut_layer(network, blank, self.layer, stages=self.trained_stages or 1))
        return network
