"""Chooses a method from the properties of the images, the weights and the device.

The rules, and the measurements behind them, are in ``docs/guide/methods.md`` under "Which one".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from fiftyone_deepcluster.backbones.base import BACKBONES, SMALL_SIDE, Backbone
from fiftyone_deepcluster.core.registry import PartOf
from fiftyone_deepcluster.errors import OptionsError
from fiftyone_deepcluster.methods.base import METHODS, Options, Parts
from fiftyone_deepcluster.methods.deepcluster import DeepCluster
from fiftyone_deepcluster.methods.deepcluster_manifold import DeepClusterManifold
from fiftyone_deepcluster.methods.frozen import Frozen
from fiftyone_deepcluster.methods.ldpo import LDPO
from fiftyone_deepcluster.methods.self_training import SelfTraining
from fiftyone_deepcluster.reducers.umap import MIN_IMAGES_FOR_UMAP

MAX_FOR_UMAP = 100_000
"""Maximum number of images for UMAP: up to here a run of it takes minutes on a CPU."""

MIN_PER_CLUSTER = 20
"""Least mean number of images per cluster for self-training."""

MAX_SELF_TRAINING = {False: 5_000, True: 20_000}
"""Most images for self-training without and with a GPU: a run of 2,255 takes minutes on two cores."""

PIECES = 4
"""Pseudo-classes per cluster when LDPO fine-tunes."""

MIN_OF_A_PIECE = 10
"""Minimum mean number of images per pseudo-class."""

FINE: dict[str, Any] = {"confident_share": 1.0, "epochs": 6, "augmentation": "crop-flip"}
"""LDPO's options with pseudo-classes: all images, more epochs, large crops. +.03 purity over its defaults on scenes."""

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fiftyone_deepcluster.images.inspect import ImageFacts


