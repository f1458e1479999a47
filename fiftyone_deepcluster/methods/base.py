"""What every method has in common: its options, and the parts it hands to the loop.

An ``Options`` model is a method: ``resolve`` settles everything automatic for the images at hand,
``build`` makes the parts. The same model feeds the SDK's keywords, the App's form, the run record and
the documentation; a field's ``json_schema_extra`` says where the form shows it: ``{"advanced": True}``
folds it away.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, ValidationError

from fiftyone_deepcluster.backbones.base import SMALL_SIDE
from fiftyone_deepcluster.clusterers.base import CLUSTERERS
from fiftyone_deepcluster.core.option_errors import explain
from fiftyone_deepcluster.core.registry import Part, Registry
from fiftyone_deepcluster.errors import OptionsError

if TYPE_CHECKING:
    from typing_extensions import Self

    from fiftyone_deepcluster.backbones.network import Network
    from fiftyone_deepcluster.clusterers.base import Clusterer
    from fiftyone_deepcluster.features.base import Encoder
    from fiftyone_deepcluster.images.inspect import ImageFacts
    from fiftyone_deepcluster.training.loop import TrainingSpec

ADVANCED: dict[str, Any] = {"advanced": True}


def choose_side(side: int) -> int:
    """The side in pixels at which networks see images of ``side`` pixels: 16..64 as they are, else 224.

    Tiny images grow to 16, so that a network can halve them twice; small ones go up to a multiple of 4.
    """
    if side > SMALL_SIDE:
        return 224
    return max(16, math.ceil(side / 4) * 4)


@dataclass(frozen=True)
class Parts:
    """What a method hands to the loop, made for one set of images.

    Attributes:
        network: on the CPU; the corpus moves it.
        training_spec: what a round does.
        batch_size: images in a batch.
    """

    network: Network
    training_spec: TrainingSpec
    batch_size: int


@dataclass(frozen=True)
class KnownFields:
    """Fields of a dataset with what a method asks for besides pixels; None: it does not ask.

    Attributes:
        texts: with the report of each image.
        groups: that says which images belong together.
        initial: what the first round trains on: ``labels`` and ``topics`` are read from the dataset.
        labels: with the labels, for ``initial="labels"``.
        n_topics: topics of the reports, for ``initial="topics"``.
    """

    texts: str | None = None
    groups: str | None = None
    initial: str = "features"
    labels: str | None = None
    n_topics: int = 0


class Options(Part):
    """Options that every method takes; a method's own come on top.

    What the rest of the package needs to know of a method is asked here, never of its name or its fields.

    Attributes:
        accepts_features: it clusters vectors that are given in place of a network's.
        trains: it changes the network.
        cluster_options: names of the options that say into how many clusters the images are divided.
    """

    accepts_features: ClassVar[bool] = False
    trains: ClassVar[bool] = True
    cluster_options: ClassVar[tuple[str, ...]] = ("n_clusters",)

    n_clusters: int | None = Field(10, ge=2, description="Number of clusters to write to the dataset.")
    rounds: int = Field(
        10, ge=1, le=100_000, description="Rounds at most: one round clusters and trains once."
    )
    seed: int = Field(51, ge=0, lt=2**31, description="Same seed, machine and images: same clusters.")
    image_size: int | None = Field(
        None, ge=8, le=1024, description="Side in pixels that networks see; empty: chosen from the images."
    )
    color: Literal["auto", "gray", "rgb"] = Field(
        "auto",
        description="Channels that networks see; auto: gray where all sampled images are.",
        json_schema_extra=ADVANCED,
    )
    device: str = Field(
        "auto",
        description="auto, cpu, mps, cuda or cuda:1.",
        json_schema_extra=ADVANCED,
        pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$",
    )
    precision: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto",
        description="Of the networks; auto: bfloat16 where GPU or CPU have it, else float32.",
        json_schema_extra=ADVANCED,
    )
    max_minutes: float | None = Field(
        None,
        gt=0,
        description="Stop after the round in which this many minutes are used up.",
        json_schema_extra=ADVANCED,
    )
    baselines: bool = Field(
        True,
        description="Also measure k-means and UMAP + GMM on the first and last features.",
        json_schema_extra=ADVANCED,
    )

    @abstractmethod
    def resolve(self, facts: ImageFacts) -> Options:
        """A copy with nothing automatic left, for images such as ``facts`` describes."""

    def remarks(self, facts: ImageFacts) -> list[str]:
        """What the record should say of choices made for such images."""
        return []

    @abstractmethod
    def build(self) -> Parts:
        """The parts of the loop, from resolved options; random weights come from torch's generator."""

    @property
    def starts_from_pixels(self) -> bool:
        """Whether the network knows nothing at the start, so that pixels are the features to beat."""
        return True

    @property
    def chosen_encoder(self) -> Encoder | None:
        """What makes vectors of the features; None: they are clustered as they are, or none is chosen yet."""
        return None

    @property
    def chosen_clusterer(self) -> Clusterer | None:
        """What groups the vectors; None: the method does it itself, or none is chosen yet."""
        return None

    @property
    def known_fields(self) -> KnownFields:
        """Fields of the dataset that the method asks for."""
        return KnownFields()

    @property
    def held_out_share(self) -> float:
        """Share of the images, 0..1, that a round neither trains on nor watches, to be measured on."""
        return 0.0

    @property
    def needs_number(self) -> bool:
        """Whether nobody but ``n_clusters`` says how many clusters there are."""
        return self.chosen_clusterer is not None and not self.chosen_clusterer.finds_number

    def cluster_counts(self) -> dict[str, int]:
        """Numbers of clusters that were asked for, by option: none may be more than there are images."""
        counts = self.model_dump(include=set(self.cluster_options))
        return {name: count for name, count in counts.items() if count is not None}

    @property
    def decoded_side(self) -> int:
        """Side in pixels of the decoded images: above 64 a margin of 256/224 for crops."""
        side = self.image_size or SMALL_SIDE
        return side if side <= SMALL_SIDE else round(side * 256 / 224)

    @property
    def channels(self) -> int:
        """Channels of the decoded images: 1 for gray, 3 for color."""
        return 1 if self.color == "gray" else 3

    def settled(self, facts: ImageFacts, **values: Any) -> Self:
        """A copy with image size and color settled, and ``values``; for a method's ``resolve``."""
        side = self.image_size or choose_side(facts.side)
        color = ("gray" if facts.gray else "rgb") if self.color == "auto" else self.color
        return self.model_copy(update={"image_size": side, "color": color, **values})


