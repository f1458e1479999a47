"""The interface of a pseudo-task, which defines the targets of each batch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from fiftyone_deepcluster.backbones.network import Network
    from fiftyone_deepcluster.core.types import Assignment, Batch, Outputs, RoundPlan, Targets
    from fiftyone_deepcluster.features.corpus import Corpus


class PseudoTask(Protocol):
    """Defines the targets of each batch.

    The loop calls ``assign`` once at the start; then in every round ``begin_round``, per batch ``targets``
    and ``after_step``, and ``assign``. A task may update its targets before the round (DeepCluster, LDPO),
    for each batch (DAC) or just after a step (UCNN).
    """

    def begin_round(self, round_index: int, corpus: Corpus) -> RoundPlan | None:
        """The images and head of this round; None: training is finished."""
        ...

    def targets(self, batch: Batch, outputs: Outputs) -> Targets:
        """The targets of this batch."""
        ...

    def after_step(self, batch: Batch, before: Outputs, network: Network) -> None:
        """Called after each training step on ``batch``; ``before`` are its outputs before the step."""

    def assign(self, corpus: Corpus) -> Assignment:
        """The cluster of every image, with the current network."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """The state needed to resume: tensors, numbers, strings, lists and dicts.

        Later training must not change them: copy a tensor that a later step writes into. The loop copies none, since
        there may be a row for each image.
        """
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Resume from ``state_dict``."""


@runtime_checkable
class Finishing(Protocol):
    """A task that can compute a final assignment at the end of a run."""

    def finish(self, corpus: Corpus, last: Assignment) -> Assignment:
        """The final clusters, given those of the last round; must not change the state that a resumed run needs."""
        ...
