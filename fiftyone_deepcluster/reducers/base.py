"""The contract of a reducer: it changes the geometry before clustering (identity, or UMAP).

It takes and gives tensors and keeps the device of what it was given.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar

from fiftyone_deepcluster.core.registry import Part, Registry

if TYPE_CHECKING:
    import torch


class Reducer(Part):
    """A change of geometry before clustering.

    Attributes:
        steady: equal vectors land in the same place in every round, so that last round's centers mean something.
    """

    steady: ClassVar[bool] = False

    @abstractmethod
    def embed(self, vectors: torch.Tensor, seed: int) -> torch.Tensor:
        """(N, D) -> (N, d) float32 on the same device."""


REDUCERS: Registry[Reducer] = Registry("reducers", Reducer, "reducers")  # type: ignore[type-abstract]
