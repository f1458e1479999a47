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
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, ValidationError

from fiftyone_deepcluster.clusterers.base import CLUSTERERS
from fiftyone_deepcluster.core.option_errors import explain
from fiftyone_deepcluster.core.registry import Part, Registry
from fiftyone_deepcluster.errors import OptionsError

if TYPE_CHECKING:
    from typing_extensions import Self

    from fiftyone_deepcluster.backbones.network import Network
    from fiftyone_deepcluster.images.inspect import ImageFacts
    from fiftyone_deepcluster.training.loop import TrainingSpec

ADVANCED: dict[str, Any] = {"advanced": True}

SMALL_SIDE = 64
"""Images up to this many pixels stay as they are; larger ones are seen at 224."""


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


class Options(Part):
    """Options that every method takes; a method's own come on top."""

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
    def needs_number(self) -> bool:
        """Whether nobody but ``n_clusters`` says how many clusters there are."""
        clusterer = getattr(self, "clusterer", None)
        return clusterer is not None and not clusterer.finds_number

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
    clusterer = getattr(options, "clusterer", None)
    if options.n_clusters is None and options.needs_number and clusterer is not None:
        raise OptionsError(
            f"n_clusters=None: the clusterer {clusterer.name!r} needs a number; give one, or take a clusterer "
            f"that finds it: {', '.join(name for name in CLUSTERERS.names() if CLUSTERERS.get(name).finds_number)}"
        )
    return options
