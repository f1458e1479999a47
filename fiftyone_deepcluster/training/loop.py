"""The only training loop: a round is a training pass under a pseudo-task.

::

    assign
    for every round:
        begin_round -> new head if the plan asks
        for every batch: forward, targets, objective, step, after_step
        assign -> match ids to last round's -> measure -> record -> stop?
    finish, where the training spec asks for it: the last assignment once more
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from fiftyone_deepcluster.core.history import RoundHistory
from fiftyone_deepcluster.core.process_state import deterministic_cudnn
from fiftyone_deepcluster.core.progress import Stopwatch
from fiftyone_deepcluster.core.record import Round, StopReason
from fiftyone_deepcluster.core.seeds import derive
from fiftyone_deepcluster.core.types import Assignment, RoundPlan
from fiftyone_deepcluster.errors import CancelledError, ImagesError
from fiftyone_deepcluster.images.augment import Augment
from fiftyone_deepcluster.metrics.agreement import agreement
from fiftyone_deepcluster.metrics.matching import match_to, renumber
from fiftyone_deepcluster.metrics.silhouette import share_and_entropy
from fiftyone_deepcluster.training.optimizers import Optimizer
from fiftyone_deepcluster.training.stopping import StopRule, collapsed

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fiftyone_deepcluster.features.corpus import Corpus
    from fiftyone_deepcluster.images.augment import Augmentation
    from fiftyone_deepcluster.pseudo_labels.base import PseudoTask
    from fiftyone_deepcluster.training.losses import Objective
    from fiftyone_deepcluster.training.optimizers import OptimizerSpec

Keep = Callable[[dict[str, Any]], None]
"""Callback that stores the state after the first assignment and after every valid round."""


@dataclass(frozen=True)
class TrainingSpec:
    """The components of a training round.

    Attributes:
        task: gives the targets of each batch.
        objective: loss from outputs and targets.
        augment: training augmentation.
        optimizer: optimizer and learning rates.
        stopping: rules checked after every round.
        finish: computes the final assignment when the run is over, if the rounds' assignments do not cover
            everything; must not change any state that a resumed run needs.
    """

    task: PseudoTask
    objective: Objective
    augment: Augmentation
    optimizer: OptimizerSpec
    stopping: tuple[StopRule, ...] = ()
    finish: Callable[[Corpus], Assignment] | None = None


@dataclass(frozen=True)
class LoopSettings:
    """Limits, seed and ground truth of a run.

    Attributes:
        rounds: maximum number of rounds.
        seed: for augmentation, dropout and new heads.
        max_minutes: no new round starts after this time; None: no limit.
        truth: (N,) int64 classes, -1 unknown, only for metrics; None: no ground truth.
    """

    rounds: int
    seed: int
    max_minutes: float | None = None
    truth: NDArray[np.int64] | None = None


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


@deterministic_cudnn()
def run(
    training_spec: TrainingSpec,
    corpus: Corpus,
    settings: LoopSettings,
    *,
    history: RoundHistory | None = None,
    state: dict[str, Any] | None = None,
    keep: Keep | None = None,
) -> RunState:
    """Alternate clustering and training until a stopping rule applies.

    Args:
        training_spec: the components of a round.
        corpus: images and network; the network is changed in place and ends in its last valid state.
        settings: limits, seed and ground truth.
        history: receives the labels and losses of every round; None: kept in memory.
        state: state of an earlier run, from ``keep``, to resume from.
        keep: called with the state after the first assignment and after every valid round.

    Returns:
        The last valid state and the stop reason. If cancelled before the first assignment,
        ``assignment`` is None.
    """
    watch = Stopwatch(corpus.observer)
    corpus.observer = watch
    optimizer = Optimizer(corpus.network, training_spec.optimizer, corpus.compute)
    run_state = RunState(RoundHistory(len(corpus)) if history is None else history)
    last_valid = state
    if state is not None:
        _restore(state, training_spec, corpus, optimizer, run_state)
    started = time.perf_counter()
    try:
        if run_state.assignment is None:
            run_state.assignment = training_spec.task.assign(corpus)
            run_state.first_seconds = watch.lap()
            last_valid = _snapshot(training_spec, corpus, optimizer, run_state, keep)
        while run_state.stop_reason is None:
            watch.lap()
            run_state.stop_reason = _round(training_spec, corpus, settings, optimizer, run_state)
            if run_state.stop_reason in (StopReason.COLLAPSED, StopReason.DIVERGED):
                _restore(last_valid, training_spec, corpus, optimizer, run_state, only_network=True)
                break
            if run_state.stop_reason is None and corpus.compute.all_reduce_any(
                _out_of_time(started, settings)
            ):
                run_state.stop_reason = StopReason.OUT_OF_TIME
            last_valid = _snapshot(training_spec, corpus, optimizer, run_state, keep)
        if training_spec.finish is not None and run_state.rounds:
            _replace_last(corpus, settings, run_state, training_spec.finish(corpus))
    except CancelledError:
        run_state.stop_reason = StopReason.CANCELLED
        if last_valid is not None:
            _restore(last_valid, training_spec, corpus, optimizer, run_state, only_network=True)
    corpus.observer = watch.listener
    return run_state


def _round(
    training_spec: TrainingSpec,
    corpus: Corpus,
    settings: LoopSettings,
    optimizer: Optimizer,
    run_state: RunState,
) -> StopReason | None:
    """One round, added to ``run_state`` if it is valid."""
    index = len(run_state.rounds)
    if index > 0 and (reason := _stop_reason(training_spec, settings, run_state)) is not None:
        return reason  # a resumed run may be complete
    plan = training_spec.task.begin_round(index, corpus)
    if plan is None:
        if index == 0 and run_state.assignment is not None:
            _record(corpus, settings, run_state, run_state.assignment, None)
        return StopReason.TASK_FINISHED
    losses = _train(training_spec, corpus, plan, optimizer, derive(settings.seed, "round", index))
    seen = losses[~np.isnan(losses)]
    if not seen.size or not np.isfinite(seen.mean()):
        run_state.notes.append(f"round {index + 1}: the loss is not a finite number; lower learning_rate")
        return StopReason.DIVERGED
    try:
        assignment = training_spec.task.assign(corpus)
    except ImagesError as error:
        run_state.notes.append(f"round {index + 1}: {error}")
        return StopReason.DIVERGED
    return _record(corpus, settings, run_state, assignment, losses) or _stop_reason(
        training_spec, settings, run_state
    )


def _train(
    training_spec: TrainingSpec, corpus: Corpus, plan: RoundPlan, optimizer: Optimizer, seed: int
) -> NDArray[np.float32]:
    """Train on the plan; the mean loss of every image (N,), NaN if not sampled."""
    network = corpus.network
    _renew_head(corpus, plan, derive(seed, "head"))
    optimizer.begin_round(corpus.steps(len(plan.order)), plan.rate)
    augment = training_spec.augment if plan.augmented else Augment()
    network.train()
    rows, found = [], []
    network.seed_dropout(derive(seed, "dropout", corpus.compute.rank))
    for batch in corpus.training_batches(plan.order, augment, derive(seed, "augment")):
        with corpus.compute.autocast():
            outputs = corpus.outputs(batch)
        losses = training_spec.objective.losses(outputs, training_spec.task.targets(batch, outputs))
        optimizer.step(losses.mean())
        training_spec.task.after_step(batch, outputs, network)
        rows.append(batch.rows)
        found.append(losses.detach().float())
    optimizer.end_round()
    corpus.compute.broadcast(network.buffers())
    # Summed on the CPU, and after the last step: a GPU adds in arbitrary order, and nothing waits for it before.
    sums = torch.zeros(2, len(corpus))
    if rows:
        drawn, values = torch.cat(rows), torch.cat(found).cpu()
        sums[0].index_add_(0, drawn, values)
        sums[1].index_add_(0, drawn, torch.ones_like(values))
    totals = corpus.compute.all_reduce_sum(sums)
    return (totals[0] / totals[1]).numpy()  # type: ignore[no-any-return]


def _renew_head(corpus: Corpus, plan: RoundPlan, seed: int) -> None:
    if plan.prototypes is not None:
        corpus.network.set_prototypes(plan.prototypes)
    elif plan.n_outputs is not None:
        corpus.network.replace_head(plan.n_outputs, seed)
        corpus.compute.broadcast(corpus.network.head.parameters())  # type: ignore[union-attr]


def _record(
    corpus: Corpus,
    settings: LoopSettings,
    run_state: RunState,
    found: Assignment,
    losses: NDArray[np.float32] | None,
) -> StopReason | None:
    """Compute the metrics of a round and add it to ``run_state``, unless the clusters collapsed."""
    before = run_state.assignment
    index = len(run_state.rounds)
    if before is not None and before is not found:
        found = _renumber(found, before)
    lap = corpus.observer.lap() if isinstance(corpus.observer, Stopwatch) else {}
    # Without training the initial clusters are the result of the round.
    seconds = run_state.first_seconds if before is found else lap
    drawn = 0 if losses is None else int(np.isfinite(losses).sum())
    entry = Round(
        index=index,
        loss=None if losses is None else float(np.nanmean(losses)),
        seconds=seconds,
        images_per_second=drawn / seconds["train"] if seconds.get("train") else None,
        **_metrics(found, None if before is found or not _has_clusters(before) else before, settings),
    )
    if losses is not None and before is not None and collapsed(entry, _largest_share(before)):
        run_state.notes.append(
            f"round {index + 1}: {entry.largest_share:.0%} of the images fell into one cluster"
        )
        return StopReason.COLLAPSED
    run_state.assignment = found
    run_state.rounds.append(entry)
    run_state.history.append(found.labels, losses)
    corpus.observer.round_done(entry, settings.rounds)
    return None


def _metrics(found: Assignment, before: Assignment | None, settings: LoopSettings) -> dict[str, Any]:
    """The metrics of a round's clusters."""
    in_use, largest, entropy = share_and_entropy(found.labels, found.n_clusters)
    return {
        "change": None if before is None else agreement(found.labels, before.labels),
        "clusters_in_use": in_use,
        "largest_share": largest,
        "entropy": entropy,
        "truth": None if settings.truth is None else agreement(found.labels, settings.truth),
        "scores": found.scores,
        "details": found.details,
    }


