"""The base class of every method: its options, and the parts it gives to the training loop.

An ``Options`` model defines a method: ``resolve`` replaces every automatic value for the given images,
``build`` creates the parts. The same model defines the SDK's keyword arguments, the App's form, the run record and
the documentation. A field with ``json_schema_extra={"advanced": True}`` is in the form's collapsed section.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, ValidationError

from fiftyone_deepcluster.backbones.base import SMALL_SIDE
from fiftyone_deepcluster.clusterers.base import CLUSTERERS
from fiftyone_deepcluster.core.arguments import short
from fiftyone_deepcluster.core.devices import DEVICE_NAME
from fiftyone_deepcluster.core.option_errors import explain
from fiftyone_deepcluster.core.registry import Part, Registry
from fiftyone_deepcluster.core.seeds import LARGEST_SEED
from fiftyone_deepcluster.errors import OptionsError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from typing_extensions import Self

    from fiftyone_deepcluster.backbones.network import Network
    from fiftyone_deepcluster.clusterers.base import Clusterer
    from fiftyone_deepcluster.features.base import Encoder
    from fiftyone_deepcluster.images.decode import Interpolation
    from fiftyone_deepcluster.images.inspect import ImageFacts
    from fiftyone_deepcluster.training.loop import TrainingSpec

ADVANCED: dict[str, Any] = {"advanced": True}

FIELD_SUFFIX = "_field"
"""End of the names of options that name a field of the dataset. The field can get another name after the run."""


def choose_side(side: int) -> int:
    """Side in pixels of the network input for images of ``side`` pixels: 224 above 64.

    At most 64: at least 16, so that a network can halve them twice, rounded up to a multiple of 4.
    """
    if side > SMALL_SIDE:
        return 224
    return max(16, math.ceil(side / 4) * 4)


@dataclass(frozen=True)
class Parts:
    """The parts that a method gives to the training loop, built for one set of images.

    Attributes:
        network: on the CPU; the corpus moves it to the device.
        training_spec: pseudo-task, loss, augmentation, optimizer and stopping rules.
        batch_size: images per batch.
        synced_norms: processes that share the statistics of batch norm; 1: each has its own.
    """

    network: Network
    training_spec: TrainingSpec
    batch_size: int
    synced_norms: int = 1


@dataclass(frozen=True)
class KnownFields:
    """Names of the dataset fields that a method reads besides the pixels; None: not used.

    Attributes:
        texts: field with the report of each image.
        groups: field with the group (patient, series) of each image.
        initial: targets of the first round; ``labels`` and ``topics`` are read from the dataset.
        labels: field with the labels, for ``initial="labels"``.
        n_topics: number of topics of the reports, for ``initial="topics"``.
    """

    texts: str | None = None
    groups: str | None = None
    initial: str = "features"
    labels: str | None = None
    n_topics: int = 0


class Options(Part):
    """Options common to all methods; each method adds its own.

    The rest of the package queries the properties below, never a method's name or its own fields.

    Attributes:
        accepts_features: whether the method can cluster given vectors instead of a network's features.
        joins_vectors: whether the method can cluster given vectors together with its features.
        keeps_labels: whether a run can keep given labels fixed, see ``going_on``.
        trains: whether the method trains the network.
        cluster_options: names of the options that give a number of clusters of the images.
        default_of_chosen: names of the options whose default is that of another method, which this one chooses.
    """

    accepts_features: ClassVar[bool] = False
    joins_vectors: ClassVar[bool] = False
    keeps_labels: ClassVar[bool] = False
    trains: ClassVar[bool] = True
    cluster_options: ClassVar[tuple[str, ...]] = ("n_clusters",)
    default_of_chosen: ClassVar[tuple[str, ...]] = ()

    n_clusters: int | None = Field(10, ge=2, description="Number of clusters to write to the dataset.")
    rounds: int = Field(
        10, ge=1, le=100_000, description="Maximum number of rounds; each round clusters and trains once."
    )
    seed: int = Field(
        51,
        ge=0,
        le=LARGEST_SEED,
        description="Random seed; with the same seed, machine and images the clusters are the same, on a GPU nearly.",
    )
    image_size: int | None = Field(
        None, ge=8, le=1024, description="Side of the network input in pixels; empty: chosen from the images."
    )
    color: Literal["auto", "gray", "rgb"] = Field(
        "auto",
        description="Channels of the network input; auto: gray if all sampled images are gray.",
        json_schema_extra=ADVANCED,
    )
    image_fit: Literal["stretch", "crop"] = Field(
        "stretch",
        description="stretch: resize both sides to image_size, so that nothing is cut off; crop: keep the aspect ratio "
        "and cut out the center, above 64 pixels after enlarging by 256/224, as ImageNet models are evaluated.",
        json_schema_extra=ADVANCED,
    )
    device: str = Field(
        "auto",
        description="auto, cpu, cuda or cuda:1; with several processes auto or cuda, one GPU for each.",
        json_schema_extra=ADVANCED,
        pattern=DEVICE_NAME,
    )
    precision: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto",
        description="Floating-point type of the networks; auto: bfloat16 if the GPU or CPU supports it, else float32.",
        json_schema_extra=ADVANCED,
    )
    max_minutes: float | None = Field(
        None,
        title="Time limit (minutes)",
        gt=0,
        description="Time limit in minutes; the run stops after the round in which it is reached.",
        json_schema_extra=ADVANCED,
    )
    baselines: bool = Field(
        True,
        description="Also evaluate k-means and UMAP + GMM on pixels, or on features of the given weights.",
        json_schema_extra=ADVANCED,
    )

    @abstractmethod
    def resolve(self, facts: ImageFacts) -> Options:
        """A copy with every automatic value replaced, for images with the properties ``facts``."""

    def resolutions(self, facts: ImageFacts) -> Iterator[tuple[Options, list[str]]]:
        """Resolved options with their ``remarks``: for this machine, then for others, where a run may have begun."""
        yield self.resolve(facts), self.remarks(facts)

    def remarks(self, facts: ImageFacts) -> list[str]:
        """Notes for the run record about choices made for such images."""
        return []

    @abstractmethod
    def build(self) -> Parts:
        """The parts of the training loop, from resolved options; random weights use torch's global generator."""

    def going_on(self, n_clusters: int) -> Self:
        """These resolved options for ``refine``: a run that starts from ``n_clusters`` reviewed clusters.

        Raises:
            OptionsError: the method's clusters are not those of a clusterer that could keep labels.
        """
        raise OptionsError(
            f"the method {self.name!r} has no clusterer that could keep reviewed labels between its rounds; refine a "
            f"run of {methods_that('keeps_labels')}"
        )

    def with_changes(self, values: dict[str, Any]) -> dict[str, Any]:
        """All options by name with ``values`` instead of their own, to be validated."""
        return {**self.as_given(), **values}

    def as_given(self) -> dict[str, Any]:
        """These options as JSON values, from which ``parse_options`` makes options that resolve alike.

        Values that were not given are left out if ``resolve`` would use them otherwise when they are given.
        """
        return self.model_dump(mode="json", exclude=set(self.default_of_chosen) - self.model_fields_set)

    @property
    def planned_rounds(self) -> int | None:
        """Maximum number of rounds; None: known only once the images are."""
        return self.rounds

    @property
    def views_of_an_image(self) -> int:
        """Number of views of every image that are embedded, for estimates."""
        return 1

    @property
    def trained_share(self) -> float:
        """Share of the network's time that a training step takes, for estimates."""
        return 1.0

    def chosen_for(self, facts: ImageFacts, *, accelerated: bool) -> Options:
        """These options; those of another method if this one chooses among methods.

        Args:
            facts: properties of the images.
            accelerated: whether networks run on a GPU.

        Raises:
            OptionsError: no method fits.
        """
        return self

    @property
    def starts_from_pixels(self) -> bool:
        """Whether the network is not pre-trained, so that the baselines start from pixels."""
        return True

    @property
    def enlarge(self) -> Interpolation:
        """Interpolation of images with fewer pixels than the network's input.

        Pre-trained networks have seen sharp images, and bicubic interpolation blurs less.
        """
        return "bilinear" if self.starts_from_pixels else "bicubic"

    @property
    def chosen_encoder(self) -> Encoder | None:
        """Converts features to vectors; None: features are clustered unchanged, or no encoder is chosen yet."""
        return None

    @property
    def chosen_clusterer(self) -> Clusterer | None:
        """Clusters the vectors; None: the method itself clusters, or no clusterer is chosen yet."""
        return None

    @property
    def known_fields(self) -> KnownFields:
        """Dataset fields that the method reads."""
        return KnownFields()

    @property
    def held_out_share(self) -> float:
        """Share of the images, 0..1, in the test part: used neither for training nor for validation."""
        return 0.0

    @property
    def needs_number(self) -> bool:
        """Whether ``n_clusters`` is required because the clusterer does not find the number of clusters."""
        return self.chosen_clusterer is not None and not self.chosen_clusterer.finds_number

    def cluster_counts(self) -> dict[str, int]:
        """The requested numbers of clusters by option name; none may exceed the number of images."""
        counts = self.model_dump(include=set(self.cluster_options))
        return {name: count for name, count in counts.items() if count is not None}

    @property
    def decoded_side(self) -> int:
        """Side in pixels of the decoded images: ``image_size``, with a margin around a center that is cut out."""
        side = self.image_size or SMALL_SIDE
        return round(side * 256 / 224) if self.image_fit == "crop" and side > SMALL_SIDE else side

    @property
    def channels(self) -> int:
        """Channels of the decoded images: 1 for gray, 3 for color."""
        return 1 if self.color == "gray" else 3

    def settled(self, facts: ImageFacts, **values: Any) -> Self:
        """A copy with resolved image size and color, and ``values``; for a method's ``resolve``."""
        side = self.image_size or choose_side(facts.side)
        color = ("gray" if facts.gray else "rgb") if self.color == "auto" else self.color
        return self.model_copy(update={"image_size": side, "color": color, **values})


