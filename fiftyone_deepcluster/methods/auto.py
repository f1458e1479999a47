"""The method that a person would choose from the measurements, chosen by what the images are.

The rules and the figures behind them are in the README, under "Choosing a method".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from fiftyone_deepcluster.backbones.base import BACKBONES, Backbone
from fiftyone_deepcluster.core.registry import PartOf
from fiftyone_deepcluster.errors import OptionsError
from fiftyone_deepcluster.methods.base import METHODS, SMALL_SIDE, Options, Parts
from fiftyone_deepcluster.methods.deepcluster import DeepCluster
from fiftyone_deepcluster.methods.deepcluster_manifold import DeepClusterManifold
from fiftyone_deepcluster.methods.frozen import Frozen
from fiftyone_deepcluster.methods.ldpo import LDPO

MAX_FOR_UMAP = 100_000
"""Images that UMAP lays out in minutes on a CPU, as it must in every round."""

PIECES = 4
"""Pseudo-classes for every cluster where LDPO fine-tunes."""

MIN_OF_A_PIECE = 10
"""Images of a pseudo-class at least, in the mean."""

FINE: dict[str, Any] = {"confident_share": 1.0, "epochs": 6, "augmentation": "crop-flip"}
"""What LDPO takes with them: all images, more passes, wide crops. On scenes worth .03 purity over its own defaults."""

if TYPE_CHECKING:
    from fiftyone_deepcluster.images.inspect import ImageFacts


@METHODS.register
class Auto(Options):
    """Chooses the method for the images, the weights and the machine at hand, and says why in the run's notes."""

    name: Literal["auto"] = "auto"
    n_clusters: int | None = Field(10, ge=2, description="Number of clusters; empty: to be found.")
    backbone: Annotated[Backbone | None, PartOf(BACKBONES, optional=True)] = Field(
        None, description="Network that the weights belong to; empty: the method's own."
    )
    weights: str | None = Field(
        None,
        description="Pre-trained weights, if you have them: a torchvision name such as IMAGENET1K_V1, or a file.",
    )

    def resolve(self, facts: ImageFacts) -> Options:
        """The chosen method's options, resolved."""
        return self.choose(facts, accelerated=self._accelerated())[0].resolve(facts)

    def remarks(self, facts: ImageFacts) -> list[str]:
        """Which method was chosen, and why."""
        chosen, why = self.choose(facts, accelerated=self._accelerated())
        return [f"method='auto' took {chosen.name!r}: {why}"]

    def build(self) -> Parts:
        """Never asked for: ``resolve`` hands over to another method."""
        raise TypeError("'auto' builds nothing itself; build what resolve(facts) gives")

    def choose(self, facts: ImageFacts, *, accelerated: bool) -> tuple[Options, str]:
        """The rules, in order.

        Args:
            facts: about the images.
            accelerated: whether networks run on a GPU.

        Returns:
            The chosen method's options, with what was said here, and the reason.

        Raises:
            OptionsError: weights without the backbone that they belong to.
        """
        side = self.image_size or facts.side
        if self.weights is not None:
            return self._pretrained(facts, accelerated=accelerated)
        if side > SMALL_SIDE and accelerated:
            method: type[Options] = LDPO if self.n_clusters is None else DeepCluster
            return self._as(method), f"images of {side} pixels, no weights to start from, and a GPU"
        shrunk = {"image_size": SMALL_SIDE} if side > SMALL_SIDE else {}
        seen = f", seen at {SMALL_SIDE} for want of a GPU and of pre-trained weights" if shrunk else ""
        if self.n_clusters is None:
            return self._as(LDPO, **shrunk), f"no number of clusters is given, and its RIM finds one{seen}"
        if shrunk or facts.n > MAX_FOR_UMAP:
            why = f"a known number of clusters{seen}" if shrunk else f"{facts.n:,} images, too many for UMAP"
            return self._as(DeepCluster, **shrunk), why
        return self._as(DeepClusterManifold), "small images and a known number of clusters, where it did best"

    def _pretrained(self, facts: ImageFacts, *, accelerated: bool) -> tuple[Options, str]:
        if self.backbone is None:
            raise OptionsError(
                f"weights={self.weights!r} belong to a network; name it as backbone, such as "
                "{'name': 'torchvision', 'model': 'mobilenet_v2'}"
            )
        if accelerated:
            return self._fine_tuned(facts), "pre-trained weights and a GPU: it fine-tunes them gently"
        clusterer = "hdbscan" if self.n_clusters is None else "gmm"
        return self._as(Frozen, reducer="umap", clusterer=clusterer), (
            "pre-trained weights and no GPU: their features as they are, after UMAP, take minutes"
        )

    def _fine_tuned(self, facts: ImageFacts) -> Options:
        """LDPO: with more pseudo-classes than clusters, where the number is known and there are images for them."""
        if self.n_clusters is None:
            return self._as(LDPO)
        reducer = "umap" if facts.n <= MAX_FOR_UMAP else "identity"
        pieces = min(PIECES * self.n_clusters, facts.n // MIN_OF_A_PIECE)
        return self._as(
            LDPO, reducer=reducer, **({"pseudo_clusters": pieces, **FINE} if pieces > self.n_clusters else {})
        )

    def _accelerated(self) -> bool:
        from fiftyone_deepcluster.core.devices import choose_compute

        return choose_compute(self.device, self.precision).device.type != "cpu"

    def _as(self, options_type: type[Options], **values: Any) -> Options:
        """The options of another method, with what was said here."""
        own_values = {
            name: getattr(self, name) for name in self.model_fields_set if name in options_type.model_fields
        }
        own_values.pop("name", None)
        return options_type.model_validate({**own_values, "n_clusters": self.n_clusters, **values})
