"""The number of clusters: label-free scores over a range of numbers, and a recommended one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from fiftyone_deepcluster.clusterers.base import CLUSTERERS, ClusterRequest
from fiftyone_deepcluster.clusterers.candidates import UMAP, varied_vectors
from fiftyone_deepcluster.clusterers.gain import (
    STANDS_OUT,
    further_numbers,
    gains,
    mean_squares,
    standing_out,
)
from fiftyone_deepcluster.clusterers.linear_accuracy import LinearAccuracy
from fiftyone_deepcluster.core import arguments
from fiftyone_deepcluster.core.progress import observer_or_silent
from fiftyone_deepcluster.core.seeds import LARGEST_SEED, derive
from fiftyone_deepcluster.core.words import counted
from fiftyone_deepcluster.errors import CancelledError, InputError, OptionsError
from fiftyone_deepcluster.reducers.base import REDUCERS

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    from fiftyone_deepcluster.clusterers.base import Clusterer
    from fiftyone_deepcluster.clusterers.values import Clustering
    from fiftyone_deepcluster.core.progress import Observer

_Step = TypeVar("_Step")

_MOST_REPETITIONS = 100


@dataclass(frozen=True)
class NumberSweep:
    """Scores of several numbers of clusters; as text a table.

    Attributes:
        numbers: the numbers of clusters, ascending.
        stability: mean ARI between the clusters of several seeds.
        silhouette: mean silhouette of the reduced vectors.
        accuracy: cross-validated accuracy of a linear classifier on the clusters, in the vectors.
        objective: mean squared distance of the reduced vectors to their center.
        recommended: the largest number that stands out; if none does, the one with the highest score.
        interval: from the number that stands out most to the largest that stands out, widened by those of the
            repetitions in which one stands out. The whole range if none stands out in the mean of the repetitions.
        gain: how many times as much the last step up to a number lowers the distances to the center as finer steps do;
            from 1.6 a number stands out. None where it was not measured: with too few vectors for larger numbers to
            compare the largest ones with. Empty in sweeps of older versions, which recommend by the score.
    """

    numbers: tuple[int, ...]
    stability: tuple[float, ...]
    silhouette: tuple[float, ...]
    accuracy: tuple[float, ...]
    objective: tuple[float, ...]
    recommended: int
    interval: tuple[int, int]
    gain: tuple[float | None, ...] = ()

    @property
    def stands_out(self) -> bool:
        """Whether the recommended number stands out; if not, the vectors show no number."""
        own = self.gain[self.numbers.index(self.recommended)] if self.gain else None
        return own is not None and own >= STANDS_OUT

    @property
    def score(self) -> tuple[float, ...]:
        """Mean of stability and silhouette: largest for groups that are well apart, often fewer than there are."""
        return tuple(
            (stable + apart) / 2 for stable, apart in zip(self.stability, self.silhouette, strict=True)
        )

    @property
    def advice(self) -> str:
        """One sentence: the recommended number, and how far to trust it."""
        low, high = self.interval
        if self.gain and not self.stands_out:
            return (
                f"recommended: {self.recommended:,} clusters, but no number stands out{self._unmeasured}; prefer one "
                "that you know"
            )
        if not self.gain:
            others = "no other number scores" if low == high else f"{low} to {high} score"
            return f"recommended: {self.recommended:,} clusters, {others} nearly as well"
        others = "no other number stands out more" if low == high else f"interval {low} to {high}"
        at_the_end = len(self.numbers) > 1 and self.recommended == self.numbers[-1]
        more = "; it is the largest number that was tried: try larger ones, too" if at_the_end else ""
        return f"recommended: {self.recommended:,} clusters, {others}{self._unmeasured}{more}"

    @property
    def _unmeasured(self) -> str:
        """From which number on the gain was not measured, for ``advice``; empty if all were."""
        first = next((k for k, gain in zip(self.numbers, self.gain, strict=False) if gain is None), None)
        return "" if first is None else f" (not measured from {first} on, which needs more images)"

    def __str__(self) -> str:
        head = f"{'':2}{'clusters':>8}{'gain':>8}{'stability':>11}{'silhouette':>12}{'linear':>8}{'objective':>11}"
        shown = ["-" if one is None else f"{one:.2f}" for one in self.gain] or ["-"] * len(self.numbers)
        rows = zip(
            self.numbers, shown, self.stability, self.silhouette, self.accuracy, self.objective, strict=True
        )
        lines = [
            f"{'>' if k == self.recommended else '':2}{k:8}{more:>8}{same:11.3f}{apart:12.3f}{linear:8.3f}{mean:11.3f}"
            for k, more, same, apart, linear, mean in rows
        ]
        return "\n".join([head, *lines, self.advice])


def sweep_numbers(
    vectors: torch.Tensor | NDArray[Any],
    numbers: Sequence[int],
    *,
    seed: int = 51,
    repetitions: int = 3,
    reducer: Any = UMAP,
    clusterer: Any = "kmeans",
    observer: Observer | None = None,
) -> NumberSweep:
    """Cluster the vectors into each of several numbers of clusters, and recommend one without labels.

    Args:
        vectors: (N, D) float32.
        numbers: numbers of clusters, at least two different ones.
        seed: random seed.
        repetitions: number of seeds; each has its own reduction.
        reducer: name or dictionary of a reducer.
        clusterer: name or dictionary of a clusterer that needs a number.
        observer: receives progress events; can cancel.

    Raises:
        CancelledError: the observer cancelled.
        InputError: fewer than two numbers, one below 2 or above the number of vectors, fewer than two repetitions, or
            another wrong argument, such as vectors that are all the same or not finite.
        OptionsError: the reducer or clusterer is unknown, or has a wrong option.
    """
    vectors = varied_vectors(vectors)
    wanted = _wanted(numbers, len(vectors))
    seed = arguments.whole_number("seed", seed, 0, LARGEST_SEED)
    repetitions = arguments.whole_number("repetitions", repetitions, 2, _MOST_REPETITIONS)
    reduce, cluster = REDUCERS.parse(reducer), _needing_a_number(clusterer)
    seeds = [derive(seed, "sweep", i) for i in range(repetitions)]
    observer = observer_or_silent(observer)
    observer.phase(f"{reduce.name} of every seed", repetitions)
    layouts = [(own, reduce.embed(vectors, own)) for own in _watched(seeds, observer)]
    tried = sorted({*wanted, *further_numbers(wanted, len(vectors))})
    accuracy = LinearAccuracy(vectors, seeds[0])
    observer.phase("clusterings", len(tried) * repetitions)
    done, found, squares = [], [], [_squares(layouts, None)]
    for k in tried:
        try:
            runs = [
                cluster.cluster(layout, ClusterRequest(k, own, origin=vectors))
                for own, layout in _watched(layouts, observer)
            ]
        except InputError:  # of more clusters than a mixture, for instance, can be fitted to
            if k in wanted:
                raise
            continue
        done.append(k)
        squares.append(_squares(layouts, runs))
        if k in wanted:
            found.append(_scores(layouts, runs, accuracy))
    return _recommended(wanted, np.asarray(found), _gains(wanted, done, np.asarray(squares)))


def _needing_a_number(clusterer: Any) -> Clusterer:
    """The clusterer, by name or dictionary; OptionsError if it determines the number of clusters itself."""
    cluster = CLUSTERERS.parse(clusterer)
    if cluster.finds_number:
        raise OptionsError(
            f"the clusterer {cluster.name!r} determines the number of clusters itself, so that numbers cannot be "
            "compared; give one that needs a number, such as 'kmeans' or 'gmm'"
        )
    return cluster


def numbers_between(smallest: int, largest: int, most: int = 20) -> list[int]:
    """Numbers of clusters from ``smallest`` to ``largest``: all, or about ``most`` at equal ratios."""
    if largest - smallest < most:
        return list(range(smallest, largest + 1))
    return sorted({round(number) for number in np.geomspace(smallest, largest, most)})


def _recommended(wanted: list[int], scores: NDArray[np.float64], gain: NDArray[np.float64]) -> NumberSweep:
    """The sweep of ``scores`` (numbers, 4) and ``gain`` (1 + repetitions, numbers).

    The columns of ``scores`` are stability, silhouette, accuracy and objective; the first row of ``gain`` is that of
    the mean over the repetitions.
    """
    best = standing_out(gain[0])
    each = [ends for ends in map(standing_out, gain) if ends is not None]
    stability, silhouettes, accuracy, objective = (tuple(column) for column in scores.T.tolist())
    if best is None:
        chosen, low, high = int((scores[:, 0] + scores[:, 1]).argmax()), 0, len(wanted) - 1
    else:
        chosen, low, high = best[1], min(first for first, _ in each), max(last for _, last in each)
    return NumberSweep(
        tuple(wanted),
        stability,
        silhouettes,
        accuracy,
        objective,
        wanted[chosen],
        (wanted[low], wanted[high]),
        tuple(None if np.isnan(one) else float(one) for one in gain[0]),
    )


def _gains(wanted: list[int], tried: list[int], squares: NDArray[np.float64]) -> NDArray[np.float64]:
    """(1 + repetitions, numbers) gain of the wanted numbers: of the geometric mean, and of each repetition.

    Args:
        wanted: some of the tried numbers.
        tried: numbers of clusters, ascending.
        squares: (1 + tried, repetitions) mean squared distance to the center; the first row is that of one cluster.
    """
    floor = np.finfo(np.float64).tiny
    mean = np.exp(np.log(squares.clip(floor)).mean(axis=1))
    numbers = [1, *tried]
    rows = [numbers.index(k) for k in wanted]
    return np.stack([gains(numbers, one)[rows] for one in (mean, *squares.T)])


def _watched(steps: list[_Step], observer: Observer) -> Iterator[_Step]:
    """The steps one by one, reported to the observer.

    Raises:
        CancelledError: the observer cancelled.
    """
    for step in steps:
        if observer.cancelled():
            raise CancelledError("cancelled; nothing of the sweep was stored")
        yield step
        observer.advance(1)


def _wanted(numbers: Any, n: int) -> list[int]:
    """The different numbers of clusters, ascending, for ``n`` vectors.

    Raises:
        InputError: not two or more whole numbers in 2..n.
    """
    if isinstance(numbers, range):
        # only its ends: all numbers of range(2, 10**9) would need more memory than there is
        given: list[Any] | None = [*numbers[:2], *numbers[-1:]]
        shown = arguments.short(numbers)
    else:
        given = arguments.listed(numbers)
        shown = arguments.short(numbers if given is None else given)
    try:
        wanted = sorted({arguments.whole_number("numbers", k, 2) for k in given or ()})
    except InputError:
        wanted = []
    if len(wanted) < 2:
        raise InputError(
            f"numbers={shown}: give two or more different whole numbers of clusters, such as [5, 10, 20], each at "
            "least 2"
        )
    if wanted[-1] > n:
        raise InputError(
            f"numbers={shown}: {wanted[-1]:,} is more than the {counted(n, 'vector')}; lower it or add vectors"
        )
    return sorted(numbers) if isinstance(numbers, range) else wanted


def _squares(layouts: list[tuple[int, torch.Tensor]], runs: list[Clustering] | None) -> list[float]:
    """Mean squared distance to the center in each layout; ``runs=None``: all vectors are one cluster."""
    if runs is None:
        labels = [np.zeros(len(layout), np.int64) for _, layout in layouts]
    else:
        labels = [run.labels.numpy() for run in runs]
    return [mean_squares(layout.cpu().numpy(), one) for (_, layout), one in zip(layouts, labels, strict=True)]


def _scores(
    layouts: list[tuple[int, torch.Tensor]], runs: list[Clustering], accuracy: LinearAccuracy
) -> tuple[float, float, float, float]:
    """Stability, silhouette, linear accuracy and objective of the clusterings with one number of clusters."""
    from fiftyone_deepcluster.metrics.agreement import agreement
    from fiftyone_deepcluster.metrics.silhouette import silhouette

    labels = [run.labels.numpy() for run in runs]
    apart = [
        silhouette(layout.cpu().numpy(), one, own) for (own, layout), one in zip(layouts, labels, strict=True)
    ]
    return (
        float(np.mean([agreement(one, other).ari for one, other in combinations(labels, 2)])),
        float(np.mean(apart)),
        accuracy(labels[0]),
        float(np.mean([run.objective for run in runs])) / len(accuracy.vectors),
    )
