"""What is stored of an audit beside its fields: tables, issues, settings."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from fiftyone_deepcluster.analysis.label_audit.noise import ClassNoise, NoiseRate


class IssueCount(BaseModel):
    """One kind of issue.

    Attributes:
        kind: a key of ``analysis.label_audit.findings.ISSUE_KINDS``.
        text: what was found.
        n_images: number of images.
    """

    model_config = ConfigDict(frozen=True)
    kind: str
    text: str
    n_images: int


class ClusterNoise(BaseModel):
    """The labels in one cluster of the run that the audit was given.

    Attributes:
        cluster: its name.
        n_images: labeled images in it.
        label: most frequent label.
        share: share of the images with that label.
        n_issues: labels that are probably wrong.
    """

    model_config = ConfigDict(frozen=True)
    cluster: str
    n_images: int
    label: str
    share: float
    n_issues: int


class AuditRecord(BaseModel):
    """Record of an audit, JSON values only.

    Attributes:
        classes: class names, sorted.
        n_images: images of the collection.
        n_labeled: images with a label.
        n_audited: labels that got a score.
        noise: estimated share of wrong labels.
        by_class: the noisiest class first.
        confusion: given class, suggested class, number of labels; only pairs that occur, as numbers of ``classes``.
        clusters: the clusters with most issues first; empty without a run.
        issues: what was found.
        n_decided: decisions that the scores took into account.
        complete: whether all scores are those of one fit; not while they are fitted again, or if that was interrupted.
        n_fits: how often the scores were fitted.
        seconds: time of the computation.
    """

    model_config = ConfigDict(frozen=True)
    classes: tuple[str, ...]
    n_images: int
    n_labeled: int
    n_audited: int
    noise: NoiseRate | None
    by_class: tuple[ClassNoise, ...]
    confusion: tuple[tuple[int, int, int], ...]
    clusters: tuple[ClusterNoise, ...] = ()
    issues: tuple[IssueCount, ...] = ()
    n_decided: int = 0
    complete: bool = True
    n_fits: int = 1
    seconds: float = 0.0
