"""Batch norm whose statistics are shared by a group of processes, on GPUs and on CPUs.

torch's own ``SyncBatchNorm`` needs GPUs.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

if TYPE_CHECKING:
    from fiftyone_deepcluster.core.devices import Compute

_BatchNorm = nn.modules.batchnorm._BatchNorm


class SyncedNorm(_BatchNorm):
    """Batch norm over the batches of all processes of a group; in evaluation an ordinary batch norm.

    Args:
        norm: the layer to replace; parameters and buffers are taken from it, and the dropout and activation (``drop``,
            ``act``) that timm's batch norm includes.
        compute: this process, of several.
        at_most: processes per group, in order of their rank.
    """

    def __init__(self, norm: _BatchNorm, compute: Compute, at_most: int) -> None:
        super().__init__(norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats)
        self.weight, self.bias = norm.weight, norm.bias
        self.running_mean, self.running_var = norm.running_mean, norm.running_var
        self.num_batches_tracked = norm.num_batches_tracked
        self._compute = compute
        self._at_most = at_most
        self.drop, self.act = (getattr(norm, name, nn.Identity()) for name in ("drop", "act"))

    def _check_input_dim(self, input: torch.Tensor) -> None:  # noqa: A002 - torch's name
        if input.ndim < 2:
            raise ValueError(f"batch norm needs a batch of vectors or maps, not {tuple(input.shape)}")

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002 - torch's name
        """(B, C, ...) -> the same shape."""
        found = self._shared(input) if self.training else super().forward(input)
        return self.act(self.drop(found))  # type: ignore[no-any-return]

    def _shared(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002 - torch's name
        axes = [axis for axis in range(input.ndim) if axis != 1]
        values = input.float()
        count = values.new_full((1,), values.numel() / values.shape[1])
        total = torch.cat([values.sum(axes), values.square().sum(axes), count])
        summed: torch.Tensor = _GroupSum.apply(total, self._compute, self._at_most)  # type: ignore[no-untyped-call]
        sums, squares = summed[:-1].chunk(2)
        n = summed[-1].detach()
        mean = sums / n
        variance = (squares / n - mean.square()).clamp_min(0)
        self._track(mean.detach(), (variance * n / (n - 1).clamp_min(1)).detach())
        shape = [1, -1] + [1] * (input.ndim - 2)
        scale = (variance + self.eps).rsqrt()
        found = (values - mean.view(shape)) * scale.view(shape)
        if self.affine:
            found = found * self.weight.view(shape) + self.bias.view(shape)
        return found.to(input.dtype)

    def _track(self, mean: torch.Tensor, variance: torch.Tensor) -> None:
        if self.running_mean is None or self.running_var is None:
            return
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
        momentum = self.momentum
        if momentum is None:  # a cumulative mean
            momentum = 1.0 / float(self.num_batches_tracked or 1)
        self.running_mean.lerp_(mean, momentum)
        self.running_var.lerp_(variance, momentum)


def sync_norms(module: nn.Module, compute: Compute, at_most: int) -> nn.Module:
    """Replace every batch norm by one whose statistics are shared, in place; nothing with a single process.

    Args:
        module: network that is trained by all processes.
        compute: rank and number of processes.
        at_most: processes per group, in order of their rank; 1: statistics are not shared.
    """
    if compute.world == 1 or at_most == 1:
        return module
    for parent in list(module.modules()):
        for name, child in parent.named_children():
            if isinstance(child, _BatchNorm) and not isinstance(child, SyncedNorm):
                setattr(parent, name, SyncedNorm(child, compute, at_most).train(child.training))
    return module


class _GroupSum(torch.autograd.Function):
    """Sum over the processes of the own group, with its gradient, which is the sum of the gradients."""

    @staticmethod
    def forward(ctx: Any, values: torch.Tensor, compute: Compute, at_most: int) -> torch.Tensor:
        ctx.group = compute, at_most
        return _group_sum(values, compute, at_most)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        return _group_sum(gradient, *ctx.group), None, None


def _group_sum(values: torch.Tensor, compute: Compute, at_most: int) -> torch.Tensor:
    """The sum of ``values`` over the own group; every group has a row in one message of all processes."""
    groups = values.new_zeros(math.ceil(compute.world / at_most), len(values))
    own = compute.rank // at_most
    groups[own] = values
    return compute.all_reduce_sum(groups)[own]