GOING_ON_ROUNDS = 5
"""Maximum number of rounds of ``refine``: the network is trained already."""

METHODS: Registry[Options] = Registry("methods", Options, "methods")  # type: ignore[type-abstract]


def list_methods() -> dict[str, type[Options]]:
    """Names of all methods and their Options classes."""
    return {name: METHODS.get(name) for name in METHODS.names()}


def methods_that(*can: Literal["accepts_features", "joins_vectors", "keeps_labels"]) -> str:
    """The methods with one of these properties, for error messages: ``method='frozen' or method=...``."""
    names = [name for name, options in list_methods().items() if any(getattr(options, one) for one in can)]
    return " or ".join(f"method={name!r}" for name in names)


def parse_options(method: str | Options, values: dict[str, Any] | None = None) -> Options:
    """Options from a method's name and keyword values, or an Options object and changes to it.

    Raises:
        OptionsError: unknown method or option, or invalid value.
    """
    values = dict(values or {})
    if isinstance(method, Options):
        if not values:
            return _with_number(method)
        values = method.with_changes(values)
        options_type: type[Options] = type(method)
    elif not isinstance(method, str):
        raise OptionsError(
            f"method={short(method)} is neither a name nor an Options object; give one of {', '.join(METHODS.names())}"
        )
    else:
        options_type = METHODS.get(method)
        values["name"] = method
    try:
        return _with_number(options_type.model_validate(values))
    except ValidationError as error:
        raise OptionsError(explain(error, str(values["name"]), options_type)) from None


def _with_number(options: Options) -> Options:
    """The same options, checked: ``n_clusters`` is given or found by the clusterer."""
    clusterer = options.chosen_clusterer
    if options.n_clusters is None and options.needs_number and clusterer is not None:
        raise OptionsError(
            f"n_clusters=None: the clusterer {clusterer.name!r} needs a number; give one, or use a clusterer "
            f"that finds it: {', '.join(name for name in CLUSTERERS.names() if CLUSTERERS.get(name).finds_number)}"
        )
    return options
