"""Options common to all methods that train a network on pseudo-labels computed once per round."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from fiftyone_deepcluster.backbones.base import BACKBONES, SMALL_SIDE, Backbone, InputNormName
from fiftyone_deepcluster.clusterers.base import CLUSTERERS, Clusterer
from fiftyone_deepcluster.core.registry import PartOf
from fiftyone_deepcluster.errors import OptionsError
from fiftyone_deepcluster.features.base import ENCODERS, Encoder
from fiftyone_deepcluster.methods.base import ADVANCED, GOING_ON_ROUNDS, Options, Parts
from fiftyone_deepcluster.methods.shared_options import (
    BatchSize,
    ChosenClusterer,
    ChosenReducer,
    Epochs,
    FirstLayer,
    InitialWeights,
    LabelSmoothing,
    MinSteps,
    StopNmi,
    WeightDecay,
    WithEncoder,
)

if TYPE_CHECKING:
    from typing_extensions import Self

    from fiftyone_deepcluster.backbones.network import Network
    from fiftyone_deepcluster.images.augment import Augment
    from fiftyone_deepcluster.images.inspect import ImageFacts
    from fiftyone_deepcluster.pseudo_labels.round_labels import RoundLabelsParts
    from fiftyone_deepcluster.training.optimizers import OptimizerSpec
    from fiftyone_deepcluster.training.stopping import StopRule

SMALL_BATCH, LARGE_BATCH = 128, 256
"""Batch sizes for images up to 64 pixels, and above (the papers')."""

AugmentName = Literal[
    "auto", "none", "affine", "affine-flip", "crop-flip", "original-crop-flip", "crop-color",
    "original-crop-color", "gentle", "rotate-crop",
]  # fmt: skip


class Trained(WithEncoder):
    """Network, pseudo-labels and training options. Abstract base, not a method."""

    keeps_labels: ClassVar[bool] = True
    cluster_options: ClassVar[tuple[str, ...]] = ("n_clusters", "pseudo_clusters")

    backbone: Annotated[Backbone | None, PartOf(BACKBONES, optional=True)] = Field(
        None, description="Network without its head; empty: small up to 64 pixels, else the method's default."
    )
    weights: InitialWeights = None
    pseudo_clusters: int | None = Field(
        None,
        ge=2,
        description="Pseudo-classes that the network is trained on; empty: a multiple of n_clusters.",
    )
    pseudo_class_rounds: int | None = Field(
        None,
        ge=0,
        description="Rounds that train on pseudo_clusters; later ones use n_clusters. Empty: the method's default.",
    )
    epochs: Epochs = 1
    min_steps: MinSteps = 60
    batch_size: BatchSize = None
    learning_rate: float = Field(
        0.05, gt=0, le=100, description="Learning rate of the backbone, the same in all rounds."
    )
    head_learning_rate: float | None = Field(
        None,
        gt=0,
        le=100,
        description="Learning rate of the head; empty: the backbone's.",
        json_schema_extra=ADVANCED,
    )
    weight_decay: WeightDecay = 1e-5
    label_smoothing: LabelSmoothing = 0.0
    augmentation: AugmentName = Field(
        "auto", description="Training augmentation; auto: affine up to 64 pixels, else crops and flips."
    )
    input_norm: FirstLayer = None
    sampling: Literal["uniform", "shuffled"] = Field(
        "uniform",
        description="Sampling of training images: equally from all clusters, or every image once.",
        json_schema_extra=ADVANCED,
    )
    stop_nmi: StopNmi = None
    encoder: Annotated[Encoder, PartOf(ENCODERS)] = Field(
        default="pooled",
        validate_default=True,
        description="Converts features to vectors.",
        json_schema_extra=ADVANCED,
    )
    reducer: ChosenReducer = Field(default="identity", validate_default=True)
    clusterer: ChosenClusterer = Field(default="kmeans", validate_default=True)
    merge: bool | None = Field(
        None,
        description="While training on pseudo_clusters: merge pseudo-classes that share neighbors into the clusters, "
        "instead of clustering directly. deepcluster-manifold does both and keeps the result with the higher NMI to "
        "the last round. Empty: the method's default.",
        json_schema_extra=ADVANCED,
    )

    @property
    def starts_from_pixels(self) -> bool:
        """True for random weights."""
        return self.weights is None

    def settle_training(self, facts: ImageFacts, backbone: Backbone, **values: Any) -> Self:
        """``settled``, with backbone, input norm and augmentation resolved as well.

        Raises:
            OptionsError: fewer pseudo-classes than clusters.
        """
        if self.pseudo_clusters and self.n_clusters and self.pseudo_clusters < self.n_clusters:
            raise OptionsError(
                f"pseudo_clusters={self.pseudo_clusters} is less than n_clusters={self.n_clusters}; give as many or "
                "more, or leave it empty"
            )
        chosen = self.backbone or backbone
        small = (self.image_size or facts.side) <= SMALL_SIDE
        augmentation = (
            ("affine" if small else "crop-flip") if self.augmentation == "auto" else self.augmentation
        )
        input_norm = self.input_norm or chosen.norm_for(self.weights)
        batch = self.batch_size or (SMALL_BATCH if small else LARGE_BATCH)
        epochs = max(self.epochs, math.ceil(self.min_steps * batch / facts.n))
        return self.settled(
            facts,
            backbone=chosen,
            augmentation=augmentation,
            input_norm=input_norm,
            epochs=epochs,
            batch_size=batch,
            **values,
        )

    def going_on(self, n_clusters: int) -> Self:
        """See ``Options.going_on``: trained on the clusters themselves, without pseudo-classes."""
        known = {"n_clusters": n_clusters, "pseudo_clusters": n_clusters, "pseudo_class_rounds": 0}
        return self.model_copy(update={**known, "merge": False, "rounds": min(self.rounds, GOING_ON_ROUNDS)})

    def build(self) -> Parts:
        """See ``Options.build``."""
        from fiftyone_deepcluster.pseudo_labels.round_labels import RoundLabels
        from fiftyone_deepcluster.training.loop import TrainingSpec
        from fiftyone_deepcluster.training.losses import CrossEntropy

        task = RoundLabels(self.task_parts())
        objective, rules = CrossEntropy(self.label_smoothing), self.stop_rules()
        training_spec = TrainingSpec(task, objective, self.make_augment(), self.optimizer_spec(), rules)
        return Parts(self.make_network(), training_spec, self.batch_size or LARGE_BATCH)

    def task_parts(self) -> RoundLabelsParts:
        """The parts of the pseudo-task."""
        from fiftyone_deepcluster.pseudo_labels.round_labels import RoundLabelsParts
        from fiftyone_deepcluster.pseudo_labels.samplers import Shuffled, UniformOverClusters

        return RoundLabelsParts(
            encoder=self.encoder,
            reducer=self.reducer,
            clusterer=self.clusterer,
            sampler=UniformOverClusters() if self.sampling == "uniform" else Shuffled(),
            n_clusters=self.n_clusters,
            n_pseudo=self.pseudo_clusters,
            pseudo_class_rounds=self.pseudo_class_rounds,
            epochs=self.epochs,
            seed=self.seed,
            early=self.early_clusterers(),
        )

    def merger(self) -> Clusterer | None:
        """Clusterer that merges pseudo-classes into clusters while training on pseudo-classes; None: not used."""
        if not self.merge or not self.n_clusters or not self.pseudo_clusters or self.clusterer.finds_number:
            return None
        factor = max(1, round(self.pseudo_clusters / self.n_clusters))
        return CLUSTERERS.parse({"name": "merged", "pieces": self.clusterer.model_dump(), "factor": factor})

    def early_clusterers(self) -> tuple[Clusterer, ...]:
        """Clusterers used while training on pseudo-classes."""
        merger = self.merger()
        return () if merger is None else (merger,)

    def stop_rules(self) -> tuple[StopRule, ...]:
        """Stop on agreement of adjacent rounds, if ``stop_nmi`` is set."""
        from fiftyone_deepcluster.training.stopping import StopOnAgreement

        # Adjacent rounds are comparable only after two rounds on the clusters themselves.
        least = 0 if self.pseudo_class_rounds is None else self.pseudo_class_rounds + 2
        return () if self.stop_nmi is None else (StopOnAgreement(self.stop_nmi, not_before=least),)

    def optimizer_spec(self) -> OptimizerSpec:
        """SGD with momentum and a constant learning rate for the whole run."""
        from fiftyone_deepcluster.training.optimizers import OptimizerSpec

        return OptimizerSpec(
            "sgd", self.learning_rate, self.head_learning_rate, weight_decay=self.weight_decay
        )

    def make_network(self) -> Network:
        """Input norm and backbone; the head is created in the first round."""
        return make_network(
            self.backbone or BACKBONES.parse("small"), self.input_norm or "plain", self, self.weights
        )

    def make_augment(self) -> Augment:
        """The augmentation that the options name."""
        return augmentation(self.augmentation)


def make_network(
    backbone: Backbone, input_norm: InputNormName, options: Options, weights: str | None
) -> Network:
    """Input norm and backbone for the images that ``options`` were resolved for."""
    from fiftyone_deepcluster.backbones.network import build_network

    return build_network(backbone, input_norm, (options.channels, options.image_size or SMALL_SIDE), weights)


def augmentation(name: AugmentName) -> Augment:
    """The augmentation of that name.

    ``affine``: rotation 15 degrees, shift 12 %, scale 15 %, shear 0.2, for digits and other objects that must not be
    flipped. ``crop-flip``: crops of 8 to 100 % of the area of the decoded square, and horizontal flips.
    ``original-crop-flip``: the same, cut from the original images as in DeepCluster, which decodes them in every epoch.
    ``crop-color`` and ``original-crop-color``: these with changes of brightness, contrast, saturation
    (0.8) and hue (0.2) of 80 % of the crops, 20 % without color and 50 % blurred, as DeepCluster-v2.
    ``gentle``: crops of 70 to 100 % and flips, for fine-tuning pre-trained networks.
    ``rotate-crop``: 30 degrees, crops of 50 to 100 % of the area and aspect ratio 3:4 to 4:3, as Kart et al., who
    give no numbers; ``cardiac-mr`` has options for these.
    """
    from fiftyone_deepcluster.images.augment import Augment

    affine = {"rotate": 15.0, "shift": 0.12, "scale": (0.85, 1.15), "shear": 0.2}
    color = {"jitter": (0.8, 0.8, 0.8, 0.2), "jitter_share": 0.8, "grayscale": 0.2, "blur": 0.5}
    known: dict[str, dict[str, Any]] = {
        "none": {},
        "affine": affine,
        "affine-flip": {**affine, "flip": True},
        "crop-flip": {"crop": (0.08, 1.0), "flip": True},
        "original-crop-flip": {"crop": (0.08, 1.0), "flip": True, "original": True},
        "crop-color": {"crop": (0.08, 1.0), "flip": True, **color},
        "original-crop-color": {"crop": (0.08, 1.0), "flip": True, "original": True, **color},
        "gentle": {"crop": (0.7, 1.0), "flip": True},
        "rotate-crop": {"rotate": 30.0, "crop": (0.5, 1.0)},
    }
    return Augment(**known["affine" if name == "auto" else name])
