"""Comparing many vectors with many points, in chunks: one matrix product each, within a bound of memory.

Squared distances come from one matrix product, |x - c|² = |x|² + (|c|² - 2 x·c), with everything shifted to
the centers' mean first, so that vectors far from the origin lose no digits. No N x K matrix is ever held.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from fiftyone_deepcluster.core.contracts import count_broken
from fiftyone_deepcluster.core.process_state import blas_of_one_thread, set_torch_threads
from fiftyone_deepcluster.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import torch

T = TypeVar("T")

# Floats in one chunk of distances: 8 MB stay in a CPU's cache, 64 MB are enough to fill a GPU.
_CPU_CHUNK = 2**21
_GPU_CHUNK = 2**24


class CenterField:
    """Centers made ready to be compared with chunk after chunk.

    On a CPU the product goes through NumPy: its BLAS is faster than torch's on half of the machines and as
    fast on the others, and it finds the place of a row's least number ten times faster.

    Args:
        centers: (K, D) float32, K >= 1.
        skip: (K,) bool, centers that are not there.
        shift: (D,) a point near all of them; by default their mean.
    """

    def __init__(
        self, centers: torch.Tensor, skip: torch.Tensor | None = None, shift: torch.Tensor | None = None
    ) -> None:
        import torch

        self.shift = centers.mean(dim=0) if shift is None else shift
        self.centers = centers - self.shift
        offset = self.centers.square().sum(dim=1)
        self.largest = offset.max()
        if skip is not None:
            offset = offset.masked_fill(skip, float("inf"))
        # A column of ones beside the vectors adds the offset within the product.
        self._weights = torch.cat([-2 * self.centers, offset[:, None]], dim=1).T.contiguous()
        self._buffers = threading.local()

    def scores(self, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Shifted vectors (B, D) and |c|² - 2 x·c (B, K), both valid until the thread's next call."""
        import numpy as np
        import torch

        n, own = len(rows), self._buffers
        if n > getattr(own, "n", 0):
            own.n = n
            own.rows = rows.new_ones(n, len(self._weights))
            own.scores = rows.new_empty(n, self._weights.shape[1])
        padded, scores = own.rows[:n], own.scores[:n]
        torch.sub(rows, self.shift, out=padded[:, :-1])
        if rows.device.type == "cpu":
            np.matmul(padded.numpy(), self._weights.numpy(), out=scores.numpy())
        else:
            torch.mm(padded, self._weights, out=scores)
        return padded[:, :-1], scores

    def nearest(self, rows: torch.Tensor) -> torch.Tensor:
        """(B,) int64, the nearest center of each vector of a chunk (B, D)."""
        return _place_of_least(self.scores(rows)[1])

    def two_nearest(self, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Nearest center of each vector of a chunk (B, D), its score, and the second least score."""
        _, scores = self.scores(rows)
        own = _place_of_least(scores)
        least = scores.gather(1, own[:, None])[:, 0]
        scores.scatter_(1, own[:, None], float("inf"))
        return own, least, scores.amin(dim=1)

    def two(
        self, rows: torch.Tensor, labels: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """As ``nearest_two``, for one chunk (B, D)."""
        import torch

        shifted, scores = self.scores(rows)
        own = _place_of_least(scores)
        if labels is not None:
            own = torch.where(labels < 0, own, labels)
        # Exactly, not by the product: near its center a vector's distance is a difference of large numbers.
        first = (shifted - self.centers[own]).square_().sum(dim=1)
        scores.scatter_(1, own[:, None], float("inf"))
        second = (scores.amin(dim=1) + shifted.square().sum(dim=1)).clamp_min_(0.0)
        return own, first, torch.maximum(second, first) if labels is None else second


def _place_of_least(scores: torch.Tensor) -> torch.Tensor:
    import torch

    if scores.device.type == "cpu":
        return torch.from_numpy(scores.numpy().argmin(axis=1))
    return scores.argmin(dim=1)


def chunks(n: int, width: int, device: torch.device) -> Iterator[slice]:
    """Slices of 0..n, so that a chunk of ``width`` floats a row keeps within the bound of memory."""
    budget = _CPU_CHUNK if device.type == "cpu" else _GPU_CHUNK
    step = max(1, budget // max(width, 1))
    return (slice(begin, min(begin + step, n)) for begin in range(0, n, step))


def each_chunk(n: int, width: int, device: torch.device, work: Callable[[slice], T]) -> list[T]:
    """``work`` for every one of ``chunks``, in order; on a CPU side by side, one chunk a thread.

    Threads inside of the single steps wait for each other after every step; whole chunks need not.
    """
    import torch

    parts = list(chunks(n, width, device))
    threads = torch.get_num_threads() if device.type == "cpu" else 1
    if threads == 1 or len(parts) < 2 * threads:
        return [work(rows) for rows in parts]
    with (
        blas_of_one_thread(),
        ThreadPoolExecutor(threads, initializer=set_torch_threads, initargs=(1,)) as pool,
    ):
        return list(pool.map(work, parts))


def check_finite(vectors: torch.Tensor, who: str) -> None:
    """Whether ``vectors`` is a non-empty (N, D) tensor of finite numbers.

    Raises:
        InputError: it is not.
    """
    import torch

    if not isinstance(vectors, torch.Tensor):
        raise InputError(
            f"{who} got vectors of type {type(vectors).__name__}; give a tensor (N, D) of float32"
        )
    if vectors.ndim != 2 or 0 in vectors.shape:
        shape = tuple(vectors.shape)
        raise InputError(f"{who} got vectors of shape {shape}; give (images, dimensions), both 1 or more")
    broken = count_broken(vectors)
    if broken:
        raise InputError(
            f"{who} got {broken}; look for images that make the network overflow, or lower learning_rate"
        )
