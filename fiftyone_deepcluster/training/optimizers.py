"""Optimizers of backbone and head: the backbone's is kept between rounds, the head's is new with each new head."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch

if TYPE_CHECKING:
    from fiftyone_deepcluster.backbones.network import Network
    from fiftyone_deepcluster.core.devices import Compute

_LARC_EPSILON = 1e-8
OptimizerName = Literal["sgd", "adamw", "rmsprop"]


@dataclass(frozen=True)
class Cosine:
    """Linear warm-up and one cosine decay over the whole run (SGDR without its resets, Loshchilov and Hutter 2017).

    Attributes:
        rounds: number of rounds of the run.
        warmup: rounds of linear warm-up.
        first: share of the peak learning rate at the start of the warm-up.
        last: share of the peak learning rate at the end of the run.
    """

    rounds: int
    warmup: float = 0.0
    first: float = 0.1
    last: float = 0.001

    def factor(self, at: float) -> float:
        """Share of the peak learning rate after ``at`` rounds, a fractional number."""
        if at < self.warmup:
            return self.first + (1.0 - self.first) * at / self.warmup
        done = min(1.0, (at - self.warmup) / max(self.rounds - self.warmup, 1e-9))
        return self.last + (1.0 - self.last) * 0.5 * (1.0 + math.cos(math.pi * done))


@dataclass(frozen=True)
class OptimizerSpec:
    """Optimizer, learning rates and schedule.

    Attributes:
        optimizer: ``sgd``, ``adamw`` or ``rmsprop``. The head's is new in every round: its classes change, so its old
            momentum would be noise. RMSprop has no momentum and Keras' constants
            (decay 0.9, epsilon 1e-8), as in the code of DAC's authors.
        learning_rate: of the backbone; the peak with ``one_cycle``.
        head_learning_rate: of the head; None: the backbone's.
        momentum: of SGD, in the backbone.
        head_momentum: of SGD, in the head.
        weight_decay: of backbone and head.
        one_cycle: new optimizers with a one-cycle schedule in every round; otherwise the learning rate is
            constant, and the backbone's optimizer is kept for the whole run.
        cosine: schedule of the learning rates over the whole run; not with ``one_cycle``.
        average: decay of the exponential moving average of the backbone's weights in a round, which replaces them at
            its end; 0: no average.
        trust: LARC's trust coefficient, for SGD: each layer's step is scaled by the length of its weights relative to
            that of its gradient (You, Gitman and Ginsburg 2017, without clipping); None: no scaling.
    """

    optimizer: OptimizerName
    learning_rate: float
    head_learning_rate: float | None = None
    momentum: float = 0.9
    weight_decay: float = 1e-5
    one_cycle: bool = False
    cosine: Cosine | None = None
    head_momentum: float = 0.0
    average: float = 0.0
    trust: float | None = None


class Optimizer:
    """Updates backbone and head together.

    Args:
        network: the network whose trainable parameters are updated.
        spec: optimizer, learning rates and schedule.
        compute: averages gradients over processes.
    """

    def __init__(self, network: Network, spec: OptimizerSpec, compute: Compute) -> None:
        self._network = network
        self._spec = spec
        self._compute = compute
        self._backbone = self._make(network.backbone, spec.learning_rate, spec.momentum)
        self._head: torch.optim.Optimizer | None = None
        self._schedules: list[torch.optim.lr_scheduler.LRScheduler] = []
        self._rounds_begun = 0
        self._averages: list[torch.Tensor] = []
        self._scaler = torch.amp.GradScaler(compute.device.type, enabled=compute.precision == torch.float16)

    def begin_round(self, steps: int, rate_factor: float = 1.0, *, open_ended: bool = False) -> None:
        """Create a new optimizer for the head; with one_cycle also for the backbone.

        Args:
            steps: batches of the round; if it is open-ended, of its first epoch.
            rate_factor: factor of the learning rates where no schedule sets them.
            open_ended: whether the number of epochs is not known yet. As no cycle can be planned then, ``one_cycle``
                becomes a linear warm-up in the first epoch, and the peak after it.
        """
        spec, network = self._spec, self._network
        rate = spec.head_learning_rate or spec.learning_rate
        self._head = None if network.head is None else self._make(network.head, rate, spec.head_momentum)
        self._schedules = []
        self._averages = [weights.detach().clone() for weights in self._trained()] if spec.average else []
        self._rounds_begun += 1
        if spec.cosine is not None:
            self._add_cosine(spec.cosine, steps)
        else:
            self._scale(rate_factor)
        if not spec.one_cycle:
            return
        self._backbone = self._make(network.backbone, spec.learning_rate, spec.momentum)
        for optimizer, peak in ((self._backbone, spec.learning_rate), (self._head, rate)):
            if optimizer is None:
                continue
            if open_ended:
                self._schedules.append(torch.optim.lr_scheduler.LinearLR(optimizer, 1 / steps, 1.0, steps))
                continue
            self._schedules.append(
                torch.optim.lr_scheduler.OneCycleLR(
                    optimizer, peak, total_steps=max(2, steps), cycle_momentum=False
                )
            )

    def _scale(self, rate_factor: float) -> None:
        """Scale the learning rates of the spec by ``rate_factor``; a resumed optimizer has those of the last round."""
        rate = self._spec.learning_rate
        for optimizer, base in ((self._backbone, rate), (self._head, self._spec.head_learning_rate or rate)):
            for group in [] if optimizer is None else optimizer.param_groups:
                group["lr"] = base * rate_factor

    def step(self, loss: torch.Tensor) -> None:
        """Backpropagate and update all parameters."""
        parts = [optimizer for optimizer in (self._backbone, self._head) if optimizer is not None]
        for optimizer in parts:
            optimizer.zero_grad(set_to_none=True)
        self._scaler.scale(loss).backward()
        self._compute.average_gradients(self._network.parameters())
        for optimizer in parts:
            if self._spec.trust is not None:
                self._scaler.unscale_(optimizer)
                scale_by_trust(optimizer, self._spec.trust, self._spec.weight_decay)
            self._scaler.step(optimizer)
        self._scaler.update()
        for schedule in self._schedules:
            schedule.step()
        with torch.no_grad():
            for average, weights in zip(self._averages, self._trained(), strict=False):
                average.lerp_(weights, 1 - self._spec.average)

    def end_round(self) -> None:
        """Replace the backbone's weights by their moving average, if the spec asks for it."""
        with torch.no_grad():
            for average, weights in zip(self._averages, self._trained(), strict=False):
                weights.copy_(average)

    def state_dict(self) -> dict[str, Any]:
        """State of the backbone's optimizer and the loss scale; the head's optimizer is new in every round."""
        state: dict[str, Any] = {"scaler": self._scaler.state_dict(), "turn": self._rounds_begun}
        if self._backbone is not None and not self._spec.one_cycle:
            state["backbone"] = self._backbone.state_dict()
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Resume from ``state_dict``."""
        self._scaler.load_state_dict(state["scaler"])
        self._rounds_begun = int(state["turn"])
        if self._backbone is not None and "backbone" in state:
            self._backbone.load_state_dict(state["backbone"])

    def _add_cosine(self, cosine: Cosine, steps: int) -> None:
        index = self._rounds_begun - 1
        for optimizer in (self._backbone, self._head):
            if optimizer is not None:
                self._schedules.append(
                    torch.optim.lr_scheduler.LambdaLR(
                        optimizer, lambda step: cosine.factor(index + step / steps)
                    )
                )

    def _trained(self) -> list[torch.nn.Parameter]:
        """The backbone's parameters that are trained."""
        return [weights for weights in self._network.backbone.parameters() if weights.requires_grad]

    def _make(self, module: torch.nn.Module, rate: float, momentum: float) -> torch.optim.Optimizer | None:
        parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
        if not parameters:
            return None
        decay = self._spec.weight_decay if self._spec.trust is None else 0.0  # LARC adds it to the gradients
        if self._spec.optimizer == "adamw":
            return torch.optim.AdamW(parameters, rate, weight_decay=decay)
        if self._spec.optimizer == "rmsprop":
            return torch.optim.RMSprop(parameters, rate, alpha=0.9, eps=1e-8, weight_decay=decay)
        return torch.optim.SGD(parameters, rate, momentum=momentum, weight_decay=decay)


def scale_by_trust(optimizer: torch.optim.Optimizer, trust: float, weight_decay: float) -> None:
    """LARC without clipping: replace each gradient g of weights w by r (g + d w), r = trust |w| / (|g| + d |w|).

    Args:
        optimizer: whose parameters have gradients.
        trust: trust coefficient.
        weight_decay: d; parameters without weights or gradients other than 0 keep their gradient.
    """
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            if parameter.grad is None:
                continue
            with torch.no_grad():
                weights, gradient = parameter.norm(), parameter.grad.norm()
                rate = trust * weights / (gradient + weight_decay * weights + _LARC_EPSILON)
                scaled = (parameter.grad + weight_decay * parameter) * rate
                parameter.grad = torch.where((weights > 0) & (gradient > 0), scaled, parameter.grad)
