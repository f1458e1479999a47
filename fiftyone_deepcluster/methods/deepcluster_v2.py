"""DeepCluster-v2 (Caron et al. 2020, "Unsupervised Learning of Visual Features by Contrasting Cluster Assignments").

DeepCluster without a second pass: the embeddings of the training pass are kept in a memory bank and clustered
by spherical k-means between the rounds, several times with different seeds. The centers are the weights of as
many heads, so no head is trained from scratch. All crops of an image, large and small, have the same target
cluster.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from fiftyone_deepcluster.backbones.base import BACKBONES, SMALL_SIDE, Backbone
from fiftyone_deepcluster.core.registry import PartOf
from fiftyone_deepcluster.methods.base import ADVANCED, GOING_ON_ROUNDS, METHODS, Parts
from fiftyone_deepcluster.methods.published import Paper, Published
from fiftyone_deepcluster.methods.shared_options import (
    BatchSize,
    Epochs,
    FirstLayer,
    InitialWeights,
    MinSteps,
    WeightDecay,
)
from fiftyone_deepcluster.methods.trained import (
    LARGE_BATCH,
    SMALL_BATCH,
    AugmentName,
    augmentation,
    make_network,
)

if TYPE_CHECKING:
    from typing_extensions import Self

    from fiftyone_deepcluster.backbones.network import Network
    from fiftyone_deepcluster.images.augment import MultiCrop
    from fiftyone_deepcluster.images.inspect import ImageFacts
    from fiftyone_deepcluster.training.optimizers import OptimizerSpec

_PSEUDO_FACTOR = 8
"""Prototypes per head and cluster, as DeepCluster's pseudo-classes here."""

WARMUP = 0.1
"""Warm-up as a share of the rounds. The released code uses 10 of 400 to 800; short runs need a larger share."""

RATE = 4.8 / 4096
"""Learning rate per image in a batch: the released code's 4.8 for batches of 4096."""

SMALL_CROPS, LARGE_CROPS = 2, 4
"""Small crops up to 64 pixels, where one costs half of a large one, and above (the paper's 2 x 160 + 4 x 96)."""

_SMALL_SHARE = 96 / 224
"""Side of a small crop relative to that of a large one."""


TRUST = 0.001
"""LARC's trust coefficient in the released code."""


