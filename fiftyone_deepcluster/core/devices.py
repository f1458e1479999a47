"""Device, precision and distributed processes.

Hugging Face accelerate sets up the processes (``accelerate launch``, torchrun) and their communication.
This module wraps the few operations the loop needs, so the same code runs on a CPU, one GPU or several.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fiftyone_deepcluster.errors import OptionsError

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Compute:
    """Device, precision, and rank of this process.

    Attributes:
        device: device of networks and features.
        precision: dtype of the forward pass: float32, bfloat16 or float16.
        rank: rank of this process, from 0.
        world: number of processes (world size).
    """

    device: torch.device
    precision: torch.dtype
    rank: int = 0
    world: int = 1

    def autocast(self) -> contextlib.AbstractContextManager[object]:
        """Autocast context for a forward pass; a null context for float32."""
        import torch

        if self.precision == torch.float32:
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, dtype=self.precision)

    def shard(self, n: int) -> slice:
        """Rows of ``n`` that this process works on: every ``world``-th, from ``rank``."""
        return slice(self.rank % max(n, 1), None, self.world)

    def average_gradients(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        """Average the gradients over all processes, in place."""
        if self.world == 1:
            return
        from accelerate.utils import reduce

        for parameter in parameters:
            if parameter.grad is not None:
                parameter.grad.copy_(reduce(parameter.grad, reduction="mean"))

    def all_reduce_sum(self, values: torch.Tensor) -> torch.Tensor:
        """Sum of ``values`` over all processes."""
        if self.world == 1:
            return values
        from accelerate.utils import reduce

        return reduce(values, reduction="sum")  # type: ignore[no-any-return]

    def all_reduce_any(self, flag: bool) -> bool:
        """Logical OR of ``flag`` over all processes."""
        if self.world == 1:
            return flag
        import torch

        return bool(self.all_reduce_sum(torch.tensor([float(flag)], device=self.device)).item())

    def all_reduce_min(self, count: int) -> int:
        """Minimum of ``count`` over all processes."""
        if self.world == 1:
            return count
        import torch
        from accelerate.utils import gather

        return int(gather(torch.tensor([count], device=self.device)).min())

    def wait_for_all(self) -> None:
        """Barrier of all processes."""
        if self.world > 1:
            from accelerate.utils import wait_for_everyone

            wait_for_everyone()

    def broadcast(self, tensors: Iterable[torch.Tensor]) -> None:
        """Copy the values of rank 0 to all processes, in place."""
        if self.world == 1:
            return
        from accelerate.utils import broadcast

        for tensor in tensors:
            values = tensor.detach()  # allows in-place writes to parameters, too
            values.copy_(broadcast(values.contiguous(), from_process=0))


def choose_compute(device: str, precision: str) -> Compute:
    """Resolve device and precision; ``auto`` selects the best available.

    Raises:
        OptionsError: the device is not available, or float16 on a CPU.
    """
    import torch
    from accelerate import PartialState

    # Without a GPU, accelerate needs cpu=True to use a CPU backend for communication.
    state = PartialState(cpu=not torch.cuda.is_available())
    chosen = _device(device, state.local_process_index)
    best = torch.bfloat16 if _has_bfloat16(chosen) else torch.float32
    dtypes = {"auto": best, "float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
    dtype = dtypes[precision]
    if dtype == torch.float16 and chosen.type == "cpu":
        raise OptionsError("precision='float16' needs a GPU; use 'bfloat16' or 'float32' on the CPU")
    return Compute(chosen, dtype, state.process_index, state.num_processes)


def _device(name: str, local_rank: int) -> torch.device:
    import torch

    if name == "auto":
        return torch.device("cuda", local_rank) if torch.cuda.is_available() else torch.device("cpu")
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise OptionsError(
            f"device={name!r} is not available: torch finds {torch.cuda.device_count()} GPUs; "
            "use 'cpu' or 'auto', or install a CUDA build of torch"
        )
    return device


def _has_bfloat16(device: torch.device) -> bool:
    """Whether the device supports bfloat16 in hardware; emulated, it is slower than float32."""
    import torch

    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    ask = getattr(torch.cpu, "get_capabilities", dict)  # not in older torch versions: float32 there
    able: dict[str, object] = ask()
    return bool(able.get("avx512_bf16") or able.get("amx_bf16"))
