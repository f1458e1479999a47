"""DeepCluster in which a Gaussian mixture on a UMAP of the features gives the labels.

The loop is DeepCluster's; only the clusterer of the round differs: UMAP follows the manifold that k-means
cuts through, and training under augmentation straightens what UMAP got wrong.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from fiftyone_deepcluster.clusterers.base import CLUSTERERS, SPACES, Clusterer, Space
from fiftyone_deepcluster.networks.trunks.base import TRUNKS
from fiftyone_deepcluster.recipes.base import ADVANCED, RECIPES, SMALL_SIDE
from fiftyone_deepcluster.recipes.trained import Trained
from fiftyone_deepcluster.registry import PartOf

if TYPE_CHECKING:
    from fiftyone_deepcluster.images.source import Facts
    from fiftyone_deepcluster.optimise import Training


@RECIPES.register
class DeepClusterManifold(Trained):
    """DeepCluster with UMAP and a Gaussian mixture in place of k-means: best for small images."""

    name: Literal["deepcluster-manifold"] = "deepcluster-manifold"
    rounds: int = Field(
        4, ge=1, le=100_000, description="Rounds at most: one round clusters and trains once."
    )
    epochs: int = Field(3, ge=1, le=1000, description="Passes over the images in a round.")
    batch_size: int = Field(128, ge=2, le=65_536, description="Images in a batch.")
    learning_rate: float = Field(0.003, gt=0, le=100, description="Peak of the cycle in every round.")
    weight_decay: float = Field(
        1e-4, ge=0, le=1, description="Pull of the weights to 0.", json_schema_extra=ADVANCED
    )
    smoothing: float = Field(
        0.1, ge=0, lt=1, description="Label smoothing of the cross-entropy.", json_schema_extra=ADVANCED
    )
    stop_nmi: float | None = Field(
        0.98,
        gt=0,
        le=1,
        description="Stop when NMI with the last round reaches this; empty: never.",
        json_schema_extra=ADVANCED,
    )
    space: Annotated[Space, PartOf(SPACES)] = Field(
        default="umap",
        validate_default=True,
        description="Change of geometry before clustering.",
        json_schema_extra=ADVANCED,
    )
    clusterer: Annotated[Clusterer, PartOf(CLUSTERERS)] = Field(
        default="gmm", validate_default=True, description="Groups the vectors.", json_schema_extra=ADVANCED
    )

    def resolve(self, facts: Facts) -> DeepClusterManifold:
        """See ``Options.resolve``."""
        small = (self.image_size or facts.side) <= SMALL_SIDE
        trunk = TRUNKS.parse("small" if small else "resnet18")
        return self.settle_training(facts, trunk, pseudo_clusters=self.pseudo_clusters or self.n_clusters)

    def training(self) -> Training:
        """AdamW, one cycle a round."""
        from fiftyone_deepcluster.optimise import Training

        return Training(
            "adamw",
            self.learning_rate,
            self.head_learning_rate,
            weight_decay=self.weight_decay,
            one_cycle=True,
        )
