"""The GPU of a test, real or pretended, and how often the CPU waited for it in each phase of a run."""

from __future__ import annotations

import os
import sys
import threading
from collections import Counter
from dataclasses import dataclass, field

import torch

CUDA = torch.device("cuda", 0)
_PACKAGE = f"fiftyone_deepcluster{os.sep}"


@dataclass
class Gpu:
    """The device of a test, and what happened on it while it was pretended.

    Attributes:
        device: for options and tensors.
        pretended: False on a real GPU, where nothing is counted.
        waits: how often the CPU waited for the device, by source line, phase and reason.
        phase: name of the current phase, set by ``Watching``.
        batches: number of batches by phase, set by ``Watching``.
    """

    device: torch.device = CUDA
    pretended: bool = True
    waits: Counter[str] = field(default_factory=Counter)
    phase: str = ""
    batches: Counter[str] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, reason: str) -> None:
        """Count a wait at the line of the package that caused it."""
        with self._lock:
            self.waits[f"{self.phase} {place()} {reason}"] += 1

    def per_batch(self, phase: str) -> tuple[float, list[str]]:
        """Waits per batch of a phase, and their places, most frequent first; waits of once a phase do not count."""
        batches = self.batches[phase]
        found = Counter(
            {k: n for k, n in self.waits.items() if k.startswith(f"{phase} ") and 2 * n >= batches}
        )
        return found.total() / max(batches, 1), [f"{n} of {place}" for place, n in found.most_common()]


class Watching:
    """An observer that notes phases and batches."""

    def __init__(self, gpu: Gpu) -> None:
        self._gpu = gpu

    def phase(self, name: str, total: int) -> None:
        self._gpu.phase = name

    def advance(self, n: int) -> None:
        self._gpu.batches[self._gpu.phase] += 1

    def round_done(self, entry: object, rounds: int) -> None:
        self._gpu.phase = "between rounds"

    def cancelled(self) -> bool:
        return False


def place() -> str:
    """File and line of the package that is running."""
    frame = sys._getframe(1)
    while frame is not None:
        name = frame.f_code.co_filename
        if _PACKAGE in name:
            return f"{name.rsplit(_PACKAGE, 1)[1]}:{frame.f_lineno}"
        frame = frame.f_back
    return "outside the package"
