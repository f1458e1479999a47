"""PCA: linear dimensionality reduction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from fiftyone_deepcluster.reducers.base import REDUCERS, Reducer

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray


@REDUCERS.register
class Pca(Reducer):
    """PCA: the directions of largest variance."""

    name: Literal["pca"] = "pca"
    n_components: int = Field(
        64,
        ge=1,
        le=4096,
        description="Output dimensions, at most those of the vectors and the images less one.",
    )
    whiten: bool = Field(False, description="Divide every direction by its standard deviation.")

    def fit_transform(self, vectors: torch.Tensor, seed: int) -> torch.Tensor | NDArray[Any]:
        """(N, D) -> (N, n_components)."""
        from sklearn.decomposition import PCA

        wanted = min(self.n_components, vectors.shape[1], len(vectors) - 1)
        if wanted < 1 or not bool((vectors != vectors[0]).any()):
            # a single vector, or copies of it: no direction has variance
            return vectors[:, :1] - vectors[:1, :1]
        model = PCA(wanted, whiten=self.whiten, svd_solver="full", random_state=seed)
        return model.fit_transform(vectors.cpu().numpy())  # type: ignore[no-any-return]
