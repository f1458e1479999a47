"""UMAP: nonlinear dimensionality reduction."""

from __future__ import annotations

import os
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from fiftyone_deepcluster.core.process_state import ignored_warnings, kept_threads
from fiftyone_deepcluster.core.words import counted
from fiftyone_deepcluster.errors import DiskError, InputError, MissingDependencyError
from fiftyone_deepcluster.reducers.base import REDUCERS, Reducer

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    import torch

# Up to this many images, brute-force exact neighbors are faster than UMAP's approximate search.
_EXACT_NEIGHBORS = 50_000

MIN_IMAGES_FOR_UMAP = 4
"""Minimum number of images that UMAP accepts."""


@REDUCERS.register
class Umap(Reducer):
    """UMAP: few dimensions that preserve neighborhoods, which separates the clusters.

    McInnes, Healy and Melville 2018. The optimization runs in one thread, so that a seed makes it reproducible.
    """

    name: Literal["umap"] = "umap"
    title: ClassVar[str] = "UMAP"
    n_components: int = Field(10, ge=1, le=100, description="Output dimensions.")
    n_neighbors: int = Field(
        15,
        ge=2,
        le=500,
        description="Neighbors per image; more neighbors preserve more of the global structure.",
    )
    min_dist: float = Field(
        0.0, ge=0, lt=1, description="Minimum distance between points in the output space."
    )
    metric: Literal["euclidean", "cosine"] = Field(
        "euclidean", description="Distance metric of the input vectors."
    )
    epochs: int | None = Field(
        None, ge=1, description="Optimization epochs; empty: 500, or 200 for many images."
    )

    def fit_transform(self, vectors: torch.Tensor, seed: int) -> torch.Tensor:
        """(N, D) -> (N, n_components) float32 on the same device.

        Raises:
            DiskError: Numba has no folder for the code that it compiles.
            InputError: fewer than four vectors.
            MissingDependencyError: umap-learn is not installed.
        """
        import torch

        n = len(vectors)
        if n < MIN_IMAGES_FOR_UMAP:
            raise InputError(
                f"UMAP cannot embed {counted(n, 'image')}; give {MIN_IMAGES_FOR_UMAP} or more, or cluster without UMAP"
            )
        if self.metric == "cosine":
            # For unit vectors the cosine distance is half the squared Euclidean distance.
            vectors = torch.nn.functional.normalize(vectors, dim=1)
        n_neighbors = min(self.n_neighbors, n - 1)
        with kept_threads(), _quiet_umap():
            layout = self._reducer(vectors, n_neighbors, seed).fit_transform(vectors.cpu().numpy())
        return torch.from_numpy(layout).float().to(vectors.device)

    def _reducer(self, vectors: torch.Tensor, n_neighbors: int, seed: int) -> Any:
        umap = _import_umap()
        known: dict[str, Any] = {}
        if len(vectors) <= _EXACT_NEIGHBORS or vectors.device.type != "cpu":
            from fiftyone_deepcluster.metrics.knn import exact_neighbors

            rows, distances = exact_neighbors(vectors, n_neighbors)
            known["precomputed_knn"] = rows, distances**2 / 2 if self.metric == "cosine" else distances
        return umap.UMAP(
            n_neighbors=n_neighbors,
            n_components=self.n_components,
            min_dist=self.min_dist,
            metric=self.metric,
            n_epochs=self.epochs,
            # Spectral initialization needs more images than dimensions.
            init="spectral" if len(vectors) > self.n_components + 2 else "random",
            random_state=seed,
            n_jobs=1,
            **known,
        )


def _import_umap() -> Any:
    try:
        import umap

        _keep_compiled_code()
    except ImportError as error:
        raise MissingDependencyError('reducer="umap" needs umap-learn; pip install umap-learn') from error
    except RuntimeError as error:
        if "no locator available" not in str(error):
            raise
        home = os.environ.get("HOME", "~")
        raise DiskError(
            home,
            f"UMAP cannot be compiled: neither its package nor the home folder {home} can be written",
            "the way out is to set NUMBA_CACHE_DIR to a folder that can be written, before Python starts",
        ) from error
    return umap


@cache
def _keep_compiled_code() -> None:
    """Store the compiled code of UMAP's functions on disk, as UMAP does for others: compiling them takes seconds.

    Raises:
        RuntimeError: Numba has no folder for it.
    """
    from umap import layouts, umap_

    for module, name in (
        (umap_, "smooth_knn_dist"),
        (umap_, "compute_membership_strengths"),
        (layouts, "_nb_optimize_layout_euclidean_single_epoch"),
    ):
        keep = getattr(getattr(module, name, None), "enable_caching", None)
        if keep is not None:  # not in every release of UMAP
            keep()


def _quiet_umap() -> AbstractContextManager[None]:
    """Suppress warnings of UMAP that need no action by the user."""
    return ignored_warnings(
        ImportWarning,  # from ParametricUMAP, which needs TensorFlow and is not used
        "precomputed_knn",  # disables UMAP.transform, which is not used
        # well separated groups are expected; spectral initialization then falls back automatically
        "Graph is not fully connected",
        ".*(ARPACK|LOBPCG|Exited)",
        "Spectral initiali[sz]ation failed",
        ".*force_all_finite",  # umap-learn passes a deprecated option to scikit-learn
    )
