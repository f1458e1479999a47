"""Gaussian mixture by EM in which some vectors belong to a known component."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from torch.nn import functional

if TYPE_CHECKING:
    from fiftyone_deepcluster.clusterers.anchors import Anchors

_CONVERGED = 1e-3
"""Iterations end when the mean log-likelihood gains less than this, as in scikit-learn."""


@dataclass(frozen=True)
class MixtureSettings:
    """Settings of the mixture.

    Attributes:
        covariance: full, diagonal, or one for all components.
        regularization: added to the variances, relative to the vectors' mean variance.
        max_iter: largest number of iterations.
    """

    covariance: Literal["full", "diag", "tied"]
    regularization: float
    max_iter: int


def anchored_mixture(
    vectors: torch.Tensor, anchors: Anchors, settings: MixtureSettings
) -> tuple[torch.Tensor, float, int]:
    """Expectation maximization that starts from known labels; fixed vectors keep their component.

    The covariance of a component is shrunk towards the pooled one, with the weight of D additional vectors, so that
    components of few vectors do not collapse.

    Args:
        vectors: (N, D) float64 on the CPU.
        anchors: labels of the N vectors; each component has at least one that is fixed.
        settings: covariance, regularization, number of iterations.

    Returns:
        (N, K) posterior, log-likelihood, and the number of iterations.
    """
    n_clusters, fixed = anchors.n_clusters, anchors.fixed
    known = functional.one_hot(anchors.labels.clamp_min(0), n_clusters).double()
    posterior = known * (anchors.labels >= 0)[:, None]
    last, n_iter = -math.inf, 0
    while True:
        n_iter += 1
        joint = _joint_log_density(vectors, posterior, settings)
        mean = float(joint.logsumexp(dim=1).mean())
        posterior = torch.where(fixed[:, None], known, joint.softmax(dim=1))
        if mean - last < _CONVERGED or n_iter == settings.max_iter:
            return posterior, mean * len(vectors), n_iter
        last = mean


def _joint_log_density(
    vectors: torch.Tensor, posterior: torch.Tensor, settings: MixtureSettings
) -> torch.Tensor:
    """(N, K) log of weight times density, for the parameters that the posterior (N, K) gives."""
    dims = vectors.shape[1]
    counts = posterior.sum(dim=0)
    means = posterior.T @ vectors / counts[:, None]
    found = torch.empty_like(posterior)
    for component, cholesky in enumerate(torch.linalg.cholesky(_covariances(vectors, posterior, settings))):
        apart = torch.linalg.solve_triangular(cholesky, (vectors - means[component]).T, upper=False)
        log_det = cholesky.diagonal().log().sum()
        found[:, component] = -0.5 * apart.square().sum(dim=0) - log_det
    return found + (counts / counts.sum()).log() - 0.5 * dims * math.log(2 * math.pi)


def _covariances(vectors: torch.Tensor, posterior: torch.Tensor, settings: MixtureSettings) -> torch.Tensor:
    """(K, D, D) covariances of the components."""
    dims, counts = vectors.shape[1], posterior.sum(dim=0)
    means = posterior.T @ vectors / counts[:, None]
    scatter = torch.stack(
        [
            ((vectors - mean) * weight[:, None]).T @ (vectors - mean)
            for mean, weight in zip(means, posterior.T, strict=True)
        ]
    )
    pooled = scatter.sum(dim=0) / counts.sum()
    if settings.covariance == "tied":
        found = pooled.expand(len(counts), -1, -1)
    else:
        found = (scatter + dims * pooled) / (counts + dims)[:, None, None]
    if settings.covariance == "diag":
        found = torch.diag_embed(found.diagonal(dim1=1, dim2=2))
    scale = float(vectors.var(dim=0, correction=0).mean()) or 1.0
    return found + settings.regularization * scale * torch.eye(dims, dtype=vectors.dtype)
