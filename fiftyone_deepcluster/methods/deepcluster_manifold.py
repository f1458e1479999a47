"""DeepCluster with a Gaussian mixture on a UMAP embedding of the features as clusterer.

The loop is DeepCluster's; only the clusterer differs: UMAP preserves neighborhoods, so that clusters follow the
manifold of the features, and training with augmentation corrects errors of UMAP.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from fiftyone_deepcluster.backbones.base import BACKBONES, SMALL_SIDE
from fiftyone_deepcluster.methods.base import METHODS, choose_side
from fiftyone_deepcluster.methods.shared_options import (
    ChosenClusterer,
    ChosenReducer,
    Epochs,
    LabelSmoothing,
    MinSteps,
    StopNmi,
    WeightDecay,
)
from fiftyone_deepcluster.methods.trained import Trained

if TYPE_CHECKING:
    from fiftyone_deepcluster.clusterers.base import Clusterer
    from fiftyone_deepcluster.images.inspect import ImageFacts
    from fiftyone_deepcluster.training.optimizers import OptimizerSpec


_PSEUDO_FACTOR = 6
"""Pseudo-classes per cluster in the first rounds."""

TINY_SIDE, TINY_SEEN_AT = 16, 28
"""Images below 16 pixels are resized to 28: at 16 the last feature maps are too coarse (digits of 8 pixels:
.96 at 28, .90 at 16). Images of 16 pixels keep their size (USPS)."""

_PSEUDO_CLASS_ROUNDS = 2
"""Rounds on pseudo-classes. Trained on its own ten clusters from the start, a network confirms their errors; trained
first on sixty pseudo-classes, those of one class move together, and the ten clusters merged from them are better."""


GRID, GRID_FROM = 3, 5000
"""Cells per side of the pooled last feature maps, and the minimum number of images for such a grid: the position of
features separates clothes (Fashion-MNIST, NMI of the first rounds .61 averaged and .69 on the grid) and does not harm
digits (USPS); 1,797 digits are too few (.914 on the grid, .94 averaged)."""


@METHODS.register
class DeepClusterManifold(Trained):
    """DeepCluster that clusters by UMAP and a Gaussian mixture, unless others are chosen: best for small images."""

    name: Literal["deepcluster-manifold"] = "deepcluster-manifold"
    rounds: int = Field(
        5, ge=1, le=100_000, description="Maximum number of rounds; each round clusters and trains once."
    )
    epochs: Epochs = 3
    min_steps: MinSteps = 120
    learning_rate: float = Field(
        0.003, gt=0, le=100, description="Peak learning rate of the one-cycle schedule of each round."
    )
    weight_decay: WeightDecay = 1e-4
    label_smoothing: LabelSmoothing = 0.1
    stop_nmi: StopNmi = 0.98
    reducer: ChosenReducer = Field(default={"name": "umap", "epochs": 200}, validate_default=True)
    clusterer: ChosenClusterer = Field(default="gmm", validate_default=True)

    def resolve(self, facts: ImageFacts) -> DeepClusterManifold:
        """See ``Options.resolve``."""
        small = (self.image_size or facts.side) <= SMALL_SIDE
        grid = GRID if facts.n >= GRID_FROM else 1
        backbone = BACKBONES.parse({"name": "small", "grid": grid} if small else "resnet18")
        pseudo = self.pseudo_clusters
        if pseudo is None and self.n_clusters is not None:
            pseudo = max(self.n_clusters, min(_PSEUDO_FACTOR * self.n_clusters, facts.n // 20))
        class_rounds = _PSEUDO_CLASS_ROUNDS if self.pseudo_class_rounds is None else self.pseudo_class_rounds
        side = self.image_size or (TINY_SEEN_AT if facts.side < TINY_SIDE else choose_side(facts.side))
        return self.settle_training(
            facts,
            backbone,
            pseudo_clusters=pseudo,
            pseudo_class_rounds=class_rounds,
            image_size=side,
            merge=True if self.merge is None else self.merge,
        )

    def early_clusterers(self) -> tuple[Clusterer, ...]:
        """Merged pseudo-classes, unless ``merge`` is off, and the clusterer itself, by default the mixture.

        While training on pseudo-classes either can fail; the one that fails has the lower NMI to the previous round.
        """
        return (*super().early_clusterers(), *((self.clusterer,) if self.merger() else ()))

    def optimizer_spec(self) -> OptimizerSpec:
        """AdamW with a one-cycle schedule per round."""
        from fiftyone_deepcluster.training.optimizers import OptimizerSpec

        return OptimizerSpec(
            "adamw",
            self.learning_rate,
            self.head_learning_rate,
            weight_decay=self.weight_decay,
            one_cycle=True,
        )
