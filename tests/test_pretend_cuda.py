"""What a GPU would refuse, the pretended one refuses; what makes the CPU wait is counted."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from tests.gpu_waits import CUDA
from tests.pretend_cuda import PretendedTensor, pretended_gpu

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.gpu_waits import Gpu


@pytest.fixture
def gpu() -> Iterator[Gpu]:
    with pretended_gpu() as pretended:
        yield pretended


@pytest.fixture
def there(gpu: Gpu) -> Iterator[torch.Tensor]:
    """(3, 2) float32 on the pretended GPU, with nothing counted."""
    values = torch.arange(6.0).view(3, 2).to("cuda")
    gpu.waits.clear()
    return values


REFUSED: dict[str, tuple[Callable[[torch.Tensor], Any], str]] = {
    "sum of two devices": (lambda x: x + torch.ones(2), "same device"),
    "product of two devices": (lambda x: x @ torch.ones(2, 2), "same device"),
    "part from the CPU": (lambda x: torch.cat([x, torch.ones(1, 2)]), "same device"),
    "index of another device": (lambda x: torch.ones(3)[x[:, 0].long()], "same device as the indexed"),
    "values of another device": (
        lambda x: x.__setitem__(torch.tensor([0]), torch.ones(1, 2)),
        "values on the cpu",
    ),
    "NumPy": (lambda x: x.numpy(), "can't convert cuda:0"),
    "NumPy's own way": (np.asarray, "can't convert cuda:0"),
    "generator of the CPU": (lambda x: x.bernoulli_(0.5, generator=torch.Generator()), "'cuda' device type"),
    "generator of the GPU": (
        lambda x: torch.randperm(3, generator=torch.Generator("cuda")),
        "'cpu' device type",
    ),
    "pinned": (lambda x: x.pin_memory(), "cannot pin"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_refused(there: torch.Tensor, what: str) -> None:
    call, says = REFUSED[what]
    with pytest.raises((RuntimeError, TypeError), match=says):
        call(there)


WAITS: dict[str, tuple[Callable[[torch.Tensor], Any], int]] = {
    "arithmetic": (lambda x: (x * 2 + 1).sum(dim=0), 0),
    "number of the CPU": (lambda x: x + torch.tensor(1.0), 0),
    "argmin": (lambda x: x.argmin(dim=1), 0),
    "a number": (lambda x: float(x.sum()), 1),
    "a decision": (lambda x: bool((x > 1).any()), 1),
    "a list": (lambda x: x.tolist(), 1),
    "copy back": (lambda x: x.cpu(), 1),
    "rows that hold": (lambda x: (x > 1).nonzero(), 1),
    "a known number of rows": (lambda x: (x[:, 0] > 1).nonzero_static(size=2), 0),
    "mask": (lambda x: x[x > 1], 1),
    "bincount": (lambda x: torch.bincount(x[:, 0].long()), 1),
    "index from the CPU": (lambda x: x[torch.tensor([0, 1])], 1),
    "copy there": (lambda x: torch.ones(2).to(x.device), 1),
    "copy there from pinned memory": (
        lambda x: torch.ones(2).pin_memory().to(x.device, non_blocking=True),
        0,
    ),
    "made there": (lambda x: torch.zeros(2, device="cuda"), 0),
    "made there from numbers": (lambda x: torch.tensor([1.0, 2.0], device="cuda"), 1),
}


@pytest.mark.parametrize("what", WAITS)
def test_waits(gpu: Gpu, there: torch.Tensor, what: str) -> None:
    call, wanted = WAITS[what]
    call(there)

    assert gpu.waits.total() == wanted


def test_threads_of_pools_are_watched(gpu: Gpu, there: torch.Tensor) -> None:
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(lambda: float(there.sum())).result() == 15

    assert gpu.waits.total() == 1


def test_networks_train_there(gpu: Gpu, there: torch.Tensor, seeded: None) -> None:
    network = torch.nn.Sequential(torch.nn.Linear(2, 4), torch.nn.BatchNorm1d(4), torch.nn.ReLU()).to("cuda")
    optimizer = torch.optim.SGD(network.parameters(), 0.1)
    before = network[0].weight.detach().clone()
    network(there).square().mean().backward()
    optimizer.step()

    assert isinstance(network[0].weight, PretendedTensor)
    assert network[0].weight.device == CUDA
    assert not torch.equal(before, network[0].weight)


def test_numbers_are_those_of_the_cpu(there: torch.Tensor) -> None:
    values = torch.arange(6.0).view(3, 2)
    assert torch.equal((there @ there.T).softmax(dim=1).cpu(), (values @ values.T).softmax(dim=1))
