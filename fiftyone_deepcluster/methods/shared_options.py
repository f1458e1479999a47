"""Options that several methods have: type, limits and description stand here once, each method gives its default."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from fiftyone_deepcluster.backbones.base import InputNormName
from fiftyone_deepcluster.clusterers.base import CLUSTERERS, Clusterer
from fiftyone_deepcluster.core.registry import PartOf
from fiftyone_deepcluster.methods.base import ADVANCED, Options
from fiftyone_deepcluster.reducers.base import REDUCERS, Reducer

if TYPE_CHECKING:
    from fiftyone_deepcluster.features.base import Encoder

InitialWeights = Annotated[
    str | None,
    Field(
        description="Initial weights: empty for random, a torchvision name such as IMAGENET1K_V1, "
        "pretrained for a model of timm or transformers, or a file."
    ),
]
Epochs = Annotated[int, Field(ge=1, le=1000, description="Epochs per round.")]
MinSteps = Annotated[
    int,
    Field(
        ge=0,
        le=100_000,
        description="Minimum number of batches per round; adds epochs when there are few images.",
        json_schema_extra=ADVANCED,
    ),
]
BatchSize = Annotated[
    int | None, Field(ge=2, le=65_536, description="Batch size; empty: 128 up to 64 pixels, else 256.")
]
WeightDecay = Annotated[
    float, Field(ge=0, le=1, description="Weight decay (L2).", json_schema_extra=ADVANCED)
]
LabelSmoothing = Annotated[
    float,
    Field(ge=0, lt=1, description="Label smoothing of the cross-entropy.", json_schema_extra=ADVANCED),
]
StopNmi = Annotated[
    float | None,
    Field(
        gt=0,
        le=1,
        description="Stop when the NMI with the last round reaches this; empty: never.",
        json_schema_extra=ADVANCED,
    ),
]
FirstLayer = Annotated[
    InputNormName | None,
    Field(description="Fixed first layer; empty: the backbone's default.", json_schema_extra=ADVANCED),
]
ChosenReducer = Annotated[
    Reducer,
    PartOf(REDUCERS),
    Field(description="Dimensionality reduction before clustering.", json_schema_extra=ADVANCED),
]
ChosenClusterer = Annotated[
    Clusterer,
    PartOf(CLUSTERERS),
    Field(description="Clustering algorithm.", json_schema_extra=ADVANCED),
]


class WithEncoder(Options):
    """A method with the options ``encoder`` and ``clusterer``. Abstract base, not a method."""

    if TYPE_CHECKING:  # each method makes the options, in the order of its form
        encoder: Encoder | None
        clusterer: Clusterer | None

    @property
    def chosen_encoder(self) -> Encoder | None:
        """See ``Options.chosen_encoder``."""
        return self.encoder

    @property
    def chosen_clusterer(self) -> Clusterer | None:
        """See ``Options.chosen_clusterer``."""
        return self.clusterer
