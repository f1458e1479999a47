"""Which device a process gets, and what several processes send to each other."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import accelerate
import pytest
import torch

from fiftyone_deepcluster.core.devices import Compute, choose_compute, send
from fiftyone_deepcluster.errors import OptionsError
from tests.gpu_waits import CUDA
from tests.pretend_cuda import pretended_gpu

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def job(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Call it to pretend a job of ``world`` processes on this machine, in the process of number ``rank``."""

    def start(rank: int, world: int, backend: str = "nccl") -> None:
        state = SimpleNamespace(
            process_index=rank, local_process_index=rank, num_processes=world, backend=backend
        )
        monkeypatch.setattr(accelerate, "PartialState", lambda **_: state)

    return start


@pytest.mark.parametrize("name", ["auto", "cuda"])
def test_every_process_has_a_gpu_of_its_own(job: Any, name: str) -> None:
    with pretended_gpu(n_gpus=2):
        job(rank=1, world=2)
        assert choose_compute(name, "auto").device == torch.device("cuda", 1)


def test_one_gpu_for_several_processes_is_refused(job: Any) -> None:
    with pretended_gpu(n_gpus=2):
        job(rank=0, world=2)
        with pytest.raises(OptionsError, match="would put all 2 processes on one GPU"):
            choose_compute("cuda:1", "auto")
        job(rank=2, world=3)
        with pytest.raises(OptionsError, match="process 3 on this machine has no GPU: torch finds 2"):
            choose_compute("auto", "auto")


def test_one_process_may_name_its_gpu() -> None:
    with pretended_gpu(n_gpus=2):
        assert choose_compute("cuda:1", "float32").device == torch.device("cuda", 1)
        with pytest.raises(OptionsError, match=r"device='cuda:2' is not available: torch finds 2 GPUs"):
            choose_compute("cuda:2", "float32")


def test_processes_of_gpus_do_not_compute_on_the_cpu(job: Any) -> None:
    job(rank=0, world=2)
    with pytest.raises(OptionsError, match="ACCELERATE_USE_CPU=true"):
        choose_compute("cpu", "float32")


def test_processes_that_do_not_know_each_other_are_refused(job: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    job(rank=0, world=1)
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_RANK", "0")
    with pytest.raises(OptionsError, match="this job has 2 processes, but accelerate was set up for one"):
        choose_compute("cpu", "float32")


def test_bfloat16_is_asked_of_the_chosen_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    with pretended_gpu(n_gpus=2):
        old_and_new = {0: (7, 5), 1: (9, 0)}
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: old_and_new[device.index])
        chosen = [choose_compute(f"cuda:{index}", "auto").precision for index in (0, 1)]

    assert chosen == [torch.float32, torch.bfloat16]


def test_what_would_fill_the_gpu_stays_on_the_cpu() -> None:
    compute = Compute(CUDA, torch.float32)
    with pretended_gpu(free=4000):
        assert compute.device_for(100) == CUDA
        assert compute.device_for(1000).type == "cpu"


def test_sending_waits_for_nothing() -> None:
    with pretended_gpu() as gpu:
        there = send(torch.arange(3), CUDA)
        assert there.device == CUDA
        assert gpu.waits.total() == 0
        torch.arange(3).to(CUDA)
        assert gpu.waits.total() == 1
    assert send(there.inner, torch.device("cpu")) is there.inner
