"""DAC and DAC* (Chang et al., "Deep Adaptive Image Clustering", 2017).

The network predicts whether two images share a cluster by the product of their label features, and is trained on its
own confident predictions; the thresholds converge until every pair is used. An image's cluster is its largest label
feature. There is no clustering pass and no new head.
"""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from fiftyone_deepcluster.backbones.base import (
    SMALL_SIDE,
    InputNormName,
)
from fiftyone_deepcluster.methods.base import ADVANCED, METHODS, Options, Parts, choose_side

if TYPE_CHECKING:
    from fiftyone_deepcluster.images.augment import Augmentation
    from fiftyone_deepcluster.images.inspect import ImageFacts
    from fiftyone_deepcluster.pseudo_labels.pairs import FrozenTargets, Thresholds
    from fiftyone_deepcluster.training.losses import PairLoss

LARGE_SIDE = 96
"""Side in pixels to which images above 64 pixels are resized, as STL-10 and ImageNet-10 in the paper."""

PAPER_BATCH, RELEASED_BATCH, RELEASED_GRAY_BATCH = 1000, 32, 125
"""m of the paper; mini-batches of the authors' scripts (MNIST: 128 of 1000, here 8 x 125)."""

BATCHES, MIN_BATCH = 8, 250
"""Ours, not the paper's: fewer than 8,000 images give fewer than eight batches of 1000 per round, too few for the
network to follow the thresholds. The batch size is reduced, down to 250; below that, epochs are added."""

RELEASED_PAIR = -math.log(1e-7)
"""Loss in ``cifar10_2.py`` of a pair whose true relation the network gives probability 0."""

WIDTH = 64
"""Filters of the authors' first block."""

PAPER_MIN = 28
"""Side of the paper's smallest images; half the width is sufficient for smaller ones."""

FEW_IMAGES = 20_000
"""Ours: for fewer images, small gray images start from clusters of their pixels. From random weights the pairs of the
first rounds determine the result, unreliably with so few images: ACC .84 on USPS; UMAP + GMM on the pixels: .96."""

MIN_FOR_PIXELS = 50
"""Minimum number of images for UMAP on the pixels."""

PIXELS_STOP_NMI = 0.98
"""Ours: after a round on pixels DAC stops when the NMI of adjacent rounds reaches this twice. Trained until every pair
is used, small data sets degrade: uncertain images of a wide cluster are pushed out of it (USPS: ACC .98 for
fifteen rounds, .86 after all 46). DAC* uses every pair from the start, and does not stop early."""

FEW_STAR_ROUNDS = 12
"""Ours: rounds of DAC* after a round on pixels; the paper's 46 are for much larger data sets."""

PIXEL_PASSES = 35
"""Epochs in a round on pixels."""

FALL = 1.1
"""-∂E/∂λ = l' - u' = 0.1 + 1 (equation 12): λ grows by 1.1 η per round."""


