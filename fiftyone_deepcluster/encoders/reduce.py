"""PCA, whitening and length 1: from features to the vectors that are clustered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

_CHUNK = 65_536  # rows at a time, so that a centred copy of everything is never made


@dataclass(frozen=True)
class Reduction:
    """A fitted map (N, D) -> (N, d): subtract ``mean``, multiply by ``matrix``, scale to length 1.

    Attributes:
        mean: (D,) or None for no PCA.
        matrix: (D, d), principal directions in columns, divided by the deviations where whitened.
        unit: scale every vector to length 1.
    """

    mean: torch.Tensor | None
    matrix: torch.Tensor | None
    unit: bool

    def apply(self, features: torch.Tensor) -> torch.Tensor:
        """(N, D) float32 -> (N, d) float32 on the same device."""
        import torch
        from torch.nn import functional

        if self.mean is None or self.matrix is None:
            return functional.normalize(features) if self.unit else features
        mean, matrix = self.mean.to(features.device), self.matrix.to(features.device)
        found = torch.cat([(part - mean) @ matrix for part in features.split(_CHUNK)])
        return functional.normalize(found) if self.unit else found

    def state_dict(self) -> dict[str, Any]:
        """Plain values for a checkpoint."""
        return {"mean": _to_cpu(self.mean), "matrix": _to_cpu(self.matrix), "unit": self.unit}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Reduction:
        """The reduction that ``state_dict`` came from."""
        return cls(state["mean"], state["matrix"], bool(state["unit"]))


def fit_pca(features: torch.Tensor, dims: int, *, whiten: bool, unit: bool) -> Reduction:
    """PCA by the eigenvectors of the covariance, summed in chunks in float64 on the CPU, else float32.

    With ``whiten`` each direction is divided by its deviation (DeepCluster: ``eigen_power`` -0.5).
    ``dims`` is cut to what the data allow: min(dims, D, N - 1).
    """
    import torch

    dims = max(1, min(dims, features.shape[1], len(features) - 1))
    wide = torch.float64 if features.device.type == "cpu" else torch.float32
    mean = features.mean(dim=0, dtype=wide)
    covariance = torch.zeros(features.shape[1], features.shape[1], dtype=wide, device=features.device)
    for part in features.split(_CHUNK):
        centred = part.to(wide) - mean
        covariance.addmm_(centred.T, centred)
    values, vectors = torch.linalg.eigh(covariance / max(1, len(features) - 1))
    order = torch.arange(len(values) - 1, len(values) - 1 - dims, -1, device=values.device)
    matrix = vectors[:, order]
    # The sign of an eigenvector is arbitrary: fix it, so that equal data give equal vectors.
    largest = matrix.gather(0, matrix.abs().argmax(dim=0, keepdim=True))
    matrix = matrix * largest.sign()
    if whiten:
        floor = values[-1].clamp_min(1e-12) * 1e-7
        matrix = matrix / values[order].clamp_min(floor).sqrt()
    return Reduction(mean.float(), matrix.float(), unit)


def no_pca(*, unit: bool) -> Reduction:
    """Only the scaling to length 1, or nothing at all."""
    return Reduction(None, None, unit)


def _to_cpu(tensor: torch.Tensor | None) -> torch.Tensor | None:
    return None if tensor is None else tensor.cpu()
