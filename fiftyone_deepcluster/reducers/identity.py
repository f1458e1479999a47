"""The identity: no dimensionality reduction."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from fiftyone_deepcluster.reducers.base import REDUCERS, Reducer

if TYPE_CHECKING:
    import torch


@REDUCERS.register
class Identity(Reducer):
    """No reduction: the vectors are clustered as they are."""

    name: Literal["identity"] = "identity"
    steady: ClassVar[bool] = True

    def fit_transform(self, vectors: torch.Tensor, seed: int) -> torch.Tensor:
        """(N, D) -> (N, D), unchanged."""
        return vectors