METHODS: Registry[Options] = Registry("methods", Options, "methods")  # type: ignore[type-abstract]


def list_methods() -> dict[str, type[Options]]:
    """Names of all methods and their Options classes."""
    return {name: METHODS.get(name) for name in METHODS.names()}


def methods_for_features() -> str:
    """What to write to cluster vectors that are given: ``method='frozen'``, and any other that takes them."""
    names = [name for name, options in list_methods().items() if options.accepts_features]
    return " or ".join(f"method={name!r}" for name in names)


def parse_options(method: str | Options, values: dict[str, Any] | None = None) -> Options:
    """Options from a method's name and keyword values, or an Options object and changes to it.

    Raises:
        OptionsError: unknown method or option, or a value out of range.
    """
    values = dict(values or {})
    if isinstance(method, Options):
        if not values:
            return _with_number(method)
        values = {**method.model_dump(), **values}
        options_type: type[Options] = type(method)
    elif not isinstance(method, str):
        raise OptionsError(
            f"method={method!r} is neither a name nor an Options object; give one of {', '.join(METHODS.names())}"
        )
    else:
        options_type = METHODS.get(method)
        values["name"] = method
    try:
        return _with_number(options_type.model_validate(values))
    except ValidationError as error:
        raise OptionsError(explain(error, str(values["name"]), options_type)) from None


def _with_number(options: Options) -> Options:
    """The same options, if somebody says or finds how many clusters there are."""
    clusterer = options.chosen_clusterer
    if options.n_clusters is None and options.needs_number and clusterer is not None:
        raise OptionsError(
            f"n_clusters=None: the clusterer {clusterer.name!r} needs a number; give one, or take a clusterer "
            f"that finds it: {', '.join(name for name in CLUSTERERS.names() if CLUSTERERS.get(name).finds_number)}"
        )
    return options
