"""Checks of the arguments of ``fit``."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fiftyone_deepcluster.api.given_weights import StoredNetwork, check_named_files, lost_files, lost_message
from fiftyone_deepcluster.clusterers.base import clusterers_that_keep_labels
from fiftyone_deepcluster.core import arguments
from fiftyone_deepcluster.core.disk import folder_problem
from fiftyone_deepcluster.core.words import all_of, counted, none_of
from fiftyone_deepcluster.errors import CheckpointError, OptionsError
from fiftyone_deepcluster.methods.base import methods_that
from fiftyone_deepcluster.metrics.matching import numbered

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fiftyone_deepcluster.core.types import Known
    from fiftyone_deepcluster.images.cache.open_images import ImageStore
    from fiftyone_deepcluster.methods.base import Options

CONTINUED, OTHER_RUN_DIR = "the run to continue", "choose another run_dir"
"""A run whose stored network a fit continues with, and what to do if it cannot be built, in messages."""

MOST_WEIGHT = 1e6
"""Largest weight of an image in the loss."""

LARGEST = 1e15
"""Largest absolute feature value; distances of larger ones overflow float32."""


def check_early(options: Options, run_dir: Path | None, stored: StoredNetwork | None = None) -> None:
    """Checks that need no image: ``run_dir``, files of weights, device and precision.

    Args:
        options: resolved options.
        run_dir: as for ``fit``.
        stored: the network that the fit continues with; None: one that is built from the options.

    Raises:
        OptionsError: one of them cannot be used.
        CheckpointError: the network ``stored`` cannot be built, as the folder of its model is gone.
    """
    from fiftyone_deepcluster.core.devices import choose_compute

    problem = None if run_dir is None else folder_problem(run_dir)
    if problem is not None:
        raise OptionsError(
            f"run_dir={str(run_dir)!r}: {problem}; give a writable folder, which is created if it is missing"
        )
    if stored is None:
        check_named_files(options)
    elif lost := lost_files(options, stored, values=False):
        raise CheckpointError(lost_message(CONTINUED, lost, OTHER_RUN_DIR))
    choose_compute(options.device, options.precision)


def check_fits_images(n: int, options: Options, *, features: bool) -> None:
    """Raise OptionsError if the options do not suit the number of images, or given features.

    Args:
        n: number of images that can be read.
        options: resolved options.
        features: whether features were given.
    """
    for name, wanted in options.cluster_counts().items():
        if wanted > n:
            raise OptionsError(
                f"{name}={wanted} is more than the {counted(n, 'image')} that can be read; lower it or add images"
            )
    if features and not options.accepts_features:
        raise OptionsError(
            f"features were given, but the method {options.name!r} learns its own; use "
            f"{methods_that('accepts_features')}"
        )


def as_features(given: Any, name: str = "features") -> NDArray[np.float32]:
    """The given features as float32, with shape and range checked.

    Args:
        given: (N, D); (N, V, D) of V views of every image; or several (N, D) by name, which are joined.
        name: of the argument, for messages.

    Raises:
        OptionsError: not real numbers, masked ones, of another shape, or too large.
    """
    if isinstance(given, Mapping):
        return joined([as_features(part, name) for part in given.values()], list(given))
    try:
        problem = arguments.number_problem(name, given)
        features = arguments.as_float32([] if problem else given)
    except (TypeError, ValueError, RuntimeError) as error:
        raise OptionsError(
            f"{name}={arguments.short(given)} is not numeric; give an array of shape (images, dimensions)"
        ) from error
    if problem:
        raise OptionsError(problem)
    if features.ndim not in (2, 3) or 0 in features.shape:
        raise OptionsError(
            f"{name} has shape {features.shape}; give (images, dimensions), both at least 1, or (images, views, "
            "dimensions)"
        )
    check_range(features, name)
    return features


def check_range(vectors: NDArray[np.float32], what: str) -> None:
    """Raise OptionsError, beginning with ``what`` they are, if finite values are above ``LARGEST``."""
    finite = np.abs(vectors, where=np.isfinite(vectors), out=np.zeros_like(vectors))
    largest = finite.max(initial=0.0)
    if largest > LARGEST:
        raise OptionsError(
            f"{what} has values up to {largest:.1e}, too large for float32 distances; scale them below {LARGEST:.0e}"
        )


def check_varied(vectors: NDArray[np.float32], what: str) -> None:
    """Raise OptionsError, beginning with ``what`` they are, if all finite vectors (N, D) or (N, V, D) are the same."""
    rows = vectors.reshape(len(vectors), math.prod(vectors.shape[1:]))
    known = rows[np.isfinite(rows).all(axis=1)]
    if len(known) > 1 and (known == known[0]).all():
        raise OptionsError(
            f"{what} has the same vector for all images, which tells nothing about them; compute the vectors again, or "
            "leave them out"
        )


def joined(parts: Sequence[NDArray[np.float32]], names: Sequence[str]) -> NDArray[np.float32]:
    """(N, sum of D) features of several sources, each scaled to the same length, so that all have the same weight.

    Args:
        parts: (N, D) of each source; rows that are not finite, or zero, become NaN in all of them.
        names: of the sources, for messages.

    Raises:
        OptionsError: none, not the same images, or several vectors for each image.
    """
    shapes = ", ".join(f"{name}: {part.shape}" for name, part in zip(names, parts, strict=True))
    if not parts or any(part.ndim != 2 or len(part) != len(parts[0]) for part in parts):
        raise OptionsError(
            f"features of several sources must have one vector for each image; they are ({shapes}); give arrays of "
            "shape (images, dimensions) with the same number of images"
        )
    lengths = [np.linalg.norm(part, axis=1, keepdims=True) for part in parts]
    known = np.all([np.isfinite(length) & (length > 0) for length in lengths], axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        units = [part / length for part, length in zip(parts, lengths, strict=True)]
    both = np.concatenate(units, axis=1) / np.sqrt(len(parts))
    return np.where(known, both, np.nan).astype(np.float32)


def numbers_of(values: Sequence[object], store: ImageStore, what: str) -> NDArray[np.int64]:
    """(M,) int64 codes of the values of the readable images, -1 for None.

    Raises:
        OptionsError: not one value per image, or all of them unknown.
    """
    n = len(store.kept) + len(store.errors)
    need = "give one per image, None where unknown"
    if not arguments.is_sequence(values):
        raise OptionsError(
            f"{what}={arguments.short(values)} is not a list for {counted(n, 'image')}; {need}"
        )
    if len(values) != n:
        raise OptionsError(
            f"{what} has {counted(len(values), 'entry', 'entries')} for {counted(n, 'image')}; {need}"
        )
    masked = arguments.masked_problem(values)
    if masked:
        raise OptionsError(f"{what} {masked}; {need}")
    numbers = numbered(values)[0][store.kept]
    if (numbers < 0).all():
        raise OptionsError(
            f"{what} is unknown for {all_of(len(numbers), 'image')} that can be read; leave it out"
        )
    return numbers


@dataclass(frozen=True)
class KnownNumbers:
    """What is known about the M readable images, as numbers.

    Attributes:
        groups: (M,) int64 group of each image, -1 unknown; None: unknown.
        initial: (M,) int64 labels of the first round, -1 unknown; None: unknown.
        fixed: (M,) bool, the images that keep their label; None: no image does.
        weights: (M,) float32 weights of the images in the loss; None: all have the same.
        other_vectors: (M, D) float32 vectors of another source, rows of NaN where there is none; None: none at all.
    """

    groups: NDArray[np.int64] | None = None
    initial: NDArray[np.int64] | None = None
    fixed: NDArray[np.bool_] | None = None
    weights: NDArray[np.float32] | None = None
    other_vectors: NDArray[np.float32] | None = None

    def bytes(self) -> list[bytes]:
        """The bytes of all arrays but ``other_vectors``, for the fingerprint of the run."""
        known = (self.groups, self.initial, self.fixed, self.weights)
        return [b"" if each is None else each.tobytes() for each in known]


def known_numbers(known: Known, store: ImageStore, options: Options) -> KnownNumbers:
    """Checked side information of a fit.

    Raises:
        OptionsError: not one value per image, or labels to keep that the method or its clusterer cannot keep.
        InputError: a weight out of range.
    """
    groups = None if known.groups is None else numbers_of(known.groups, store, "groups")
    initial = None if known.initial is None else numbers_of(known.initial, store, "initial")
    others = None if known.other_vectors is None else _other_vectors(known.other_vectors, store, options)
    if known.fixed is None:
        return KnownNumbers(groups, initial, other_vectors=others)
    if initial is None or known.initial is None:
        raise OptionsError(
            "known=Known(fixed=...) needs the labels to keep; give known=Known(initial=..., fixed=...)"
        )
    n = len(store.kept) + len(store.errors)
    masked = arguments.masked_problem(known.fixed)
    if masked:
        raise OptionsError(f"fixed {masked}; give True or False for every image")
    fixed = np.asarray(known.fixed)
    if fixed.shape != (n,) or fixed.dtype != bool:
        raise OptionsError(
            f"fixed={arguments.short(known.fixed)} is not a list of {counted(n, 'boolean')}; give one per image"
        )
    check_keeps_labels(options)
    used, labels = len(np.unique(initial[initial >= 0])), len(numbered(known.initial)[1])
    if not used == labels == options.n_clusters:
        raise OptionsError(
            f"initial has {counted(labels, 'label')}, {used:,} of them on images that can be read, and n_clusters is "
            f"{options.n_clusters}; with fixed labels give as many clusters as labels, each with an image"
        )
    fixed, weight = fixed[store.kept], arguments.positive("fixed_weight", known.fixed_weight, MOST_WEIGHT)
    # an image in no cluster has no target, so its weight would only lower that of the others
    weights = None if weight == 1 else np.where(fixed & (initial >= 0), weight, 1.0).astype(np.float32)
    return KnownNumbers(groups, initial, fixed, weights, others)


def _other_vectors(given: NDArray[np.float32], store: ImageStore, options: Options) -> NDArray[np.float32]:
    """(M, D) vectors of another source for the readable images.

    Raises:
        OptionsError: a method that does not use them, or not one vector for each image.
    """
    if not options.joins_vectors:
        raise OptionsError(
            f"known=Known(other_vectors=...) was given, but the method {options.name!r} does not use "
            f"vectors of another source; use {methods_that('joins_vectors')}"
        )
    vectors, n = as_features(given, "other_vectors"), len(store.kept) + len(store.errors)
    if vectors.ndim != 2 or len(vectors) != n:
        raise OptionsError(
            f"other_vectors has shape {vectors.shape} for {counted(n, 'image')}; give ({n}, dimensions), NaN for "
            "images without a vector"
        )
    vectors = vectors[store.kept]
    if not np.isfinite(vectors).all(axis=1).any():
        raise OptionsError(
            f"{none_of(len(vectors), 'row')} of other_vectors is finite; compute the vectors first, or leave them out"
        )
    check_varied(vectors, "other_vectors")
    return vectors


def check_keeps_labels(options: Options) -> None:
    """Raise OptionsError unless a run with these options can keep labels."""
    if not options.keeps_labels:
        options.going_on(2)  # raises the error, which names the methods that can
    clusterer = options.chosen_clusterer
    if clusterer is not None and not clusterer.keeps_labels:
        raise OptionsError(
            f"the clusterer {clusterer.name!r} cannot keep reviewed labels; give {clusterers_that_keep_labels()}"
        )
