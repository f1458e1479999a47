"""What a run did, as plain values that go to JSON and come back.

A record is complete without this package: options, one entry a round, why it stopped, and what
simple baselines give on the same images.
"""

from __future__ import annotations

from enum import Enum

from pydantic import BaseModel, ConfigDict, Field


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
        """The reason in words, with the way out where something went wrong."""
        return _MESSAGES[self]


_MESSAGES = {
    StopReason.CONVERGED: "The clusters of adjacent rounds agree.",
    StopReason.ROUNDS_DONE: "All rounds are done.",
    StopReason.TASK_FINISHED: "Nothing is left to learn.",
    StopReason.COLLAPSED: (
        "Nearly all images fell into one cluster; the last sound round was kept. "
        "Lower learning_rate, or raise n_clusters or pseudo_clusters."
    ),
    StopReason.DIVERGED: (
        "The loss stopped being a finite number; the last sound round was kept. Lower learning_rate."
    ),
    StopReason.CANCELLED: "Cancelled; finished rounds are kept. Resume to go on.",
    StopReason.OUT_OF_TIME: "max_minutes is used up; finished rounds are kept. Resume to go on.",
}


class AgreementScores(BaseModel):
    """How far two labelings of the same images agree.

    Attributes:
        nmi: normalized mutual information, arithmetic mean of the entropies.
        ari: adjusted Rand index.
        purity: share of images in the majority class of their cluster.
        acc: share of images on the best one-to-one match of clusters and classes (Hungarian).
    """

    model_config = ConfigDict(frozen=True)
    nmi: float
    ari: float
    purity: float
    acc: float


class Round(BaseModel):
    """The figures of one round.

    Attributes:
        index: from 0.
        loss: mean training loss; None in a round without training.
        change: agreement with the clusters of the round before; None in the first.
        clusters_in_use: clusters with at least one image.
        largest_share: share of the images in the largest cluster.
        entropy: of the cluster sizes, in 0..1 of its maximum.
        truth: agreement with ``truth``, measured only.
        seconds: by phase.
        images_per_second: of training.
        scores: figures of the parts (objective, number of pseudo-clusters ...).
        details: lists of figures of the parts (clusters that RIM finds by rising lambda ...).
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
    details: dict[str, list[float]] = Field(default_factory=dict)

    def line(self, rounds: int) -> str:
        """The round in one line of text, for a terminal."""
        parts = [f"round {self.index + 1:>2} of {rounds}"]
        if self.loss is not None:
            parts.append(f"loss {self.loss:.3f}")
        if self.change is not None:
            parts.append(f"NMI to last round {self.change.nmi:.3f}")
        parts.append(f"{self.clusters_in_use} clusters, largest {self.largest_share:.0%}")
        if self.truth is not None:
            parts.append(f"ACC {self.truth.acc:.3f} NMI {self.truth.nmi:.3f} (measured only)")
        parts.append(f"{sum(self.seconds.values()):.1f} s")
        return " · ".join(parts)


class Baseline(BaseModel):
    """What a simple method gives on the run's features.

    Attributes:
        name: ``k-means`` or ``UMAP + GMM``.
        features: ``first`` (pixels, or the pre-trained network's) or ``last``.
        n_images: images it was measured on.
        silhouette: of its clusters on its own features.
        stability: ARI between two seeds.
        truth: agreement with the truth, where there is one.
        seconds: wall time.
    """

    model_config = ConfigDict(frozen=True)
    name: str
    features: str
    n_images: int
    silhouette: float
    stability: float
    truth: AgreementScores | None = None
    seconds: float


class RunRecord(BaseModel):
    """Everything about a run except the images' own values.

    Attributes:
        method: name of the method.
        options: as given, by name; feed them back to repeat the run.
        resolved: the options after everything automatic was settled for these images.
        rounds: one entry a round.
        stop_reason: None while it runs.
        n_images: images clustered; unreadable ones are not counted.
        n_failed: images that could not be read.
        n_clusters: clusters in the result.
        baselines: simple methods on the same features.
        verdict: in words, whether the run beats its baselines.
        beaten: whether a baseline is better.
        environment: versions and device.
        notes: what was decided automatically, or deserves a warning.
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
    baselines: list[Baseline] = Field(default_factory=list)
    verdict: str = ""
    beaten: bool = False
    environment: dict[str, str] = Field(default_factory=dict)
    notes: list[str] = Field(default_factory=list)
