"""Regularized information maximization: the objective, its gradient, and the optimization.

Gomes, Krause and Perona 2010; LDPO's equations 1 to 3 (Wang et al., section 3.2). A multinomial logistic model

    p(c = k | f) ~ exp(w_k·f + b_k)                                            (2)

is fitted without labels by maximizing the mutual information of image and cluster, minus a penalty

    I = H(mean of p) - mean of H(p_i),      F = I - lambda·sum of |w_k|²       (1), (3)

An empty cluster has no penalty, so clusters vanish as lambda grows. Weights w and features f only occur in
products: features scaled by a have the same optima at a² times the lambda.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

_CHUNK = 2**22  # probabilities at a time
_GAIN = 1e-6  # smallest gain of the objective per iteration: less is within float32 rounding
_KEPT = 2**27  # number of probabilities up to which they are kept instead of computed twice


@dataclass(frozen=True)
class Multilogit:
    """Parameters of a multinomial logistic model.

    Attributes:
        weights: (D, K).
        biases: (K,).
    """

    weights: torch.Tensor
    biases: torch.Tensor

    def log_probabilities(self, points: torch.Tensor) -> Iterator[tuple[slice, torch.Tensor]]:
        """Chunks of log p (N, K), with their rows."""
        import torch

        step = max(1, _CHUNK // len(self.biases))
        for begin in range(0, len(points), step):
            rows = slice(begin, begin + step)
            yield rows, torch.log_softmax(torch.addmm(self.biases, points[rows], self.weights), dim=1)

    def assign(self, points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The most probable cluster of each point (N,), and its probability (N,)."""
        import torch

        parts = [logs.max(dim=1) for _, logs in self.log_probabilities(points)]
        return torch.cat([part.indices for part in parts]), torch.cat([part.values for part in parts]).exp()


def information(model: Multilogit, points: torch.Tensor) -> tuple[float, torch.Tensor, torch.Tensor]:
    """Mutual information in nats and its gradient by the weights (D, K) and the biases (K,).

    For the logit z_ik of image i and cluster k, with p the mean of p_i over the N images:

        dI/dz_ik = p_ik·(log(p_ik / p_k) - sum over c of p_ic·log(p_ic / p_c)) / N.
    """
    import torch

    n, k = len(points), len(model.biases)
    kept = list(model.log_probabilities(points)) if n * k <= _KEPT else None
    mean = torch.zeros(k, dtype=points.dtype, device=points.device)
    for _, logs in kept or model.log_probabilities(points):
        mean += logs.exp().sum(dim=0)
    log_mean = (mean / n).clamp_min(torch.finfo(points.dtype).tiny).log()
    found = 0.0
    by_weights, by_biases = torch.zeros_like(model.weights), torch.zeros_like(model.biases)
    for rows, logs in kept or model.log_probabilities(points):
        p, gain = logs.exp(), logs - log_mean
        own = (p * gain).sum(dim=1, keepdim=True)
        found += float(own.sum(dtype=torch.float64))
        slope = p * (gain - own) / n
        by_weights.addmm_(points[rows].T, slope)
        by_biases += slope.sum(dim=0)
    return found / n, by_weights, by_biases


def likelihood(
    model: Multilogit, points: torch.Tensor, labels: torch.Tensor
) -> tuple[float, torch.Tensor, torch.Tensor]:
    """Mean log-likelihood of labels (N,) and its gradient by weights and biases (logistic regression)."""
    import torch

    n, found = len(points), 0.0
    by_weights, by_biases = torch.zeros_like(model.weights), torch.zeros_like(model.biases)
    for rows, logs in model.log_probabilities(points):
        own = logs.gather(1, labels[rows, None])
        found += float(own.sum(dtype=torch.float64))
        slope = -logs.exp() / n
        slope.scatter_add_(1, labels[rows, None], torch.full_like(own, 1 / n))
        by_weights.addmm_(points[rows].T, slope)
        by_biases += slope.sum(dim=0)
    return found / n, by_weights, by_biases


Gain = Callable[[Multilogit], "tuple[float, torch.Tensor, torch.Tensor]"]


def ascend(gain: Gain, start: Multilogit, *, penalty: float, max_iter: int) -> tuple[Multilogit, float]:
    """Maximize gain - penalty·sum of |w_k|² by L-BFGS; biases are not penalized.

    Args:
        gain: returns value and gradient by weights and biases.
        start: initial model.
        penalty: lambda.
        max_iter: largest number of iterations.

    Returns:
        The model and its objective.
    """
    import torch

    shape = start.weights.shape
    flat = torch.cat([start.weights.flatten(), start.biases]).clone()

    def model() -> Multilogit:
        return Multilogit(flat[: shape.numel()].view(shape), flat[shape.numel() :])

    def loss() -> torch.Tensor:
        now = model()
        value, by_weights, by_biases = gain(now)
        by_weights = by_weights - 2 * penalty * now.weights
        flat.grad = -torch.cat([by_weights.flatten(), by_biases])
        return flat.new_tensor(penalty * float(now.weights.square().sum()) - value)

    optimizer = torch.optim.LBFGS(
        [flat],
        max_iter=max_iter,
        tolerance_grad=1e-7,
        tolerance_change=_GAIN,
        history_size=10,
        line_search_fn="strong_wolfe",
    )
    optimizer.step(loss)  # type: ignore[arg-type]
    return model(), -float(loss())
