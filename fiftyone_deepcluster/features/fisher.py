"""The Fisher vector of convolutional maps: how an image's cells would move a Gaussian mixture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from fiftyone_deepcluster.features.base import ENCODERS
from fiftyone_deepcluster.features.codebook import Codebook, CodebookEncoder

if TYPE_CHECKING:
    import torch

_FLOOR = 1e-2  # least variance of a component, as a share of the variance of all: silent channels have none
_CHUNK = 65_536  # descriptors at a time


@ENCODERS.register
class Fisher(CodebookEncoder):
    """Fisher vector: pulls of a layer's cells on means and variances of 64 Gaussians, then PCA.

    Perronnin et al. 2010 (the improved form: square root, length 1), as LDPO takes it (Wang et al., section
    3.1): 64 Gaussians with diagonal covariance, 2 x 64 x 256 = 32,768 numbers from AlexNet's conv5, reduced to
    4,096.
    """

    name: Literal["fisher"] = "fisher"
    title: ClassVar[str] = "Fisher vector"
    max_iter: int = Field(50, ge=0, description="Steps of the mixture's expectation-maximization at most.")

    def learn(self, descriptors: torch.Tensor, seed: int) -> Codebook:
        """Weights (words,), means (words, C) and variances (words, C) of a mixture."""
        mixture = fit_mixture(descriptors, min(self.words, len(descriptors)), self.max_iter, seed)
        return {"weights": mixture.weights, "means": mixture.means, "variances": mixture.variances}

    def describe(self, cells: torch.Tensor, codebook: Codebook) -> torch.Tensor:
        """(B, P, C) -> (B, 2·words·C), power- and length-normalized."""
        from fiftyone_deepcluster.features.codebook import normalized

        return normalized(fisher_vectors(cells, Mixture(**codebook)))


@dataclass(frozen=True)
class Mixture:
    """K Gaussians with diagonal covariance.

    Attributes:
        weights: (K,) that sum to 1.
        means: (K, C).
        variances: (K, C).
    """

    weights: torch.Tensor
    means: torch.Tensor
    variances: torch.Tensor

    def log_joint(self, points: torch.Tensor) -> torch.Tensor:
        """(M, C) -> (M, K), log of weight times density, less the constant C/2·log 2π."""
        precise = 1 / self.variances
        shift = self.means.mean(dim=0)  # near the points, so that no digits are lost in the squares
        points, means = points - shift, self.means - shift
        squares = points.square() @ precise.T - 2 * points @ (means * precise).T
        offset = (means.square() * precise + self.variances.log()).sum(dim=1)
        return self.weights.log() - 0.5 * (squares + offset)


def fisher_vectors(cells: torch.Tensor, mixture: Mixture) -> torch.Tensor:
    """Gradients of the mean log-likelihood by means and deviations, by the diagonal Fisher information.

    Sánchez et al. 2013, equations 17 and 18: with posteriors g_k(x), for every component k

        mean of g_k (x - m_k) / s_k / sqrt(w_k)   and   mean of g_k ((x - m_k)² / s_k² - 1) / sqrt(2 w_k).

    Args:
        cells: (B, P, C).
        mixture: of K components.

    Returns:
        (B, 2·K·C), the means' part first, not normalized.
    """
    import torch

    n = cells.shape[1]
    posterior = mixture.log_joint(cells.flatten(0, 1)).softmax(dim=1).view(*cells.shape[:2], -1)
    # Moments about a point near all: the variances come as differences of squares.
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
    """Expectation-maximization from k-means, until the mean log-likelihood gains less than 0.001.

    Args:
        points: (M, C) float32, M >= n.
        n: components; fewer come where fewer points differ.
        max_iter: at most.
        seed: of k-means.
    """
    import torch
    from torch.nn import functional

    from fiftyone_deepcluster.clusterers.base import ClusterRequest
    from fiftyone_deepcluster.clusterers.kmeans.clusterer import KMeans

    start = KMeans(n_init=1).cluster(points, ClusterRequest(n, seed))
    floor = (_FLOOR * points.var(dim=0, unbiased=False)).clamp_min(1e-10)
    labels = start.labels.to(points.device)
    member = [functional.one_hot(part, start.n_clusters).to(points.dtype) for part in labels.split(_CHUNK)]
    mixture = _maximized(points, member, floor)
    before = -torch.inf
    for _ in range(max_iter):
        joint = [mixture.log_joint(part) for part in points.split(_CHUNK)]
        likelihood = float(sum(part.logsumexp(dim=1).double().sum() for part in joint)) / len(points)
        if likelihood - before < 1e-3:  # scikit-learn's default
            break
        before = likelihood
        mixture = _maximized(points, [part.softmax(dim=1) for part in joint], floor)
    return mixture


def _maximized(points: torch.Tensor, member: list[torch.Tensor], floor: torch.Tensor) -> Mixture:
    """The mixture that fits best where ``member`` (chunks of (M, K)) says how much of a point is whose."""
    import torch

    shift = points.mean(dim=0)
    mass = torch.stack([part.double().sum(dim=0) for part in member]).sum(dim=0)
    chunks = [part - shift for part in points.split(_CHUNK)]
    first = torch.zeros_like(points[:1]).double()
    second = torch.zeros_like(first)
    for some, part in zip(member, chunks, strict=True):
        first = first + (some.T @ part).double()
        second = second + (some.T @ part.square()).double()
    weights = (mass / len(points)).clamp_min(1e-10)
    mass = mass.clamp_min(1e-10)[:, None]
    means = first / mass
    variances = (second / mass - means.square()).to(points.dtype)
    return Mixture(weights.to(points.dtype), means.to(points.dtype) + shift, variances.maximum(floor))
