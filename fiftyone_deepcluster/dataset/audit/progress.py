"""Number of decisions about an audit, and whether its scores are being fitted again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fiftyone_deepcluster.dataset.audit.decisions import count_decisions
from fiftyone_deepcluster.dataset.audit.queue import ISSUES, count_texts, count_undecided
from fiftyone_deepcluster.dataset.runs import lock

if TYPE_CHECKING:
    from fiftyone_deepcluster.dataset.audit.audit import Audit

REFIT_EVERY = 25
"""Number of decisions after which the scores are fitted again."""


def audit_progress(audit: Audit) -> dict[str, Any]:
    """JSON values, see ``LabelReview.progress``."""
    texts = count_texts(audit)
    n_decided = sum(texts.values())
    return {
        "n_audited": audit.record.n_audited,
        "n_decided": n_decided,
        "n_issues_left": count_undecided(audit, ISSUES),
        "verdicts": count_decisions(texts),
        "refit_due": refit_due(audit, n_decided, REFIT_EVERY),
        "refitting": is_refitting(audit),
    }


def refit_due(audit: Audit, n_decided: int, every: int) -> bool:
    """Whether ``every`` or more decisions were made since the last fit, or an interrupted refit left mixed scores."""
    record = audit.record
    return not record.complete or abs(n_decided - record.n_decided) >= every


def refit_lock(audit: Audit) -> str:
    """Name of the lock that is held while the scores are fitted again; not an identifier, as keys are."""
    return f"refit {audit.uid}"


def is_refitting(audit: Audit) -> bool:
    """Whether a living process is fitting the scores again."""
    return lock.is_held(audit.dataset, refit_lock(audit))
