"""Record of a run, as plain values that round-trip through JSON.

A record can be read without this package: options, one entry per round, the stop reason, and the results
of simple baselines on the same images.
"""

from __future__ import annotations

from collections.abc import Collection
from enum import Enum

from pydantic import BaseModel, ConfigDict, Field

from fiftyone_deepcluster.core.words import counted


class StopReason(str, Enum):
    """Why a run ended."""

    CONVERGED = "converged"
    ROUNDS_DONE = "rounds_done"
    TASK_FINISHED = "task_finished"
    COLLAPSED = "collapsed"
    DIVERGED = "diverged"
    CANCELLED = "cancelled"
    OUT_OF_TIME = "out_of_time"

    @property
    def message(self) -> str:
        """The reason in words; ``RunRecord.outcome`` adds advice where training failed."""
        return _MESSAGES[self]


_MESSAGES = {
    StopReason.CONVERGED: "Converged: the clusters of adjacent rounds agree.",
    StopReason.ROUNDS_DONE: "All rounds are done.",
    StopReason.TASK_FINISHED: "The method is complete: nothing is left to train.",
    StopReason.COLLAPSED: (
        "Collapsed: nearly all images fell into one cluster. The last valid round was kept."
    ),
    StopReason.DIVERGED: ("Diverged: the loss became NaN or infinite. The last valid round was kept."),
    StopReason.CANCELLED: "Cancelled; finished rounds are kept. Resume the run to continue.",
    StopReason.OUT_OF_TIME: "max_minutes reached; finished rounds are kept. Resume the run to continue.",
}


_RATES = ("learning_rate", "head_learning_rate")
_NUMBERS = ("n_clusters", "pseudo_clusters")
"""Options with which training is less likely to fail: rates to lower, numbers to raise."""


def _advice(reason: StopReason, options: Collection[str]) -> str:
    """What to change after training failed, of the options that the method has; empty after other ends."""
    rates = [name for name in _RATES if name in options]
    numbers = [name for name in _NUMBERS if name in options and reason is StopReason.COLLAPSED]
    steps = [
        f"{verb} {' or '.join(names)}" for verb, names in (("lower", rates), ("raise", numbers)) if names
    ]
    if reason not in (StopReason.COLLAPSED, StopReason.DIVERGED) or not steps:
        return ""
    text = ", or ".join(steps)
    return f" {text[0].upper()}{text[1:]}."


class AgreementScores(BaseModel):
    """Agreement of two labelings of the same images.

    Attributes:
        nmi: normalized mutual information, arithmetic mean of the entropies.
        ari: adjusted Rand index.
        purity: share of images in the majority class of their cluster.
        acc: accuracy under the best one-to-one matching of clusters and classes (Hungarian algorithm).
    """

    model_config = ConfigDict(frozen=True)
    nmi: float
    ari: float
    purity: float
    acc: float


class Round(BaseModel):
    """Metrics of one round.

    Attributes:
        index: number of the round, from 0.
        loss: mean training loss; None in a round without training.
        change: agreement with the clusters of the previous round; None in the first.
        clusters_in_use: number of non-empty clusters.
        largest_share: share of the images in the largest cluster.
        entropy: entropy of the cluster sizes, normalized to 0..1.
        truth: agreement with ``truth``, which is used for evaluation only.
        seconds: wall time per phase.
        images_per_second: training throughput.
        scores: numbers reported by the parts (objective, number of pseudo-clusters, ...).
        details: lists of numbers or of texts reported by the parts (number of RIM clusters by rising lambda, ...).
    """

    model_config = ConfigDict(frozen=True)
    index: int
    loss: float | None = None
    change: AgreementScores | None = None
    clusters_in_use: int = 0
    largest_share: float = 0.0
    entropy: float = 0.0
    truth: AgreementScores | None = None
    seconds: dict[str, float] = Field(default_factory=dict)
    images_per_second: float | None = None
    scores: dict[str, float] = Field(default_factory=dict)
    details: dict[str, list[float] | list[str]] = Field(default_factory=dict)

    def line(self, rounds: int) -> str:
        """The round as one line of text, for a terminal."""
        parts = [f"round {self.index + 1:>2} of {rounds}"]
        if self.loss is not None:
            parts.append(f"loss {self.loss:.3f}")
        if (epochs := self.scores.get("initial_epochs")) is not None:
            how = "converged" if self.scores.get("initial_converged") else "not converged"
            parts.append(f"{epochs:.0f} epochs, {how}")
        if self.change is not None:
            parts.append(f"NMI to last round {self.change.nmi:.3f}")
        parts.append(f"{counted(self.clusters_in_use, 'cluster')}, largest {self.largest_share:.0%}")
        if self.truth is not None:
            parts.append(f"ACC {self.truth.acc:.3f} NMI {self.truth.nmi:.3f} (measured only)")
        parts.append(f"{sum(self.seconds.values()):.1f} s")
        return " · ".join(parts)


class Baseline(BaseModel):
    """Result of a simple clustering method on the images of the run.

    Attributes:
        name: ``k-means`` or ``UMAP + GMM``.
        features: what was clustered: pixels, features of the given weights, or the vectors of the run.
        n_images: number of images it was evaluated on.
        silhouette: silhouette score of its clusters on its own features.
        truth: agreement with the ground truth; None without ground truth.
        run_truth: agreement of the run with the ground truth on the same images; None without ground truth.
        agreement: NMI with the clusters of the run; None where it was not compared.
        seconds: wall time.
    """

    model_config = ConfigDict(frozen=True)
    name: str
    features: str
    n_images: int
    silhouette: float
    truth: AgreementScores | None = None
    run_truth: AgreementScores | None = None
    agreement: float | None = None
    seconds: float


class RunRecord(BaseModel):
    """Record of a run: everything except the per-image values.

    Attributes:
        method: name of the method.
        options: options as given, by name; pass them again to repeat the run.
        resolved: options after automatic values were resolved for these images.
        rounds: one entry per round.
        stop_reason: why the run ended; None while it runs.
        n_images: number of clustered images, without unreadable ones.
        n_failed: number of images that could not be read.
        n_clusters: number of clusters in the result.
        names: name of each cluster, taken over from the refined run; empty: the run was not made by ``refine``.
        baselines: results of simple methods on the same images.
        verdict: comparison with the baselines, in words.
        beaten: whether a baseline is better than the run.
        environment: package versions and device.
        notes: automatic decisions and warnings.
    """

    model_config = ConfigDict(validate_assignment=True)
    method: str
    options: dict[str, object] = Field(default_factory=dict)
    resolved: dict[str, object] = Field(default_factory=dict)
    rounds: list[Round] = Field(default_factory=list)
    stop_reason: StopReason | None = None
    n_images: int = 0
    n_failed: int = 0
    n_clusters: int = 0
    names: list[str] = Field(default_factory=list)
    baselines: list[Baseline] = Field(default_factory=list)
    verdict: str = ""
    beaten: bool = False
    environment: dict[str, str] = Field(default_factory=dict)
    notes: list[str] = Field(default_factory=list)

    @property
    def outcome(self) -> str:
        """Why the run ended, in words, and what to change where training failed; empty while it is running."""
        untrained = all(entry.loss is None for entry in self.rounds)
        if self.stop_reason is StopReason.TASK_FINISHED and untrained:
            return "This method clusters once and trains nothing."
        if self.stop_reason is None:
            return ""
        return self.stop_reason.message + _advice(self.stop_reason, self.resolved)
