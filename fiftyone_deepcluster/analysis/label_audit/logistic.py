"""Multinomial logistic regressions of the same vectors, fitted together: on all images, and without each fold.

All models share the products with the vectors, so that the vectors are read once for all of them. L-BFGS (Nocedal and
Wright, Numerical Optimization, algorithm 7.4) runs on all models at once, each with its own curvature and step.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from fiftyone_deepcluster.core.devices import send

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

_MAX_NUMBERS = 2**23
"""Maximum float32 values in one chunk of products (32 MiB)."""

_MAX_KEPT = 2**27
"""Numbers up to which the scaled vectors are kept, 512 MB; above, they are scaled again in every pass."""

_HISTORY = 8
_SHORTEST_STEP = 2.0**-10
_DECREASE = 1e-4


@dataclass(frozen=True)
class FeatureRows:
    """Standardized vectors of N images, computed chunk by chunk.

    Every dimension has mean 0 and the same standard deviation, such that the mean squared length is 1.

    Attributes:
        vectors: (N, D) float16 or float32, an array or one that is mapped from a file.
        mean: (D,) float32; None: the vectors are scaled already.
        scale: (D,) float32, factor of every dimension.
        device: where products are computed.
    """

    vectors: NDArray[np.floating]
    mean: NDArray[np.float32] | None
    scale: NDArray[np.float32]
    device: str = "cpu"

    def __len__(self) -> int:
        return len(self.vectors)

    @property
    def width(self) -> int:
        """Number of dimensions D."""
        return int(self.vectors.shape[1])

    def chunks(self, each: int) -> Iterator[tuple[slice, torch.Tensor]]:
        """Consecutive rows and their vectors (B, D) float32.

        Args:
            each: number of values that the caller computes for each row; it bounds B.
        """
        import torch

        step = max(1, _MAX_NUMBERS // max(each, self.width))
        for start in range(0, len(self), step):
            rows = slice(start, min(start + step, len(self)))
            part = np.asarray(self.vectors[rows], np.float32)
            if self.mean is not None:
                part = (part - self.mean) * self.scale
            yield rows, send(torch.from_numpy(part), torch.device(self.device))

    def scaled(self) -> FeatureRows:
        """The same, standardized once for all passes, unless there are too many to keep."""
        if self.mean is None or self.vectors.size > _MAX_KEPT:
            return self
        kept = np.empty(self.vectors.shape, np.float32)
        for rows, part in replace(self, device="cpu").chunks(self.width):
            kept[rows] = part.numpy()
        return replace(self, vectors=kept, mean=None)


def feature_rows(vectors: NDArray[np.floating], device: str = "cpu") -> FeatureRows:
    """Vectors with the mean and scale that make dimensions comparable; two passes over them.

    Args:
        vectors: (N, D) finite numbers.
        device: where products are computed.
    """
    n, width = vectors.shape
    step = max(1, _MAX_NUMBERS // width)
    mean, squares = np.zeros(width), np.zeros(width)
    for start in range(0, n, step):
        mean += np.asarray(vectors[start : start + step], np.float64).sum(axis=0) / n
    for start in range(0, n, step):
        squares += np.square(np.asarray(vectors[start : start + step], np.float64) - mean).sum(axis=0) / n
    spread = np.sqrt(squares)
    varies = spread > 1e-6 * max(float(spread.max(initial=0.0)), 1e-30)
    scale = np.where(varies, 1 / np.where(varies, spread, 1), 0) / max(1.0, np.sqrt(varies.sum()))
    return FeatureRows(vectors, mean.astype(np.float32), scale.astype(np.float32), device).scaled()


@dataclass(frozen=True)
class LogisticModels:
    """M fitted models of K classes.

    Attributes:
        weights: (M, D + 1, K), the last row is the bias.
    """

    weights: torch.Tensor

    def each_chunk(self, features: FeatureRows) -> Iterator[tuple[slice, NDArray[np.float32]]]:
        """Consecutive rows and their logits (B, M, K)."""
        n_models, _, k = self.weights.shape
        flat = self.weights.permute(1, 0, 2).reshape(features.width + 1, -1)
        for rows, part in features.chunks(n_models * k):
            yield rows, (part @ flat[:-1] + flat[-1]).reshape(len(part), n_models, k).cpu().numpy()


def fit_logistic(
    features: FeatureRows,
    classes: NDArray[np.int64],
    weights: NDArray[np.float32],
    *,
    penalty: float,
    max_iter: int,
    n_classes: int,
    after_pass: Callable[[], None] = lambda: None,
) -> LogisticModels:
    """Fit M models of K classes: minimize the weighted mean cross-entropy + penalty / 2 · |W|², bias not penalized.

    Args:
        features: the N images.
        classes: (N,) class of every image, 0 to K - 1; any number where all weights are 0.
        weights: (M, N) weight of every image in every model, not negative, none of the rows all 0.
        penalty: of the squared weights.
        max_iter: passes over the vectors, at most; fewer if the objective settles.
        n_classes: K.
        after_pass: called after every pass; what it raises ends the fit.
    """
    import torch

    shares = torch.from_numpy(weights / weights.sum(axis=1, keepdims=True)).to(features.device)
    ids = torch.from_numpy(np.maximum(classes, 0)).to(features.device)
    objective = _Objective(features, ids, shares, n_classes, penalty, after_pass)
    return LogisticModels(_minimize(objective, objective.zeros(), max_iter))


@dataclass(frozen=True)
class _Objective:
    features: FeatureRows
    classes: torch.Tensor
    shares: torch.Tensor
    k: int
    penalty: float
    after_pass: Callable[[], None]

    def zeros(self) -> torch.Tensor:
        import torch

        return torch.zeros(len(self.shares), self.features.width + 1, self.k, device=self.features.device)

    def __call__(self, at: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Objective (M,) and gradient (M, D + 1, K) at weights ``at`` (M, D + 1, K)."""
        import torch

        n_models = len(at)
        flat = at.permute(1, 0, 2).reshape(self.features.width + 1, -1)
        value = torch.zeros(n_models, dtype=torch.float64, device=at.device)
        gradient = torch.zeros_like(flat)
        for rows, part in self.features.chunks(n_models * self.k):
            logits = torch.addmm(flat[-1], part, flat[:-1]).reshape(len(part), n_models, self.k)
            logs = torch.log_softmax(logits, dim=2)
            share, own = self.shares[:, rows].T, self.classes[rows, None, None].expand(-1, n_models, 1)
            value -= (share * logs.gather(2, own)[..., 0]).double().sum(dim=0)
            error = logs.exp_()
            error.scatter_add_(2, own, torch.full_like(own, -1, dtype=error.dtype))
            error *= share[..., None]
            flat_error = error.reshape(len(part), -1)
            gradient[:-1] += part.T @ flat_error
            gradient[-1] += flat_error.sum(dim=0)
        self.after_pass()
        slope = gradient.reshape(self.features.width + 1, n_models, self.k).permute(1, 0, 2).contiguous()
        slope[:, :-1] += self.penalty * at[:, :-1]
        return value + self.penalty / 2 * at[:, :-1].double().square().sum(dim=(1, 2)), slope


