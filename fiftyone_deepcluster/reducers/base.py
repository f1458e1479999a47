"""The contract of a reducer: it changes the geometry before clustering (identity, or UMAP).

It takes and gives tensors and keeps the device of what it was given.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar

from typing_extensions import final

from fiftyone_deepcluster.core.contracts import as_vectors, blamed, count_broken
from fiftyone_deepcluster.core.registry import Part, Registry
from fiftyone_deepcluster.errors import PartError

if TYPE_CHECKING:
    from typing import Any

    import torch
    from numpy.typing import NDArray


class Reducer(Part):
    """A change of geometry before clustering: others call ``embed``, a reducer is written by ``fit_transform``.

    Attributes:
        steady: equal vectors land in the same place in every round, so that last round's centers mean something.
        title: what messages call it; empty: by its name.
    """

    steady: ClassVar[bool] = False
    title: ClassVar[str] = ""

    @final
    def embed(self, vectors: torch.Tensor, seed: int) -> torch.Tensor:
        """(N, D) -> (N, d) float32 on the same device: check the vectors, ``fit_transform``, check the result.

        Raises:
            InputError: no vectors, NaN or infinite values, or fewer vectors than the method needs.
            PartError: ``fit_transform`` failed, or gave something else than one finite vector an image.
        """
        from fiftyone_deepcluster.metrics.products import check_finite

        who = self.title or f"the reducer {self.name!r}"
        check_finite(vectors, who)
        vectors = vectors.float()
        with blamed(who):
            found = self.fit_transform(vectors, seed)
        embedded = as_vectors(found, len(vectors), who)
        broken = count_broken(embedded)
        if broken:
            raise PartError(
                f"{who} gave {broken}; return finite vectors, or refuse such input by an InputError"
            )
        return embedded.to(vectors.device)

    @abstractmethod
    def fit_transform(self, vectors: torch.Tensor, seed: int) -> torch.Tensor | NDArray[Any]:
        """Vectors (N, D) float32, finite and not to be changed -> (N, d), as a tensor or a NumPy array."""


REDUCERS: Registry[Reducer] = Registry("reducers", Reducer, "reducers")  # type: ignore[type-abstract]
