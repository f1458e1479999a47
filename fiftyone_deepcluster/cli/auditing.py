"""The ``audit`` command: find labels that are probably wrong, print tables, write files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fiftyone_deepcluster.cli.clustering import find_samples
from fiftyone_deepcluster.cli.tables import text_table
from fiftyone_deepcluster.core.progress import Silent
from fiftyone_deepcluster.core.words import counted

if TYPE_CHECKING:
    from fiftyone_deepcluster.dataset.audit.audit import Audit


def audit_and_write(
    name: str,
    view: str | None,
    label_field: str,
    settings: dict[str, Any],
    files: tuple[str | None, str | None],
) -> Audit:
    """Audit the labels of a dataset, then write a CSV table and an HTML report where a path is given.

    Raises:
        DeepClusterError: see ``audit_labels``; also if dataset, folder or view does not exist.
    """
    from fiftyone_deepcluster.dataset.audit.audit import load_audit
    from fiftyone_deepcluster.dataset.audit.label_review import LabelReview
    from fiftyone_deepcluster.dataset.background import Job
    from fiftyone_deepcluster.dataset.io.fields import check_key

    key = settings["key"]
    check_key(key)
    samples = find_samples(name, view)
    Job("audit_labels", samples, key, {"label_field": label_field, **settings}).carry_out(Silent())
    audit = load_audit(samples, key)
    table, html = files
    review = LabelReview(audit)
    if table is not None:
        review.export(table)
    if html is not None:
        review.report(html)
    return audit


def audit_report(audit: Audit) -> str:
    """Text with the estimated share of wrong labels, the classes, and what else was found."""
    record, noise = audit.record, audit.record.noise
    head = f"{counted(record.n_audited, 'label')} audited"
    if noise is not None:
        head += f"; {noise.rate:.1%} are probably wrong ({noise.low:.1%} to {noise.high:.1%})"
    rows = [
        (
            entry.label,
            f"{entry.n_images:,}",
            f"{entry.n_issues:,}",
            "" if entry.noise is None else f"{entry.noise.rate:.1%}",
            entry.taken_for or "",
        )
        for entry in record.by_class
    ]
    found = [f"- {issue.text}" for issue in record.issues]
    return "\n".join(
        [head, "", text_table(("label", "images", "issues", "wrong", "taken for"), rows), "", *found]
    )
