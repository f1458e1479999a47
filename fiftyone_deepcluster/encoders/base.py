"""The contract of an encoder: a corpus in, one vector an image out."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fiftyone_deepcluster.registry import Part, Registry

if TYPE_CHECKING:
    import torch

    from fiftyone_deepcluster.corpus import Corpus
    from fiftyone_deepcluster.encoders.reduce import Reduction


@dataclass(frozen=True)
class Encoding:
    """Vectors of all images, and how to make those of new ones.

    Attributes:
        vectors: (N, D) float32 on the corpus' device.
        reduction: the fitted map from the network's features to vectors.
    """

    vectors: torch.Tensor
    reduction: Reduction


class Encoder(Part):
    """Makes one vector an image."""

    @abstractmethod
    def encode(self, corpus: Corpus, seed: int) -> Encoding:
        """Vectors of every readable image of ``corpus``, row by row."""


ENCODERS: Registry[Encoder] = Registry("encoders", Encoder)  # type: ignore[type-abstract]
