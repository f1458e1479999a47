"""UMAP: the manifold that the vectors lie on, in few dimensions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from fiftyone_deepcluster.core.process_state import ignored_warnings, kept_threads
from fiftyone_deepcluster.errors import InputError, MissingDependencyError
from fiftyone_deepcluster.reducers.base import (
    REDUCERS,
    Reducer,
)

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    import torch

# Up to this many images exact neighbors by brute force take less time than UMAP's own approximate search.
_EXACT_NEIGHBORS = 50_000

MIN_IMAGES_FOR_UMAP = 4
"""UMAP lays out no fewer."""


@REDUCERS.register
class Umap(Reducer):
    """UMAP: few dimensions that keep the neighbors, so that clusters come apart.

    McInnes, Healy and Melville 2018. The layout runs in one thread: with one seed it is repeatable.
    """

    name: Literal["umap"] = "umap"
    n_components: int = Field(10, ge=1, le=100, description="Dimensions of the space.")
    n_neighbors: int = Field(
        15, ge=2, le=500, description="Neighbors that each image keeps; more shows the large structure."
    )
    min_dist: float = Field(
        0.0, ge=0, lt=1, description="Distance at which images stop attracting each other."
    )
    metric: Literal["euclidean", "cosine"] = Field("euclidean", description="Distance between vectors.")
    epochs: int | None = Field(
        None, ge=1, description="Passes of the layout; empty: 500, or 200 for many images."
    )

    def embed(self, vectors: torch.Tensor, seed: int) -> torch.Tensor:
        """(N, D) -> (N, n_components) float32 on the same device.

        Raises:
            InputError: fewer than four vectors, or values that are not finite.
            MissingDependencyError: umap-learn is not installed.
        """
        import torch

        from fiftyone_deepcluster.metrics.products import check_finite

        check_finite(vectors, "UMAP")
        n = len(vectors)
        if n < MIN_IMAGES_FOR_UMAP:
            raise InputError(
                f'UMAP cannot lay out {n} images; give {MIN_IMAGES_FOR_UMAP} or more, or use reducer="identity"'
            )
        if self.metric == "cosine":
            # Between vectors of length 1 Euclidean distance orders neighbors as cosine distance does.
            vectors = torch.nn.functional.normalize(vectors, dim=1)
        n_neighbors = min(self.n_neighbors, n - 1)
        with kept_threads(), _quiet_umap():
            layout = self._reducer(vectors, n_neighbors, seed).fit_transform(vectors.cpu().numpy())
        return torch.from_numpy(layout).float().to(vectors.device)

    def _reducer(self, vectors: torch.Tensor, n_neighbors: int, seed: int) -> Any:
        try:
            import umap
        except ImportError as error:
            raise MissingDependencyError('space="umap" needs umap-learn; pip install umap-learn') from error
        known: dict[str, Any] = {}
        if len(vectors) <= _EXACT_NEIGHBORS or vectors.device.type != "cpu":
            from fiftyone_deepcluster.metrics.knn import exact_neighbors

            known["precomputed_knn"] = exact_neighbors(vectors, n_neighbors)
        return umap.UMAP(
            n_neighbors=n_neighbors,
            n_components=self.n_components,
            min_dist=self.min_dist,
            n_epochs=self.epochs,
            # The spectral start needs more images than dimensions.
            init="spectral" if len(vectors) > self.n_components + 2 else "random",
            random_state=seed,
            n_jobs=1,
            **known,
        )


def _quiet_umap() -> AbstractContextManager[None]:
    """Without the warnings of UMAP that ask nothing of the user."""
    return ignored_warnings(
        ImportWarning,  # ParametricUMAP, which needs TensorFlow, is not used
        "precomputed_knn",  # given neighbors rule out umap's own transform, which is not used
        # groups that share no neighbor are what one hopes for; the spectral start then falls back by itself
        "Graph is not fully connected",
        ".*(ARPACK|LOBPCG|Exited)",
        "Spectral initiali[sz]ation failed",
        ".*force_all_finite",  # umap-learn calls scikit-learn by an option's former name
    )