def _replace_last(corpus: Corpus, settings: LoopSettings, run_state: RunState, found: Assignment) -> None:
    """Replace the last round's clusters by a new assignment; cluster ids and the round's change are kept."""
    before = run_state.assignment
    if before is None:
        return
    found = _renumber(found, before)
    metrics = _metrics(found, None, settings)
    metrics.pop("change")
    run_state.assignment = found
    run_state.rounds[-1] = run_state.rounds[-1].model_copy(update=metrics)
    run_state.history.replace_last(found.labels)


def _stop_reason(
    training_spec: TrainingSpec, settings: LoopSettings, run_state: RunState
) -> StopReason | None:
    for rule in training_spec.stopping:
        reason = rule.check(run_state.rounds)
        if reason is not None:
            return reason
    return StopReason.ROUNDS_DONE if len(run_state.rounds) >= settings.rounds else None


def _has_clusters(assignment: Assignment | None) -> bool:
    """Whether any image has a cluster; none has before the first round of a task that does not embed all images."""
    return assignment is not None and bool((assignment.labels >= 0).any())


def _largest_share(assignment: Assignment) -> float:
    return share_and_entropy(assignment.labels, assignment.n_clusters)[1]


def _renumber(found: Assignment, before: Assignment) -> Assignment:
    """The same clusters with ids matched to the previous round, so that a cluster keeps its id."""
    if found.numbers_kept or not _has_clusters(before):
        return found
    ids = match_to(found.labels, found.n_clusters, before.labels, before.n_clusters)
    if not len(ids):
        return found  # a density-based clusterer may label everything as noise
    centers = np.full((int(ids.max()) + 1, found.centers.shape[1]), np.nan, dtype=np.float32)
    centers[ids] = found.centers
    return replace(found, labels=renumber(found.labels, ids), centers=centers)


