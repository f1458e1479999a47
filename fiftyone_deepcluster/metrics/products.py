"""Distances between many vectors and many centers, in chunks of bounded memory.

Squared distances of a chunk come from one matrix product, |x - c|² = |x|² + (|c|² - 2 x·c), after the mean of
the centers is subtracted, so that vectors far from the origin lose no precision. No N x K matrix is stored.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from fiftyone_deepcluster.core.contracts import describe_non_finite
from fiftyone_deepcluster.core.process_state import blas_of_one_thread, set_torch_threads
from fiftyone_deepcluster.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import torch

T = TypeVar("T")

# Floats in one chunk of distances: 8 MB fit a CPU's cache. On a GPU few large chunks keep it busy: with a million
# centers, each chunk has only some hundred vectors. A fixed share of the memory, whatever is free of it, since the
# sizes of chunks decide on the last bits.
_CPU_CHUNK = 2**21
_GPU_CHUNKS = 2**24, 2**28
_GPU_SHARE = 1 / 80


class CenterField:
    """Centers prepared for distances to one chunk of vectors after another.

    On a CPU the product runs in NumPy: its BLAS is faster than torch's on half of the machines and as fast on
    the others, and its argmin over rows is ten times faster.

    Args:
        centers: (K, D) float32, K >= 1.
        skip: (K,) bool, centers to exclude.
        shift: (D,), a point near all centers, which is subtracted; by default their mean.
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
        # A column of ones appended to the vectors adds the offset within the product.
        self._weights = torch.cat([-2 * self.centers, offset[:, None]], dim=1).T.contiguous()
        self._buffers = threading.local()

    def scores(self, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Shifted vectors (B, D) and |c|² - 2 x·c (B, K); buffers, valid until the thread's next call."""
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
        """Index of the nearest center (B,) int64 for a chunk of vectors (B, D)."""
        return _argmin_of_rows(self.scores(rows)[1])

    def two_nearest(self, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Index of the nearest center for a chunk (B, D), its score, and the second lowest score, each (B,)."""
        _, scores = self.scores(rows)
        own = _argmin_of_rows(scores)
        least = scores.gather(1, own[:, None])[:, 0]
        scores.scatter_(1, own[:, None], float("inf"))
        return own, least, scores.amin(dim=1)

    def two(
        self, rows: torch.Tensor, labels: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Center, squared distance to it, and to the nearest other center, for a chunk (B, D); each (B,).

        Args:
            rows: (B, D) float32.
            labels: (B,) int64, centers to use instead of the nearest ones; -1: the nearest.
        """
        import torch

        shifted, scores = self.scores(rows)
        own = _argmin_of_rows(scores)
        if labels is not None:
            own = torch.where(labels < 0, own, labels)
        # Not from the product: for small distances it is a difference of large numbers and loses precision.
        first = (shifted - self.centers[own]).square_().sum(dim=1)
        scores.scatter_(1, own[:, None], float("inf"))
        second = (scores.amin(dim=1) + shifted.square().sum(dim=1)).clamp_min_(0.0)
        return own, first, torch.maximum(second, first) if labels is None else second


def _argmin_of_rows(scores: torch.Tensor) -> torch.Tensor:
    import torch

    if scores.device.type == "cpu":
        return torch.from_numpy(scores.numpy().argmin(axis=1))
    return scores.argmin(dim=1)


def chunks(n: int, width: int, device: torch.device) -> Iterator[slice]:
    """Slices of 0..n such that a chunk with ``width`` floats per row stays within the memory bound."""
    step = max(1, _chunk_size(device) // max(width, 1))
    return (slice(begin, min(begin + step, n)) for begin in range(0, n, step))


def _chunk_size(device: torch.device) -> int:
    import torch

    if device.type != "cuda":
        return _CPU_CHUNK
    floats = torch.cuda.get_device_properties(device).total_memory // 4
    return int(min(max(_GPU_SHARE * floats, _GPU_CHUNKS[0]), _GPU_CHUNKS[1]))


def each_chunk(n: int, width: int, device: torch.device, work: Callable[[slice], T]) -> list[T]:
    """Results of ``work`` for every slice of ``chunks``, in order; on a CPU in parallel, one chunk per thread.

    Threads within single operations would synchronize after each of them; whole chunks need not.
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


def all_equal(vectors: torch.Tensor) -> bool:
    """Whether several vectors (N, D) are all the same, so that there are no clusters to find."""
    return len(vectors) > 1 and bool((vectors == vectors[0]).all())


def check_finite(vectors: torch.Tensor, who: str) -> None:
    """Check that ``vectors`` is a non-empty (N, D) tensor of finite numbers.

    Raises:
        InputError: it is not; the message begins with ``who``.
    """
    import torch

    if not isinstance(vectors, torch.Tensor):
        raise InputError(
            f"{who} got vectors of type {type(vectors).__name__}; give a tensor (N, D) of float32"
        )
    if vectors.ndim != 2 or 0 in vectors.shape:
        shape = tuple(vectors.shape)
        raise InputError(f"{who} got vectors of shape {shape}; give (images, dimensions), both 1 or more")
    non_finite = describe_non_finite(vectors)
    if non_finite:
        raise InputError(
            f"{who} got {non_finite}; check the images for values that overflow in the network, or lower learning_rate"
        )