@METHODS.register
class Auto(Options):
    """Chooses the method for the given images, weights and device; the run's notes give the reason."""

    default_of_chosen: ClassVar[tuple[str, ...]] = ("rounds",)

    name: Literal["auto"] = "auto"
    n_clusters: int | None = Field(10, ge=2, description="Number of clusters; empty: found by the method.")
    backbone: Annotated[Backbone | None, PartOf(BACKBONES, optional=True)] = Field(
        None, description="Network architecture of the weights; empty: the method's default."
    )
    weights: str | None = Field(
        None,
        description="Pre-trained weights, if any: a torchvision name such as IMAGENET1K_V1, "
        "pretrained for a model of timm or transformers, or a file.",
    )

    @property
    def planned_rounds(self) -> int | None:
        """The chosen method has its own default."""
        return self.rounds if "rounds" in self.model_fields_set else None

    def resolve(self, facts: ImageFacts) -> Options:
        """The chosen method's options, resolved."""
        return next(self.resolutions(facts))[0]

    def remarks(self, facts: ImageFacts) -> list[str]:
        """The chosen method and the reason."""
        return next(self.resolutions(facts))[1]

    def resolutions(self, facts: ImageFacts) -> Iterator[tuple[Options, list[str]]]:
        """See ``Options.resolutions``: what is chosen on the device of this call, then with or without a GPU."""
        here = self._accelerated()
        for accelerated in (here, not here):
            chosen, why = self.choose(facts, accelerated=accelerated)
            yield chosen.resolve(facts), [f"method='auto' chose {chosen.name!r}: {why}"]

    def build(self) -> Parts:
        """Not supported: ``resolve`` returns the options of another method."""
        raise TypeError("'auto' cannot be built; build the options that resolve(facts) returns")

    def chosen_for(self, facts: ImageFacts, *, accelerated: bool) -> Options:
        """See ``Options.chosen_for``."""
        return self.choose(facts, accelerated=accelerated)[0].chosen_for(facts, accelerated=accelerated)

    def choose(self, facts: ImageFacts, *, accelerated: bool) -> tuple[Options, str]:
        """Choose a method by fixed rules, in order.

        Args:
            facts: properties of the images.
            accelerated: whether networks run on a GPU.

        Returns:
            The chosen method's options, with the values set here, and the reason.

        Raises:
            OptionsError: weights without a backbone.
        """
        side = self.image_size or facts.side
        if self.weights is not None:
            return self._pretrained(facts, accelerated=accelerated)
        if side > SMALL_SIDE and accelerated:
            method: type[Options] = LDPO if self.n_clusters is None else DeepCluster
            return self._as(method), f"images of {side} pixels, no pre-trained weights, and a GPU"
        shrunk = {"image_size": SMALL_SIDE} if side > SMALL_SIDE else {}
        seen = f", resized to {SMALL_SIDE} without a GPU and pre-trained weights" if shrunk else ""
        if self.n_clusters is None:
            return self._as(LDPO, **shrunk), f"no number of clusters is given, and RIM finds one{seen}"
        if shrunk or not _fits_umap(facts):
            many = "many" if facts.n > MAX_FOR_UMAP else "few"
            why = (
                f"a known number of clusters{seen}" if shrunk else f"{facts.n:,} images, too {many} for UMAP"
            )
            return self._as(DeepCluster, **shrunk), why
        why = "small images and a known number of clusters, where it performed best"
        return self._as(DeepClusterManifold), why

    def _pretrained(self, facts: ImageFacts, *, accelerated: bool) -> tuple[Options, str]:
        if self.backbone is None:
            raise OptionsError(
                f"weights={self.weights!r} need a backbone; set backbone to their architecture, such as "
                "{'name': 'torchvision', 'model': 'mobilenet_v2'}"
            )
        if self._suits_self_training(facts, accelerated=accelerated):
            why = (
                f"images of {self.image_size or facts.side} pixels, pre-trained weights and a known number of "
                "clusters: it fine-tunes them on the images that many clusterings agree on"
            )
            return self._as(SelfTraining), why
        if accelerated:
            return self._fine_tuned(facts), "pre-trained weights and a GPU: it fine-tunes them"
        clusterer = "hdbscan" if self.n_clusters is None else "gmm"
        return self._as(Frozen, rounds=1, reducer=_reducer(facts), clusterer=clusterer), (
            "pre-trained weights and no GPU: clustering their features after UMAP, without training, takes minutes"
        )

    def _suits_self_training(self, facts: ImageFacts, *, accelerated: bool) -> bool:
        """Whether the images are large, enough for the clusters, and not too many for the machine."""
        k = self.n_clusters
        return (
            k is not None
            and (self.image_size or facts.side) > SMALL_SIDE
            and MIN_PER_CLUSTER * k <= facts.n <= MAX_SELF_TRAINING[accelerated]
        )

    def _fine_tuned(self, facts: ImageFacts) -> Options:
        """LDPO, with more pseudo-classes than clusters if n_clusters is given and there are enough images."""
        if self.n_clusters is None:
            return self._as(LDPO)
        pieces = min(PIECES * self.n_clusters, facts.n // MIN_OF_A_PIECE)
        return self._as(
            LDPO,
            reducer=_reducer(facts),
            **({"pseudo_clusters": pieces, **FINE} if pieces > self.n_clusters else {}),
        )

    def _accelerated(self) -> bool:
        from fiftyone_deepcluster.core.devices import choose_compute

        return choose_compute(self.device, self.precision).device.type != "cpu"

    def _as(self, options_type: type[Options], **values: Any) -> Options:
        """The options of another method, with the values set here."""
        given = self.model_fields_set & options_type.model_fields.keys() - {"name"}
        own_values = {name: value for name, value in self if name in given}
        return options_type.model_validate({**own_values, "n_clusters": self.n_clusters, **values})


def _reducer(facts: ImageFacts) -> str:
    return "umap" if _fits_umap(facts) else "identity"


def _fits_umap(facts: ImageFacts) -> bool:
    return MIN_IMAGES_FOR_UMAP <= facts.n <= MAX_FOR_UMAP
