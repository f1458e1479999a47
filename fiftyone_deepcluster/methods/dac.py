"""DAC and DAC* (Chang et al., "Deep Adaptive Image Clustering", 2017).

The network predicts whether two images share a cluster by the product of their label features, and is trained on its
own confident predictions; the thresholds converge until every pair is used. An image's cluster is its largest label
feature. In the paper there is no clustering pass and no new head; ``init`` may add a first round on clusters of the
pixels.
"""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, model_validator

from fiftyone_deepcluster.backbones.base import (
    SMALL_SIDE,
    InputNormName,
)
from fiftyone_deepcluster.methods.base import ADVANCED, METHODS, Parts, choose_side
from fiftyone_deepcluster.methods.dac_scripts import SCRIPTS, Script, ScriptName
from fiftyone_deepcluster.methods.published import Paper, Published
from fiftyone_deepcluster.methods.shared_options import MinSteps, WeightDecay

if TYPE_CHECKING:
    from typing_extensions import Self

    from fiftyone_deepcluster.backbones.network import Network
    from fiftyone_deepcluster.images.augment import Augmentation
    from fiftyone_deepcluster.images.inspect import ImageFacts
    from fiftyone_deepcluster.pseudo_labels.pairs import FrozenTargets, PairSelection, Thresholds
    from fiftyone_deepcluster.pseudo_labels.pixel_warmup import PixelWarmup
    from fiftyone_deepcluster.training.losses import PairLoss

LARGE_SIDE = 96
"""Side in pixels to which images above 64 pixels are resized, as STL-10 and ImageNet-10 in the paper."""

PAPER_BATCH = 1000
"""m of the paper."""

BATCHES, MIN_BATCH = 8, 250
"""Ours, not the paper's: fewer than 8,000 images give fewer than eight batches of 1000 per round, too few for the
network to follow the thresholds. The batch size is reduced, down to 250; below that, epochs are added."""

WIDTH = 64
"""Filters of the authors' first block."""

PAPER_MIN = 28
"""Side of the paper's smallest images; half the width is sufficient for smaller ones."""

FEW_IMAGES = 20_000
"""Ours: for fewer images, small gray images start from clusters of their pixels. From random weights the pairs of the
first rounds determine the result, unreliably with so few images: ACC .76 on USPS, .84 with DAC*; UMAP + GMM on the
pixels: .96."""

MIN_FOR_PIXELS = 50
"""Minimum number of images for UMAP on the pixels."""

PIXELS_STOP_NMI = 0.98
"""Ours: after a round on pixels DAC stops when the NMI of adjacent rounds reaches this twice. Trained until every pair
is used, small data sets degrade: uncertain images of a wide cluster are pushed out of it (USPS: ACC .985 or
more for fifteen rounds, .857 after all 46). DAC* uses every pair from the start, and does not stop early."""

FEW_STAR_ROUNDS = 12
"""Ours: rounds of DAC* after a round on pixels; the paper's 46 are for much larger data sets."""

PIXEL_PASSES = 35
"""Epochs in a round on pixels."""

FALL = 1.1
"""-∂E/∂λ = l' - u' = 0.1 + 1 (equation 12): λ grows by 1.1 η per round."""


