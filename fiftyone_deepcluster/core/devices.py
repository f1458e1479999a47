"""Where the numbers are crunched: device, precision, and the processes of one job.

Hugging Face accelerate knows the processes (``accelerate launch``, torchrun) and how they talk;
this module adds only what one loop needs of it, so the same code runs on a CPU, one GPU or several.
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
    """A device, a precision, and this process' place among the others.

    Attributes:
        device: where networks and features live.
        precision: of the networks' forward pass: float32, bfloat16 or float16.
        rank: number of this process, from 0.
        world: number of processes that share the work.
    """

    device: torch.device
    precision: torch.dtype
    rank: int = 0
    world: int = 1

    def autocast(self) -> contextlib.AbstractContextManager[object]:
        """Mixed precision for a forward pass; nothing in float32."""
        import torch

        if self.precision == torch.float32:
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, dtype=self.precision)

    def shard(self, n: int) -> slice:
        """The part of ``n`` rows in order that this process works on: every ``world``-th."""
        return slice(self.rank % max(n, 1), None, self.world)

    def average_gradients(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        """Mean of the gradients over all processes, in place."""
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

    def all_reduce_any(self, wish: bool) -> bool:
        """Whether any process wishes so: the same answer in all of them."""
        if self.world == 1:
            return wish
        import torch

        return bool(self.all_reduce_sum(torch.tensor([float(wish)], device=self.device)).item())

    def all_reduce_min(self, count: int) -> int:
        """The smallest of all processes' counts."""
        if self.world == 1:
            return count
        import torch
        from accelerate.utils import gather

        return int(gather(torch.tensor([count], device=self.device)).min())

    def broadcast(self, tensors: Iterable[torch.Tensor]) -> None:
        """Give every process the first one's values, in place."""
        if self.world == 1:
            return
        from accelerate.utils import broadcast

        for tensor in tensors:
            values = tensor.detach()  # parameters too may be written in place this way
            values.copy_(broadcast(values.contiguous(), from_process=0))


def choose_compute(device: str, precision: str) -> Compute:
    """The device and precision asked for, or the best there is for ``auto``.

    Raises:
        OptionsError: the device does not exist on this machine.
    """
    import torch
    from accelerate import PartialState

    # Without a GPU accelerate has to be told that its processes are to talk over the CPU.
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
            f"device={name!r} is not there: torch sees {torch.cuda.device_count()} GPUs; "
            "use 'cpu' or 'auto', or install a CUDA build of torch"
        )
    return device


def _has_bfloat16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 in hardware; emulated it would be slower than float32."""
    import torch

    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    ask = getattr(torch.cpu, "get_capabilities", dict)  # newer torch; older ones stay with float32
    able: dict[str, object] = ask()
    return bool(able.get("avx512_bf16") or able.get("amx_bf16"))
