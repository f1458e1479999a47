"""Clusters of fixed features in one pass: the baselines that everything else is compared with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from fiftyone_deepcluster.backbones.base import TRUNKS, FrontName, Trunk
from fiftyone_deepcluster.clusterers.base import CLUSTERERS, Clusterer
from fiftyone_deepcluster.core.registry import PartOf
from fiftyone_deepcluster.features.base import ENCODERS, Encoder
from fiftyone_deepcluster.methods.base import ADVANCED, RECIPES, Options, Parts
from fiftyone_deepcluster.methods.trained import augmentation, make_network
from fiftyone_deepcluster.reducers.base import SPACES, Space

if TYPE_CHECKING:
    from fiftyone_deepcluster.images.inspect import Facts


@RECIPES.register
class Frozen(Options):
    """Fixed features, clustered once: pixels, a trunk with weights, or embeddings you have."""

    accepts_features: ClassVar[bool] = True
    trains: ClassVar[bool] = False

    name: Literal["frozen"] = "frozen"
    rounds: int = Field(1, ge=1, le=1, description="One: nothing is learnt.", json_schema_extra=ADVANCED)
    trunk: Annotated[Trunk, PartOf(TRUNKS)] = Field(
        default="pixels",
        validate_default=True,
        description="Where features come from, unless they are given.",
    )
    weights: str | None = Field(
        None, description="Of the trunk: a torchvision name such as IMAGENET1K_V1, or a file."
    )
    clusterer: Annotated[Clusterer, PartOf(CLUSTERERS)] = Field(
        default="kmeans", validate_default=True, description="Groups the vectors."
    )
    space: Annotated[Space, PartOf(SPACES)] = Field(
        default="flat", validate_default=True, description="umap: cluster a UMAP of the features."
    )
    encoder: Annotated[Encoder | None, PartOf(ENCODERS, optional=True)] = Field(
        None,
        description="From features to vectors; empty: as they are, scaled to length 1 unless pixels.",
        json_schema_extra=ADVANCED,
    )
    front: FrontName | None = Field(
        None, description="Fixed first layer; empty: the trunk's own choice.", json_schema_extra=ADVANCED
    )
    batch_size: int = Field(
        256, ge=1, le=65_536, description="Images in a batch.", json_schema_extra=ADVANCED
    )

    @property
    def chosen_encoder(self) -> Encoder | None:
        """See ``Options.chosen_encoder``."""
        return self.encoder

    @property
    def chosen_clusterer(self) -> Clusterer | None:
        """See ``Options.chosen_clusterer``."""
        return self.clusterer

    @property
    def starts_from_pixels(self) -> bool:
        """Features are what they are."""
        return self.trunk.name == "pixels"

    def resolve(self, facts: Facts) -> Frozen:
        """See ``Options.resolve``."""
        front = self.front or ("imagenet" if self.weights else self.trunk.front)
        encoder = self.encoder or ENCODERS.parse(
            {"name": "pooled", "pca": 0, "unit": self.trunk.name != "pixels"}
        )
        return self.settled(facts, front=front, encoder=encoder)

    def remarks(self, facts: Facts) -> list[str]:
        """See ``Options.remarks``."""
        if self.n_clusters is None or not self.clusterer.finds_number:
            return []
        by_itself = f"the clusterer {self.clusterer.name!r} finds the number of clusters by itself"
        return [f"{by_itself}: n_clusters={self.n_clusters} was not used"]

    def build(self) -> Parts:
        """See ``Options.build``."""
        from fiftyone_deepcluster.pseudo_labels.round_labels import RoundLabels, RoundLabelsParts
        from fiftyone_deepcluster.pseudo_labels.samplers import Shuffled
        from fiftyone_deepcluster.training.loop import Lesson
        from fiftyone_deepcluster.training.losses import CrossEntropy
        from fiftyone_deepcluster.training.optimizers import Training

        task = RoundLabels(
            RoundLabelsParts(
                encoder=self.encoder or ENCODERS.parse("pooled"),
                space=self.space,
                clusterer=self.clusterer,
                sampler=Shuffled(),
                n_clusters=self.n_clusters,
                n_pseudo=None,
                fine_rounds=None,
                epochs=0,
                seed=self.seed,
            )
        )
        lesson = Lesson(task, CrossEntropy(), augmentation("none"), Training("sgd", 1.0))
        network = make_network(self.trunk, self.front or "plain", self, self.weights)
        return Parts(network, lesson, self.batch_size)
