"""The state of a run, which every round extends, and the snapshots from which a run resumes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from fiftyone_deepcluster.core.record import Round
from fiftyone_deepcluster.core.types import Assignment

if TYPE_CHECKING:
    from fiftyone_deepcluster.core.history import RoundHistory
    from fiftyone_deepcluster.core.record import StopReason
    from fiftyone_deepcluster.features.corpus import Corpus
    from fiftyone_deepcluster.pseudo_labels.base import PseudoTask
    from fiftyone_deepcluster.training.optimizers import Optimizer

Keep = Callable[[dict[str, Any]], None]
"""Callback that stores the state after the first assignment and after every valid round."""


@dataclass
class RunState:
    """The state of a run: extended in every round, complete when ``stop_reason`` is set.

    Attributes:
        history: cluster and loss of every image in every valid round.
        assignment: clusters after the last valid round; before the first, those of the initial network.
        rounds: metrics of the valid rounds.
        stop_reason: None while it runs.
        notes: warnings.
        first_seconds: seconds per phase of the clustering before the first round.
    """

    history: RoundHistory
    assignment: Assignment | None = None
    rounds: list[Round] = field(default_factory=list)
    stop_reason: StopReason | None = None
    notes: list[str] = field(default_factory=list)
    first_seconds: dict[str, float] = field(default_factory=dict)


def snapshot(run_state: RunState, task: PseudoTask, corpus: Corpus, optimizer: Optimizer) -> dict[str, Any]:
    """The state needed to resume, on the CPU."""
    assignment = run_state.assignment
    return {
        "network": _tensors(_copied, dict(corpus.network.state_dict())),
        "optimizer": _tensors(_copied, optimizer.state_dict()),
        "task": _tensors(_on_cpu, task.state_dict()),
        "rounds": [entry.model_dump(mode="json") for entry in run_state.rounds],
        "history": run_state.history.state_dict(),
        "notes": list(run_state.notes),
        "assignment": None if assignment is None else pack_assignment(assignment),
    }


def restore_network(stored: dict[str, Any], task: PseudoTask, corpus: Corpus) -> None:
    """Restore network and task of a snapshot."""
    corpus.network.load_with_head(stored["network"])
    task.load_state_dict(stored["task"])


def restore_run_state(
    stored: dict[str, Any], run_state: RunState, task: PseudoTask, corpus: Corpus, optimizer: Optimizer
) -> None:
    """Restore all of a snapshot."""
    restore_network(stored, task, corpus)
    optimizer.load_state_dict(stored["optimizer"])
    run_state.rounds = [Round.model_validate(entry) for entry in stored["rounds"]]
    run_state.history.load_state_dict(stored["history"])
    run_state.notes = list(stored["notes"])
    if stored["assignment"] is not None:
        run_state.assignment = unpack_assignment(stored["assignment"])


def pack_assignment(assignment: Assignment) -> dict[str, Any]:
    """The fields by name, arrays as tensors."""
    values = vars(assignment).items()
    return {k: torch.from_numpy(v) if isinstance(v, np.ndarray) else v for k, v in values}


def unpack_assignment(state: dict[str, Any]) -> Assignment:
    """The assignment from the fields by name."""
    values: dict[str, Any] = {k: v.numpy() if isinstance(v, torch.Tensor) else v for k, v in state.items()}
    return Assignment(**values)


def _copied(value: torch.Tensor) -> torch.Tensor:
    """A copy on the CPU that later training does not change."""
    return value.detach().cpu().clone()


def _on_cpu(value: torch.Tensor) -> torch.Tensor:
    return value.detach().cpu()


def _tensors(change: Callable[[torch.Tensor], torch.Tensor], value: Any) -> Any:
    """The value with every tensor in it changed."""
    if isinstance(value, torch.Tensor):
        return change(value)
    if isinstance(value, dict):
        return {key: _tensors(change, item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_tensors(change, item) for item in value)
    return value
