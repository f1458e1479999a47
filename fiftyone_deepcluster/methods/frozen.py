"""Clusters of fixed features in one pass: the baselines for all other methods."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from fiftyone_deepcluster.backbones.base import BACKBONES, Backbone
from fiftyone_deepcluster.clusterers.base import CLUSTERERS, Clusterer
from fiftyone_deepcluster.core.registry import PartOf
from fiftyone_deepcluster.features.base import ENCODERS, Encoder
from fiftyone_deepcluster.methods.base import ADVANCED, METHODS, Parts
from fiftyone_deepcluster.methods.shared_options import FirstLayer, WithEncoder
from fiftyone_deepcluster.methods.trained import augmentation, make_network
from fiftyone_deepcluster.reducers.base import REDUCERS, Reducer

if TYPE_CHECKING:
    from fiftyone_deepcluster.images.decode import Interpolation
    from fiftyone_deepcluster.images.inspect import ImageFacts


@METHODS.register
class Frozen(WithEncoder):
    """Fixed features, clustered once: pixels, features of a pre-trained backbone, or given embeddings."""

    accepts_features: ClassVar[bool] = True
    keeps_labels: ClassVar[bool] = True
    trains: ClassVar[bool] = False

    name: Literal["frozen"] = "frozen"
    rounds: int = Field(
        1, ge=1, le=1, description="Always 1: nothing is trained.", json_schema_extra=ADVANCED
    )
    backbone: Annotated[Backbone, PartOf(BACKBONES)] = Field(
        default="pixels",
        validate_default=True,
        description="Source of the features, unless features are given.",
    )
    weights: str | None = Field(
        None,
        description="Weights of the backbone: a torchvision name such as IMAGENET1K_V1, "
        "pretrained for a model of timm or transformers, or a file.",
    )
    clusterer: Annotated[Clusterer, PartOf(CLUSTERERS)] = Field(
        default="kmeans", validate_default=True, description="Clustering algorithm."
    )
    reducer: Annotated[Reducer, PartOf(REDUCERS)] = Field(
        default="identity",
        validate_default=True,
        description="Dimensionality reduction before clustering, such as umap.",
    )
    encoder: Annotated[Encoder | None, PartOf(ENCODERS, optional=True)] = Field(
        None,
        description="Converts features to vectors; empty: unchanged, L2-normalized unless pixels.",
        json_schema_extra=ADVANCED,
    )
    input_norm: FirstLayer = None
    batch_size: int = Field(256, ge=1, le=65_536, description="Batch size.", json_schema_extra=ADVANCED)

    @property
    def starts_from_pixels(self) -> bool:
        """Whether the features are pixels."""
        return self.backbone.name == "pixels"

    @property
    def enlarge(self) -> Interpolation:
        """See ``Options.enlarge``; a network with random weights is not pre-trained."""
        return "bicubic" if self.weights else "bilinear"

    def resolve(self, facts: ImageFacts) -> Frozen:
        """See ``Options.resolve``."""
        input_norm = self.input_norm or self.backbone.norm_for(self.weights)
        encoder = self.encoder or ENCODERS.parse(
            {"name": "pooled", "pca": 0, "l2_normalize": self.backbone.name != "pixels"}
        )
        return self.settled(facts, input_norm=input_norm, encoder=encoder)

    def going_on(self, n_clusters: int) -> Frozen:
        """See ``Options.going_on``."""
        return self.model_copy(update={"n_clusters": n_clusters})

    def remarks(self, facts: ImageFacts) -> list[str]:
        """See ``Options.remarks``."""
        if self.n_clusters is None or not self.clusterer.finds_number:
            return []
        by_itself = f"the clusterer {self.clusterer.name!r} determines the number of clusters"
        return [f"{by_itself}: n_clusters={self.n_clusters} was not used"]

    def build(self) -> Parts:
        """See ``Options.build``."""
        from fiftyone_deepcluster.pseudo_labels.one_clustering import cluster_once
        from fiftyone_deepcluster.training.loop import TrainingSpec
        from fiftyone_deepcluster.training.losses import CrossEntropy
        from fiftyone_deepcluster.training.optimizers import OptimizerSpec

        encoder = self.encoder or ENCODERS.parse("pooled")
        task = cluster_once(encoder, self.reducer, self.clusterer, n_clusters=self.n_clusters, seed=self.seed)
        training_spec = TrainingSpec(task, CrossEntropy(), augmentation("none"), OptimizerSpec("sgd", 1.0))
        network = make_network(self.backbone, self.input_norm or "plain", self, self.weights)
        return Parts(network, training_spec, self.batch_size)