@METHODS.register
class DAC(Published):
    """DAC: trains on the network's own confident predictions of whether two images share a cluster.

    ``preset="paper"`` is algorithm 1 with the settings of section 5.4: random weights, m = 1000 images at any size, no
    augmentation. The defaults are ours: batches that suit few or large images, augmentation, and a first round on
    clusters of the pixels for few small gray images. ``variant="released"`` follows the authors' scripts instead.
    """

    paper: ClassVar[Paper] = Paper(
        values={
            "rounds": 100,
            "image_fit": "stretch",
            "variant": "paper",
            "star": False,
            "star_rounds": 46,
            "init": "random",
            "augmentation": "none",
            "stop_nmi": None,
            "eta": 0.009,
            "batch_size": PAPER_BATCH,
            "min_steps": 0,
            "learning_rate": 0.001,
            "weight_decay": 0.0,
            "width": WIDTH,
            "input_norm": "plain",
            "norm": "batch",
        },
        also={"star": (True,)},
        free=frozenset({"n_clusters", "image_size", "script", "inner_epochs", "macro_batch", "views"}),
    )

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
    script: ScriptName | None = Field(
        None,
        description="released: the data set whose script is followed; empty: cifar10-2 for DAC, and for DAC* mnist "
        "(gray), cifar10-1 (up to 64 pixels) or stl10.",
        json_schema_extra=ADVANCED,
    )
    init: Literal["auto", "random", "pixels"] = Field(
        "auto",
        description="Initialization. random: as in the paper; pixels: an additional first round on pairs from clusters "
        "of the pixels (UMAP and a Gaussian mixture); auto: pixels for fewer than 20,000 small gray images.",
    )
    augmentation: Literal["auto", "none", "light", "light-flip", "affine", "affine-flip", "released"] = Field(
        "auto",
        description="Training augmentation; released: that of the authors' script; auto: released for that variant, "
        "else light, with flips for color images.",
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
    min_steps: MinSteps = BATCHES
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
    weight_decay: WeightDecay = 0.0
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

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.augmentation == "released" and self.variant == "paper":
            raise ValueError("augmentation='released' needs variant='released'; set it, or use 'light'")
        if self.script is not None and self.variant == "paper":
            raise ValueError(
                f"script={self.script!r} needs variant='released'; set it, or leave script empty"
            )
        if self.script is not None and SCRIPTS[self.script].star != self.star:
            raise ValueError(
                f"script={self.script!r} is {'DAC*' if not self.star else 'DAC'}; set star={not self.star}"
            )
        return self

    def resolve(self, facts: ImageFacts) -> DAC:
        """See ``Options.resolve``."""
        side = self.image_size or min(choose_side(facts.side), LARGE_SIDE)
        settled = self.settled(facts, image_size=side)
        gray = settled.color == "gray"
        start = settled._chosen_init(facts.n, side, gray)
        script = settled.chosen_script()
        return settled.model_copy(update={
            "script": script,
            "augmentation": settled._augmentation(gray),
            "init": start,
            "stop_nmi": self.stop_nmi or (PIXELS_STOP_NMI if start == "pixels" and not self.star else None),
            "batch_size": min(self.batch_size or settled._batch(facts.n, script), facts.n),
            "width": self.width or (WIDTH if side >= PAPER_MIN else WIDTH // 2),
            "inner_epochs": self.inner_epochs or (SCRIPTS[script].inner_epochs if script else 10),
            "star_rounds": self.star_rounds or settled._star_rounds(script, few=start == "pixels"),
        })  # fmt: skip

    def build(self) -> Parts:
        """See ``Options.build``."""
        from fiftyone_deepcluster.training.loop import TrainingSpec
        from fiftyone_deepcluster.training.optimizers import OptimizerSpec
        from fiftyone_deepcluster.training.stopping import StopOnAgreement

        network = self._network()
        optimizer = OptimizerSpec("rmsprop", self.learning_rate, weight_decay=self.weight_decay)
        stopping = () if self.stop_nmi is None else (StopOnAgreement(self.stop_nmi, patience=2),)
        training_spec = TrainingSpec(self._task(), self.objective(), self.make_augment(), optimizer, stopping)
        return Parts(network, training_spec, self.batch_size or PAPER_BATCH)

    def _task(self) -> PairSelection | PixelWarmup:
        """Pairs by similarity, after a first round on pairs from clusters of the pixels if ``init`` says so."""
        from fiftyone_deepcluster.pseudo_labels.pairs import PairSelection, PairSelectionParts
        from fiftyone_deepcluster.pseudo_labels.pixel_warmup import PixelPairs, PixelWarmup

        batch = self.batch_size or PAPER_BATCH
        selection = PairSelectionParts(
            thresholds=self.thresholds(),
            batch_size=batch,
            min_steps=self.min_steps,
            frozen=self.frozen(),
            batch_statistics=self.norm == "batch",
            seed=self.seed,
        )
        if self.init != "pixels":
            return PairSelection(selection)
        pixels = PixelPairs(self.n_clusters, batch, PIXEL_PASSES, self.seed)
        return PixelWarmup(pixels, partial(PairSelection, selection))

    def _network(self) -> Network:
        from fiftyone_deepcluster.backbones.all_conv import AllConvNet
        from fiftyone_deepcluster.backbones.input_norms import make_input_norm
        from fiftyone_deepcluster.backbones.network import Network

        input_norm, script = make_input_norm(self.input_norm, self.channels), self._script
        layout: dict[str, Any] = {} if script is None else {
            "norm_pooled": script.pooled_norm, "norm_average": script.pooled_norm, "last_relu": script.last_relu,
            "blocks": script.blocks if self.width in (None, WIDTH) else None,
        }  # fmt: skip
        backbone = AllConvNet(
            int(input_norm.out_channels),  # type: ignore[arg-type]
            self.image_size or SMALL_SIDE,
            self.n_clusters,
            width=self.width or WIDTH,
            **layout,
        )
        return Network(input_norm, backbone)

    def chosen_script(self) -> ScriptName | None:
        """The authors' script for the images; None: as in the paper."""
        if self.variant == "paper" or self.script is not None:
            return self.script
        if not self.star:
            return "cifar10-2"
        if self.color == "gray":
            return "mnist"
        return "cifar10-1" if (self.image_size or SMALL_SIDE) <= SMALL_SIDE else "stl10"

    @property
    def _script(self) -> Script | None:
        name = self.chosen_script()
        return None if name is None else SCRIPTS[name]

    def thresholds(self) -> Thresholds:
        """u(λ) and l(λ) of the variant: section 5.4 of the paper, or the authors' script."""
        from fiftyone_deepcluster.pseudo_labels.pairs import Thresholds

        script = self._script
        rounds = self.star_rounds or (46 if script is None else script.rounds)
        if script is not None:
            (upper, lower, step) = script.thresholds(rounds)
            return Thresholds(upper, lower, step, rounds)
        if self.star:
            return Thresholds((0.95, -1.0), (0.95, -1.0), 0.45 / max(1, rounds - 1), rounds)
        return Thresholds((0.95, -1.0), (0.455, 0.1), FALL * self.eta)

    def frozen(self) -> FrozenTargets | None:
        """How long targets are fixed: for macro-batches, as in the authors' code; None: each step computes its own.

        With ``variant="paper"`` and an augmentation, a macro-batch is a single batch. Targets are computed without
        augmentation.
        """
        from fiftyone_deepcluster.pseudo_labels.pairs import FrozenTargets

        script = self._script
        if script is None:
            return (
                None if self.augmentation == "none" else FrozenTargets(self.batch_size or PAPER_BATCH, 1, 1)
            )
        return FrozenTargets(
            self.macro_batch,
            self.inner_epochs or script.inner_epochs,
            1 if script.across_views else self.views,
        )

    def objective(self) -> PairLoss:
        """The paper's loss, or that of the authors' script, with self-distillation."""
        from fiftyone_deepcluster.training.losses import PairLoss

        script = self._script
        return PairLoss() if script is None else PairLoss(script.kind, script.hold, script.hold_on)

    def make_augment(self) -> Augmentation:
        """The augmentation of that name; at most two views of each image if pairs are formed across views.

        ``light``: rotation 10 degrees, shift 10 %, zoom 5 % and brightness 5 %, near the authors' code.
        ``released``: that of the script.
        """
        from fiftyone_deepcluster.images.augment import Augment, MultiCrop

        script = self._script
        light: dict[str, Any] = {"rotate": 10.0, "shift": 0.1, "scale": (0.95, 1.05), "brightness": 0.05}
        affine: dict[str, Any] = {"rotate": 15.0, "shift": 0.12, "scale": (0.85, 1.15), "shear": 0.2}
        known = {
            "none": {},
            "light": light,
            "affine": affine,
            "released": {} if script is None else script.augmentation(),
        }
        named = known[self.augmentation.removesuffix("-flip")]
        changes = Augment(**{**named, "flip": named.get("flip", self.augmentation.endswith("-flip"))})
        if script is None or not script.across_views:
            return changes
        side = self.image_size or SMALL_SIDE
        return MultiCrop(large=changes, small=changes, n_large=min(2, self.views), n_small=0, small_size=side)

    def _augmentation(self, gray: bool) -> str:
        if self.augmentation != "auto":
            return self.augmentation
        if self.variant == "released":
            return "released"
        return "light" if gray else "light-flip"

    def _chosen_init(self, n: int, side: int, gray: bool) -> str:
        if self.init != "auto":
            return self.init
        enough = MIN_FOR_PIXELS <= n < FEW_IMAGES
        return "pixels" if gray and side <= SMALL_SIDE and enough else "random"

    def _batch(self, n: int, script: ScriptName | None) -> int:
        if script is not None:
            return SCRIPTS[script].batch_size
        side = self.image_size or SMALL_SIDE
        # Activations kept for backward grow with the pixels: above 64 the batch shrinks to the memory needed at 64.
        most = PAPER_BATCH if side <= SMALL_SIDE else math.ceil(PAPER_BATCH * (SMALL_SIDE / side) ** 2)
        return min(most, max(MIN_BATCH, math.ceil(n / BATCHES)))

    def _star_rounds(self, script: ScriptName | None, few: bool) -> int:
        if script is not None:
            return SCRIPTS[script].rounds
        return FEW_STAR_ROUNDS if few else 46
