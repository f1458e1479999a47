"""The network applied to all images, streamed: memory does not grow with the number of images.

Images come from a store of decoded uint8 pixels; only what is asked for (one vector an image) is kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import torch

from fiftyone_deepcluster.backbones.layers import capture_outputs, choose_layers, layers_of
from fiftyone_deepcluster.core.types import Batch
from fiftyone_deepcluster.errors import CancelledError, ImagesError, OptionsError
from fiftyone_deepcluster.images.augment import plain

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fiftyone_deepcluster.backbones.network import Network
    from fiftyone_deepcluster.core.devices import Compute
    from fiftyone_deepcluster.core.progress import Observer
    from fiftyone_deepcluster.images.augment import Augmentation
    from fiftyone_deepcluster.images.cache.open_images import ImageStore

_BATCHES_BETWEEN_VOTES = 4  # processes ask each other so often whether to stop
_RESIDENT_SHARE = 0.25  # of the GPU's free memory, at most, for the images themselves


def check_features(found: torch.Tensor) -> torch.Tensor:
    """The same features (N, D).

    Raises:
        ImagesError: the network gave something that is not a finite number.
    """
    if not bool(torch.isfinite(found).all()):
        raise ImagesError(
            "the network's features are not finite numbers; its weights are broken: "
            "lower learning_rate, or check the weights file"
        )
    return found


class Corpus:
    """All readable images and the network that looks at them.

    Args:
        store: decoded images.
        network: moved to the device.
        compute: device, precision, processes.
        size: side in pixels that the network sees.
        batch_size: images in a batch, over all processes.
        observer: told of progress, asked about cancelling.
        given: (N, D) float32 features that take the place of the network's.
        augment: how training images change, for those who embed changed images too.

    Attributes:
        groups: (N,) int64 who belongs together, e.g. the patient of each image, -1 unknown; None: nobody says.
        initial: (N,) int64 labels for the first round, -1 unknown; None: nobody says.
    """

    def __init__(
        self,
        store: ImageStore,
        network: Network,
        compute: Compute,
        *,
        size: int,
        batch_size: int,
        observer: Observer,
        given: torch.Tensor | None = None,
        augment: Augmentation | None = None,
    ) -> None:
        self.store = store
        self.compute = compute
        self.network = network.to(compute.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._given = None if given is None else given.to(compute.device)
        self.size = size
        self.batch_size = batch_size
        self.observer = observer
        self.augment = augment
        self.groups: NDArray[np.int64] | None = None
        self.initial: NDArray[np.int64] | None = None
        self._resident = self._load_resident()

    def __len__(self) -> int:
        return int(self.store.shape[0])

    def features(self, *, augmented: bool = False, seed: int = 0) -> torch.Tensor:
        """(N, D) float32 features of all images, on the device.

        Args:
            augmented: look at a random change of every image, as in training; else at the image itself.
            seed: of the changes.

        Raises:
            ImagesError: the network gave something that is not a finite number.
        """
        if self._given is not None:
            return self._given
        self.network.eval()
        found = torch.zeros(len(self), self.network.dim, device=self.compute.device)
        self.observer.phase("embed", len(self))
        rows = np.arange(len(self))[self.compute.shard(len(self))]
        batches = self._changed_batches(rows, seed) if augmented else self.plain_batches(rows)
        with torch.inference_mode(), self.compute.autocast():
            for batch in batches:
                found[batch.rows.to(found.device)] = self.network.features(batch.images).float()
        return check_features(self.compute.all_reduce_sum(found))

    def logits(self) -> torch.Tensor:
        """(N, K) float32 logits of all images, not augmented, on the device."""
        self.network.eval()
        found = torch.zeros(len(self), self.network.n_outputs, device=self.compute.device)
        self.observer.phase("predict", len(self))
        rows = np.arange(len(self))[self.compute.shard(len(self))]
        with torch.inference_mode(), self.compute.autocast():
            for batch in self.plain_batches(rows):
                found[batch.rows.to(found.device)] = self.network(batch.images).logits.float()
        return self.compute.all_reduce_sum(found)

    def plain_batches(self, rows: NDArray[np.int64]) -> Iterator[Batch]:
        """Batches of ``rows`` in order, not augmented."""
        for pixels, taken in self._pixels(rows, self.batch_size):
            yield Batch(plain(pixels, self.size), taken)

    def _changed_batches(self, rows: NDArray[np.int64], seed: int) -> Iterator[Batch]:
        """Batches of ``rows`` in order, every image changed at random as in training, once."""
        if self.augment is None:
            yield from self.plain_batches(rows)
            return
        generator = torch.Generator().manual_seed(seed + self.compute.rank)
        for pixels, taken in self._pixels(rows, self.batch_size):
            images, _ = self.augment.views(pixels, self.size, generator)
            yield Batch(images[: len(taken)], taken)  # of several crops the first

    def maps(
        self, rows: NDArray[np.int64], layer: str | None = None
    ) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """What one layer of the backbone gives for ``rows``, not augmented, batch by batch.

        Args:
            rows: in the order wanted.
            layer: the layer's name as in ``backbones.layers``; None: the last one with maps of several cells.

        Yields:
            (B,) int64 rows on the CPU, and (B, C, H, W) float32 on the device ((B, D) of a layer without maps).

        Raises:
            InputError: no such layer, or features were given in place of images.
        """
        for taken, (found,) in self.maps_of(rows, None if layer is None else [layer]):
            yield taken, found

    def maps_of(
        self, rows: NDArray[np.int64], names: Sequence[str] | None
    ) -> Iterator[tuple[torch.Tensor, list[torch.Tensor]]]:
        """What several layers give for ``rows``, batch by batch.

        Args:
            rows: in the order wanted.
            names: of the layers; None: the last one with maps.

        Yields:
            (B,) int64 rows, and what each layer gives, in the network's order; as ``maps``.

        Raises:
            InputError: as ``maps``.
        """
        network = self.network.eval()
        layers = layers_of(network, self._blank())
        maps = [layer for layer in layers if int(np.prod(layer.shape[1:])) > 1]
        wanted = choose_layers(layers, names, "layer") if names else maps[-1:]
        if not wanted:
            raise OptionsError("this backbone has no layer with maps; choose a backbone of convolutions")
        for batch in self.plain_batches(rows):
            with torch.no_grad(), self.compute.autocast():
                found = capture_outputs(network, batch.images, wanted, torch.Tensor.clone)
            yield batch.rows, [maps.float() for maps in found]

    def pixel_batches(self, rows: NDArray[np.int64]) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """``rows`` on the CPU and their whole decoded images (B, C, H, W) uint8 on the device, in order.

        Raises:
            OptionsError: features were given in place of images.
        """
        self._blank()
        for pixels, taken in self._pixels(rows, self.batch_size):
            yield taken, pixels

    def training_batches(self, order: NDArray[np.int64], augment: Augmentation, seed: int) -> Iterator[Batch]:
        """Augmented batches in ``order``; every process gets its own share of each.

        The last batch is dropped where it holds a single image: batch norm cannot learn from one.
        """
        generator = torch.Generator().manual_seed(seed + self.compute.rank)
        share = self._share()
        share_of_rows = order[self.compute.shard(len(order))][: self.steps(len(order)) * share]
        self.observer.phase("train", len(order))
        for pixels, rows in self._pixels(share_of_rows, share):
            images, small = augment.views(pixels, self.size, generator)
            yield Batch(images, rows, small)

    def steps(self, n_drawn: int) -> int:
        """Batches that ``n_drawn`` images make: the same number in every process."""
        each, rest = divmod(n_drawn // self.compute.world, self._share())
        return max(1, each + (rest > 1))

    def _blank(self) -> torch.Tensor:
        """A black image (1, C, size, size) as the network takes it, where there are images at all."""
        if self._given is not None:
            raise OptionsError(
                "features were given in place of images, so there are no layers or patches to look at; "
                "use encoder='pooled' without layer and bands, or give images"
            )
        return torch.zeros(1, self.store.shape[3], self.size, self.size, device=self.compute.device)

    def _share(self) -> int:
        return max(1, self.batch_size // self.compute.world)

    def _pixels(self, rows: NDArray[np.int64], size: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """uint8 (B, C, H, W) on the device, read one batch ahead."""
        chunks = [rows[at : at + size] for at in range(0, len(rows), size)]
        shared = self.compute.all_reduce_min(len(chunks))
        with ThreadPoolExecutor(1) as reader:
            ahead = reader.submit(self._read, chunks[0]) if chunks else None
            for i, chunk in enumerate(chunks):
                if self._cancelled(i, shared):
                    raise CancelledError("cancelled")
                pixels = ahead.result()  # type: ignore[union-attr]
                ahead = reader.submit(self._read, chunks[i + 1]) if i + 1 < len(chunks) else None
                yield pixels.to(self.compute.device, non_blocking=True), torch.from_numpy(chunk)
                self.observer.advance(len(chunk) * self.compute.world)

    def _cancelled(self, batch: int, shared: int) -> bool:
        """Whether to stop. Processes that share the work stop together, or each would wait for the other.

        Args:
            batch: number of the batch to come.
            shared: batches that every process has.
        """
        if self.compute.world == 1:
            return self.observer.cancelled()
        asked = batch < shared and batch % _BATCHES_BETWEEN_VOTES == 0
        return asked and self.compute.all_reduce_any(self.observer.cancelled())

    def _read(self, rows: NDArray[np.int64]) -> torch.Tensor:
        if self._resident is not None:
            return self._resident[torch.from_numpy(rows).to(self._resident.device)]
        pixels = torch.from_numpy(self.store.read(rows)).permute(0, 3, 1, 2)
        return pixels.pin_memory() if self.compute.device.type == "cuda" else pixels

    def _load_resident(self) -> torch.Tensor | None:
        """All images on the GPU where they are small beside its memory."""
        device = self.compute.device
        if device.type != "cuda":
            return None
        free, _ = torch.cuda.mem_get_info(device)
        if int(np.prod(self.store.shape, dtype=np.int64)) > _RESIDENT_SHARE * free:
            return None
        n, height, width, channels = self.store.shape
        pixels = torch.empty((n, channels, height, width), dtype=torch.uint8, device=device)
        for at in range(0, n, 4096):
            rows = np.arange(at, min(n, at + 4096))
            pixels[at : at + len(rows)] = (
                torch.from_numpy(self.store.read(rows)).permute(0, 3, 1, 2).to(device)
            )
        return pixels
