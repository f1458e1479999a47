"""A pretended GPU: tensors on the CPU that Python sees on ``cuda:0``, under CUDA's rules, with its waits counted.

Without a GPU nothing shows that a tensor was left on the wrong device, or that a line makes the CPU wait for the
GPU. Inside ``pretended_gpu()`` a tensor "on cuda:0" wraps one on the CPU: numbers are real, and what CUDA refuses
is refused: operands on two devices, a generator of the CPU, NumPy on a tensor of the GPU, and communication of
tensors on the CPU, which NCCL does not know. Three things differ from a GPU: speed, the order of sums, and autocast,
which has no effect.

With ``FIFTYONE_DEEPCLUSTER_TEST_DEVICE=cuda`` the tests that use the fixture ``gpu`` run on a real GPU instead.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from unittest import mock

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_flatten, tree_map

from tests.gpu_waits import CUDA, Gpu, place

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

VARIABLE = "FIFTYONE_DEEPCLUSTER_TEST_DEVICE"
REAL = os.environ.get(VARIABLE, "") == "cuda"
CPU = torch.device("cpu")

_aten = torch.ops.aten

_COPIES = {_aten._to_copy.default, _aten.copy_.default}
# operations that accept indices on the CPU for values on the GPU, and copy them
_INDEXING = {
    _aten.index.Tensor,
    _aten._unsafe_index.Tensor,
    _aten.index_put.default,
    _aten.index_put_.default,
    _aten._index_put_impl_.default,
    _aten._unsafe_index_put.default,
}
# operations whose result, or its shape, is read by the CPU
_WAITING = {
    "_local_scalar_dense",
    "_unique2",
    "bincount",
    "equal",
    "is_nonzero",
    "masked_select",
    "nonzero",
    "unique_consecutive",
    "unique_dim",
}


class PretendedTensor(torch.Tensor):
    """A tensor on the CPU that Python sees on ``cuda:0``; C++ sees the CPU, as autograd would ask CUDA for streams."""

    inner: torch.Tensor

    @staticmethod
    def __new__(cls, inner: torch.Tensor) -> PretendedTensor:
        with torch.inference_mode(False):
            made = torch.Tensor._make_wrapper_subclass(
                cls, inner.shape, strides=inner.stride(), storage_offset=inner.storage_offset(),
                dtype=inner.dtype, layout=inner.layout, device=CPU, requires_grad=False,
            )  # fmt: skip
        made.inner = inner
        return made

    @property
    def device(self) -> torch.device:
        return CUDA

    @property
    def is_cuda(self) -> bool:
        return True

    def __repr__(self, **_: object) -> str:
        return f"PretendedTensor({self.inner!r})"

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        # outside the modes, in a thread that torch started itself: autograd's
        return _Operations.current.run(func, args, kwargs or {})


class PretendedGenerator(torch.Generator):
    """A generator that Python sees on the device that was asked for."""

    def __new__(cls, device: Any = "cpu") -> PretendedGenerator:
        made = super().__new__(cls)
        made.place = CUDA if torch.device(device).type == "cuda" else CPU
        return made

    def __init__(self, device: Any = "cpu") -> None:
        pass

    @property
    def device(self) -> torch.device:
        return self.place


class _Calls(TorchFunctionMode):
    """Calls that torch's C++ would answer from its own idea of the device."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name, first = getattr(func, "__name__", ""), args[0] if args else None
        if name in ("to", "cpu", "cuda", "type_as") and isinstance(first, torch.Tensor):
            return _moved(name, first, args[1:], kwargs)
        if name in ("tensor", "as_tensor") and _on_cuda(kwargs.get("device")):
            return _moved("to", func(*args, **{**kwargs, "device": None}), (CUDA,), {})
        generator = kwargs.get("generator")
        if generator is not None:
            wanted = CUDA if isinstance(first, PretendedTensor) or _on_cuda(kwargs.get("device")) else CPU
            if generator.device.type != wanted.type:
                raise RuntimeError(
                    f"Expected a '{wanted.type}' device type for generator but found '{generator.device.type}' "
                    f"at {place()}"
                )
        if isinstance(first, PretendedTensor):
            if name in ("numpy", "__array__"):
                raise TypeError(f"can't convert cuda:0 device type tensor to numpy at {place()}")
            if name == "tolist":
                return _moved("cpu", first, (), {}).tolist()
            if name == "one_hot":  # makes an index on what C++ holds for the device
                return PretendedTensor(func(first.inner, *args[1:], **kwargs))
        return func(*args, **kwargs)


