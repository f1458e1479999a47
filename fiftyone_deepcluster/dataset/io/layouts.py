"""The values of each kind of run: those of a clustering run, and those of a label audit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import fiftyone as fo

RunKind = Literal["clusters", "audit"]

_VECTORS = ("embedding", "round_labels", "round_losses")
"""Values that are vectors. The App cannot filter by them: their rows in the sidebar are gray."""


@dataclass(frozen=True)
class RunLayout:
    """Values of one kind of run.

    Attributes:
        in_label: names of the values inside the run's Classification; empty if it has none.
        meanings: name of every value -> description.
        anchor: value that is indexed, and that marks the fields as those of a run.
        needed: values whose fields must exist; fields of other values are removed if they are empty.
        more_indexed: other values that are indexed.
    """

    in_label: tuple[str, ...]
    meanings: dict[str, str]
    anchor: str
    needed: tuple[str, ...]
    more_indexed: tuple[str, ...] = ()

    @property
    def indexed(self) -> tuple[str, ...]:
        """Names of the values that are indexed."""
        return self.anchor, *self.more_indexed

    @property
    def beside(self) -> tuple[str, ...]:
        """Names of the values in fields of their own."""
        return tuple(name for name in self.meanings if name not in self.in_label)

    @property
    def listed(self) -> tuple[str, ...]:
        """``beside`` in the order of the sidebar: vectors last."""
        return tuple(sorted(self.beside, key=lambda name: name in _VECTORS))


LAYOUTS: dict[RunKind, RunLayout] = {
    "clusters": RunLayout(
        in_label=("label", "confidence", "cluster", "distance", "margin"),
        meanings={
            "label": "Name of the cluster",
            "confidence": "Confidence of the cluster assignment, 0 to 1",
            "cluster": "Number of the cluster in the run; not changed by edits",
            "distance": "Distance of the embedding to the center of its cluster",
            "margin": "Distance to the second nearest center minus distance to the nearest",
            "embedding": "Features that were clustered",
            "round_labels": "Cluster in every round",
            "round_losses": "Training loss in every round, NaN where the image was not drawn",
            "changes": "Number of cluster changes between rounds",
            "stability": "Share of its final cluster-mates kept over the last rounds",
            "loss": "Last training loss",
            "error": "Reason why the image could not be read",
            "category": "Groups of similar clusters that contain the image, widest first",
        },
        anchor="label",
        needed=("label",),
    ),
    "audit": RunLayout(
        in_label=(),
        meanings={
            "p_wrong": "Probability that the label is wrong",
            "given": "Label that was audited",
            "suggestion": "Label that is more probable than the given one",
            "reason": "Why the label is suspicious",
            "rank": "Place in the order of suspicion; 0 is the most suspicious",
            "group": "Group of the image, if the labels of the whole group are wrong",
            "issues": "Kinds of issues that the image has",
            "decision": "Decision of a person about the label",
            "error": "Reason why the label was not audited",
            "neighbors": "Ids of the nearest images, nearest first; of suspicious labels only",
        },
        anchor="rank",
        needed=(
            "p_wrong",
            "given",
            "suggestion",
            "reason",
            "rank",
            "group",
            "issues",
            "decision",
            "error",
            "neighbors",
        ),
        more_indexed=("p_wrong", "decision"),
    ),
}


def value_kind(name: str) -> type[fo.Field]:
    """Type of the field of a value."""
    import fiftyone as fo

    if name in _VECTORS:
        return fo.VectorField  # type: ignore[no-any-return]
    if name in ("cluster", "changes", "rank"):
        return fo.IntField  # type: ignore[no-any-return]
    if name in ("category", "issues", "neighbors"):
        return fo.ListField  # type: ignore[no-any-return]
    if name in ("label", "error", "given", "suggestion", "reason", "group", "decision"):
        return fo.StringField  # type: ignore[no-any-return]
    return fo.FloatField  # type: ignore[no-any-return]
