"""The contract of a pseudo-task: it decides what each batch is taught."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from fiftyone_deepcluster.backbones.network import Network
    from fiftyone_deepcluster.core.types import Assignment, Batch, Outputs, RoundPlan, Targets
    from fiftyone_deepcluster.features.corpus import Corpus


class PseudoTask(Protocol):
    """Decides what each batch is taught.

    The loop asks ``assign`` once at the start; then in every round ``begin_round``, per batch ``targets``
    and ``after_step``, and ``assign``. A task may refresh itself before the round (DeepCluster, LDPO),
    while teaching a batch (DAC) or just after a step (UCNN).
    """

    def begin_round(self, round_index: int, corpus: Corpus) -> RoundPlan | None:
        """What this round trains on; None: nothing is left to teach."""
        ...

    def targets(self, batch: Batch, outputs: Outputs) -> Targets:
        """What this batch should have given."""
        ...

    def after_step(self, batch: Batch, before: Outputs, network: Network) -> None:
        """The network has learned from ``batch``; ``before`` is what it said of it before the step."""

    def assign(self, corpus: Corpus) -> Assignment:
        """The cluster of every image, by the network as it is now."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Everything needed to go on: tensors, numbers, strings, lists and dicts."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from ``state_dict``."""
