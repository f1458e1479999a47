"""Device, precision and distributed processes.

Hugging Face accelerate sets up the processes (``accelerate launch``, torchrun) and their communication.
This module wraps the few operations the loop needs, so the same code runs on a CPU, one GPU or several.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fiftyone_deepcluster.core.arguments import short
from fiftyone_deepcluster.core.words import counted
from fiftyone_deepcluster.errors import OptionsError, ProcessError

if TYPE_CHECKING:
    import torch

DEVICE_NAME = r"^(auto|cpu|cuda(:\d+)?)$"
"""Pattern of the names of devices."""

_MESSAGE = 2**26
"""Maximum number of values in one message between processes."""

_RESULT_SHARE = 0.3
"""Maximum share of the GPU's free memory for one result: its reduction and clustering need memory as well."""


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

    def device_for(self, n_numbers: int) -> torch.device:
        """Where to keep a result of ``n_numbers`` float32: the device, or the CPU if it would fill the GPU."""
        import torch

        if self.device.type != "cuda":
            return self.device
        free = torch.cuda.mem_get_info(self.device)[0]
        free += torch.cuda.memory_reserved(self.device) - torch.cuda.memory_allocated(self.device)
        return torch.device("cpu") if 4 * n_numbers > _RESULT_SHARE * free else self.device

    def shard(self, n: int) -> slice:
        """Rows of ``n`` that this process works on: every ``world``-th, from ``rank``; at least one, unless n is 0."""
        return slice(self.rank % max(n, 1), None, self.world)

    def average_gradients(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        """Average the gradients over all processes, in place; all gradients in one message."""
        if self.world == 1:
            return
        import torch

        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        if not gradients:
            return
        averaged = self._reduced(torch.cat([gradient.flatten() for gradient in gradients])) / self.world
        for gradient, part in zip(gradients, averaged.split([g.numel() for g in gradients]), strict=True):
            gradient.copy_(part.view_as(gradient))

    def all_reduce_sum(self, values: torch.Tensor) -> torch.Tensor:
        """Sum of ``values`` over all processes, on the device of ``values``."""
        return values if self.world == 1 else self._reduced(values)

    def sum_shards(self, rows: torch.Tensor) -> torch.Tensor:
        """Complete (N, ...) ``rows``, of which every process has computed its ``shard``; in place.

        Rows not computed must be 0. They are sent in parts, so that memory is needed for one part only.
        """
        if self.world == 1:
            return rows
        if self.rank >= len(rows):
            rows.zero_()  # with fewer rows than processes, another process has computed the same row
        each = max(1, _MESSAGE // max(1, rows[:1].numel()))
        for part in rows.split(each):
            part.copy_(self._reduced(part))
        return rows

    def all_reduce_any(self, flag: bool) -> bool:
        """Logical OR of ``flag`` over all processes."""
        if self.world == 1:
            return flag
        import torch

        return bool(self._reduced(torch.tensor([float(flag)])).item())

    def all_reduce_min(self, count: int) -> int:
        """Minimum of ``count`` over all processes."""
        if self.world == 1:
            return count
        import torch
        from accelerate.utils import gather

        with _other_processes():
            return int(gather(torch.tensor([count], device=self.device)).min())

    def wait_for_all(self) -> None:
        """Barrier of all processes."""
        if self.world > 1:
            from accelerate.utils import wait_for_everyone

            wait_for_everyone()

    def broadcast(self, tensors: Iterable[torch.Tensor]) -> None:
        """Copy the values of rank 0 to all processes, in place; the tensors may be on any device."""
        if self.world == 1:
            return
        from accelerate.utils import broadcast

        for tensor in tensors:
            values = tensor.detach()  # allows in-place writes to parameters, too
            with _other_processes():
                sent = broadcast(values.to(self.device).contiguous(), from_process=0)
            values.copy_(sent)

    def _reduced(self, values: torch.Tensor) -> torch.Tensor:
        """Sum over all processes, on the device of ``values``; NCCL sends tensors of the GPU only."""
        from accelerate.utils import reduce

        with _other_processes():
            found = reduce(values.to(self.device).contiguous(), reduction="sum")
        return found.to(values.device)  # type: ignore[no-any-return]


@contextlib.contextmanager
def _other_processes() -> Iterator[None]:
    """Raise ProcessError if communication with the other processes fails.

    Raises:
        ProcessError: another process ended, or cannot be reached.
    """
    import torch

    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        raise ProcessError(
            "another process of this job ended or cannot be reached, so this one stops, too; its own error says why. "
            "Finished rounds are kept: start again with the same run_dir, or resume the run"
        ) from error


def send(values: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Copy ``values`` from the CPU to ``device``; to a GPU asynchronously, from pinned memory."""
    if device.type == "cuda" and values.device.type == "cpu":
        return values.pin_memory().to(device, non_blocking=True)
    return values.to(device)


def choose_compute(device: str, precision: str) -> Compute:
    """Resolve device and precision; ``auto`` selects the best available.

    Raises:
        OptionsError: no such device, or it is not available or does not suit the number of processes; or float16 on a
            CPU.
    """
    import torch
    from accelerate import PartialState

    if not isinstance(device, str) or not re.fullmatch(DEVICE_NAME, device):
        raise OptionsError(f"device={short(device)} is not known; use 'auto', 'cpu', 'cuda', or 'cuda:1'")
    # Without a GPU, accelerate needs cpu=True to use a CPU backend for communication.
    state = PartialState(cpu=device == "cpu" or not torch.cuda.is_available())
    started = int(os.environ.get("WORLD_SIZE", "1"))
    if started > 1 and state.num_processes == 1 and "LOCAL_RANK" in os.environ:
        # each process would do the whole work, and write the same files
        raise OptionsError(
            f"this job has {started} processes, but accelerate was set up for one; on a CPU create no PartialState or "
            "Accelerator before, or one with cpu=True"
        )
    chosen = _device(device, state.local_process_index, state.num_processes)
    if chosen.type == "cpu" and state.backend == "nccl":
        raise OptionsError(
            f"device={device!r} does not suit processes that already communicate by NCCL, for GPUs; set "
            "ACCELERATE_USE_CPU=true for the job, or leave device out"
        )
    best = torch.bfloat16 if has_bfloat16(chosen) else torch.float32
    dtypes = {"auto": best, "float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
    dtype = dtypes[precision]
    if dtype == torch.float16 and chosen.type == "cpu":
        raise OptionsError("precision='float16' needs a GPU; use 'bfloat16' or 'float32' on the CPU")
    return Compute(chosen, dtype, state.process_index, state.num_processes)


def _device(name: str, local_rank: int, world: int) -> torch.device:
    """The device of this process: with several processes, each has the GPU of its number."""
    import torch

    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    device, n_gpus = torch.device(name), torch.cuda.device_count()
    if device.type != "cuda":
        return device
    if world > 1 and device.index is not None:
        raise OptionsError(
            f"device={name!r} would put all {world} processes on one GPU; use 'cuda' or 'auto', which give each "
            "process its own, and choose GPUs by CUDA_VISIBLE_DEVICES"
        )
    index = local_rank if device.index is None else device.index
    if index < n_gpus:
        return torch.device("cuda", index)
    if world > 1 and n_gpus:
        raise OptionsError(
            f"process {index + 1} on this machine has no GPU: torch finds {n_gpus}; start as many processes as GPUs"
        )
    raise OptionsError(
        f"device={name!r} is not available: torch finds {counted(n_gpus, 'GPU')}; "
        "use 'cpu' or 'auto', or install a CUDA build of torch"
    )


def has_bfloat16(device: torch.device) -> bool:
    """Whether the device supports bfloat16 in hardware; emulated, it is slower than float32."""
    import torch

    if device.type == "cuda":
        # not torch.cuda.is_bf16_supported, which asks the current device; AMD's GPUs all have it
        return torch.version.hip is not None or torch.cuda.get_device_capability(device) >= (8, 0)
    ask = getattr(torch.cpu, "get_capabilities", dict)  # not in older torch versions: float32 there
    able: dict[str, object] = ask()
    return bool(able.get("avx512_bf16") or able.get("amx_bf16"))
