"""UCNN (Hsu and Lin, "Unsupervised Convolutional Neural Networks for Large-Scale Image Clustering", 2017).

Mini-batch k-means and training in one stream: every batch is assigned to its nearest centers, trains the
network on these labels, and then updates the centers. Training needs no pass over all images.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from fiftyone_deepcluster.backbones.base import BACKBONES, SMALL_SIDE, Backbone
from fiftyone_deepcluster.clusterers.base import CLUSTERERS
from fiftyone_deepcluster.core.disk import is_readable_file
from fiftyone_deepcluster.core.registry import PartOf
from fiftyone_deepcluster.features.base import ENCODERS
from fiftyone_deepcluster.methods.base import ADVANCED, METHODS, Parts
from fiftyone_deepcluster.methods.published import Paper, Published
from fiftyone_deepcluster.methods.shared_options import FirstLayer
from fiftyone_deepcluster.methods.trained import AugmentName, augmentation, make_network
from fiftyone_deepcluster.reducers.base import REDUCERS

if TYPE_CHECKING:
    from fiftyone_deepcluster.images.inspect import ImageFacts
    from fiftyone_deepcluster.pseudo_labels.round_labels import RoundLabels
    from fiftyone_deepcluster.pseudo_labels.streaming import StreamingCentroids

PIXEL_FACTOR = 8
"""Pixel clusters of the first round per cluster."""

PIXEL_STEPS = 800
"""Minimum number of batches of the first round."""


NEVER = 10**9
"""Patience at which no center is ever re-initialized."""


@METHODS.register
class UCNN(Published):
    """UCNN: centers are updated with every training batch; for very many images.

    The paper starts from ImageNet weights. Without ``weights`` the first round by default trains on small clusters of
    the pixels instead (ours): from random weights alone all images soon fall into one cluster. ``preset="paper"``
    updates FC9 and softmax only, as equations 1, 4 and 5, never passes over all images and keeps no vectors of them. It
    needs weights of the whole network: torchvision's have conv1-5 only, and conv6-8 then stay random.
    """

    paper: ClassVar[Paper] = Paper(
        values={
            "rounds": 10,
            "variant": "proposed",
            "image_size": 256,
            "image_fit": "crop",
            "backbone": None,
            "weights": "IMAGENET1K_V1",
            "input_norm": "imagenet",
            "update": "last",
            "batch_size": 50,
            "learning_rate": 0.001,
            "head_learning_rate": 0.01,
            "pixel_epochs": 0,
            "init": "sample",
            "compensation": "compensated",
            "recount": False,
            "patience": NEVER,
            "augmentation": "none",
            "augment_always": False,
            "keep_embeddings": False,
        },
        also={"variant": ("baseline-1", "baseline-2", "baseline-3"), "update": ("all",)},
        free=frozenset({"n_clusters", "pixel_rate", "pixel_clusters"}),
    )

    cluster_options: ClassVar[tuple[str, ...]] = ("n_clusters", "pixel_clusters")

    name: Literal["ucnn"] = "ucnn"
    n_clusters: int = Field(
        10, ge=2, description="Number of clusters, and of the centers updated with every batch."
    )
    rounds: int = Field(
        11,
        ge=1,
        le=100_000,
        description="Maximum number of rounds, each one epoch; without weights the first one trains on pixel clusters.",
    )
    variant: Literal["proposed", "baseline-1", "baseline-2", "baseline-3"] = Field(
        "proposed",
        description="The paper's variants: with drift compensation; without it (1); fixed features of the initial "
        "network with mini-batch k-means (2) or k-means (3).",
    )
    backbone: Annotated[Backbone | None, PartOf(BACKBONES, optional=True)] = Field(
        None, description="Network without its head; empty: the paper's, or a smaller one up to 64 pixels."
    )
    weights: str | None = Field(
        None,
        description="Initial weights: empty for random, IMAGENET1K_V1 for AlexNet's layers, or a file.",
    )
    update: Literal["all", "last"] = Field(
        "all",
        description="Layers that are trained: all, or the last two, FC9 and softmax, as the paper's equations.",
    )
    keep_embeddings: bool = Field(
        True,
        description="Embed all images at the start and at the end and keep their vectors (N x D); off: keep only "
        "the clusters of the training pass, as in the paper.",
        json_schema_extra=ADVANCED,
    )
    batch_size: int = Field(50, ge=2, le=65_536, description="Batch size.")
    learning_rate: float | None = Field(
        None, gt=0, le=100, description="Learning rate of plain SGD; empty: 0.02, or 0.001 with weights."
    )
    head_learning_rate: float | None = Field(
        None,
        gt=0,
        le=100,
        description="Learning rate of the last layer; empty: learning_rate, or ten times that with weights.",
        json_schema_extra=ADVANCED,
    )
    pixel_epochs: int | None = Field(
        None,
        ge=0,
        le=1000,
        description="Epochs of the first round, which trains on clusters of the pixels; 0: no such round; empty: 0 "
        "with weights, else 2 or enough for 800 batches.",
    )
    pixel_rate: float = Field(
        5.0,
        gt=0,
        le=1000,
        description="Learning rates of the first round, as a multiple of the others.",
        json_schema_extra=ADVANCED,
    )
    pixel_clusters: int | None = Field(
        None,
        ge=2,
        description="Clusters of the pixels; empty: 8 times n_clusters.",
        json_schema_extra=ADVANCED,
    )
    init: Literal["auto", "sample", "kmeans"] = Field(
        "auto",
        description="Initial centers. sample: random images, as in the paper; kmeans: k-means on a sample; auto: "
        "sample with weights, else kmeans.",
        json_schema_extra=ADVANCED,
    )
    compensation: Literal["compensated", "older"] = Field(
        "compensated",
        description="Reading of equation 5 in 'proposed': features before the step, or one step earlier.",
        json_schema_extra=ADVANCED,
    )
    recount: bool = Field(
        False,
        description="Reset the image counts of the centers in every round, so that their step sizes stay large.",
        json_schema_extra=ADVANCED,
    )
    patience: int = Field(
        100,
        ge=1,
        description="A center with no image among this many images per cluster is dead and re-initialized.",
        json_schema_extra=ADVANCED,
    )
    augmentation: AugmentName = Field(
        "auto", description="Training augmentation; auto: affine up to 64 pixels, else crops and flips."
    )
    augment_always: bool = Field(
        False,
        description="Augment in every round; else only in the first round on pixels, which the paper does not have.",
        json_schema_extra=ADVANCED,
    )
    input_norm: FirstLayer = None

    @property
    def decoded_side(self) -> int:
        """Side in pixels of the decoded images: the network's input, with a margin where crops are drawn."""
        return (self.image_size or SMALL_SIDE) if self.augmentation == "none" else super().decoded_side

    @property
    def starts_from_pixels(self) -> bool:
        """True for random weights."""
        return self.weights is None

    def resolve(self, facts: ImageFacts) -> UCNN:
        """See ``Options.resolve``."""
        small = (self.image_size or facts.side) <= SMALL_SIDE
        backbone = self.backbone or self._default_backbone(small)
        trained = self.weights is not None
        rate = self.learning_rate or (0.001 if trained else 0.02)
        enough = max(2, math.ceil(PIXEL_STEPS * self.batch_size / facts.n))
        pixels = max(self.n_clusters, min(PIXEL_FACTOR * self.n_clusters, facts.n // 10))
        auto = "affine" if small else "crop-flip"
        return self.settled(
            facts,
            backbone=backbone,
            input_norm=self.input_norm or backbone.norm_for(self.weights),
            learning_rate=rate,
            head_learning_rate=self.head_learning_rate or (10 * rate if trained else rate),
            pixel_epochs=(0 if trained else enough) if self.pixel_epochs is None else self.pixel_epochs,
            pixel_clusters=self.pixel_clusters or pixels,
            init=("sample" if trained else "kmeans") if self.init == "auto" else self.init,
            augmentation=auto if self.augmentation == "auto" else self.augmentation,
        )

    def build(self) -> Parts:
        """See ``Options.build``."""
        from fiftyone_deepcluster.backbones.ucnn import last_layer
        from fiftyone_deepcluster.pseudo_labels.base import Finishing
        from fiftyone_deepcluster.pseudo_labels.pixel_warmup import PixelClusters, PixelWarmup
        from fiftyone_deepcluster.pseudo_labels.round_labels import RoundLabels
        from fiftyone_deepcluster.training.loop import TrainingSpec
        from fiftyone_deepcluster.training.losses import CrossEntropy
        from fiftyone_deepcluster.training.optimizers import OptimizerSpec

        frozen = self.variant in ("baseline-2", "baseline-3")
        make = self._frozen if frozen else self._streaming
        pixels = PixelClusters(self.pixel_clusters or 2, self.pixel_epochs or 0, self.seed, self.pixel_rate)
        task = PixelWarmup(pixels, make) if self.pixel_epochs else make()
        # No momentum: with plain SGD the weights before a step are those after it plus rate x gradient (eq. 4).
        training = OptimizerSpec(
            "sgd", self.learning_rate or 0.02, self.head_learning_rate, momentum=0.0, weight_decay=0.0
        )
        passes = self.keep_embeddings and not (frozen or isinstance(task, RoundLabels))
        finish = task.finish if passes and isinstance(task, Finishing) else None
        training_spec = TrainingSpec(
            task, CrossEntropy(), augmentation(self.augmentation), training, finish=finish
        )
        network = make_network(
            self.backbone or BACKBONES.parse("ucnn"), self.input_norm or "plain", self, self.weights
        )
        if self.update == "last":
            network.backbone.requires_grad_(False)
            last_layer(network.backbone).requires_grad_(True)
        return Parts(network, training_spec, self.batch_size)

    def remarks(self, facts: ImageFacts) -> list[str]:
        """See ``Options.remarks``; also if layers stay random."""
        notes = super().remarks(facts)
        if self.update == "last" and (self.weights is None or not is_readable_file(Path(self.weights))):
            loaded = "" if self.weights is None else f": weights={self.weights!r} has conv1-5 only"
            notes.append(
                f"update='last' leaves conv6-8 random{loaded}; give a file of a whole UCNN, or update='all'"
            )
        return notes

    def _default_backbone(self, small: bool) -> Backbone:
        """The paper's layer sizes above 64 pixels; batch norm with random weights."""
        if small:
            return BACKBONES.parse("ucnn")
        k = self.n_clusters
        norm = "batch" if self.weights is None else "none"
        return BACKBONES.parse({"name": "ucnn", "maps": k, "dim": k, "width": 1, "adapted": 1, "norm": norm})

    def _streaming(self) -> StreamingCentroids:
        """The pseudo-task of ``proposed`` and ``baseline-1``."""
        from fiftyone_deepcluster.pseudo_labels.streaming import StreamingCentroids, StreamingParts

        return StreamingCentroids(
            StreamingParts(
                n_clusters=self.n_clusters,
                seed=self.seed,
                drift=self.compensation if self.variant == "proposed" else "ignored",
                init="sample" if self.init == "sample" else "kmeans",
                recount=self.recount,
                patience=self.patience,
                augmented=self.augment_always,
                vectors=self.keep_embeddings,
            )
        )

    def _frozen(self) -> RoundLabels:
        """The pseudo-task of the other two: features of the initial network, clustered once."""
        from fiftyone_deepcluster.pseudo_labels.one_clustering import cluster_once

        clusterer: object = "kmeans"
        if self.variant == "baseline-2":
            clusterer = {"name": "minibatch-kmeans", "batch_size": self.batch_size, "init": "sample",
                         "epochs": self.rounds, "patience": self.patience}  # fmt: skip
        return cluster_once(
            ENCODERS.parse({"name": "pooled", "pca": 0, "l2_normalize": False}),
            REDUCERS.parse("identity"),
            CLUSTERERS.parse(clusterer),
            n_clusters=self.n_clusters,
            seed=self.seed,
        )
