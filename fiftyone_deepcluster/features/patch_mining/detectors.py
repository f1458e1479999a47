"""Detectors of visual elements: one per mined pattern, redundant ones merged (LDPO, Algorithm 1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

_CHUNK = 16_384  # patches at a time


@dataclass(frozen=True)
class Background:
    """Statistics of all patches, the negative class of the LDA detectors.

    Attributes:
        mean: (D,).
        spread: (D, D), the covariance with shrinkage added to its diagonal.
    """

    mean: torch.Tensor
    spread: torch.Tensor

    @classmethod
    def of(cls, features: torch.Tensor, shrinkage: float) -> Background:
        """Compute the statistics from activations.

        Args:
            features: (M, D), activations of the patches.
            shrinkage: added to each variance, as a share of the mean variance: variances of activations range
                from a tenth to hundreds between networks.
        """
        import torch

        mean = features.mean(dim=0, dtype=torch.float64)
        spread = mean.new_zeros(features.shape[1], features.shape[1])
        for part in features.split(_CHUNK):
            centered = part.double() - mean
            spread.addmm_(centered.T, centered, alpha=1 / len(features))
        spread.diagonal().add_(shrinkage * spread.diagonal().mean().clamp_min(torch.finfo(spread.dtype).tiny))
        return cls(mean, spread)

    def detectors(self, means: torch.Tensor) -> torch.Tensor:
        """LDA detectors (V, D) float32 of elements with mean activations (V, D).

        w solves (covariance + shrinkage · mean variance · I) w = mean of the element - mean of all (Hariharan et
        al. 2012).
        """
        import torch

        found: torch.Tensor = torch.linalg.solve(self.spread, (means.to(self.mean) - self.mean).T)
        return found.T.float()

    def leveled(self, detectors: torch.Tensor) -> torch.Tensor:
        """(V, D) detectors, scaled so that their scores over all patches have standard deviation 1 (by ``spread``).

        The length of an LDA detector grows with the distance of its element from the background: unscaled, a few
        outlying elements would dominate the distances between images.
        """
        wide = detectors.to(self.spread)
        deviation = ((wide @ self.spread) * wide).sum(dim=1, keepdim=True).sqrt()
        tiny = float(deviation.max()) * 1e-12 + 1e-30
        return (wide / deviation.clamp_min(tiny)).float()


def merge_elements(
    features: torch.Tensor, patches: list[NDArray[np.int64]], background: Background, limit: Limit
) -> tuple[list[NDArray[np.int64]], torch.Tensor]:
    """Merge elements whose detectors respond to each other's patches (Algorithm 1 of LDPO).

    S_ij is the mean score of detector i on the patches of j. Two elements are merged where both S_ij and S_ji are
    above the limit, and a detector is fitted to the union of their patches. The paper does not give the order: here
    mutual best matches are merged, then all scores are computed again, so that a chain of similar pairs does not
    merge dissimilar elements.

    Args:
        features: (M, D) activations of all patches.
        patches: rows of each element's patches.
        background: statistics of all patches.
        limit: threshold for merging.

    Returns:
        Rows of the merged elements' patches, and their detectors (V', D) float32.
    """
    import torch

    means = torch.stack([features[torch.from_numpy(rows)].mean(dim=0) for rows in patches])
    detectors = background.detectors(means)
    while len(patches) > 1:
        pairs = _mutual(limit.strength(detectors @ means.T, detectors @ background.mean.float()))
        if not pairs:
            break
        gone = {second for _, second in pairs}
        patches = list(patches)
        for first, second in pairs:
            patches[first] = np.union1d(patches[first], patches[second])
            means[first] = features[torch.from_numpy(patches[first])].mean(dim=0)
        kept = [i for i in range(len(patches)) if i not in gone]
        patches, means = [patches[i] for i in kept], means[kept]
        detectors = background.detectors(means)
    return patches, detectors


@dataclass(frozen=True)
class Limit:
    """Threshold for merging two elements.

    Attributes:
        score: the paper's threshold: smallest S_ij and S_ji. It depends on the scale of the activations (MDPM has
            150 for AlexNet's raw fc6). None: ``share`` is used.
        share: smallest score above the background's, relative to that of the other element's own detector.
    """

    score: float | None
    share: float

    def strength(self, scores: torch.Tensor, ground: torch.Tensor) -> torch.Tensor:
        """(V, V), above 0 for pairs to merge; larger for more similar pairs.

        Args:
            scores: (V, V), S_ij.
            ground: (V,), the detectors' scores on the mean of all patches.
        """
        import torch

        if self.score is not None:
            return torch.minimum(scores, scores.T) - self.score
        above = scores - ground[:, None]
        own = above.diagonal().clamp_min(torch.finfo(above.dtype).tiny)
        relative = above / own[None, :]  # score of detector i on the patches of j, relative to detector j's
        return torch.minimum(relative, relative.T) - self.share


def _mutual(strength: torch.Tensor) -> list[tuple[int, int]]:
    """Pairs (i, j), i < j, above 0 that are mutual best matches."""
    strength = strength.clone().fill_diagonal_(-float("inf"))
    best = strength.argmax(dim=1).cpu()
    value = strength.amax(dim=1).cpu()
    return [(i, int(j)) for i, j in enumerate(best) if i < int(j) and value[i] > 0 and int(best[int(j)]) == i]
