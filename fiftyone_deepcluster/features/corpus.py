"""Applies the network to all images in batches, so that memory holds the vectors of all images, but not their pixels.

Images are read from a store of decoded uint8 pixels, a file that need not fit into memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from fiftyone_deepcluster.backbones.layers import capture_outputs, choose_layers, layers_of
from fiftyone_deepcluster.core.seeds import derive
from fiftyone_deepcluster.core.types import Batch
from fiftyone_deepcluster.errors import ImagesError, OptionsError
from fiftyone_deepcluster.features.batch_reader import BatchReader
from fiftyone_deepcluster.images.augment import plain

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fiftyone_deepcluster.backbones.layers import Layer
    from fiftyone_deepcluster.backbones.network import Network
    from fiftyone_deepcluster.core.devices import Compute
    from fiftyone_deepcluster.core.progress import Observer
    from fiftyone_deepcluster.core.types import Outputs
    from fiftyone_deepcluster.features.cached_maps import CachedMaps
    from fiftyone_deepcluster.images.augment import Augmentation
    from fiftyone_deepcluster.images.cache.open_images import ImageStore
    from fiftyone_deepcluster.images.originals import Originals

_CHECKED_AT_ONCE = 2**16  # rows of features


def check_features(found: torch.Tensor) -> torch.Tensor:
    """Return the features (N, D) unchanged if they are finite.

    Raises:
        ImagesError: NaN or infinite features.
    """
    # In parts, since the comparison makes copies.
    if not all(bool(torch.isfinite(part).all()) for part in found.split(_CHECKED_AT_ONCE)):
        raise ImagesError(
            "the network's features contain NaN or infinite values, so its weights are invalid; "
            "lower learning_rate, or check the weights file"
        )
    return found


class Corpus:
    """All readable images, and the network applied to them.

    Args:
        store: decoded images.
        network: moved to the device.
        compute: device, precision, processes.
        size: side of the network's input in pixels.
        batch_size: images per batch, over all processes.
        observer: receives progress and can cancel.
        given: (N, D) float32 features used instead of the network's, or (N, V, D) of V views of every image.
        augment: augmentation of the training images, for ``features(augmented=True)``.
        originals: the images at full resolution, for augmentations that cut crops from them.

    Attributes:
        groups: (N,) int64 group of each image, e.g. its patient, -1 unknown; None without groups.
        initial: (N,) int64 labels for the first round, -1 unknown; None without labels.
        fixed: (N,) bool, the images that keep their label of ``initial``; None if no image does.
        weights: (N,) float32 weights of the images in the loss; None if all have the same.
        other_vectors: (N, D) float32 vectors of another source, rows of NaN where there is none; None without such.
        cached: maps of a layer whose lower layers are frozen; if set, the network is trained on them. None: on images.
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
        originals: Originals | None = None,
    ) -> None:
        self.store = store
        self.compute = compute
        self.network = network.to(compute.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._given = None if given is None else given.to(compute.device)
        self.size = size
        self.batch_size = batch_size
        self.augment = augment
        self.groups: NDArray[np.int64] | None = None
        self.initial: NDArray[np.int64] | None = None
        self.fixed: NDArray[np.bool_] | None = None
        self.weights: NDArray[np.float32] | None = None
        self.other_vectors: NDArray[np.float32] | None = None
        self.cached: CachedMaps | None = None
        self._reader = BatchReader(store, compute, observer, originals)

    def __len__(self) -> int:
        return int(self.store.shape[0])

    @property
    def observer(self) -> Observer:
        """Receives progress and can cancel; may be replaced."""
        return self._reader.observer

    @observer.setter
    def observer(self, observer: Observer) -> None:
        self._reader.observer = observer

    def features(self, *, augmented: bool = False, seed: int = 0, mirror: bool = False) -> torch.Tensor:
        """(N, D) float32 features of all images, on the device, or on the CPU where the GPU has no room for them.

        Args:
            augmented: embed one random augmentation of every image, as in training, instead of the image.
            seed: random seed of the augmentation.
            mirror: embed the mirror image of every image instead of the image; given features stay as they are.

        Raises:
            ImagesError: NaN or infinite features.
        """
        if self._given is not None:
            return self._given if self._given.ndim == 2 else self._given.mean(dim=1)
        self.network.eval()
        found = self._zeros(self.network.dim)
        self.observer.phase("embed", len(self))
        rows = np.arange(len(self))[self.compute.shard(len(self))]
        batches = self._changed_batches(rows, seed) if augmented else self.plain_batches(rows, mirror=mirror)
        with torch.inference_mode(), self.compute.autocast():
            for batch in batches:
                put_rows(found, batch, self.network.features(batch.images).float())
        return check_features(self.compute.sum_shards(found))

    def features_at(self, rows: NDArray[np.int64]) -> torch.Tensor:
        """(R, D) float32 features of these rows only, not augmented, on the device; every process computes them all."""
        if self._given is not None:
            return self._given[torch.from_numpy(rows).to(self._given.device)]
        self.network.eval()
        with torch.inference_mode(), self.compute.autocast():
            return torch.cat(
                [self.network.features(batch.images).float() for batch in self.plain_batches(rows)]
            )

    def logits(self) -> torch.Tensor:
        """(N, K) float32 logits of all images, not augmented; where ``features`` are."""
        self.network.eval()
        found = self._zeros(self.network.n_outputs)
        self.observer.phase("predict", len(self))
        rows = np.arange(len(self))[self.compute.shard(len(self))]
        with torch.inference_mode(), self.compute.autocast():
            for batch in self.plain_batches(rows):
                put_rows(found, batch, self.network(batch.images).logits.float())
        return self.compute.sum_shards(found)

    def plain_batches(self, rows: NDArray[np.int64], *, mirror: bool = False) -> Iterator[Batch]:
        """Batches of ``rows`` in order, not augmented; with ``mirror`` mirrored from left to right."""
        for pixels, taken in self._reader.pixels(rows, self.batch_size):
            images = plain(pixels, self.size)
            yield Batch(images.flip(-1) if mirror else images, taken)

    def _changed_batches(self, rows: NDArray[np.int64], seed: int) -> Iterator[Batch]:
        """Batches of ``rows`` in order, with one random augmentation per image, as in training."""
        if self.augment is None:
            yield from self.plain_batches(rows)
            return
        for batch in self._augmented_batches(rows, self.batch_size, self.augment, seed):
            yield Batch(batch.images[: len(batch.rows)], batch.rows)  # the first of several crops

    def _augmented_batches(
        self, rows: NDArray[np.int64], size: int, augment: Augmentation, seed: int
    ) -> Iterator[Batch]:
        """Batches of ``rows`` in order, augmented; crops are cut from the originals if the augmentation needs them."""
        generator = torch.Generator().manual_seed(seed + self.compute.rank)
        specs = augment.specs(self.size)
        if specs and self._reader.originals is not None:
            crops_seed = derive(seed, "crops", self.compute.rank)
            for crops, taken in self._reader.crops(rows, size, specs, crops_seed):
                images, small = augment.views_of(crops, self.size, generator)
                yield Batch(images, taken, small)
            return
        for pixels, taken in self._reader.pixels(rows, size):
            images, small = augment.views(pixels, self.size, generator)
            yield Batch(images, taken, small)

    def maps(
        self, rows: NDArray[np.int64], layer: str | None = None
    ) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Outputs of one layer of the backbone for ``rows``, not augmented, batch by batch.

        Args:
            rows: images, in the order of the output.
            layer: name as in ``backbones.layers``; None: the last layer with maps of several cells.

        Yields:
            (B,) int64 rows on the CPU, and (B, C, H, W) float32 on the device ((B, D) for a layer without maps).

        Raises:
            InputError: no such layer, or features were given instead of images.
        """
        for taken, (found,) in self.maps_of(rows, None if layer is None else [layer]):
            yield taken, found

    def maps_of(
        self, rows: NDArray[np.int64], names: Sequence[str] | None, *, mirror: bool = False
    ) -> Iterator[tuple[torch.Tensor, list[torch.Tensor]]]:
        """Outputs of several layers for ``rows``, batch by batch.

        Args:
            rows: images, in the order of the output.
            names: layer names; None: the last layer with maps.
            mirror: of the mirror images.

        Yields:
            (B,) int64 rows, and the output of each layer in network order; as ``maps``.

        Raises:
            InputError: as for ``maps``.
        """
        network, layers = self.network.eval(), self.layers()
        maps = [layer for layer in layers if int(np.prod(layer.shape[1:])) > 1]
        wanted = choose_layers(layers, names, "layer") if names else maps[-1:]
        if not wanted:
            raise OptionsError(
                "this backbone has no layer with feature maps; choose a convolutional backbone"
            )
        for batch in self.plain_batches(rows, mirror=mirror):
            with torch.no_grad(), self.compute.autocast():
                found = capture_outputs(network, batch.images, wanted, torch.Tensor.clone)
            yield batch.rows, [maps.float() for maps in found]

    def layers(self) -> list[Layer]:
        """The layers of the network.

        Raises:
            OptionsError: features were given instead of images.
        """
        return layers_of(self.network, self._blank())

    def given_views(self) -> torch.Tensor | None:
        """(N, V, D) given features of V views of every image; None where images were given.

        Raises:
            OptionsError: features with one vector for each image were given.
        """
        if self._given is not None and self._given.ndim != 3:
            raise OptionsError(
                "features with one vector for each image were given, but views of every image are needed; give "
                "features of shape (images, views, dimensions), or images"
            )
        return self._given

    def outputs(self, batch: Batch) -> Outputs:
        """The network's outputs for a batch of ``training_batches``."""
        if self.cached is None:
            return self.network(*batch.views)  # type: ignore[no-any-return]
        upper = self.cached.upper.train(self.network.training)
        return self.network.outputs_of(upper(batch.images))  # type: ignore[no-any-return]

    def pixel_batches(self, rows: NDArray[np.int64]) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Batches of ``rows`` on the CPU and their decoded images (B, C, H, W) uint8 on the device, in order.

        Raises:
            OptionsError: features were given instead of images.
        """
        self._blank()
        for pixels, taken in self._reader.pixels(rows, self.batch_size):
            yield taken, pixels

    def training_batches(self, order: NDArray[np.int64], augment: Augmentation, seed: int) -> Iterator[Batch]:
        """Augmented batches in ``order``, of which every process gets its share; with ``cached``, maps of random views.

        A last batch of a single image is dropped: batch norm needs two or more.
        """
        share = self._share()
        share_of_rows = order[self.compute.shard(len(order))][: self.steps(len(order)) * share]
        self.observer.phase("train", len(order))
        if self.cached is not None:
            generator = torch.Generator().manual_seed(seed + self.compute.rank)
            for rows in self.row_batches(share_of_rows, share):
                yield Batch(self.on_device(self.cached.random_views(rows, generator)), rows)
            return
        yield from self._augmented_batches(share_of_rows, share, augment, seed)

    def steps(self, n_drawn: int) -> int:
        """Number of batches for ``n_drawn`` images, equal in every process."""
        each, rest = divmod(n_drawn // self.compute.world, self._share())
        return max(1, each + (rest > 1))

    def row_batches(self, rows: NDArray[np.int64], size: int) -> Iterator[torch.Tensor]:
        """``rows`` in batches, with progress; for a pass that needs no images.

        Raises:
            CancelledError: the observer asked for it.
        """
        return self._reader.rows(rows, size)

    def on_device(self, maps: torch.Tensor) -> torch.Tensor:
        """Maps (B, C, H, W) on the device, channels last as the network; or tokens (B, T, C)."""
        order = torch.channels_last if maps.ndim == 4 else torch.preserve_format
        return maps.to(self.compute.device, memory_format=order)

    def _blank(self) -> torch.Tensor:
        """A black image (1, C, size, size); raises OptionsError where features were given instead of images."""
        if self._given is not None:
            raise OptionsError(
                "features were given instead of images, so layers and patches are not available; "
                "use encoder='pooled' without layer, bands and columns, or give images"
            )
        return torch.zeros(1, self.store.shape[3], self.size, self.size, device=self.compute.device)

    def _share(self) -> int:
        return max(1, self.batch_size // self.compute.world)

    def _zeros(self, width: int) -> torch.Tensor:
        """(N, width) float32 zeros, on the device if it has room for them."""
        return torch.zeros(len(self), width, device=self.compute.device_for(len(self) * width))


def put_rows(found: torch.Tensor, batch: Batch, values: torch.Tensor) -> None:
    """Store the values (B, ...) of a batch in ``found`` (N, ...), which is on the device or on the CPU."""
    if found.device.type == "cpu":
        found[batch.rows] = values.cpu()
    else:
        found[batch.device_rows] = values
