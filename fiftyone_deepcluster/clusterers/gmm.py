"""A Gaussian mixture, as after UMAP: clusters on the manifold that the vectors lie on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from fiftyone_deepcluster.clusterers.base import CLUSTERERS, Clusterer, ClusterRequest, FoundClusters
from fiftyone_deepcluster.core.process_state import ignored_warnings
from fiftyone_deepcluster.errors import InputError

if TYPE_CHECKING:
    import torch


@CLUSTERERS.register
class GaussianMixture(Clusterer):
    """Gaussian mixture: clusters of any extent and direction, with a probability for each image."""

    name: Literal["gmm"] = "gmm"
    title: ClassVar[str] = "a Gaussian mixture"
    covariance: Literal["full", "diag", "tied"] = Field(
        "full", description="Shape of clusters: any (full), along the axes (diag), or one for all (tied)."
    )
    n_init: int | None = Field(
        None,
        ge=1,
        description="Runs from different starts, the best one kept; empty: 20 for few clusters, 1 for many.",
    )
    regularization: float = Field(
        1e-6, ge=0, description="Added to the variances, as a share of the vectors' mean variance."
    )
    max_iter: int = Field(200, ge=1, description="Iterations at most.")

    def find(self, vectors: torch.Tensor, request: ClusterRequest) -> FoundClusters:
        """Cluster ``vectors`` (N, D) float32 by their most probable component.

        ``objective`` is minus the log-likelihood. A component that no image prefers is dropped.

        Raises:
            InputError: components that shrink to a point, or a single vector.
        """
        import torch

        from fiftyone_deepcluster.clusterers.distances import threads_for

        n_clusters = request.number
        if n_clusters == 1 and len(vectors) == 1:
            raise InputError("a Gaussian mixture needs two images or more; add images")
        points = vectors.cpu().double().numpy()
        with threads_for(vectors):
            model = self._fit(points, n_clusters, request.seed)
            posterior = torch.from_numpy(model.predict_proba(points))
            likelihood = float(model.score_samples(points).sum())
        confidence, component = posterior.max(dim=1)
        return FoundClusters(
            labels=component,  # those of no image are left out
            confidence=confidence.float().clamp(0.0, 1.0),
            objective=-likelihood,
            scores={"converged": float(model.converged_), "n_iter": float(model.n_iter_)},
        )

    def _fit(self, points: Any, n_clusters: int, seed: int) -> Any:
        from sklearn import mixture
        from sklearn.exceptions import ConvergenceWarning

        from fiftyone_deepcluster.clusterers.kmeans.clusterer import default_n_init

        # The floor is for vectors that are all the same.
        scale = float(points.var(axis=0).mean()) or 1.0
        model = mixture.GaussianMixture(
            n_clusters,
            covariance_type=self.covariance,
            n_init=default_n_init(n_clusters) if self.n_init is None else self.n_init,
            reg_covar=self.regularization * scale,
            max_iter=self.max_iter,
            random_state=seed,
        )
        with ignored_warnings(ConvergenceWarning):  # told in scores["converged"]
            try:
                return model.fit(points)
            except ValueError as error:
                raise InputError(
                    f"a component of the Gaussian mixture shrank to a point with regularization="
                    f'{self.regularization}; raise it, lower n_clusters={n_clusters}, or use covariance="diag"'
                ) from error