@METHODS.register
class DeepClusterV2(Published):
    """DeepCluster-v2: clusters the embeddings of the training pass, so a round needs no second pass.

    Fixed: 10 iterations of spherical k-means, initialized with random images, and SGD with warm-up and cosine schedule.
    The paper's 3 heads and temperature 0.1 are defaults. ``preset="paper"`` is the paper's longest run, 800 epochs of
    2 x 224 and 6 x 96 pixels in batches of 4096. The other defaults are ours, with sizes for one machine, and without
    color distortion and LARC.
    """

    keeps_labels: ClassVar[bool] = True
    paper: ClassVar[Paper] = Paper(
        values={
            "n_clusters": 3000,
            "pseudo_clusters": 3000,
            "rounds": 800,
            "image_size": 224,
            "image_fit": "crop",
            "backbone": {"name": "torchvision", "model": "resnet50"},
            "weights": None,
            "input_norm": "imagenet",
            "heads": 3,
            "large_crops": 2,
            "small_crops": 6,
            "small_size": 96,
            "least_area": 0.05,
            "split_area": 0.14,
            "dim": 128,
            "hidden": 2048,
            "temperature": 0.1,
            "epochs": 1,
            "min_steps": 0,
            "batch_size": 4096,
            "learning_rate": 4.8,
            "weight_decay": 1e-6,
            "warmup_rounds": 10,
            "warmup_start": 0.0625,
            "larc": True,
            "sync_norm": 8,
            "augmentation": "original-crop-color",
        },
        also={"rounds": (400, 200), "small_crops": (4, 0), "image_size": (160,)},
    )
    cluster_options: ClassVar[tuple[str, ...]] = ("n_clusters", "pseudo_clusters")

    name: Literal["deepcluster-v2"] = "deepcluster-v2"
    rounds: int = Field(
        10, ge=1, le=100_000, description="Number of rounds; the learning rate decays over all of them."
    )
    backbone: Annotated[Backbone | None, PartOf(BACKBONES, optional=True)] = Field(
        None, description="Network without projection and heads; empty: small up to 64 pixels, else resnet18."
    )
    weights: InitialWeights = None
    pseudo_clusters: int | None = Field(
        None, ge=2, description="Prototypes of each head; empty: a multiple of n_clusters."
    )
    heads: int = Field(3, ge=1, le=100, description="Number of heads, each with its own clustering.")
    large_crops: int = Field(2, ge=1, le=8, description="Large crops per image in a batch.")
    small_crops: int | None = Field(
        None,
        ge=0,
        le=16,
        description="Small crops per image in a batch; empty: 2 up to 64 pixels, else 4.",
    )
    small_size: int | None = Field(
        None, ge=4, le=512, description="Side of small crops in pixels; empty: 96/224 of the image's side.",
        json_schema_extra=ADVANCED,
    )  # fmt: skip
    least_area: float | None = Field(
        None, gt=0, lt=1, description="Minimum share of the image's area in a small crop.",
        json_schema_extra=ADVANCED,
    )  # fmt: skip
    split_area: float | None = Field(
        None, gt=0, lt=1, description="Maximum area share of a small crop and minimum of a large one.",
        json_schema_extra=ADVANCED,
    )  # fmt: skip
    dim: int = Field(
        128, ge=2, le=4096, description="Dimension of the embeddings.", json_schema_extra=ADVANCED
    )
    hidden: int | None = Field(
        None, ge=2, le=16_384, description="Width of the projection; empty: 4 times the backbone's, at most 2048.",
        json_schema_extra=ADVANCED,
    )  # fmt: skip
    temperature: float = Field(
        0.1,
        gt=0,
        le=10,
        description="Divisor of the cosine similarities with the prototypes.",
        json_schema_extra=ADVANCED,
    )
    epochs: Epochs = 1
    min_steps: MinSteps = 60
    batch_size: BatchSize = None
    learning_rate: float | None = Field(
        None,
        gt=0,
        le=100,
        description="Peak learning rate after warm-up; empty: in proportion to batch_size.",
    )
    weight_decay: WeightDecay = 1e-6
    warmup_rounds: float | None = Field(
        None, ge=0, description="Rounds of linear warm-up of the learning rate; empty: a tenth of the rounds.",
        json_schema_extra=ADVANCED,
    )  # fmt: skip
    warmup_start: float = Field(
        0.1, gt=0, le=1, description="Share of the learning rate at the start of the warm-up.",
        json_schema_extra=ADVANCED,
    )  # fmt: skip
    larc: bool = Field(
        False,
        description="Scale each layer's step by the length of its weights (LARC), for batches of thousands.",
        json_schema_extra=ADVANCED,
    )
    sync_norm: int = Field(
        8,
        ge=1,
        description="Processes whose batch norm shares its statistics, where there are several; 1: none.",
        json_schema_extra=ADVANCED,
    )
    augmentation: AugmentName = Field(
        "auto", description="Augmentation of the crops; auto: affine up to 64 pixels, else flips."
    )
    input_norm: FirstLayer = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.n_clusters is None:
            raise ValueError("n_clusters=None: deepcluster-v2 needs a number of clusters; give one")
        if (self.least_area or 0.0) > (self.split_area or 1.0):
            raise ValueError(
                f"least_area={self.least_area} is more than split_area={self.split_area}; lower it or raise split_area"
            )
        return self

    @property
    def starts_from_pixels(self) -> bool:
        """True for random weights."""
        return self.weights is None

    def resolve(self, facts: ImageFacts) -> DeepClusterV2:
        """See ``Options.resolve``."""
        small = (self.image_size or facts.side) <= SMALL_SIDE
        backbone = self.backbone or BACKBONES.parse("small" if small else "resnet18")
        settled = self.settled(facts, backbone=backbone)
        side, clusters = settled.image_size or SMALL_SIDE, self.n_clusters or 2
        batch = self.batch_size or (SMALL_BATCH if small else LARGE_BATCH)
        pseudo = max(clusters, min(_PSEUDO_FACTOR * clusters, facts.n // 10))
        values = {
            "input_norm": self.input_norm or backbone.norm_for(self.weights),
            "batch_size": batch,
            "epochs": max(self.epochs, math.ceil(self.min_steps * batch / facts.n)),
            "learning_rate": self.learning_rate or RATE * batch,
            "small_crops": (SMALL_CROPS if small else LARGE_CROPS) if self.small_crops is None else self.small_crops,
            "pseudo_clusters": self.pseudo_clusters or pseudo,
            "small_size": self.small_size or max(8, round(side * _SMALL_SHARE / 4) * 4),
            "least_area": self.least_area or (0.2 if small else 0.05),
            "split_area": self.split_area or (0.5 if small else 0.14),
            "augmentation": ("affine" if small else "crop-flip") if self.augmentation == "auto" else self.augmentation,
        }  # fmt: skip
        return settled.model_copy(update=values)

    def going_on(self, n_clusters: int) -> DeepClusterV2:
        """See ``Options.going_on``: the prototypes of every head are the clusters."""
        known = {"n_clusters": n_clusters, "pseudo_clusters": n_clusters}
        return self.model_copy(update={**known, "rounds": min(self.rounds, GOING_ON_ROUNDS)})

    def build(self) -> Parts:
        """See ``Options.build``."""
        from fiftyone_deepcluster.clusterers.kmeans.clusterer import KMeans
        from fiftyone_deepcluster.pseudo_labels.memory_bank import BankLabels, BankLabelsParts
        from fiftyone_deepcluster.training.loop import TrainingSpec
        from fiftyone_deepcluster.training.losses import PrototypeCrossEntropy

        spherical = KMeans(
            spherical=True, init="sample", max_iter=10, n_init=1, tolerance=0.0, warm_start=False
        )
        task = BankLabels(
            BankLabelsParts(
                heads=spherical,
                result=KMeans(n_init=3),
                final=KMeans(),
                n_clusters=self.n_clusters or 2,
                n_pseudo=self.pseudo_clusters or 2,
                n_heads=self.heads,
                n_banks=min(2, self.large_crops),
                epochs=self.epochs,
                seed=self.seed,
            )
        )
        objective = PrototypeCrossEntropy(self.temperature)
        training_spec = TrainingSpec(
            task, objective, self._crops(), self._optimizer_spec(), finish=task.finish
        )
        return Parts(self._network(), training_spec, self.batch_size or LARGE_BATCH, self.sync_norm)

    def _optimizer_spec(self) -> OptimizerSpec:
        from fiftyone_deepcluster.training.optimizers import Cosine, OptimizerSpec

        warmup = WARMUP * self.rounds if self.warmup_rounds is None else self.warmup_rounds
        cosine = Cosine(self.rounds, warmup=warmup, first=self.warmup_start)
        rate = self.learning_rate or RATE * (self.batch_size or LARGE_BATCH)
        trust = TRUST if self.larc else None
        return OptimizerSpec("sgd", rate, weight_decay=self.weight_decay, cosine=cosine, trust=trust)

    def _network(self) -> Network:
        from fiftyone_deepcluster.backbones.network import Network
        from fiftyone_deepcluster.backbones.projection import Projected, check_sizes

        plain = make_network(
            self.backbone or BACKBONES.parse("small"), self.input_norm or "plain", self, self.weights
        )
        hidden = self.hidden or min(2048, 4 * plain.dim)
        network = Network(plain.input_norm, Projected(plain.backbone, hidden, self.dim))
        if self.small_crops:
            check_sizes(
                network, self.channels, (self.image_size or SMALL_SIDE, self.small_size or SMALL_SIDE)
            )
        return network

    def _crops(self) -> MultiCrop:
        from fiftyone_deepcluster.images.augment import MultiCrop

        base = augmentation(self.augmentation)
        least, split = self.least_area or 0.05, self.split_area or 0.14
        return MultiCrop(
            large=base.model_copy(update={"crop": (split, 1.0)}),
            small=base.model_copy(update={"crop": (least, split)}),
            n_large=self.large_crops,
            n_small=self.small_crops or 0,
            small_size=self.small_size or 8,
        )
