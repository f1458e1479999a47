"""The interface of a reducer: tensors in, tensors out, on the device of the input."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar

from typing_extensions import final

from fiftyone_deepcluster.core.contracts import as_vectors, attributed_to, describe_non_finite
from fiftyone_deepcluster.core.registry import Part, Registry
from fiftyone_deepcluster.errors import PartError

if TYPE_CHECKING:
    from typing import Any

    import torch
    from numpy.typing import NDArray


class Reducer(Part):
    """Base class of dimensionality reduction: callers use ``embed``, subclasses implement ``fit_transform``.

    Attributes:
        steady: equal vectors get equal coordinates in every round, so that last round's centers can be reused.
        title: name in messages; empty: derived from ``name``.
    """

    steady: ClassVar[bool] = False
    title: ClassVar[str] = ""

    @final
    def embed(self, vectors: torch.Tensor, seed: int) -> torch.Tensor:
        """(N, D) -> (N, d) float32 on the same device: check the vectors, call ``fit_transform``, check its result.

        Raises:
            InputError: no vectors, NaN or infinite values, or fewer vectors than the method needs.
            PartError: ``fit_transform`` failed, or did not return one finite vector per image.
        """
        from fiftyone_deepcluster.metrics.products import check_finite

        who = self.title or f"the reducer {self.name!r}"
        check_finite(vectors, who)
        vectors = vectors.float()
        with attributed_to(who):
            found = self.fit_transform(vectors, seed)
        embedded = as_vectors(found, len(vectors), who)
        non_finite = describe_non_finite(embedded)
        if non_finite:
            raise PartError(
                f"{who} returned {non_finite}; return finite vectors, or raise an InputError for such input"
            )
        return embedded.to(vectors.device)

    @abstractmethod
    def fit_transform(self, vectors: torch.Tensor, seed: int) -> torch.Tensor | NDArray[Any]:
        """Vectors (N, D) float32, finite, not to be modified -> (N, d), as a tensor or a NumPy array."""


REDUCERS: Registry[Reducer] = Registry("reducers", Reducer, "reducers")  # type: ignore[type-abstract]
