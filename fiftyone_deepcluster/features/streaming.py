"""Long image codes, reduced batch by batch: only those of a sample are held at once.

VLAD vectors of 65,536 values for 215,786 images would take 57 GB. So the codebook and the PCA are fitted to a
sample, and the codes of other images are discarded after their batch.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fiftyone_deepcluster.core.seeds import rng
from fiftyone_deepcluster.core.words import counted
from fiftyone_deepcluster.errors import OptionsError

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    from fiftyone_deepcluster.features.corpus import Corpus
    from fiftyone_deepcluster.features.reduce import Reduction

logger = logging.getLogger(__name__)

Describe = Callable[["NDArray[np.int64]"], "Iterable[tuple[torch.Tensor, torch.Tensor]]"]
"""Rows -> batches of (B,) int64 rows on the CPU and (B, ...) float32 values on the device."""

LDPO_COMPONENTS = 4096
"""PCA dimensions of every encoding in LDPO (Wang et al., table 1)."""


@dataclass(frozen=True)
class Shrink:
    """Settings of the reduction of codes.

    Attributes:
        n_components: PCA dimensions; 0: no PCA.
        l2_normalize: scale the result to length 1.
        sample: number of images to which the PCA is fitted.
        seed: random seed of the sample.
    """

    n_components: int
    l2_normalize: bool
    sample: int
    seed: int


def all_rows(corpus: Corpus) -> NDArray[np.int64]:
    """0..N-1."""
    return np.arange(len(corpus))


def sample_rows(n: int, most: int, seed: int) -> NDArray[np.int64]:
    """At most ``most`` of ``n`` rows, drawn at random, ascending."""
    if n <= most:
        return np.arange(n)
    return np.sort(rng(seed, "sample").choice(n, most, replace=False))


def collect_values(corpus: Corpus, rows: NDArray[np.int64], describe: Describe) -> torch.Tensor:
    """(len(rows), ...) float32 values of ``rows`` in order; computed in shares by all processes.

    They are on the device, or on the CPU where the GPU has no room for them.
    """
    import torch

    from fiftyone_deepcluster.core.devices import send

    place = np.zeros(len(corpus), dtype=np.int64)
    place[rows] = np.arange(len(rows))
    found = torch.zeros(0)
    for taken, values in describe(rows[corpus.compute.shard(len(rows))]):
        if not len(found):
            where = corpus.compute.device_for(len(rows) * values[0].numel())
            found = torch.zeros(len(rows), *values.shape[1:], device=where)
        found[send(torch.from_numpy(place[taken.numpy()]), found.device)] = values.to(found.device)
    return corpus.compute.sum_shards(found)


def averaged(maps: torch.Tensor, bands: int = 1, columns: int = 1) -> torch.Tensor:
    """(B, C, H, W), (B, T, C) tokens or (B, C) -> (B, C · bands · columns), the mean over each cell of a grid.

    Raises:
        OptionsError: several cells of an output without rows and columns, or with fewer than asked for.
    """
    from torch.nn import functional

    from fiftyone_deepcluster.backbones.layers import as_maps

    if bands == columns == 1:
        return as_maps(maps).mean(dim=2)
    there = tuple(maps.shape[2:]) if maps.ndim == 4 else (0, 0)
    for name, wanted, axis, have in zip(
        ("bands", "columns"), (bands, columns), ("rows", "columns"), there, strict=True
    ):
        if have < wanted:
            raise OptionsError(
                f"{name}={wanted} needs a layer whose maps have at least {wanted} {axis}, but a selected layer has "
                f"{have}; leave {name} out, lower it, or name an earlier layer"
            )
    return functional.adaptive_avg_pool2d(maps, (bands, columns)).flatten(1)


def reduce_streamed(
    corpus: Corpus, describe: Describe, shrink: Shrink, what: str
) -> tuple[torch.Tensor, Reduction]:
    """Fit a PCA to the codes of a sample, and reduce those of all images batch by batch.

    Args:
        corpus: the images.
        describe: computes codes (B, L) from rows.
        shrink: settings of the reduction.
        what: name of the encoding in the log.

    Returns:
        (N, d) vectors and the fitted reduction; d is ``shrink.n_components``, or less where the sample
        does not allow it (logged).
    """
    corpus.observer.phase("encode", len(corpus))
    seen = fitted_rows(corpus, shrink)
    sample = collect_values(corpus, seen, describe)
    reduction = fit_reduction(corpus, sample, shrink, what)
    known = reduction.apply(sample)
    del sample
    return reduce_rest(corpus, describe, (seen, known), reduction), reduction


def fitted_rows(corpus: Corpus, shrink: Shrink) -> NDArray[np.int64]:
    """The rows whose codes are held at once: the sample to which the PCA is fitted; without PCA all."""
    return sample_rows(len(corpus), shrink.sample if shrink.n_components else len(corpus), shrink.seed)


def fit_reduction(corpus: Corpus, sample: torch.Tensor, shrink: Shrink, what: str) -> Reduction:
    """The reduction, fitted to the codes (S, L) of ``fitted_rows``."""
    from fiftyone_deepcluster.features.reduce import fit_pca, no_pca

    if not shrink.n_components:
        return no_pca(l2_normalize=shrink.l2_normalize)
    reduction = fit_pca(
        sample,
        shrink.n_components,
        whiten=False,
        l2_normalize=shrink.l2_normalize,
        device=corpus.compute.device,
    )
    _log_reduction(what, sample, reduction, shrink.n_components)
    return reduction


def reduce_rest(
    corpus: Corpus, describe: Describe, known: tuple[NDArray[np.int64], torch.Tensor], reduction: Reduction
) -> torch.Tensor:
    """(N, d) vectors of all images, given ``known``: rows (S,) and their vectors (S, d)."""
    seen, vectors = known
    return _rest(corpus, seen, vectors, lambda rows: _reduced(describe(rows), reduction))


def apply_streamed(corpus: Corpus, describe: Describe, reduction: Reduction) -> torch.Tensor:
    """(N, d) vectors of all images, by a fitted reduction."""
    corpus.observer.phase("encode", len(corpus))
    return collect_values(corpus, all_rows(corpus), lambda rows: _reduced(describe(rows), reduction))


def _rest(corpus: Corpus, seen: NDArray[np.int64], known: torch.Tensor, describe: Describe) -> torch.Tensor:
    """Vectors of all images, given those of ``seen``."""
    import torch

    if len(seen) == len(corpus):
        return known
    others = np.setdiff1d(all_rows(corpus), seen)
    computed = collect_values(corpus, others, describe)
    vectors = torch.empty(len(corpus), known.shape[1], device=computed.device)
    vectors[torch.from_numpy(seen).to(vectors.device)] = known.to(vectors.device)
    vectors[torch.from_numpy(others).to(vectors.device)] = computed
    return vectors


def _reduced(batches: Iterable[tuple[Any, torch.Tensor]], reduction: Reduction) -> Iterable[Any]:
    return ((taken, reduction.apply(values)) for taken, values in batches)


def _log_reduction(what: str, sample: torch.Tensor, reduction: Reduction, wanted: int) -> None:
    kept = sample.shape[1] if reduction.matrix is None else reduction.matrix.shape[1]
    why = (
        ""
        if kept == wanted
        else f" instead of {wanted}, the most that {counted(len(sample), 'image allows', 'images allow')}"
    )
    if kept == sample.shape[1] < wanted:
        why = f" instead of {wanted}, since there are no more"
    logger.info("%s: %d dimensions, reduced by PCA to %d%s", what, sample.shape[1], kept, why)
