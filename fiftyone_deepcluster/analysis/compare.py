"""Comparison of labelings: contingency table, which clusters agree, split or merge, and which labeling agrees most."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fiftyone_deepcluster.core.words import part_of
from fiftyone_deepcluster.metrics.agreement import agreement, nmi
from fiftyone_deepcluster.metrics.matching import compact_labels, numbered

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd
    from numpy.typing import NDArray

AGREES, PART = 0.8, 0.2
"""Two clusters agree if each shares at least ``AGREES`` of its images with the other. A cluster is split if two or
more clusters each hold at least ``PART`` of it, and lie within it by more than half."""


@dataclass(frozen=True)
class Comparison:
    """How two labelings of the same images relate.

    Attributes:
        rows: names of the R clusters of the first labeling, largest first.
        columns: names of the C clusters of the second, in the order of the rows that they overlap most.
        counts: (R, C) number of images in both.
        ari: adjusted Rand index.
        nmi: normalized mutual information, arithmetic mean.
        agreeing: pairs of clusters of which each shares at least 80 % of its images with the other.
        split: cluster of the first labeling -> clusters of the second that it is divided into.
        merged: cluster of the second labeling -> clusters of the first that it joins.
    """

    rows: list[str]
    columns: list[str]
    counts: NDArray[np.int64]
    ari: float
    nmi: float
    agreeing: list[tuple[str, str]]
    split: dict[str, list[str]]
    merged: dict[str, list[str]]

    @property
    def n_images(self) -> int:
        """Number of images that have a label in both."""
        return int(self.counts.sum())

    @property
    def within(self) -> list[str]:
        """Clusters of the first labeling of which at least 80 % lie in one cluster of the second."""
        inside = self.counts.max(axis=1, initial=0) >= AGREES * self.counts.sum(axis=1)
        return [row for row, lies in zip(self.rows, inside.tolist(), strict=True) if lies]

    def sentences(self) -> list[str]:
        """The relation in words: which clusters agree, lie within another, are split, or are merged."""
        n, most = len(self.rows), f"at least {AGREES:.0%}"
        agreeing = part_of(len(self.agreeing), n, "cluster", "has", "have")
        within = part_of(len(self.within), n, "cluster", "lies", "lie")
        found = [
            f"{agreeing} a counterpart: each shares {most} with the other.",
            f"{within} in one of the other labeling by {most}.",
        ]
        found += [f"{row} is split into {', '.join(parts)}." for row, parts in self.split.items()]
        found += [f"{column} joins {', '.join(parts)}." for column, parts in self.merged.items()]
        return found


@dataclass(frozen=True)
class Ranking:
    """Labelings of the same images, ranked by their agreement with each other.

    Attributes:
        names: names of the R labelings, the one that agrees most with the others first.
        nmi: (R, R) normalized mutual information of every two, arithmetic mean; 1 on the diagonal, 0 for a labeling
            with a single cluster and any other.
        n_clusters: (R,) number of clusters of each that the images are in.
        n_images: number of images that have a label in all of them.
    """

    names: list[str]
    nmi: NDArray[np.float64]
    n_clusters: NDArray[np.int64]
    n_images: int

    @property
    def best(self) -> str:
        """The labeling that agrees most with the others."""
        return self.names[0]

    @property
    def agreement(self) -> NDArray[np.float64]:
        """(R,) mean NMI with the other labelings, descending."""
        return _mean_with_others(self.nmi)

    def to_dataframe(self) -> pd.DataFrame:
        """One row for each labeling, the best first: ``agreement``, ``n_clusters``, and the NMI with each other one."""
        import pandas as pd

        columns = {"agreement": self.agreement, "n_clusters": self.n_clusters}
        pairs = {name: self.nmi[:, at] for at, name in enumerate(self.names)}
        return pd.concat(
            [pd.DataFrame(columns, index=self.names), pd.DataFrame(pairs, index=self.names)], axis=1
        )


def rank_labelings(labelings: Mapping[str, Sequence[str | None]]) -> Ranking:
    """Rank R labelings of the same N images by their mean NMI with the others; ties stay in the given order.

    The NMI of two labelings with a single cluster each would be 1: collapsed labelings would rank first.

    Args:
        labelings: name -> (N,) names of clusters; None where an image has none. Images without a label in one of them
            are left out.
    """
    names = list(labelings)
    columns = np.array([numbered(labels)[0] for labels in labelings.values()])
    shared = columns[:, (columns >= 0).all(axis=0)]
    numbers = [compact_labels(column) for column in shared]
    n_clusters = np.array([labels.max(initial=-1) + 1 for labels in numbers])
    of_pairs = np.eye(len(names))
    for one, first in enumerate(numbers):
        for other, second in enumerate(numbers[:one]):
            if min(n_clusters[one], n_clusters[other]) > 1:
                of_pairs[one, other] = of_pairs[other, one] = nmi(first, second)
    # rounded: the order of the names of the clusters changes the last digits
    order = np.argsort(-_mean_with_others(of_pairs).round(9), kind="stable")
    return Ranking(
        [names[at] for at in order], of_pairs[np.ix_(order, order)], n_clusters[order], shared.shape[1]
    )


def _mean_with_others(of_pairs: NDArray[np.float64]) -> NDArray[np.float64]:
    mean: NDArray[np.float64] = (of_pairs.sum(axis=1) - 1) / max(1, len(of_pairs) - 1)
    return mean


def compare_labelings(first: Sequence[str | None], second: Sequence[str | None]) -> Comparison:
    """Compare two labelings of the same N images.

    Args:
        first: (N,) names; None where an image has none.
        second: (N,) names.
    """
    both = [
        (one, other)
        for one, other in zip(first, second, strict=True)
        if one is not None and other is not None
    ]
    rows, row_of = np.unique([one for one, _ in both] or np.empty(0, str), return_inverse=True)
    columns, column_of = np.unique([other for _, other in both] or np.empty(0, str), return_inverse=True)
    counts = np.zeros((len(rows), len(columns)), np.int64)
    np.add.at(counts, (row_of, column_of), 1)
    scores = agreement(row_of, column_of)
    by_size = np.argsort(-counts.sum(axis=1), kind="stable")
    counts, rows = counts[by_size], rows[by_size]
    by_row = np.lexsort((-counts.max(axis=0), counts.argmax(axis=0))) if counts.size else np.arange(0)
    counts, columns = counts[:, by_row], columns[by_row]
    row_names, column_names = [str(name) for name in rows], [str(name) for name in columns]
    return Comparison(
        row_names,
        column_names,
        counts,
        scores.ari,
        scores.nmi,
        _agreeing(counts, row_names, column_names),
        _parts(counts, row_names, column_names),
        _parts(counts.T, column_names, row_names),
    )


def _agreeing(counts: NDArray[np.int64], rows: list[str], columns: list[str]) -> list[tuple[str, str]]:
    of_row = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    of_column = counts / np.maximum(counts.sum(axis=0, keepdims=True), 1)
    found = np.argwhere((of_row >= AGREES) & (of_column >= AGREES))
    return [(rows[row], columns[column]) for row, column in found.tolist()]


def _parts(counts: NDArray[np.int64], rows: list[str], columns: list[str]) -> dict[str, list[str]]:
    """Rows divided into columns that lie mostly within the row."""
    of_row = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    of_column = counts / np.maximum(counts.sum(axis=0, keepdims=True), 1)
    found = {}
    for at, row in enumerate(rows):
        parts = np.flatnonzero((of_row[at] >= PART) & (of_column[at] > 0.5))
        if len(parts) > 1:
            found[row] = [columns[part] for part in parts.tolist()]
    return found
