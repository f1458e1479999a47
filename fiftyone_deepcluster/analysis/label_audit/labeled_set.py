"""Images with a class, prepared for an audit: classes as numbers, groups, and the folds of the cross-validation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from fiftyone_deepcluster.core.seeds import rng

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fiftyone_deepcluster.analysis.label_audit.logistic import FeatureRows
    from fiftyone_deepcluster.analysis.label_audit.neighbors import NeighborGraph

N_FOLDS = 5
FEWEST = 12
"""Minimum images of an audited class: with fewer, a fold has about two of them, too few to judge."""

_LARGEST_GROUP = 1 / 3
"""Maximum share of a class in one group, for groups to be held out as a whole."""


@dataclass(frozen=True)
class KnownSides:
    """What is known of N images besides vectors and labels; every part may be missing.

    Attributes:
        groups: N groups, such as patients, series or splits; None: each image is a group of its own.
        clusters: N names of clusters, to explain labels with.
        order: (N,) rows in the order of the files.
        certain: (N,) bool, labels that a person has confirmed.
        before: N labels before a person's decisions; None: as they are now.
        left_out: (N,) bool, labels that are judged but not used to judge others.
        graph: neighbors of the images with a label and a vector, as found by an earlier audit of them.
    """

    groups: Sequence[object | None] | None = None
    clusters: Sequence[object | None] | None = None
    order: NDArray[np.int64] | None = None
    certain: NDArray[np.bool_] | None = None
    before: Sequence[object | None] | None = None
    left_out: NDArray[np.bool_] | None = None
    graph: NeighborGraph | None = None

    def of(self, rows: NDArray[np.int64]) -> KnownSides:
        """What is known of these rows; ``order`` and ``graph`` are left out."""
        picked = rows.tolist()
        return KnownSides(
            groups=None if self.groups is None else [self.groups[row] for row in picked],
            clusters=None if self.clusters is None else [self.clusters[row] for row in picked],
            certain=None if self.certain is None else self.certain[rows],
            left_out=None if self.left_out is None else self.left_out[rows],
        )


@dataclass(frozen=True)
class ClassLabels:
    """The labels of N images as classes.

    Attributes:
        names: K class names, sorted.
        given: (N,) int64 class now, 0 to K - 1; -1 without a label.
        before: (N,) int64 class before a person decided; equal to ``given`` where nobody did.
    """

    names: tuple[str, ...]
    given: NDArray[np.int64]
    before: NDArray[np.int64]

    def of(self, rows: NDArray[np.int64]) -> ClassLabels:
        """The labels of these rows."""
        return replace(self, given=self.given[rows], before=self.before[rows])


@dataclass(frozen=True)
class LabeledSet:
    """N images with a class, prepared for an audit.

    Attributes:
        features: their vectors.
        graph: their neighbors.
        classes: (N,) int64 class of each, 0 to K - 1.
        n_classes: K.
        weights: (N,) float32; weight of each label as evidence; 0: not used.
        folds: (N,) int64 fold of the cross-validation, 0 to ``N_FOLDS`` - 1.
        groups: (N,) int64 group of each, or None.
        apart: (N,) int64 group of each, among which images do not vote for each other; or None.
        seed: of the images that the noise model is fitted on.
        certain: (N,) bool, labels that a person has confirmed; they have full weight in every round.
        before: (N,) int64 class of each before a person decided; equal to ``classes`` where nobody did.
    """

    features: FeatureRows
    graph: NeighborGraph
    classes: NDArray[np.int64]
    n_classes: int
    weights: NDArray[np.float32]
    folds: NDArray[np.int64]
    groups: NDArray[np.int64] | None
    apart: NDArray[np.int64] | None
    seed: int
    certain: NDArray[np.bool_]
    before: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.classes)


def class_labels(labels: Sequence[object | None], before: Sequence[object | None] | None) -> ClassLabels:
    """Labels of N images as they are, and as they were before a person's decisions; None: as they are."""
    names, both = encode([*labels, *(labels if before is None else before)])
    given, earlier = both[: len(labels)], both[len(labels) :]
    return ClassLabels(names, given, np.where(earlier < 0, given, earlier))


def encode(labels: Sequence[object | None]) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """Sorted class names, and the class of every label, -1 for None and for blank strings."""
    texts = [None if label is None or not str(label).strip() else str(label) for label in labels]
    names = tuple(sorted({text for text in texts if text is not None}))
    number = {name: at for at, name in enumerate(names)}
    return names, np.array([-1 if text is None else number[text] for text in texts], np.int64)


def labeled_set(
    features: FeatureRows, graph: NeighborGraph, labels: ClassLabels, known: KnownSides, seed: int
) -> LabeledSet:
    """Prepare N images that all have a class; ``seed`` is of the folds and of draws of images."""
    n_classes, classes = len(labels.names), labels.given
    groups = None if known.groups is None else _group_numbers(known.groups)
    apart = None if groups is None else _small_groups(groups, classes, n_classes)
    certain = np.zeros(len(classes), bool) if known.certain is None else known.certain
    weights = np.ones(len(classes), np.float32)
    if known.left_out is not None:
        weights[known.left_out] = 0
    return LabeledSet(
        features=features,
        graph=graph,
        classes=classes,
        n_classes=n_classes,
        weights=weights,
        folds=_folds(classes, apart, seed),
        groups=groups,
        apart=apart,
        seed=seed,
        certain=certain,
        before=np.where(certain, labels.before, classes),
    )


def _group_numbers(groups: Sequence[object | None]) -> NDArray[np.int64]:
    """(N,) int64 group ids from 0; an image without a group gets a group of its own."""
    number: dict[str, int] = {}
    found = np.empty(len(groups), np.int64)
    for row, group in enumerate(groups):
        name = f"alone {row}" if group is None else f"group {group}"
        found[row] = number.setdefault(name, len(number))
    return found


def _small_groups(groups: NDArray[np.int64], classes: NDArray[np.int64], n_classes: int) -> NDArray[np.int64]:
    """(N,) group ids; a group with more than ``_LARGEST_GROUP`` of a class is divided into single images.

    Images with the same id do not vote for each other.
    """
    pairs, counts = np.unique(groups * n_classes + classes, return_counts=True)
    shares = counts / np.bincount(classes, minlength=n_classes)[pairs % n_classes]
    largest = np.zeros(int(groups.max()) + 1)
    np.maximum.at(largest, pairs // n_classes, shares)
    alone = int(groups.max()) + 1 + np.arange(len(groups))
    return np.unique(np.where(largest[groups] > _LARGEST_GROUP, alone, groups), return_inverse=True)[1]


def _folds(classes: NDArray[np.int64], groups: NDArray[np.int64] | None, seed: int) -> NDArray[np.int64]:
    """(N,) fold of every image. With groups, a group is in one fold; without, a class is spread evenly."""
    draw = rng(seed, "folds")
    if groups is not None:
        return np.asarray(draw.permutation(int(groups.max()) + 1)[groups] % N_FOLDS)
    folds = np.empty(len(classes), np.int64)
    order = np.lexsort((draw.random(len(classes)), classes))
    folds[order] = (np.arange(len(classes)) + draw.integers(N_FOLDS)) % N_FOLDS
    return folds
