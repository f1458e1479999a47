"""UMAP, then a Gaussian mixture: clusters on the manifold that the vectors lie on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from fiftyone_deepcluster.clusterers.base import (
    CLUSTERERS,
    SPACES,
    Clusterer,
    Clustering,
    ClusterRequest,
    Space,
)
from fiftyone_deepcluster.errors import InputError, MissingDependencyError
from fiftyone_deepcluster.process_state import ignored_warnings, kept_threads

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    import torch

# Up to this many images exact neighbours by brute force take less time than UMAP's own approximate search.
_EXACT_NEIGHBOURS = 50_000
LEAST_IMAGES = 4
"""UMAP lays out no fewer."""


@SPACES.register
class Flat(Space):
    """The vectors as they are."""

    name: Literal["flat"] = "flat"
    steady: ClassVar[bool] = True

    def embed(self, vectors: torch.Tensor, seed: int) -> torch.Tensor:
        """(N, D) -> the same (N, D)."""
        return vectors


@SPACES.register
class Umap(Space):
    """UMAP: few dimensions that keep the neighbours, so that clusters come apart.

    McInnes, Healy and Melville 2018. The layout runs in one thread: with one seed it is repeatable.
    """

    name: Literal["umap"] = "umap"
    dims: int = Field(10, ge=1, le=100, description="Dimensions of the space.")
    neighbours: int = Field(
        15, ge=2, le=500, description="Neighbours that each image keeps; more shows the large structure."
    )
    min_dist: float = Field(
        0.0, ge=0, lt=1, description="Distance at which images stop attracting each other."
    )
    metric: Literal["euclidean", "cosine"] = Field("euclidean", description="Distance between vectors.")
    epochs: int | None = Field(
        None, ge=1, description="Passes of the layout; empty: 500, or 200 for many images."
    )

    def embed(self, vectors: torch.Tensor, seed: int) -> torch.Tensor:
        """(N, D) -> (N, dims) float32 on the same device.

        Raises:
            InputError: fewer than four vectors, or values that are not finite.
            MissingDependencyError: umap-learn is not installed.
        """
        import torch

        from fiftyone_deepcluster.clusterers.geometry import check_finite

        check_finite(vectors, "UMAP")
        n = len(vectors)
        if n < LEAST_IMAGES:
            raise InputError(
                f'UMAP cannot lay out {n} images; give {LEAST_IMAGES} or more, or use space="flat"'
            )
        if self.metric == "cosine":
            # Between vectors of length 1 Euclidean distance orders neighbours as cosine distance does.
            vectors = torch.nn.functional.normalize(vectors, dim=1)
        neighbours = min(self.neighbours, n - 1)
        with kept_threads(), _quiet_umap():
            layout = self._reducer(vectors, neighbours, seed).fit_transform(vectors.cpu().numpy())
        return torch.from_numpy(layout).float().to(vectors.device)

    def _reducer(self, vectors: torch.Tensor, neighbours: int, seed: int) -> Any:
        try:
            import umap
        except ImportError as error:
            raise MissingDependencyError('space="umap" needs umap-learn; pip install umap-learn') from error
        known: dict[str, Any] = {}
        if len(vectors) <= _EXACT_NEIGHBOURS or vectors.device.type != "cpu":
            known["precomputed_knn"] = exact_neighbours(vectors, neighbours)
        return umap.UMAP(
            n_neighbors=neighbours,
            n_components=self.dims,
            min_dist=self.min_dist,
            n_epochs=self.epochs,
            # The spectral start needs more images than dimensions.
            init="spectral" if len(vectors) > self.dims + 2 else "random",
            random_state=seed,
            n_jobs=1,
            **known,
        )


def exact_neighbours(vectors: torch.Tensor, k: int, asked: torch.Tensor | None = None) -> tuple[Any, Any]:
    """The k nearest of all vectors, each vector itself among them, in the form UMAP takes.

    Args:
        vectors: (N, D) float32.
        k: at most N.
        asked: (M,) int64 rows whose neighbours are sought; None: all N.

    Returns:
        NumPy arrays (M, k) of rows, int64, and Euclidean distances, float32, ascending.
    """
    import torch

    from fiftyone_deepcluster.clusterers.geometry import Field as Centers
    from fiftyone_deepcluster.clusterers.geometry import chunks

    seekers = vectors if asked is None else vectors[asked.to(vectors.device)]
    if vectors.device.type == "cpu":
        import faiss

        found, rows = faiss.knn(seekers.numpy(), vectors.numpy(), k)
        return rows.astype("int64"), found.clip(min=0) ** 0.5
    others = Centers(vectors)
    distance = torch.empty(len(seekers), k)
    near = torch.empty(len(seekers), k, dtype=torch.int64)
    for part in chunks(len(seekers), len(vectors), vectors.device):
        shifted, scores = others.scores(seekers[part])
        least = scores.topk(k, dim=1, largest=False)
        squared = least.values + shifted.square().sum(dim=1, keepdim=True)
        distance[part], near[part] = squared.clamp_min(0).sqrt().cpu(), least.indices.cpu()
    return near.numpy(), distance.numpy()


def _quiet_umap() -> AbstractContextManager[None]:
    """Without the warnings of UMAP that ask nothing of the user."""
    return ignored_warnings(
        ImportWarning,  # ParametricUMAP, which needs TensorFlow, is not used
        "precomputed_knn",  # given neighbours rule out umap's own transform, which is not used
        # groups that share no neighbour are what one hopes for; the spectral start then falls back by itself
        "Graph is not fully connected",
        ".*(ARPACK|LOBPCG|Exited)",
        "Spectral initiali[sz]ation failed",
        ".*force_all_finite",  # umap-learn calls scikit-learn by an option's former name
    )


@CLUSTERERS.register
class GaussianMixture(Clusterer):
    """Gaussian mixture: clusters of any extent and direction, with a probability for each image."""

    name: Literal["gmm"] = "gmm"
    covariance: Literal["full", "diag", "tied"] = Field(
        "full", description="Shape of clusters: any (full), along the axes (diag), or one for all (tied)."
    )
    restarts: int | None = Field(
        None,
        ge=1,
        description="Runs from different starts, the best one kept; empty: 20 for few clusters, 1 for many.",
    )
    regularisation: float = Field(
        1e-6, ge=0, description="Added to the variances, as a share of the vectors' mean variance."
    )
    iterations: int = Field(200, ge=1, description="Iterations at most.")

    def cluster(self, vectors: torch.Tensor, request: ClusterRequest) -> Clustering:
        """Cluster ``vectors`` (N, D) float32 by their most probable component.

        ``objective`` is minus the log-likelihood. A component that no image prefers is dropped.

        Raises:
            InputError: fewer vectors than clusters, values that are not finite, no n_clusters, or components
                that shrink to a point.
        """
        import torch

        from fiftyone_deepcluster.clusterers.geometry import check, means, threads_for

        n_clusters = check(vectors, request.n_clusters, "a Gaussian mixture")
        if n_clusters == 1 and len(vectors) == 1:
            raise InputError("a Gaussian mixture needs two images or more; add images")
        points = vectors.cpu().double().numpy()
        with threads_for(vectors):
            model = self._fit(points, n_clusters, request.seed)
            posterior = torch.from_numpy(model.predict_proba(points))
            likelihood = float(model.score_samples(points).sum())
        confidence, component = posterior.max(dim=1)
        used, labels = torch.unique(component, return_inverse=True)
        return Clustering(
            labels=labels,
            centers=means(vectors, labels, len(used)),
            confidence=confidence.float().clamp(0.0, 1.0),
            objective=-likelihood,
            scores={"converged": float(model.converged_), "iterations": float(model.n_iter_)},
        )

    def _fit(self, points: Any, n_clusters: int, seed: int) -> Any:
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.mixture import GaussianMixture as Mixture

        from fiftyone_deepcluster.clusterers.kmeans import restarts_for

        # The floor is for vectors that are all the same.
        scale = float(points.var(axis=0).mean()) or 1.0
        model = Mixture(
            n_clusters,
            covariance_type=self.covariance,
            n_init=restarts_for(n_clusters) if self.restarts is None else self.restarts,
            reg_covar=self.regularisation * scale,
            max_iter=self.iterations,
            random_state=seed,
        )
        with ignored_warnings(ConvergenceWarning):  # told in scores["converged"]
            try:
                return model.fit(points)
            except ValueError as error:
                raise InputError(
                    f"a component of the Gaussian mixture shrank to a point with regularisation="
                    f'{self.regularisation}; raise it, lower n_clusters={n_clusters}, or use covariance="diag"'
                ) from error