def _out_of_time(started: float, settings: LoopSettings) -> bool:
    return settings.max_minutes is not None and time.perf_counter() - started > 60 * settings.max_minutes


def _snapshot(
    training_spec: TrainingSpec, corpus: Corpus, optimizer: Optimizer, run_state: RunState, keep: Keep | None
) -> dict[str, Any]:
    """The state needed to resume, on the CPU, also passed to ``keep``."""
    assignment = run_state.assignment
    state: dict[str, Any] = {
        "network": _tensors(_copied, dict(corpus.network.state_dict())),
        "optimizer": _tensors(_copied, optimizer.state_dict()),
        "task": _tensors(_on_cpu, training_spec.task.state_dict()),
        "rounds": [entry.model_dump(mode="json") for entry in run_state.rounds],
        "history": run_state.history.state_dict(),
        "notes": list(run_state.notes),
        "assignment": None if assignment is None else _pack(assignment),
    }
    if keep is not None and corpus.compute.rank == 0:
        keep(state)
    return state


def _restore(
    state: dict[str, Any] | None,
    training_spec: TrainingSpec,
    corpus: Corpus,
    optimizer: Optimizer,
    run_state: RunState,
    *,
    only_network: bool = False,
) -> None:
    """Restore a snapshot; with ``only_network`` only network and task, as ``run_state`` already has the rest."""
    if state is None:
        return
    corpus.network.load_with_head(state["network"])
    training_spec.task.load_state_dict(state["task"])
    if only_network:
        return
    optimizer.load_state_dict(state["optimizer"])
    run_state.rounds = [Round.model_validate(entry) for entry in state["rounds"]]
    run_state.history.load_state_dict(state["history"])
    run_state.notes = list(state["notes"])
    if state["assignment"] is not None:
        run_state.assignment = _unpack(state["assignment"])


def _pack(assignment: Assignment) -> dict[str, Any]:
    """The fields by name, arrays as tensors."""
    values = vars(assignment).items()
    return {k: torch.from_numpy(v) if isinstance(v, np.ndarray) else v for k, v in values}


def _unpack(state: dict[str, Any]) -> Assignment:
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
