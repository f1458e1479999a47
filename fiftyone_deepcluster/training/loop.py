"""The only training loop: a round is a training pass under a pseudo-task.

::

    assign
    for every round:
        begin_round -> new head if the plan asks
        for every batch: forward, targets, objective, step, after_step
        as long as the plan has a next epoch: its batches
        assign -> match ids to last round's -> measure -> record -> stop?
    finish, if the training spec has it: may replace the last assignment
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from fiftyone_deepcluster.core.history import RoundHistory
from fiftyone_deepcluster.core.process_state import deterministic_cudnn
from fiftyone_deepcluster.core.progress import Stopwatch
from fiftyone_deepcluster.core.record import Round, StopReason
from fiftyone_deepcluster.core.seeds import derive
from fiftyone_deepcluster.errors import CancelledError, ImagesError
from fiftyone_deepcluster.images.augment import Augment
from fiftyone_deepcluster.metrics.agreement import agreement
from fiftyone_deepcluster.metrics.matching import match_to, renumber
from fiftyone_deepcluster.metrics.silhouette import share_and_entropy
from fiftyone_deepcluster.training.image_losses import ImageLosses
from fiftyone_deepcluster.training.optimizers import Optimizer
from fiftyone_deepcluster.training.run_state import RunState, restore_network, restore_run_state, snapshot
from fiftyone_deepcluster.training.stopping import StopRule, collapsed

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fiftyone_deepcluster.core.types import Assignment, RoundPlan
    from fiftyone_deepcluster.features.corpus import Corpus
    from fiftyone_deepcluster.images.augment import Augmentation
    from fiftyone_deepcluster.pseudo_labels.base import PseudoTask
    from fiftyone_deepcluster.training.losses import Objective
    from fiftyone_deepcluster.training.optimizers import OptimizerSpec
    from fiftyone_deepcluster.training.run_state import Keep


@dataclass(frozen=True)
class TrainingSpec:
    """The components of a training round.

    Attributes:
        task: gives the targets of each batch.
        objective: loss from outputs and targets.
        augment: training augmentation.
        optimizer: optimizer and learning rates.
        stopping: rules checked after every round.
        finish: computes the final assignment from that of the last round when the run is over; it may give the network
            other weights, but must not change any state that a resumed run needs.
    """

    task: PseudoTask
    objective: Objective
    augment: Augmentation
    optimizer: OptimizerSpec
    stopping: tuple[StopRule, ...] = ()
    finish: Callable[[Corpus, Assignment], Assignment] | None = None


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
        corpus: images and network; the network is changed in place and ends in its last valid state, or as ``finish``
            of the training spec leaves it.
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
    run_state = RunState(RoundHistory(len(corpus)) if history is None else history)
    optimizer = Optimizer(corpus.network, training_spec.optimizer, corpus.compute)
    loop = _Loop(training_spec, corpus, settings, optimizer, watch, run_state, keep)
    if state is not None:
        loop.resume(state)
    try:
        loop.all_rounds()
    except CancelledError:
        run_state.stop_reason = StopReason.CANCELLED
        loop.restore_last_valid()
    corpus.observer = watch.listener
    return run_state


@dataclass
class _Loop:
    """State shared by the steps of a run; ``last_valid`` is the last snapshot, None before the first assignment."""

    spec: TrainingSpec
    corpus: Corpus
    settings: LoopSettings
    optimizer: Optimizer
    watch: Stopwatch
    state: RunState
    keep: Keep | None
    last_valid: dict[str, Any] | None = None

    def resume(self, stored: dict[str, Any]) -> None:
        restore_run_state(stored, self.state, self.spec.task, self.corpus, self.optimizer)
        self.last_valid = stored

    def restore_last_valid(self) -> None:
        if self.last_valid is not None:
            restore_network(self.last_valid, self.spec.task, self.corpus)

    def all_rounds(self) -> None:
        """The first assignment, and rounds until there is a stop reason."""
        started = time.perf_counter()
        if self.state.assignment is None:
            self.state.assignment = self.spec.task.assign(self.corpus)
            self.state.first_seconds = self.watch.lap()
            self._snapshot()
        while self.state.stop_reason is None:
            self.watch.lap()
            reason = self._round()
            if reason in (StopReason.COLLAPSED, StopReason.DIVERGED):
                self.state.stop_reason = reason
                self.restore_last_valid()
                break
            if reason is None and self.corpus.compute.all_reduce_any(self._out_of_time(started)):
                reason = StopReason.OUT_OF_TIME
            self.state.stop_reason = reason
            self._snapshot()
        last = self.state.assignment
        if self.spec.finish is not None and self.state.rounds and last is not None:
            self._replace_last(self.spec.finish(self.corpus, last), last)

    def _snapshot(self) -> None:
        self.last_valid = snapshot(self.state, self.spec.task, self.corpus, self.optimizer)
        if self.keep is not None and self.corpus.compute.rank == 0:
            self.keep(self.last_valid)

    def _out_of_time(self, started: float) -> bool:
        limit = self.settings.max_minutes
        return limit is not None and time.perf_counter() - started > 60 * limit

    def _round(self) -> StopReason | None:
        """One round, added to the state if it is valid."""
        index = len(self.state.rounds)
        if index > 0 and (reason := self._stop_reason()) is not None:
            return reason  # a resumed run may be complete
        plan = self.spec.task.begin_round(index, self.corpus)
        if plan is None:
            if index == 0 and self.state.assignment is not None:
                self._record(self.state.assignment, None)
            return StopReason.TASK_FINISHED
        losses = self._train(plan, derive(self.settings.seed, "round", index))
        seen = losses[~np.isnan(losses)]
        if not seen.size or not np.isfinite(seen.mean()):
            self._note(index, "the loss is not a finite number; lower learning_rate")
            return StopReason.DIVERGED
        try:
            assignment = self.spec.task.assign(self.corpus)
        except ImagesError as error:
            self._note(index, str(error))
            return StopReason.DIVERGED
        return self._record(assignment, losses) or self._stop_reason()

    def _train(self, plan: RoundPlan, seed: int) -> NDArray[np.float32]:
        """Train on the plan; the mean loss of every image (N,), NaN if not sampled."""
        corpus, network = self.corpus, self.corpus.network
        _renew_head(corpus, plan, derive(seed, "head"))
        steps, open_ended = corpus.steps(len(plan.order)), plan.next_epoch is not None
        self.optimizer.begin_round(steps, plan.rate_factor, open_ended=open_ended)
        augment = self.spec.augment if plan.augmented else Augment()
        network.train()
        network.seed_dropout(derive(seed, "dropout", corpus.compute.rank))
        found = ImageLosses(len(corpus), corpus.compute)
        self._epoch(plan.order, augment, derive(seed, "augment"), found)
        if plan.next_epoch is not None:
            epochs = [found.end_epoch()]
            while (order := plan.next_epoch(epochs)) is not None:
                self._epoch(order, augment, derive(seed, "augment", len(epochs)), found)
                epochs.append(found.end_epoch())
        self.optimizer.end_round()
        corpus.compute.broadcast(network.buffers())
        return found.means()

    def _epoch(self, order: NDArray[np.int64], augment: Augmentation, seed: int, found: ImageLosses) -> None:
        """Train on the rows ``order``; their losses are added to ``found``."""
        spec, corpus = self.spec, self.corpus
        weights = _relative_weights(corpus, order)
        for batch in corpus.training_batches(order, augment, seed):
            with corpus.compute.autocast():
                outputs = corpus.outputs(batch)
            losses = spec.objective.losses(outputs, spec.task.targets(batch, outputs))
            self.optimizer.step(_mean(losses, weights, batch.rows))
            spec.task.after_step(batch, outputs, corpus.network)
            found.add(batch.rows, losses)

    def _record(self, found: Assignment, losses: NDArray[np.float32] | None) -> StopReason | None:
        """Compute the metrics of a round and add it to the state, unless the clusters collapsed."""
        state, before = self.state, self.state.assignment
        if before is not None and before is not found:
            found = _renumber(found, before)
        lap = self.watch.lap()
        # Without training the initial clusters are the result of the round.
        seconds = state.first_seconds if before is found else lap
        drawn = 0 if losses is None else int(np.isfinite(losses).sum())
        entry = Round(
            index=len(state.rounds),
            loss=None if losses is None else float(np.nanmean(losses)),
            seconds=seconds,
            images_per_second=drawn / seconds["train"] if seconds.get("train") else None,
            **_metrics(
                found, None if before is found or not _has_clusters(before) else before, self.settings
            ),
        )
        if losses is not None and before is not None and collapsed(entry, _largest_share(before)):
            self._note(entry.index, f"{entry.largest_share:.0%} of the images fell into one cluster")
            return StopReason.COLLAPSED
        state.assignment = found
        state.rounds.append(entry)
        state.history.append(found.labels, losses)
        self.corpus.observer.round_done(entry, self.settings.rounds)
        return None

    def _replace_last(self, found: Assignment, before: Assignment) -> None:
        """Replace the last round's clusters by a new assignment; cluster ids and the round's change are kept."""
        state = self.state
        found = _renumber(found, before)
        metrics = _metrics(found, None, self.settings)
        metrics.pop("change")
        state.assignment = found
        state.rounds[-1] = state.rounds[-1].model_copy(update=metrics)
        state.history.replace_last(found.labels)

    def _stop_reason(self) -> StopReason | None:
        """The reason of the first rule that applies."""
        rounds = self.state.rounds
        for rule in self.spec.stopping:
            if (reason := rule.check(rounds)) is not None:
                return reason
        return StopReason.ROUNDS_DONE if len(rounds) >= self.settings.rounds else None

    def _note(self, index: int, text: str) -> None:
        self.state.notes.append(f"round {index + 1}: {text}")


def _renew_head(corpus: Corpus, plan: RoundPlan, seed: int) -> None:
    if plan.prototypes is not None:
        corpus.network.set_prototypes(plan.prototypes)
    elif plan.n_outputs is not None:
        corpus.network.replace_head(plan.n_outputs, seed)
        corpus.compute.broadcast(corpus.network.head.parameters())  # type: ignore[union-attr]


def _relative_weights(corpus: Corpus, order: NDArray[np.int64]) -> torch.Tensor | None:
    """(N,) weights of the images in the loss, with mean 1 over the rows ``order``; None if all have the same."""
    if corpus.weights is None:
        return None
    weights = torch.from_numpy(corpus.weights)
    return weights / weights[order].mean()


def _mean(losses: torch.Tensor, weights: torch.Tensor | None, rows: torch.Tensor) -> torch.Tensor:
    """Mean of (B,) losses, weighted by the weights (N,) of the images ``rows`` (B,), whose mean is 1."""
    return losses.mean() if weights is None else (losses * weights[rows].to(losses.device)).mean()


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
