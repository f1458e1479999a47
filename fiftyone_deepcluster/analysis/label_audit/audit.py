"""``audit_vectors``: which labels of a set are probably wrong, which are better, and what else is wrong with it.

The score is the sum of the log odds of the given class by a logistic regression that has seen the image, by one that
has not, and by its neighbors, over two rounds (``evidence``); the rule is the same for all sets.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from fiftyone_deepcluster.analysis.label_audit import findings
from fiftyone_deepcluster.analysis.label_audit.evidence import (
    N_FOLDS,
    Evidence,
    LabeledSet,
    gather_evidence,
)
from fiftyone_deepcluster.analysis.label_audit.findings import Issue
from fiftyone_deepcluster.analysis.label_audit.logistic import feature_rows
from fiftyone_deepcluster.analysis.label_audit.neighbors import NeighborGraph, neighbor_graph
from fiftyone_deepcluster.analysis.label_audit.noise import ISSUE_AT, Judged, NoiseRate, noise_rate
from fiftyone_deepcluster.analysis.label_audit.reasons import Reasons, cluster_table
from fiftyone_deepcluster.analysis.label_audit.scores import probability_wrong, suspicion
from fiftyone_deepcluster.core import arguments
from fiftyone_deepcluster.core.progress import observer_or_silent
from fiftyone_deepcluster.core.seeds import rng
from fiftyone_deepcluster.errors import CancelledError, InputError

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from fiftyone_deepcluster.core.progress import Observer

FEWEST = 12
"""Images of a class below which its labels are not audited: a fold has two of them, too few to judge."""

_DEVICES = ("cpu", "cuda", "mps")
_N_NEIGHBORS = 50
_LARGEST_GROUP = 1 / 3
"""Share of the images of a class that may be in one group, if groups are held out as a whole."""

_GROUP_SHARE, _GROUP_CHANCE = 0.8, 1e-4
"""Share of the labels of a group that disagree if it is wrong as a whole, and the largest probability by chance."""

_EXPLAINED_AT = 0.1
"""Probability from which a label gets a reason."""


@dataclass(frozen=True)
class KnownSides:
    """What is known of N images besides vectors and labels; every part may be missing.

    Attributes:
        groups: N groups, such as patients, series or splits; None: each image is a group of its own.
        clusters: N names of clusters, to explain labels with.
        order: (N,) rows in the order of the files.
        certain: (N,) bool, labels that a person has confirmed.
        before: N labels before a person's decisions; None: as they are now.
        left_out: (N,) bool, labels that must not be believed, but are still judged.
        graph: neighbors of the images with a label and a vector, as found by an earlier audit of them.
    """

    groups: Sequence[object | None] | None = None
    clusters: Sequence[object | None] | None = None
    order: NDArray[np.int64] | None = None
    certain: NDArray[np.bool_] | None = None
    before: Sequence[object | None] | None = None
    left_out: NDArray[np.bool_] | None = None
    graph: NeighborGraph | None = None


@dataclass(frozen=True)
class LabelAudit:
    """Result for N images. Rows of images without a label or vector, or of a rare class, have NaN, -1 and "".

    Attributes:
        classes: K class names, sorted.
        given: (N,) int64 given class; -1 without a label.
        p_wrong: (N,) float32 probability that the label is wrong.
        suggested: (N,) int64 class that is more probable than the given one; -1: none.
        rank: (N,) int64 place in the order of suspicion, 0 is the most suspicious; -1: not audited.
        reasons: N texts.
        wrong_group: N names of the groups that are wrong as a whole, None for the others.
        issues: problems that were found.
        not_audited: row -> reason why it was not audited, for images with a label.
        noise: estimated share of wrong labels; None if nothing was audited.
        spread: factors from the share to the ends of its interval, as far as they come from the calibration.
        graph: neighbors of the images with a label and a vector.
        graph_rows: rows of these images.
    """

    classes: tuple[str, ...]
    given: NDArray[np.int64]
    p_wrong: NDArray[np.float32]
    suggested: NDArray[np.int64]
    rank: NDArray[np.int64]
    reasons: list[str]
    wrong_group: list[str | None]
    issues: list[Issue]
    not_audited: dict[int, str]
    noise: NoiseRate | None
    spread: tuple[float, float]
    graph: NeighborGraph = field(repr=False)
    graph_rows: NDArray[np.int64] = field(repr=False)

    @property
    def judged(self) -> Judged:
        """The labeled images, for tables by class."""
        rows = np.flatnonzero(self.given >= 0)
        return Judged(self.classes, self.given[rows], self.p_wrong[rows], self.suggested[rows], self.spread)

    def to_dataframe(self) -> pd.DataFrame:
        """One row an image: ``is_label_issue``, ``label_score`` (low is bad), ``given_label``, ``predicted_label``."""
        import pandas as pd

        names = np.array([*self.classes, None], object)
        predicted = np.where(self.suggested >= 0, self.suggested, self.given)
        return pd.DataFrame(
            {
                "is_label_issue": np.nan_to_num(self.p_wrong, nan=0.0) >= ISSUE_AT,
                "label_score": 1 - self.p_wrong,
                "given_label": names[self.given],
                "predicted_label": names[predicted],
            }
        )


def audit_vectors(
    vectors: NDArray[np.floating[Any]],
    labels: Sequence[object | None],
    *,
    known: KnownSides | None = None,
    seed: int = 51,
    device: str = "cpu",
    observer: Observer | None = None,
) -> LabelAudit:
    """Judge the labels of N images by their vectors.

    Args:
        vectors: (N, D) float16 or float32; an array that is mapped from a file is read in parts. Images whose row
            has a value that is not finite are not audited.
        labels: N labels: strings, numbers or booleans; None: no label.
        known: groups, clusters, order of the files, and what a person has decided.
        seed: of the folds and of the drawn labels.
        device: of torch, where the products are computed.
        observer: receives progress events; can cancel.

    Raises:
        InputError: other shapes, no labels, or fewer than two classes that can be audited.
        CancelledError: the observer requested cancellation.
    """
    watcher = observer_or_silent(observer)
    arguments.one_of("device", device, _DEVICES)
    if not isinstance(known, KnownSides | None):
        raise InputError(f"known={arguments.short(known)} is not a KnownSides; give one, or None")
    if isinstance(labels, str) or not (
        isinstance(labels, Sequence) or (isinstance(labels, np.ndarray) and labels.ndim == 1)
    ):
        raise InputError(
            f"labels={arguments.short(labels)} is not a list of labels; give one for each vector"
        )
    seed = arguments.whole_number("seed", seed, 0)
    known = known or KnownSides()
    vectors = _checked(vectors, labels, known)
    names, both = encode([*labels, *(labels if known.before is None else known.before)])
    given, before = both[: len(labels)], both[len(labels) :]
    before = np.where(before < 0, given, before)
    readable = finite_rows(vectors)
    rows = np.flatnonzero((given >= 0) & readable)
    counts = np.bincount(given[rows], minlength=len(names))
    _check_classes(names, counts, int((given >= 0).sum()), len(rows))
    labeled = _labeled_set(vectors, (given, before), rows, known, (seed, device, len(names), watcher))
    audited = (counts[given[rows]] >= FEWEST) | labeled.certain
    watcher.phase("judge", 2)
    evidence = gather_evidence(labeled)
    watcher.advance(1)
    result = _Judge(names, labeled, evidence, audited, known, rows).result(given)
    watcher.advance(1)
    for row in np.flatnonzero((given >= 0) & ~readable).tolist():
        result.not_audited[row] = "no vector"
    return result


def encode(labels: Sequence[object | None]) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """Sorted class names, and the class of every label, -1 for None and for blank strings."""
    texts = [None if label is None or not str(label).strip() else str(label) for label in labels]
    names = tuple(sorted({text for text in texts if text is not None}))
    number = {name: at for at, name in enumerate(names)}
    return names, np.array([-1 if text is None else number[text] for text in texts], np.int64)


def finite_rows(vectors: NDArray[np.floating[Any]]) -> NDArray[np.bool_]:
    """(N,) rows of finite numbers only."""
    step = max(1, 2**22 // max(1, vectors.shape[1]))
    parts = [np.isfinite(vectors[start : start + step]).all(axis=1) for start in range(0, len(vectors), step)]
    return np.concatenate(parts) if parts else np.zeros(0, bool)


def _checked(
    vectors: NDArray[np.floating[Any]], labels: Sequence[object | None], known: KnownSides
) -> NDArray[np.floating[Any]]:
    if not isinstance(vectors, np.ndarray) or vectors.ndim != 2 or 0 in vectors.shape:
        what = f"shape {vectors.shape}" if isinstance(vectors, np.ndarray) else f"a {type(vectors).__name__}"
        raise InputError(f"vectors is {what}; give an array (images, dimensions), both 1 or more")
    if not np.issubdtype(vectors.dtype, np.floating):
        raise InputError(f"vectors is of type {vectors.dtype}; give floating-point numbers")
    sides: dict[str, Any] = {
        "labels": labels,
        "groups": known.groups,
        "clusters": known.clusters,
        "order": known.order,
    }
    sides |= {"before": known.before, "certain": known.certain, "left_out": known.left_out}
    for name, side in sides.items():
        if side is not None and len(side) != len(vectors):
            raise InputError(f"{name} has {len(side):,} entries for {len(vectors):,} vectors; give one each")
    return vectors


def _check_classes(names: Sequence[str], counts: NDArray[np.int64], n_labels: int, n_usable: int) -> None:
    if not n_labels:
        raise InputError(
            "none of the images has a label, so there is nothing to audit; give the field with labels"
        )
    if not n_usable:
        raise InputError(
            f"none of the {n_labels:,} images with a label has a vector; compute the embeddings first"
        )
    big = int((counts >= FEWEST).sum())
    if big >= 2:
        return
    if len(names) == 1:
        raise InputError(f"all labels are {arguments.short(names[0])}; labels of one class cannot be audited")
    raise InputError(
        f"{n_usable:,} images with a label and a vector, in {int((counts > 0).sum()):,} classes, of which {big} have "
        f"{FEWEST} or more; at least two such classes are needed: label more images, or merge classes"
    )


def _labeled_set(
    vectors: NDArray[np.floating[Any]],
    labels: tuple[NDArray[np.int64], NDArray[np.int64]],
    rows: NDArray[np.int64],
    known: KnownSides,
    setting: tuple[int, str, int, Observer],
) -> LabeledSet:
    given, before = labels
    seed, device, n_classes, observer = setting
    own = vectors if len(rows) == len(vectors) else vectors[rows]
    features = feature_rows(own, device)
    graph = known.graph
    if graph is None or len(graph.rows) != len(rows):
        observer.phase("neighbors", 1)
        graph = neighbor_graph(features, _N_NEIGHBORS)
        observer.advance(1)
    if observer.cancelled():
        raise CancelledError("cancelled; nothing of the audit was stored")
    groups = None if known.groups is None else _group_numbers([known.groups[row] for row in rows.tolist()])
    apart = None if groups is None else _small_groups(groups, given[rows], n_classes)
    certain = np.zeros(len(rows), bool) if known.certain is None else known.certain[rows]
    weights = np.ones(len(rows), np.float32)
    if known.left_out is not None:
        weights[known.left_out[rows]] = 0
    return LabeledSet(
        features=features,
        graph=graph,
        classes=given[rows],
        n_classes=n_classes,
        weights=weights,
        folds=_folds(given[rows], apart, seed),
        groups=groups,
        apart=apart,
        seed=seed,
        certain=certain,
        before=np.where(certain, before[rows], given[rows]),
    )


def _group_numbers(groups: Sequence[object | None]) -> NDArray[np.int64]:
    """Number of every group; an image without a group is one of its own."""
    number: dict[str, int] = {}
    found = np.empty(len(groups), np.int64)
    for row, group in enumerate(groups):
        name = f"alone {row}" if group is None else f"group {group}"
        found[row] = number.setdefault(name, len(number))
    return found


def _small_groups(groups: NDArray[np.int64], classes: NDArray[np.int64], n_classes: int) -> NDArray[np.int64]:
    """The groups, but an image alone where its group has too much of a class, which could not be told without it."""
    pairs, counts = np.unique(groups * n_classes + classes, return_counts=True)
    shares = counts / np.bincount(classes, minlength=n_classes)[pairs % n_classes]
    largest = np.zeros(int(groups.max()) + 1)
    np.maximum.at(largest, pairs // n_classes, shares)
    alone = int(groups.max()) + 1 + np.arange(len(groups))
    return np.unique(np.where(largest[groups] > _LARGEST_GROUP, alone, groups), return_inverse=True)[1]


def _folds(classes: NDArray[np.int64], groups: NDArray[np.int64] | None, seed: int) -> NDArray[np.int64]:
    """Fold of every image: those of a class are spread evenly; those of a group are together."""
    draw = rng(seed, "folds")
    if groups is not None:
        return np.asarray(draw.permutation(int(groups.max()) + 1)[groups] % N_FOLDS)
    folds = np.empty(len(classes), np.int64)
    order = np.lexsort((draw.random(len(classes)), classes))
    folds[order] = (np.arange(len(classes)) + draw.integers(N_FOLDS)) % N_FOLDS
    return folds


@dataclass(frozen=True)
class _Judge:
    """From evidence to a ``LabelAudit``; rows of the labeled images are mapped back to those of all images."""

    names: tuple[str, ...]
    labeled: LabeledSet
    evidence: tuple[Evidence, Evidence]
    audited: NDArray[np.bool_]
    known: KnownSides
    rows: NDArray[np.int64]

    def result(self, given: NDArray[np.int64]) -> LabelAudit:
        labeled, second, n = self.labeled, self.evidence[1], len(given)
        suspicious = suspicion(*self.evidence)
        p_wrong, spread = probability_wrong(labeled, second, suspicious)
        suggested = np.where(second.best != labeled.classes, second.best, -1)
        suggested = np.where(p_wrong >= ISSUE_AT, np.where(suggested < 0, second.other, suggested), suggested)
        suggested[~self.audited | labeled.certain] = -1
        rank = self._rank(suspicious)
        wrong_group, group_issue = self._groups(p_wrong)
        p_wrong[~self.audited] = np.nan
        issues = self._issues(p_wrong, group_issue)
        rare = "class with too few images"
        return LabelAudit(
            classes=self.names,
            given=given,
            p_wrong=self._spread(p_wrong, n, np.nan),
            suggested=self._spread(suggested, n, -1),
            rank=self._spread(rank, n, -1),
            reasons=self._reasons(p_wrong, suggested, n),
            wrong_group=self._spread(np.array(wrong_group, object), n, None).tolist(),
            issues=[replace(issue, rows=self.rows[issue.rows]) for issue in issues],
            not_audited=dict.fromkeys(self.rows[~self.audited].tolist(), rare),
            noise=noise_rate(p_wrong[self.audited], spread),
            spread=spread,
            graph=labeled.graph,
            graph_rows=self.rows,
        )

    def _spread(self, values: NDArray[Any], n: int, fill: object) -> NDArray[Any]:
        whole = np.full(n, fill, values.dtype)
        whole[self.rows] = values
        return whole

    def _rank(self, suspicious: NDArray[np.float32]) -> NDArray[np.int64]:
        order = np.argsort(np.where(self.labeled.certain, np.inf, -suspicious), kind="stable")
        order = order[self.audited[order]]
        rank = np.full(len(suspicious), -1, np.int64)
        rank[order] = np.arange(len(order))
        return rank

    def _groups(self, p_wrong: NDArray[np.float32]) -> tuple[list[str | None], Issue | None]:
        """Group of every image whose group is wrong as a whole.

        Its labels are wrong on average, or nearly all disagree with classifier and neighbors, which does not happen
        by chance (binomial test).
        """
        from scipy.stats import binom

        disagrees = self.audited & (self.evidence[1].best != self.labeled.classes)
        wrong: list[str | None] = [None] * len(disagrees)
        groups = self.labeled.groups
        if groups is None or self.known.groups is None:
            return wrong, None
        sizes, counts = np.bincount(groups), np.bincount(groups, disagrees)
        chance = binom.sf(counts - 1, sizes, disagrees.mean())
        means = np.bincount(groups, np.where(self.audited, p_wrong, 0)) / sizes
        bad = (sizes >= 2) & (
            (means >= ISSUE_AT) | ((counts >= _GROUP_SHARE * sizes) & (chance < _GROUP_CHANCE))
        )
        chosen = np.flatnonzero(bad[groups])
        for row in chosen.tolist():
            wrong[row] = str(self.known.groups[int(self.rows[row])])
        if not len(chosen):
            return wrong, None
        text = f"{int(bad.sum()):,} group{'' if bad.sum() == 1 else 's'} with wrong labels as a whole"
        return wrong, Issue("wrong_group", text, chosen)

    def _issues(self, p_wrong: NDArray[np.float32], of_groups: Issue | None) -> list[Issue]:
        labeled, filled = self.labeled, np.nan_to_num(p_wrong, nan=0.0)
        pairs = findings.duplicates(labeled)
        wrong, rare = np.flatnonzero(filled >= ISSUE_AT), np.flatnonzero(~self.audited)
        order = np.arange(len(labeled)) if self.known.order is None else self._order(self.known.order)
        found = [
            Issue("wrong_label", f"{len(wrong):,} labels are probably wrong", wrong) if len(wrong) else None,
            of_groups,
            findings.duplicates_with_other_label(labeled, pairs),
            findings.leaks(labeled, pairs),
            findings.outliers(labeled),
            Issue("rare_class", self._of_rare(rare), rare) if len(rare) else None,
            *findings.confused_classes(labeled, self.evidence[0], self.names),
            findings.drift(labeled.classes, filled, order),
        ]
        return [issue for issue in found if issue is not None]

    def _of_rare(self, rare: NDArray[np.int64]) -> str:
        classes = sorted({self.names[number] for number in self.labeled.classes[rare].tolist()})
        shown = ", ".join(repr(name) for name in classes[:5]) + (" ..." if len(classes) > 5 else "")
        return f"{len(classes):,} class{'' if len(classes) == 1 else 'es'} with fewer than {FEWEST} images: {shown}"

    def _order(self, order: NDArray[np.int64]) -> NDArray[np.int64]:
        """The order of all images -> that of the labeled ones, in their own rows."""
        place = np.full(len(order), -1, np.int64)
        place[self.rows] = np.arange(len(self.rows))
        found = place[order]
        return found[found >= 0]

    def _reasons(self, p_wrong: NDArray[np.float32], suggested: NDArray[np.int64], n: int) -> list[str]:
        labeled = self.labeled
        table = None
        if self.known.clusters is not None:
            clusters = [self.known.clusters[row] for row in self.rows.tolist()]
            table = cluster_table(clusters, labeled.classes, labeled.n_classes)
        maker = Reasons(labeled, self.names, table)
        texts = [""] * n
        for at in np.flatnonzero(np.nan_to_num(p_wrong, nan=0.0) >= _EXPLAINED_AT).tolist():
            to = int(suggested[at])
            texts[int(self.rows[at])] = maker.text(at, to if to >= 0 else int(labeled.classes[at]))
        for at in np.flatnonzero(~self.audited).tolist():
            name = self.names[int(labeled.classes[at])]
            count = int((labeled.classes == labeled.classes[at]).sum())
            texts[int(self.rows[at])] = f"only {count} images have the label {name!r}: too few to audit"
        return texts
