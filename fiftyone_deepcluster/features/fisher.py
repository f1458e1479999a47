"""The Fisher vector of convolutional maps: gradients of a Gaussian mixture's log-likelihood."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from fiftyone_deepcluster.features.base import ENCODERS
from fiftyone_deepcluster.features.codebook import Codebook, CodebookEncoder

if TYPE_CHECKING:
    import torch

_FLOOR = 1e-2  # smallest variance of a component, relative to the channel's total variance
_ADDED = 1e-3  # reg_covar of the fit, relative to the same; without it, components collapse to a point
_LEAST_DEVIATION = 1e-5  # for constant channels


@ENCODERS.register
class Fisher(CodebookEncoder):
    """Fisher vector: gradients by means and variances of 64 Gaussians at a layer's local descriptors, then PCA.

    Perronnin et al. 2010 (the improved form: square root and L2 normalization), as used by LDPO (Wang et al.,
    section 3.1): 64 Gaussians with diagonal covariance, 2 x 64 x 256 = 32,768 values from AlexNet's conv5, reduced
    to 4,096.
    """

    name: Literal["fisher"] = "fisher"
    title: ClassVar[str] = "Fisher vector"
    max_iter: int = Field(50, ge=1, description="Maximum number of EM iterations of the mixture.")

    def learn(self, descriptors: torch.Tensor, seed: int) -> Codebook:
        """Fit a mixture: weights (words,), means (words, C) and variances (words, C)."""
        mixture = fit_mixture(descriptors, min(self.words, len(descriptors)), self.max_iter, seed)
        return {"weights": mixture.weights, "means": mixture.means, "variances": mixture.variances}

    def describe(self, cells: torch.Tensor, codebook: Codebook) -> torch.Tensor:
        """(B, P, C) -> (B, 2·words·C), power- and L2-normalized."""
        from fiftyone_deepcluster.features.codebook import normalized

        return normalized(fisher_vectors(cells, Mixture(**codebook)))


@dataclass(frozen=True)
class Mixture:
    """A mixture of K Gaussians with diagonal covariance.

    Attributes:
        weights: (K,), of sum 1.
        means: (K, C).
        variances: (K, C).
    """

    weights: torch.Tensor
    means: torch.Tensor
    variances: torch.Tensor

    def log_joint(self, points: torch.Tensor) -> torch.Tensor:
        """(M, C) -> (M, K), log of weight times density, without the constant -C/2·log 2π."""
        inverse = 1 / self.variances
        shift = self.means.mean(dim=0)  # near the points, for precision of the squares
        points, means = points - shift, self.means - shift
        squares = points.square() @ inverse.T - 2 * points @ (means * inverse).T
        offset = (means.square() * inverse + self.variances.log()).sum(dim=1)
        return self.weights.log() - 0.5 * (squares + offset)


def fisher_vectors(cells: torch.Tensor, mixture: Mixture) -> torch.Tensor:
    """Gradients of the mean log-likelihood by means and deviations, scaled by the diagonal Fisher information.

    Sánchez et al. 2013, equations 17 and 18: with posteriors g_k(x), for every component k

        mean of g_k (x - m_k) / s_k / sqrt(w_k)   and   mean of g_k ((x - m_k)² / s_k² - 1) / sqrt(2 w_k).

    Args:
        cells: (B, P, C).
        mixture: mixture of K components.

    Returns:
        (B, 2·K·C), gradients by the means first, not normalized.
    """
    import torch

    n = cells.shape[1]
    posterior = mixture.log_joint(cells.flatten(0, 1)).softmax(dim=1).view(*cells.shape[:2], -1)
    # Moments about a point near the data: the variances are differences of squares.
    shift = mixture.means.mean(dim=0)
    cells, means = cells - shift, mixture.means - shift
    mass = posterior.mean(dim=1)[:, :, None]  # (B, K, 1)
    first = posterior.transpose(1, 2) @ cells / n  # (B, K, C)
    second = posterior.transpose(1, 2) @ cells.square() / n
    scale = mixture.weights.clamp_min(torch.finfo(cells.dtype).tiny).sqrt()[:, None]
    by_mean = (first - mass * means) / mixture.variances.sqrt() / scale
    spread = second - 2 * first * means + mass * means.square()
    by_variance = (spread / mixture.variances - mass) / (2**0.5 * scale)
    return torch.cat([by_mean.flatten(1), by_variance.flatten(1)], dim=1)


def fit_mixture(points: torch.Tensor, n: int, max_iter: int, seed: int) -> Mixture:
    """Fit scikit-learn's Gaussian mixture with diagonal covariances, initialized by k-means, on the CPU.

    Channels are scaled to standard deviation 1 for the fit, so that variance floors are relative to each channel.

    Args:
        points: (M, C) float32, M >= n.
        n: number of components.
        max_iter: maximum number of EM iterations.
        seed: random seed of k-means.

    Returns:
        The mixture of ``points``, on their device.
    """
    import torch
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    from fiftyone_deepcluster.clusterers.distances import threads_for
    from fiftyone_deepcluster.core.process_state import ignored_warnings

    scale = points.std(dim=0, unbiased=False).clamp_min(_LEAST_DEVIATION)
    model = GaussianMixture(
        n, covariance_type="diag", reg_covar=_ADDED, max_iter=max_iter, random_state=seed % 2**32
    )
    # Fewer distinct points than components, and too few iterations, are not errors here.
    with threads_for(points.cpu()), ignored_warnings(ConvergenceWarning):
        model.fit((points / scale).cpu().numpy())
    weights, means, variances = (
        torch.from_numpy(values).to(points) for values in (model.weights_, model.means_, model.covariances_)
    )
    return Mixture(weights, means * scale, variances.clamp_min(_FLOOR) * scale.square())
