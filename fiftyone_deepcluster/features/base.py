"""The contract of an encoder: a corpus in, one vector an image out."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from fiftyone_deepcluster.core.registry import Part, Registry

if TYPE_CHECKING:
    import torch

    from fiftyone_deepcluster.features.corpus import Corpus


@dataclass(frozen=True)
class EncodeRequest:
    """What an encoder may need besides the images.

    Attributes:
        seed: of everything drawn.
        groups: (N,) int64, the clusters of the last round, -1 for none; None before there are any.
        n_groups: clusters wanted; None where the clusterer finds their number.
    """

    seed: int
    groups: torch.Tensor | None = None
    n_groups: int | None = None


@dataclass(frozen=True)
class Encoding:
    """Vectors of all images, and how to make those of new ones.

    Attributes:
        vectors: (N, D) float32 on the corpus' device.
        fitted: what was learned from the images, as plain values for a checkpoint; ``Encoder.apply`` takes it.
        scores: figures for the record.
    """

    vectors: torch.Tensor
    fitted: dict[str, Any]
    scores: dict[str, float] = field(default_factory=dict)


class Encoder(Part):
    """Makes one vector an image."""

    @abstractmethod
    def encode(self, corpus: Corpus, request: EncodeRequest) -> Encoding:
        """Learn from the images of ``corpus`` how to describe them; vectors of all, row by row."""

    @abstractmethod
    def apply(self, corpus: Corpus, fitted: dict[str, Any]) -> torch.Tensor:
        """(N, D) float32 vectors of the images of ``corpus`` by what ``encode`` learned from others."""


ENCODERS: Registry[Encoder] = Registry("encoders", Encoder, "features")  # type: ignore[type-abstract]
