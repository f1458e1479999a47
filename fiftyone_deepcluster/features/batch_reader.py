"""Reads decoded images onto the device in batches, ahead of the network; every process stops at the same batch."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import torch

from fiftyone_deepcluster.core.devices import send
from fiftyone_deepcluster.core.seeds import derive
from fiftyone_deepcluster.errors import CancelledError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fiftyone_deepcluster.core.devices import Compute
    from fiftyone_deepcluster.core.progress import Observer
    from fiftyone_deepcluster.images.cache.open_images import ImageStore
    from fiftyone_deepcluster.images.originals import CropSpec, Originals

_BATCHES_BETWEEN_VOTES = 4  # batches between the votes of all processes on stopping
_RESIDENT_SHARE = 0.25  # maximum share of the GPU's free memory for the decoded images
_GPU_READERS = 4  # threads that read batches for a GPU; on a CPU one, since more would slow down the network


class BatchReader:
    """Batches of decoded images, or of crops of the originals, with progress.

    Args:
        store: decoded images.
        compute: device, processes.
        observer: receives progress and can cancel.
        originals: the images at full resolution, for ``crops``.
    """

    def __init__(
        self, store: ImageStore, compute: Compute, observer: Observer, originals: Originals | None
    ) -> None:
        self.observer = observer
        self.originals = originals
        self._store = store
        self._compute = compute
        self._resident = self._load_resident()

    def pixels(self, rows: NDArray[np.int64], size: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Batches of ``size`` images, uint8 (B, C, H, W) on the device, with their rows on the CPU.

        Raises:
            CancelledError: the observer asked for it.
        """
        for (pixels,), taken in self._read_ahead(rows, size, lambda _, chunk: self._read(chunk)):
            yield pixels, taken

    def crops(
        self, rows: NDArray[np.int64], size: int, specs: Sequence[CropSpec], seed: int
    ) -> Iterator[tuple[list[torch.Tensor], torch.Tensor]]:
        """Batches of crops of the original images, uint8 (B, C, H, W) for each spec, with their rows on the CPU.

        Raises:
            CancelledError: the observer asked for it.
        """
        originals = self.originals

        def read(index: int, chunk: NDArray[np.int64]) -> tuple[list[torch.Tensor], torch.Tensor]:
            found = [] if originals is None else originals.crops(chunk, specs, derive(seed, index))
            return [torch.from_numpy(crops).permute(0, 3, 1, 2) for crops in found], torch.from_numpy(chunk)

        yield from self._read_ahead(rows, size, read)

    def rows(self, rows: NDArray[np.int64], size: int) -> Iterator[torch.Tensor]:
        """``rows`` in batches of ``size``, without images.

        Raises:
            CancelledError: the observer asked for it.
        """
        chunks = torch.from_numpy(rows).split(size)
        shared = self._compute.all_reduce_min(len(chunks))
        for i, taken in enumerate(chunks):
            self._stop_if_cancelled(i, shared)
            yield taken
            self.observer.advance(len(taken) * self._compute.world)

    def _read_ahead(
        self,
        rows: NDArray[np.int64],
        size: int,
        read: Callable[[int, NDArray[np.int64]], tuple[list[torch.Tensor], torch.Tensor]],
    ) -> Iterator[tuple[list[torch.Tensor], torch.Tensor]]:
        """Results of ``read`` for the index and rows of each batch, on the device; threads read ahead."""
        chunks = [rows[at : at + size] for at in range(0, len(rows), size)]
        shared = self._compute.all_reduce_min(len(chunks))
        readers = _GPU_READERS if self._on_gpu else 1
        with ThreadPoolExecutor(readers, initializer=self._enter_reader) as pool:
            ahead = deque(pool.submit(read, i, chunk) for i, chunk in enumerate(chunks[:readers]))
            for i, chunk in enumerate(chunks):
                self._stop_if_cancelled(i, shared)
                found, taken = ahead.popleft().result()
                if i + readers < len(chunks):
                    ahead.append(pool.submit(read, i + readers, chunks[i + readers]))
                yield [pixels.to(self._compute.device, non_blocking=True) for pixels in found], taken
                self.observer.advance(len(chunk) * self._compute.world)

    def _stop_if_cancelled(self, batch: int, shared: int) -> None:
        """Raise CancelledError in all processes at the same batch, since one that stopped alone would block the others.

        Args:
            batch: index of the next batch.
            shared: number of batches that every process has.
        """
        if self._compute.world == 1:
            stop = self.observer.cancelled()
        else:
            asked = batch < shared and batch % _BATCHES_BETWEEN_VOTES == 0
            stop = asked and self._compute.all_reduce_any(self.observer.cancelled())
        if stop:
            raise CancelledError("cancelled")

    def _read(self, rows: NDArray[np.int64]) -> tuple[list[torch.Tensor], torch.Tensor]:
        """Pixels of ``rows`` and the rows; in pinned memory for a GPU, to be copied asynchronously."""
        taken = torch.from_numpy(rows)
        if self._on_gpu:
            taken = taken.pin_memory()
        if self._resident is not None:
            return [self._resident[send(taken, self._resident.device)]], taken
        pixels = self._decoded(rows)
        return [pixels.pin_memory() if self._on_gpu else pixels], taken

    def _decoded(self, rows: NDArray[np.int64]) -> torch.Tensor:
        """Pixels of ``rows`` from the store, uint8 (B, C, H, W) on the CPU."""
        return torch.from_numpy(self._store.read(rows)).permute(0, 3, 1, 2)

    def _enter_reader(self) -> None:
        """Pin memory for the GPU of this process, in a thread that reads; by default it would be the first GPU."""
        if self._on_gpu:
            torch.cuda.set_device(self._compute.device)

    @property
    def _on_gpu(self) -> bool:
        return self._compute.device.type == "cuda"

    def _load_resident(self) -> torch.Tensor | None:
        """All images on the GPU, if they fit into a share of its free memory; else None."""
        if not self._on_gpu:
            return None
        device = self._compute.device
        free, _ = torch.cuda.mem_get_info(device)
        if int(np.prod(self._store.shape, dtype=np.int64)) > _RESIDENT_SHARE * free:
            return None
        n, height, width, channels = self._store.shape
        pixels = torch.empty((n, channels, height, width), dtype=torch.uint8, device=device)
        for at in range(0, n, 4096):
            rows = np.arange(at, min(n, at + 4096))
            pixels[at : at + len(rows)] = self._decoded(rows).to(device)
        return pixels