def _minimize(objective: _Objective, at: torch.Tensor, max_iter: int) -> torch.Tensor:
    """Minimize by L-BFGS with backtracking, until the objectives of all M models have converged."""
    import torch

    pairs: deque[tuple[torch.Tensor, torch.Tensor]] = deque(maxlen=_HISTORY)
    value, slope = objective(at)
    step = torch.ones(len(at), device=at.device)
    passes = 1
    while passes < max_iter:
        direction = _direction(slope, pairs)
        expected = (direction * slope).sum(dim=(1, 2)).double()
        step.fill_(1.0)
        while True:
            moved = at - step[:, None, None] * direction
            new_value, new_slope = objective(moved)
            passes += 1
            good = new_value <= value - _DECREASE * step * expected
            if bool(good.all()) or passes >= max_iter or float(step.min()) < _SHORTEST_STEP:
                break
            step = torch.where(good, step, step / 2)
        keep = good[:, None, None]
        moved, new_slope = torch.where(keep, moved, at), torch.where(keep, new_slope, slope)
        new_value = torch.where(good, new_value, value)
        pairs.append((moved - at, new_slope - slope))
        settled = (value - new_value) <= _DECREASE * new_value.abs()
        at, value, slope = moved, new_value, new_slope
        if bool(settled.all()):
            break
    return at


def _direction(slope: torch.Tensor, pairs: deque[tuple[torch.Tensor, torch.Tensor]]) -> torch.Tensor:
    """Product of the inverse curvature and the gradient, for each model: the two-loop recursion."""
    import torch

    found, factors = slope.clone(), []
    curvatures = [(move * change).sum(dim=(1, 2)) for move, change in pairs]
    for (move, change), curvature in zip(reversed(pairs), reversed(curvatures), strict=True):
        usable = curvature > 0
        factor = torch.where(
            usable, (move * found).sum(dim=(1, 2)) / curvature.where(usable, curvature.new_ones(())), 0.0
        )
        factors.append(factor)
        found -= factor[:, None, None] * change
    if pairs:
        change = pairs[-1][1].square().sum(dim=(1, 2))
        scale = torch.where(curvatures[-1] > 0, curvatures[-1] / change.clamp_min(1e-30), 1.0)
        found *= scale[:, None, None]
    for (move, change), curvature, factor in zip(pairs, curvatures, reversed(factors), strict=True):
        usable = curvature > 0
        again = torch.where(
            usable, (change * found).sum(dim=(1, 2)) / curvature.where(usable, curvature.new_ones(())), 0.0
        )
        found += (factor - again)[:, None, None] * move
    return found
