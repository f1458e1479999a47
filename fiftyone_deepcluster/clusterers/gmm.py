"""Gaussian mixture, for example after UMAP."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from fiftyone_deepcluster.clusterers.base import CLUSTERERS, Clusterer, ClusterRequest, FoundClusters
from fiftyone_deepcluster.core.process_state import ignored_warnings
from fiftyone_deepcluster.errors import InputError

if TYPE_CHECKING:
    import torch

    from fiftyone_deepcluster.clusterers.anchors import Anchors


@CLUSTERERS.register
class GaussianMixture(Clusterer):
    """Gaussian mixture: ellipsoidal clusters, with a membership probability for each image."""

    name: Literal["gmm"] = "gmm"
    title: ClassVar[str] = "a Gaussian mixture"
    keeps_labels: ClassVar[bool] = True
    covariance: Literal["full", "diag", "tied"] = Field(
        "full", description="Covariance: full, diagonal (diag), or one for all components (tied)."
    )
    n_init: int | None = Field(
        None,
        ge=1,
        description="Random initializations, of which the best result is kept; empty: 20 for few clusters, 1 for many.",
    )
    regularization: float = Field(
        1e-6, ge=0, description="Added to the variances, relative to the vectors' mean variance."
    )
    max_iter: int = Field(200, ge=1, description="Maximum number of EM iterations.")

    def find(self, vectors: torch.Tensor, request: ClusterRequest) -> FoundClusters:
        """Cluster ``vectors`` (N, D) float32 by their most probable component.

        ``objective`` is the negative log-likelihood. Components without vectors are dropped.

        Raises:
            InputError: a component collapses to a point, or there is a single vector.
        """
        import torch

        from fiftyone_deepcluster.clusterers.distances import threads_for

        n_clusters = request.number
        if n_clusters == 1 and len(vectors) == 1:
            raise InputError("a Gaussian mixture needs at least two images; add images")
        if request.anchors is not None:
            with threads_for(vectors):
                return self._find_around(vectors, request.anchors)
        points = vectors.cpu().double().numpy()
        with threads_for(vectors):
            model = self._fit(points, n_clusters, request.seed)
            posterior = torch.from_numpy(model.predict_proba(points))
            likelihood = float(model.score_samples(points).sum())
        confidence, component = posterior.max(dim=1)
        return FoundClusters(
            labels=component,  # empty components are dropped by complete()
            confidence=confidence.float().clamp(0.0, 1.0),
            objective=-likelihood,
            scores={"converged": float(model.converged_), "n_iter": float(model.n_iter_)},
        )

    def _find_around(self, vectors: torch.Tensor, anchors: Anchors) -> FoundClusters:
        """Components that start from the known labels; fixed images belong to theirs with probability 1."""
        from fiftyone_deepcluster.clusterers.anchored_mixture import MixtureSettings, anchored_mixture

        settings = MixtureSettings(self.covariance, self.regularization, self.max_iter)
        posterior, likelihood, n_iter = anchored_mixture(vectors.cpu().double(), anchors, settings)
        confidence, component = posterior.max(dim=1)
        scores = {"converged": float(n_iter < self.max_iter), "n_iter": float(n_iter)}
        return FoundClusters(component, None, confidence.float().clamp(0.0, 1.0), -likelihood, scores)

    def _fit(self, points: Any, n_clusters: int, seed: int) -> Any:
        from sklearn import mixture
        from sklearn.exceptions import ConvergenceWarning

        from fiftyone_deepcluster.clusterers.kmeans.clusterer import default_n_init

        # 1.0 for vectors that are all equal.
        scale = float(points.var(axis=0).mean()) or 1.0
        model = mixture.GaussianMixture(
            n_clusters,
            covariance_type=self.covariance,
            n_init=default_n_init(n_clusters) if self.n_init is None else self.n_init,
            reg_covar=self.regularization * scale,
            max_iter=self.max_iter,
            random_state=seed,
        )
        with ignored_warnings(ConvergenceWarning):  # reported as scores["converged"]
            try:
                return model.fit(points)
            except ValueError as error:
                raise InputError(
                    f"a component of the Gaussian mixture collapsed to a point with regularization="
                    f'{self.regularization}; raise it, lower n_clusters={n_clusters}, or use covariance="diag"'
                ) from error
