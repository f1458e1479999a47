"""The vectors as they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from fiftyone_deepcluster.reducers.base import (
    REDUCERS,
    Reducer,
)

if TYPE_CHECKING:
    import torch


@REDUCERS.register
class Identity(Reducer):
    """The vectors as they are."""

    name: Literal["identity"] = "identity"
    steady: ClassVar[bool] = True

    def embed(self, vectors: torch.Tensor, seed: int) -> torch.Tensor:
        """(N, D) -> the same (N, D)."""
        return vectors
