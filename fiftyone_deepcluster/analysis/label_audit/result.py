"""From the evidence about every label to the result of an audit."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from fiftyone_deepcluster.analysis.label_audit import findings
from fiftyone_deepcluster.analysis.label_audit.findings import Issue
from fiftyone_deepcluster.analysis.label_audit.labeled_set import FEWEST
from fiftyone_deepcluster.analysis.label_audit.noise import ISSUE_AT, Judged, NoiseRate, noise_rate
from fiftyone_deepcluster.analysis.label_audit.reasons import Reasons, cluster_table
from fiftyone_deepcluster.analysis.label_audit.scores import probability_wrong, suspicion
from fiftyone_deepcluster.core.words import counted

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from fiftyone_deepcluster.analysis.label_audit.evidence import Evidence
    from fiftyone_deepcluster.analysis.label_audit.labeled_set import ClassLabels, KnownSides, LabeledSet
    from fiftyone_deepcluster.analysis.label_audit.neighbors import NeighborGraph

_GROUP_SHARE, _GROUP_CHANCE = 0.8, 1e-4
"""A group is wrong as a whole if at least this share of its labels disagree, with at most this p-value."""

_EXPLAINED_AT = 0.1
"""A label gets a reason if its probability of being wrong is at least this."""


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
        spread: factors (<= 1, >= 1) from the share to its lowest and highest estimate by the calibration.
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
        """One row per image: ``is_label_issue``, ``label_score`` (low is bad), ``given_label``, ``predicted_label``."""
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


def conclude(
    labels: ClassLabels,
    rows: NDArray[np.int64],
    labeled: LabeledSet,
    evidence: tuple[Evidence, Evidence],
    known: KnownSides,
) -> LabelAudit:
    """Compute the result for N images from the evidence about the M labeled ones.

    Args:
        labels: of all N images.
        rows: (M,) rows of the labeled images.
        labeled: the labeled images.
        evidence: about them, of both rounds.
        known: of all N images.
    """
    counts = np.bincount(labeled.classes, minlength=labeled.n_classes)
    audited = (counts[labeled.classes] >= FEWEST) | labeled.certain
    known_of_them = known.of(rows)
    return _Conclusion(labels.names, labeled, evidence, audited, known_of_them, rows, known.order).result(
        labels.given
    )


@dataclass(frozen=True)
class _Conclusion:
    """Computes a ``LabelAudit`` of N images from the evidence about the M labeled ones; ``audited`` is (M,)."""

    names: tuple[str, ...]
    labeled: LabeledSet
    evidence: tuple[Evidence, Evidence]
    audited: NDArray[np.bool_]
    known: KnownSides
    rows: NDArray[np.int64]
    order: NDArray[np.int64] | None

    def result(self, given: NDArray[np.int64]) -> LabelAudit:
        labeled, second, n = self.labeled, self.evidence[1], len(given)
        suspicious = suspicion(*self.evidence)
        p_wrong, spread = probability_wrong(labeled, self.evidence, suspicious)
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
        """(M,) name of the group of each image if that group is wrong as a whole, else None; and the issue.

        A group of two or more images is wrong as a whole if its mean ``p_wrong`` is at least ``ISSUE_AT``, or if
        nearly all of its labels disagree with classifier and neighbors and a binomial test rules out chance.
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
            wrong[row] = str(self.known.groups[row])
        if not len(chosen):
            return wrong, None
        text = f"{counted(int(bad.sum()), 'group')} whose labels are wrong as a whole"
        return wrong, Issue("wrong_group", text, chosen)

    def _issues(self, p_wrong: NDArray[np.float32], of_groups: Issue | None) -> list[Issue]:
        labeled, filled = self.labeled, np.nan_to_num(p_wrong, nan=0.0)
        pairs = findings.duplicates(labeled)
        wrong, rare = np.flatnonzero(filled >= ISSUE_AT), np.flatnonzero(~self.audited)
        order = np.arange(len(labeled)) if self.order is None else self._order(self.order)
        n_wrong = counted(len(wrong), "label is", "labels are")
        found = [
            Issue("wrong_label", f"{n_wrong} probably wrong", wrong) if len(wrong) else None,
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
        return f"{counted(len(classes), 'class', 'classes')} with fewer than {FEWEST} images: {shown}"

    def _order(self, order: NDArray[np.int64]) -> NDArray[np.int64]:
        """From the order of all N images to that of the M labeled ones, as indices 0..M-1."""
        place = np.full(len(order), -1, np.int64)
        place[self.rows] = np.arange(len(self.rows))
        found = place[order]
        return found[found >= 0]

    def _reasons(self, p_wrong: NDArray[np.float32], suggested: NDArray[np.int64], n: int) -> list[str]:
        labeled = self.labeled
        table = None
        if self.known.clusters is not None:
            table = cluster_table(self.known.clusters, labeled.classes, labeled.n_classes)
        maker = Reasons(labeled, self.names, table)
        texts = [""] * n
        for at in np.flatnonzero(np.nan_to_num(p_wrong, nan=0.0) >= _EXPLAINED_AT).tolist():
            to = int(suggested[at])
            texts[int(self.rows[at])] = maker.text(at, to if to >= 0 else int(labeled.classes[at]))
        counts = np.bincount(labeled.classes)
        for at in np.flatnonzero(~self.audited).tolist():
            name, count = self.names[int(labeled.classes[at])], int(counts[labeled.classes[at]])
            images = counted(count, "image has", "images have")
            texts[int(self.rows[at])] = f"only {images} the label {name!r}: too few to audit"
        return texts
