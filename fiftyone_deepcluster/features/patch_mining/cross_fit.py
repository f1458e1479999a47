"""Cross-fitting of patch mining (ours): no image is encoded by detectors that were trained on it.

Detectors are trained on the clusters of the last round, so their scores on the images they were trained on repeat
these clusters more than the images alone justify. Here detectors are mined in two halves of the images, and each
half is encoded by the detectors of the other. The two sets have different detectors; what they share are the clusters
that they were mined in. So the scores are averaged over the detectors of each cluster, and standardized by half.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from fiftyone_deepcluster.core.words import counted
from fiftyone_deepcluster.errors import InputError
from fiftyone_deepcluster.features.patch_mining.patches import CELLS, strongest
from fiftyone_deepcluster.features.streaming import collect_values, fit_reduction, fitted_rows, reduce_rest
from fiftyone_deepcluster.features.views import draws_of, pixel_hashes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from fiftyone_deepcluster.features.corpus import Corpus
    from fiftyone_deepcluster.features.patch_mining.patches import Patches, Scale
    from fiftyone_deepcluster.features.reduce import Reduction
    from fiftyone_deepcluster.features.streaming import Describe, Shrink

_AT_ONCE = 1024  # images read to be hashed


@dataclass(frozen=True)
class Halves:
    """Two halves of the images, drawn by a hash of their pixels.

    So equal images are in the same half, and an image gets the same vector in every set of images. Images of one
    group (patient) are in the same half, which is stored for them.

    Attributes:
        seed: random seed of the halves.
        hashes: (S,) uint64, ascending, of the images whose half is stored.
        stored: (S,) int64, 0 or 1.
    """

    seed: int
    hashes: NDArray[np.uint64]
    stored: NDArray[np.int64]

    @classmethod
    def split(cls, corpus: Corpus, seed: int) -> tuple[Halves, NDArray[np.int64]]:
        """The halves, and 0 or 1 (N,) for the images of ``corpus``; its groups stay whole."""
        drawn = cls(seed, np.zeros(0, dtype=np.uint64), np.zeros(0, dtype=np.int64))
        hashes, groups = _hashes(corpus), corpus.groups
        if groups is None:
            return drawn, drawn._drawn(hashes)
        known = groups >= 0
        _, place = np.unique(groups[known], return_inverse=True)
        smallest = np.full(len(place), np.iinfo(np.uint64).max)
        np.minimum.at(smallest, place, hashes[known])
        hash_of_group = hashes.copy()
        hash_of_group[known] = smallest[place]
        half = drawn._drawn(hash_of_group)
        ascending, first = np.unique(hashes, return_index=True)
        return cls(seed, ascending, half[first]), half

    def of(self, corpus: Corpus) -> NDArray[np.int64]:
        """(N,) 0 or 1."""
        hashes = _hashes(corpus)
        half = self._drawn(hashes)
        if len(self.hashes):
            place = np.searchsorted(self.hashes, hashes).clip(max=len(self.hashes) - 1)
            half = np.where(self.hashes[place] == hashes, self.stored[place], half)
        return half

    def _drawn(self, hashes: NDArray[np.uint64]) -> NDArray[np.int64]:
        return (draws_of(hashes ^ np.uint64(self.seed), 0)[:, 0] >= 0.5).long().numpy()  # type: ignore[no-any-return]


@dataclass(frozen=True)
class GroupScores:
    """The detectors of one half, and how their scores are averaged by group.

    Attributes:
        detectors: (V, D).
        weights: (V, G), columns add up to 1: shares of the detectors in the score of each group.
        mean: (5 · G,) of the scores of the images of the other half.
        deviation: (5 · G,).
    """

    detectors: torch.Tensor
    weights: torch.Tensor
    mean: torch.Tensor
    deviation: torch.Tensor

    def of(self, scales: list[Scale]) -> torch.Tensor:
        """Standardized scores (B, 5 · G) of B images by their patches at all scales."""
        best = [strongest(found @ self.detectors.T, middles) for found, middles in scales]
        found = (torch.stack(best).amax(dim=0) @ self.weights).flatten(1)
        return self.standardized(found)

    def standardized(self, scores: torch.Tensor) -> torch.Tensor:
        """(B, 5 · G) scores with mean 0 and deviation 1 over the images of the other half."""
        return (scores - self.mean.to(scores.device)) / self.deviation.to(scores.device)

    def fitted(self, scores: torch.Tensor) -> GroupScores:
        """With the mean and deviation of scores (S, 5 · G)."""
        deviation = scores.std(dim=0, correction=0).clamp_min(1e-6)
        return replace(self, mean=scores.mean(dim=0).to(self.mean), deviation=deviation.to(self.deviation))


@dataclass(frozen=True)
class CrossFit:
    """Fitted parameters.

    Attributes:
        halves: which images are in which half.
        parts: the detectors of half 0 and of half 1.
    """

    halves: Halves
    parts: tuple[GroupScores, GroupScores]

    @classmethod
    def of(cls, halves: Halves, found: list[tuple[torch.Tensor, list[NDArray[np.int64]]]]) -> CrossFit:
        """From the detectors (V, D) of each half, and the groups of the patches of each of them.

        Raises:
            InputError: no group has elements in both halves.
        """
        n = 1 + max(int(patches.max()) for _, elements in found for patches in elements)
        weights = [
            np.stack([np.bincount(patches, minlength=n) / len(patches) for patches in elements])
            for _, elements in found
        ]
        shared = np.flatnonzero((weights[0].sum(axis=0) > 0) & (weights[1].sum(axis=0) > 0))
        if not len(shared):
            raise InputError(
                "cross_fit=True needs clusters with mined patterns in both halves of the images, but there is none; "
                "lower confidence or support, or set cross_fit=False"
            )
        first, second = (
            _scores(detectors, own[:, shared]) for (detectors, _), own in zip(found, weights, strict=True)
        )
        return cls(halves, (first, second))

    @property
    def n_groups(self) -> int:
        """Number of groups with scores."""
        return int(self.parts[0].weights.shape[1])

    def describer(self, corpus: Corpus, cut: Patches, half: NDArray[np.int64]) -> Describe:
        """A function from rows to their scores (B, 5 · G), by the detectors of the half (N,) that they are not in."""

        def describe(rows: NDArray[np.int64]) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
            for taken, scales in cut.of(corpus, rows):
                first, second = (part.of(scales) for part in self.parts)
                in_second = torch.from_numpy(half[taken.numpy()] == 1).to(first.device)
                yield taken, torch.where(in_second[:, None], first, second)

        return describe

    def state_dict(self) -> dict[str, Any]:
        """Plain values for a checkpoint."""
        parts = [{name: value.cpu() for name, value in vars(part).items()} for part in self.parts]
        hashes = torch.from_numpy(self.halves.hashes.view(np.int64))
        stored = torch.from_numpy(self.halves.stored)
        return {"parts": parts, "seed": self.halves.seed, "hashes": hashes, "stored": stored}

    @classmethod
    def from_state(cls, state: dict[str, Any], device: torch.device) -> CrossFit:
        """Restore from ``state_dict``."""
        hashes = state["hashes"].numpy().view(np.uint64)
        halves = Halves(int(state["seed"]), hashes, state["stored"].numpy())
        first, second = (
            GroupScores(**{name: value.to(device) for name, value in part.items()}) for part in state["parts"]
        )
        return cls(halves, (first, second))


def fit_cross(
    corpus: Corpus, crossed: CrossFit, cut: Patches, half: NDArray[np.int64], shrink: Shrink
) -> tuple[CrossFit, torch.Tensor, Reduction]:
    """Fit the standardization of each half and the PCA; with them the vectors (N, d) of all images.

    Args:
        corpus: the images.
        crossed: detectors of both halves, not standardized yet.
        cut: the patches.
        half: (N,) 0 or 1.
        shrink: settings of the PCA.
    """
    corpus.observer.phase("encode", len(corpus))
    seen = fitted_rows(corpus, shrink)
    sample = collect_values(corpus, seen, crossed.describer(corpus, cut, half))
    check_halves(half[seen])
    parts = []
    for which, part in enumerate(crossed.parts):
        others = torch.from_numpy(half[seen] != which).to(sample.device)
        parts.append(part.fitted(sample[others]))
        sample[others] = parts[-1].standardized(sample[others])
    crossed = replace(crossed, parts=(parts[0], parts[1]))
    describe = crossed.describer(corpus, cut, half)
    reduction = fit_reduction(corpus, sample, shrink, "patch mining")
    return crossed, reduce_rest(corpus, describe, (seen, reduction.apply(sample)), reduction), reduction


def check_halves(half: NDArray[np.int64]) -> None:
    """Raise InputError if the images ``half`` (S,) are all in one half."""
    if not 0 < half.sum() < len(half):
        raise InputError(
            f"cross_fit=True: {counted(len(half), 'image is', 'images are all')} in one half; give more images, "
            "raise sample, or set cross_fit=False"
        )


def _scores(detectors: torch.Tensor, weights: NDArray[np.float64]) -> GroupScores:
    """Not standardized yet."""
    columns = torch.from_numpy(weights / weights.sum(axis=0)).to(detectors)
    width = CELLS * columns.shape[1]
    return GroupScores(detectors, columns, detectors.new_zeros(width), detectors.new_ones(width))


def _hashes(corpus: Corpus) -> NDArray[np.uint64]:
    """(N,) of the decoded images."""
    n = len(corpus)
    found = []
    for at in range(0, n, _AT_ONCE):
        pixels = corpus.store.read(np.arange(at, min(at + _AT_ONCE, n)))
        found.append(pixel_hashes(torch.from_numpy(pixels).permute(0, 3, 1, 2)))
    return np.concatenate(found)
