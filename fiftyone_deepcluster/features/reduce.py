"""PCA, whitening and L2 normalization of features."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

_CHUNK = 65_536  # rows at a time, to avoid a centered copy of all features


@dataclass(frozen=True)
class Reduction:
    """A fitted map (N, D) -> (N, d): subtract ``mean``, multiply by ``matrix``, scale to length 1.

    Attributes:
        mean: (D,), None without PCA.
        matrix: (D, d) principal directions in columns, divided by the standard deviations where whitened.
        l2_normalize: scale every vector to length 1.
    """

    mean: torch.Tensor | None
    matrix: torch.Tensor | None
    l2_normalize: bool

    def apply(self, features: torch.Tensor, device: torch.device | None = None) -> torch.Tensor:
        """(N, D) float32 -> (N, d) float32 on the same device.

        Args:
            features: on any device.
            device: where to compute, chunk by chunk; None: where the features are.
        """
        import torch
        from torch.nn import functional

        if self.mean is None or self.matrix is None:
            return functional.normalize(features) if self.l2_normalize else features
        device = features.device if device is None else device
        mean, matrix = self.mean.to(device), self.matrix.to(device)
        parts = [((part.to(device) - mean) @ matrix).to(features.device) for part in features.split(_CHUNK)]
        found = torch.cat(parts)
        return functional.normalize(found) if self.l2_normalize else found

    def state_dict(self) -> dict[str, Any]:
        """Plain values for a checkpoint."""
        return {"mean": _to_cpu(self.mean), "matrix": _to_cpu(self.matrix), "l2_normalize": self.l2_normalize}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Reduction:
        """Restore a reduction from its ``state_dict``."""
        return cls(state["mean"], state["matrix"], bool(state["l2_normalize"]))


def fit_pca(
    features: torch.Tensor,
    n_components: int,
    *,
    whiten: bool,
    l2_normalize: bool,
    device: torch.device | None = None,
) -> Reduction:
    """Fit a PCA in float64, in chunks: in float32, directions without variance would look like noise.

    With ``whiten`` each direction is divided by its standard deviation (DeepCluster: ``eigen_power`` -0.5).
    ``n_components`` is limited to min(n_components, D, N - 1). It is computed on ``device``; None: where the
    features are.
    """
    n_components = max(1, min(n_components, features.shape[1], len(features) - 1))
    fit = _from_products if features.shape[1] > len(features) else _from_covariance
    mean, values, matrix = fit(features, n_components, features.device if device is None else device)
    # The sign of an eigenvector is arbitrary: fix it, so that equal data give equal vectors.
    largest = matrix.gather(0, matrix.abs().argmax(dim=0, keepdim=True))
    matrix = matrix * largest.sign()
    if whiten:
        floor = values[0].clamp_min(1e-12) * 1e-7
        matrix = matrix / values.clamp_min(floor).sqrt()
    return Reduction(mean.float(), matrix.float(), l2_normalize)


def _from_covariance(
    features: torch.Tensor, n_components: int, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Mean (D,), largest eigenvalues of the covariance (n_components,), their eigenvectors (D, n_components)."""
    import torch

    mean = features.mean(dim=0, dtype=torch.float64).to(device)
    covariance = torch.zeros(features.shape[1], features.shape[1], dtype=torch.float64, device=device)
    for part in features.split(_CHUNK):
        centered = part.to(device).double() - mean
        covariance.addmm_(centered.T, centered)
    values, vectors = torch.linalg.eigh(covariance / max(1, len(features) - 1))
    return mean, values.flip(0)[:n_components], vectors.flip(1)[:, :n_components]


def _from_products(
    features: torch.Tensor, n_components: int, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The same from the N x N Gram matrix, for more dimensions than rows."""
    import torch

    mean = features.mean(dim=0, dtype=torch.float64).to(device)
    step = max(1, _CHUNK * 64 // len(features))  # columns at a time
    parts = list(zip(features.split(step, dim=1), mean.split(step), strict=True))
    products = torch.zeros(len(features), len(features), dtype=torch.float64, device=device)
    for part, middle in parts:
        centered = part.to(device).double() - middle
        products.addmm_(centered, centered.T)
    squares, rows = torch.linalg.eigh(products)
    squares, rows = squares.flip(0)[:n_components].clamp_min(0), rows.flip(1)[:, :n_components]
    # Directions without variance (rank-deficient data) stay zero.
    there = squares > squares[0] * 1e-10
    rows = torch.where(there, rows / squares.clamp_min(torch.finfo(squares.dtype).tiny).sqrt(), 0.0)
    matrix = torch.cat([(part.to(device).double() - middle).T @ rows for part, middle in parts])
    return mean, squares / max(1, len(features) - 1), matrix


def no_pca(*, l2_normalize: bool) -> Reduction:
    """A reduction without PCA: L2 normalization only, or the identity."""
    return Reduction(None, None, l2_normalize)


def _to_cpu(tensor: torch.Tensor | None) -> torch.Tensor | None:
    return None if tensor is None else tensor.cpu()