@METHODS.register
class DAC(Options):
    """DAC: trains on the network's own confident predictions of whether two images share a cluster."""

    name: Literal["dac"] = "dac"
    n_clusters: int = Field(10, ge=2, description="Number of clusters, and of label features per image.")
    rounds: int = Field(
        100,
        ge=1,
        le=100_000,
        description="Maximum number of rounds; with eta 0.009 the thresholds meet after 46.",
    )
    variant: Literal["paper", "released"] = Field(
        "paper",
        description="paper: as published; released: as the authors' code, with targets fixed for inner_epochs.",
    )
    star: bool = Field(False, description="DAC*: train on every pair from the start; better on few images.")
    init: Literal["auto", "random", "pixels"] = Field(
        "auto",
        description="Initialization. random: as in the paper; pixels: an additional first round on pairs from clusters "
        "of the pixels (UMAP and a Gaussian mixture); auto: pixels for fewer than 20,000 small gray images.",
    )
    augmentation: Literal["auto", "none", "light", "light-flip", "affine", "affine-flip"] = Field(
        "auto",
        description="Training augmentation; light: as the authors' code; auto: light, with flips for color images.",
    )
    stop_nmi: float | None = Field(
        None,
        gt=0,
        le=1,
        description="Stop when the NMI with the last round reaches this twice; empty: never, as in the paper; 0.98 for "
        "DAC after a round on pixels.",
        json_schema_extra=ADVANCED,
    )
    eta: float = Field(
        0.009, gt=0, le=1, description="Step size of the thresholds.", json_schema_extra=ADVANCED
    )
    star_rounds: int | None = Field(
        None,
        ge=1,
        description="Rounds in which DAC*'s threshold decreases; empty: 46, 12 after a round on pixels, or as in the "
        "authors' script.",
        json_schema_extra=ADVANCED,
    )
    batch_size: int | None = Field(
        None,
        ge=2,
        le=65_536,
        description="Batch size; pairs are formed within a batch; empty: chosen by variant and number of images.",
    )
    min_steps: int = Field(
        BATCHES,
        ge=0,
        le=100_000,
        description="Minimum number of batches per round; adds epochs when there are few images.",
        json_schema_extra=ADVANCED,
    )
    inner_epochs: int | None = Field(
        None, ge=1, description="released: epochs on fixed targets; empty: 5 for DAC* on gray images, else 10.",
        json_schema_extra=ADVANCED,
    )  # fmt: skip
    macro_batch: int = Field(
        1000,
        ge=2,
        le=1_000_000,
        description="released: images whose targets are computed at once.",
        json_schema_extra=ADVANCED,
    )
    views: int = Field(
        2,
        ge=1,
        le=16,
        description="released: augmented versions of each mini-batch; DAC* on gray images uses two at most.",
        json_schema_extra=ADVANCED,
    )
    learning_rate: float = Field(0.001, gt=0, le=10, description="Learning rate of RMSprop.")
    weight_decay: float = Field(0.0, ge=0, le=1, description="Weight decay (L2).", json_schema_extra=ADVANCED)
    width: int | None = Field(
        None,
        ge=4,
        le=512,
        description="Filters of the first block; later blocks have 2 and 4 times as many; empty: 64, or 32 below 28 "
        "pixels.",
        json_schema_extra=ADVANCED,
    )
    input_norm: InputNormName = Field("plain", description="Fixed first layer.", json_schema_extra=ADVANCED)
    norm: Literal["batch", "running"] = Field(
        "batch",
        description="Batch norm statistics at inference: of one random batch, or running means.",
        json_schema_extra=ADVANCED,
    )

    def resolve(self, facts: ImageFacts) -> DAC:
        """See ``Options.resolve``."""
        side = self.image_size or min(choose_side(facts.side), LARGE_SIDE)
        settled = self.settled(facts, image_size=side)
        gray = settled.color == "gray"
        start = settled._chosen_init(facts.n, side, gray)
        return settled.model_copy(update={
            "augmentation": settled._augmentation(gray),
            "init": start,
            "stop_nmi": self.stop_nmi or (PIXELS_STOP_NMI if start == "pixels" and not self.star else None),
            "batch_size": min(self.batch_size or settled._batch(facts.n, gray), facts.n),
            "width": self.width or (WIDTH if side >= PAPER_MIN else WIDTH // 2),
            "inner_epochs": self.inner_epochs or (5 if gray and self.star else 10),
            "star_rounds": self.star_rounds or settled._star_rounds(side, gray, few=start == "pixels"),
        })  # fmt: skip

    def build(self) -> Parts:
        """See ``Options.build``."""
        from fiftyone_deepcluster.backbones.all_conv import AllConvNet
        from fiftyone_deepcluster.backbones.input_norms import make_input_norm
        from fiftyone_deepcluster.backbones.network import Network
        from fiftyone_deepcluster.pseudo_labels.pairs import PairSelection, PairSelectionParts
        from fiftyone_deepcluster.pseudo_labels.pixel_warmup import PixelPairs, PixelWarmup
        from fiftyone_deepcluster.training.loop import TrainingSpec
        from fiftyone_deepcluster.training.optimizers import OptimizerSpec
        from fiftyone_deepcluster.training.stopping import StopOnAgreement

        batch = self.batch_size or PAPER_BATCH
        selection = PairSelectionParts(
            thresholds=self.thresholds(),
            batch_size=batch,
            min_steps=self.min_steps,
            frozen=self.frozen(),
            batch_statistics=self.norm == "batch",
            seed=self.seed,
        )
        pixels = PixelPairs(self.n_clusters, batch, PIXEL_PASSES, self.seed)
        training = OptimizerSpec("rmsprop", self.learning_rate, weight_decay=self.weight_decay)
        side, input_norm = self.image_size or SMALL_SIDE, make_input_norm(self.input_norm, self.channels)
        backbone = AllConvNet(
            int(input_norm.out_channels),  # type: ignore[arg-type]
            side,
            self.n_clusters,
            width=self.width or WIDTH,
            norm_pooled=self._as_for_mnist,
            last_relu=self.variant == "released" and (self.color == "gray" or side > SMALL_SIDE),
        )
        from_pixels = self.init == "pixels"
        task = (
            PixelWarmup(pixels, partial(PairSelection, selection))
            if from_pixels
            else PairSelection(selection)
        )
        stopping = () if self.stop_nmi is None else (StopOnAgreement(self.stop_nmi, patience=2),)
        training_spec = TrainingSpec(task, self.objective(), self.make_augment(), training, stopping)
        return Parts(Network(input_norm, backbone), training_spec, batch)

    def thresholds(self) -> Thresholds:
        """u(λ) and l(λ) of the variant: section 5.4 of the paper, or ``cifar10_2.py`` and the DAC* scripts."""
        from fiftyone_deepcluster.pseudo_labels.pairs import Thresholds

        rounds = self.star_rounds or 46
        if self.variant == "paper":
            if self.star:
                return Thresholds((0.95, -1.0), (0.95, -1.0), 0.45 / max(1, rounds - 1), rounds)
            return Thresholds((0.95, -1.0), (0.455, 0.1), FALL * self.eta)
        if self.star:
            start, end = self._star_bounds()
            return Thresholds((start, -1.0), (start, -1.0), (start - end) / rounds, rounds)
        return Thresholds((0.99, -1.0), (0.8, 1.0), 0.19 / 2 / 50, 50)

    def frozen(self) -> FrozenTargets | None:
        """Macro-batches of the authors' code; in the paper, one batch with targets from its unaugmented images."""
        from fiftyone_deepcluster.pseudo_labels.pairs import FrozenTargets

        if self.variant == "paper":
            return (
                None if self.augmentation == "none" else FrozenTargets(self.batch_size or PAPER_BATCH, 1, 1)
            )
        return FrozenTargets(
            self.macro_batch, self.inner_epochs or 10, 1 if self._as_for_mnist else self.views
        )

    def objective(self) -> PairLoss:
        """The paper's loss, or the authors': squares for DAC* on gray images, else with self-distillation.

        ``cifar10_2.py`` has 16.1 |r - g| per pair (see ``PairLoss.kind``), divides by the number of pairs and again
        by its mini-batch of 32, and adds the self-distillation with weight 1. Here the loss is the mean over pairs,
        so that weight is 32 / 16.1. The DAC* scripts use plain means and weight 10.
        """
        from fiftyone_deepcluster.training.losses import PairLoss

        if self.variant == "paper":
            return PairLoss()
        if self.star:
            return PairLoss("squares") if self._as_for_mnist else PairLoss(hold=10.0)
        return PairLoss("distance", hold=RELEASED_BATCH / RELEASED_PAIR)

    def make_augment(self) -> Augmentation:
        """The augmentation of that name; two views of each image if pairs are formed across views.

        ``light``: rotation 10 degrees, shift 10 %, zoom 5 %, brightness 5 %, as the authors' code.
        """
        from fiftyone_deepcluster.images.augment import Augment, MultiCrop

        light: dict[str, Any] = {"rotate": 10.0, "shift": 0.1, "scale": (0.95, 1.05), "brightness": 0.05}
        affine: dict[str, Any] = {"rotate": 15.0, "shift": 0.12, "scale": (0.85, 1.15), "shear": 0.2}
        named = {"none": {}, "light": light, "affine": affine}[self.augmentation.removesuffix("-flip")]
        changes = Augment(**named, flip=self.augmentation.endswith("-flip"))
        if not self._as_for_mnist:
            return changes
        side = self.image_size or SMALL_SIDE
        return MultiCrop(large=changes, small=changes, n_large=min(2, self.views), n_small=0, small_size=side)

    @property
    def _as_for_mnist(self) -> bool:
        """Whether to follow the authors' MNIST script: pairs of a view of one image and another view of the other."""
        return self.variant == "released" and self.star and self.color == "gray"

    def _augmentation(self, gray: bool) -> str:
        if self.augmentation != "auto":
            return self.augmentation
        return "light" if gray else "light-flip"

    def _chosen_init(self, n: int, side: int, gray: bool) -> str:
        if self.init != "auto":
            return self.init
        enough = MIN_FOR_PIXELS <= n < FEW_IMAGES
        return "pixels" if gray and side <= SMALL_SIDE and enough else "random"

    def _batch(self, n: int, gray: bool) -> int:
        if self.variant == "released":
            return RELEASED_GRAY_BATCH if gray and self.star else RELEASED_BATCH
        side = self.image_size or SMALL_SIDE
        # Activations kept for backward grow with the pixels: above 64 the batch shrinks to the memory needed at 64.
        most = PAPER_BATCH if side <= SMALL_SIDE else math.ceil(PAPER_BATCH * (SMALL_SIDE / side) ** 2)
        return min(most, max(MIN_BATCH, math.ceil(n / BATCHES)))

    def _star_rounds(self, side: int, gray: bool, few: bool) -> int:
        if self.variant == "paper":
            return FEW_STAR_ROUNDS if few else 46
        if gray:
            return 20
        return 50 if side <= SMALL_SIDE else 75

    def _star_bounds(self) -> tuple[float, float]:
        if self.color == "gray":
            return 0.9, 0.5
        return 0.99, 0.75 if (self.image_size or SMALL_SIDE) <= SMALL_SIDE else 0.5