class _Operations(TorchDispatchMode):
    """Every operation on tensors: runs on the wrapped ones, checks devices, and counts waits."""

    current: _Operations

    def __init__(self, gpu: Gpu) -> None:
        super().__init__()
        self.gpu = gpu

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return self.run(func, args, kwargs or {})

    def run(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        if func in _COPIES:
            return self._copy(func, args, kwargs)
        tensors = [item for item in tree_flatten((args, kwargs))[0] if isinstance(item, torch.Tensor)]
        there = any(isinstance(item, PretendedTensor) for item in tensors)
        made_there = _on_cuda(kwargs.get("device"))
        if there:
            self._check(func, args, [item for item in tensors if not isinstance(item, PretendedTensor)])
            self._count(func, args, kwargs)
        plain_args, plain_kwargs = tree_map(_inner, args), tree_map(_inner, kwargs)
        if made_there:
            plain_kwargs["device"] = CPU
        found = func(*plain_args, **plain_kwargs)
        if not (there or made_there):
            return found
        wrapped = tree_map(_wrapped, found)
        writes = any(a.alias_info is not None and a.alias_info.is_write for a in func._schema.arguments)
        if there and (writes or not torch.is_inference_mode_enabled()):
            return return_and_correct_aliasing(func, args, kwargs, wrapped)
        return wrapped

    def _copy(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        if func is _aten.copy_.default:
            target, source = args[0], args[1]
            if isinstance(target, PretendedTensor) != isinstance(source, PretendedTensor) and source.dim():
                self._count_copy(source, non_blocking=bool(args[2]) if len(args) > 2 else False)
            func(_inner(target), _inner(source))
            return target
        source, wanted = args[0], kwargs.get("device")
        to_cuda = isinstance(source, PretendedTensor) if wanted is None else _on_cuda(wanted)
        if isinstance(source, PretendedTensor) != to_cuda:
            self._count_copy(source, non_blocking=bool(kwargs.get("non_blocking")))
        found = func(_inner(source), **{**kwargs, "device": CPU, "non_blocking": False})
        return PretendedTensor(found) if to_cuda else found

    def _count_copy(self, source: torch.Tensor, *, non_blocking: bool) -> None:
        """A copy makes the CPU wait, unless it comes from pinned memory and was asked not to."""
        if isinstance(source, PretendedTensor):
            self.gpu.note("copy to the CPU")
        elif not (non_blocking and getattr(source, "pretends_pinned", False)):
            self.gpu.note("copy of pageable memory")

    def _check(self, func: Any, args: Any, elsewhere: list[torch.Tensor]) -> None:
        if not any(item.dim() for item in elsewhere):
            return
        if func is _aten.scatter.src and torch._C._current_graph_task_id() != -1:
            return  # a backward pass of older torch makes its zeros on the device that C++ sees
        if func not in _INDEXING:
            raise RuntimeError(
                f"Expected all tensors to be on the same device, but found cuda:0 and cpu: {func} at {place()}"
            )
        if not isinstance(args[0], PretendedTensor):
            raise RuntimeError(
                f"indices should be on the same device as the indexed tensor (cpu) at {place()}"
            )
        values = args[2] if len(args) > 2 else None
        if isinstance(values, torch.Tensor) and values.dim() and not isinstance(values, PretendedTensor):
            raise RuntimeError(f"values on the cpu are put into a tensor on cuda:0 at {place()}")
        self.gpu.note("copy of an index")

    def _count(self, func: Any, args: Any, kwargs: dict[str, Any]) -> None:
        name = func.overloadpacket.__name__
        by_mask = func in _INDEXING and any(
            isinstance(index, torch.Tensor) and index.dtype == torch.bool for index in args[1]
        )
        checked = name == "segment_reduce" and not kwargs.get("unsafe", False)
        if by_mask or checked or name in _WAITING:
            self.gpu.note(name)


def _moved(name: str, source: torch.Tensor, given: tuple[Any, ...], kwargs: dict[str, Any]) -> torch.Tensor:
    """``to`` and its relatives, by the device that Python sees."""
    device: Any = source.device
    dtype, non_blocking, form = None, False, None
    if name == "cpu":
        device = CPU
    elif name == "cuda":
        device = CUDA
    elif name == "type_as" or (given and isinstance(given[0], torch.Tensor)):
        device, dtype = given[0].device, given[0].dtype
    else:
        plain = {key: value for key, value in kwargs.items() if key not in ("copy", "other")}
        asked, dtype, non_blocking, form = torch._C._nn._parse_to(*given, **plain)
        device = device if asked is None else asked
    same = _on_cuda(device) == isinstance(source, PretendedTensor) and dtype in (None, source.dtype)
    formed = form in (None, torch.preserve_format) or source.is_contiguous(memory_format=form)
    if same and formed and not kwargs.get("copy"):
        return source
    options = {"dtype": dtype, "memory_format": form}
    chosen = {key: value for key, value in options.items() if value is not None}
    device = CUDA if _on_cuda(device) else CPU
    return _aten._to_copy.default(source, device=device, non_blocking=non_blocking, **chosen)


def _inner(item: Any) -> Any:
    return item.inner if isinstance(item, PretendedTensor) else item


def _wrapped(item: Any) -> Any:
    plain = isinstance(item, torch.Tensor) and not isinstance(item, PretendedTensor)
    return PretendedTensor(item) if plain else item


def _on_cuda(device: Any) -> bool:
    return device is not None and torch.device(device).type == "cuda"


def _pin(tensor: torch.Tensor, *_: object) -> torch.Tensor:
    if isinstance(tensor, PretendedTensor):
        raise RuntimeError(
            f"cannot pin 'torch.cuda.FloatTensor', only dense CPU tensors can be pinned at {place()}"
        )
    if getattr(tensor, "pretends_pinned", False):
        return tensor
    pinned = tensor.clone(memory_format=torch.preserve_format)
    pinned.pretends_pinned = True
    return pinned


def _sent(communicate: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
    """Communication between processes as by NCCL, which knows tensors on a GPU only."""

    def call(tensor: torch.Tensor, **kwargs: Any) -> torch.Tensor:
        if not isinstance(tensor, PretendedTensor):
            raise RuntimeError(f"No backend type associated with device type cpu at {place()}")
        return PretendedTensor(communicate(tensor.inner, **kwargs))

    return call


def _healthy(_: torch.optim.Optimizer) -> None:
    """An optimizer's check whether a GPU records a graph."""


@contextmanager
def pretended_gpu(
    free: int = 0, total: int = 2**33, capability: tuple[int, int] = (7, 0), n_gpus: int = 1
) -> Iterator[Gpu]:
    """Pretend a GPU in this thread and in those of thread pools that it starts.

    Args:
        free: free memory in bytes; images and features that do not fit stay on the CPU.
        total: memory in bytes.
        capability: compute capability; bfloat16 needs 8.0.
        n_gpus: number of GPUs that torch finds; all tensors say ``cuda:0``.
    """
    import accelerate.utils
    from accelerate import PartialState

    PartialState(cpu=True)  # kept by accelerate for the whole process
    gpu = Gpu()
    modes = _Calls, lambda: _Operations(gpu)
    submit = ThreadPoolExecutor.submit

    def submitted(pool: Any, work: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        def inside() -> Any:
            with ExitStack() as stack:
                for mode in modes:
                    stack.enter_context(mode())
                return work(*args, **kwargs)

        return submit(pool, inside)

    cuda = {
        "is_available": lambda: True,
        "device_count": lambda: n_gpus,
        "get_device_capability": lambda device=None: capability,
        "get_device_properties": lambda device=None: SimpleNamespace(total_memory=total),
        "mem_get_info": lambda device=None: (free, total),
        "memory_reserved": lambda device=None: 0,
        "memory_allocated": lambda device=None: 0,
        "set_device": lambda device: None,
        "synchronize": lambda device=None: None,
        "_lazy_init": lambda: None,
    }
    overwrites = torch.__future__.get_overwrite_module_params_on_conversion()
    with ExitStack() as stack:
        for name, answer in cuda.items():
            stack.enter_context(mock.patch.object(torch.cuda, name, answer))
        for check in ("_accelerator_graph_capture_health_check", "_cuda_graph_capture_health_check"):
            if hasattr(torch.optim.Optimizer, check):  # its name depends on torch's version
                stack.enter_context(mock.patch.object(torch.optim.Optimizer, check, _healthy))
        for name in ("reduce", "gather", "broadcast"):
            sent = _sent(getattr(accelerate.utils, name))
            stack.enter_context(mock.patch.object(accelerate.utils, name, sent))
        stack.enter_context(mock.patch.object(torch.Tensor, "pin_memory", _pin))
        stack.enter_context(mock.patch.object(torch, "Generator", PretendedGenerator))
        stack.enter_context(mock.patch.object(ThreadPoolExecutor, "submit", submitted))
        torch.__future__.set_overwrite_module_params_on_conversion(True)
        stack.callback(torch.__future__.set_overwrite_module_params_on_conversion, overwrites)
        _Operations.current = _Operations(gpu)
        for mode in modes:
            stack.enter_context(mode())
        yield gpu
