"""From the result of an audit to values of fields, and to its record."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from fiftyone_deepcluster.analysis.label_audit.reasons import cluster_table
from fiftyone_deepcluster.dataset.audit.audit_record import AuditRecord, ClusterNoise, IssueCount
from fiftyone_deepcluster.dataset.io.write import numbers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fiftyone_deepcluster.analysis.label_audit.result import LabelAudit
    from fiftyone_deepcluster.dataset.audit.audit_inputs import AuditInputs

_N_NEIGHBORS = 12
_SHOWN_FROM = 0.05
_SHOWN = 1_000
"""Neighbors are stored for labels with at least this ``p_wrong``, and for this many of the first ranks."""


@dataclass(frozen=True)
class AuditColumns:
    """Field values of N images, computed batch by batch.

    Attributes:
        audit: result for the images.
        ids: N ids of the images.
        decisions: N current decisions, None where there is none.
    """

    audit: LabelAudit
    ids: Sequence[str]
    decisions: Sequence[str | None]

    def __len__(self) -> int:
        return len(self.ids)

    def values(self, rows: slice) -> dict[str, list[Any]]:
        """Values of the images ``rows`` by name of the field; None: the field stays empty."""
        audit, at = self.audit, range(*rows.indices(len(self)))
        names = [*audit.classes, None]
        issues = self._issues
        return {
            "p_wrong": numbers(audit.p_wrong[rows]),
            "given": [names[number] for number in audit.given[rows].tolist()],
            "suggestion": [names[number] for number in audit.suggested[rows].tolist()],
            "reason": [text or None for text in audit.reasons[rows]],
            "rank": [None if rank < 0 else rank for rank in audit.rank[rows].tolist()],
            "group": audit.wrong_group[rows],
            "issues": [issues.get(row) for row in at],
            "decision": list(self.decisions[rows]),
            "error": [audit.not_audited.get(row) for row in at],
            "neighbors": [self._neighbors(row) for row in at],
        }

    @cached_property
    def _issues(self) -> dict[int, list[str]]:
        found: dict[int, list[str]] = {}
        for issue in self.audit.issues:
            for row in issue.rows.tolist():
                kinds = found.setdefault(row, [])
                if issue.kind not in kinds:
                    kinds.append(issue.kind)
        return found

    def _neighbors(self, row: int) -> list[str] | None:
        audit = self.audit
        rank = int(audit.rank[row])
        if rank < 0 or (rank >= _SHOWN and not audit.p_wrong[row] >= _SHOWN_FROM):
            return None
        place = int(np.searchsorted(audit.graph_rows, row))
        near = audit.graph_rows[audit.graph.rows[place, :_N_NEIGHBORS]]
        return [self.ids[other] for other in near.tolist()]


def make_record(audit: LabelAudit, inputs: AuditInputs, n_decided: int, seconds: float) -> AuditRecord:
    """Tables of an audit."""
    judged = audit.judged
    table = judged.confusion()
    pairs = np.argwhere(table > 0)
    return AuditRecord(
        classes=audit.classes,
        n_images=len(audit.given),
        n_labeled=int((audit.given >= 0).sum()),
        n_audited=int((audit.rank >= 0).sum()),
        noise=audit.noise,
        by_class=tuple(judged.by_class()),
        confusion=tuple((one, other, int(table[one, other])) for one, other in pairs.tolist()),
        clusters=_clusters(audit, inputs),
        issues=tuple(
            IssueCount(kind=issue.kind, text=issue.text, n_images=len(issue.rows)) for issue in audit.issues
        ),
        n_decided=n_decided,
        seconds=seconds,
    )


def _clusters(audit: LabelAudit, inputs: AuditInputs) -> tuple[ClusterNoise, ...]:
    if inputs.clusters is None:
        return ()
    rows = np.flatnonzero(audit.given >= 0)
    classes, issues = audit.given[rows], audit.judged.is_issue
    table = cluster_table([inputs.clusters[row] for row in rows.tolist()], classes, len(audit.classes))
    found = []
    for number, name in enumerate(table.names):
        inside = table.clusters == number
        most = int(table.shares[number].argmax())
        found.append(
            ClusterNoise(
                cluster=name,
                n_images=int(inside.sum()),
                label=audit.classes[most],
                share=float(table.shares[number, most]),
                n_issues=int(issues[inside].sum()),
            )
        )
    return tuple(sorted(found, key=lambda entry: (-entry.n_issues, entry.cluster)))
