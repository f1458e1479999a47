"""The network's outputs for several views of every image, from the images or from cached maps."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
import torch

from fiftyone_deepcluster.backbones.cut import upper_part
from fiftyone_deepcluster.backbones.layers import FEATURES_LAYER, Layer, capture_outputs
from fiftyone_deepcluster.features.cached_maps import CachedMaps, room_for
from fiftyone_deepcluster.features.corpus import check_features
from fiftyone_deepcluster.features.streaming import averaged
from fiftyone_deepcluster.images.augment import plain

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from fiftyone_deepcluster.features.corpus import Corpus
    from fiftyone_deepcluster.features.views import Views

FEATURES = Layer(FEATURES_LAYER, "", "", 0, ())
"""The backbone's output, as a layer."""


def view_outputs(
    corpus: Corpus, views: Views, layers: Sequence[Layer], most: int | None = None
) -> Iterator[tuple[torch.Tensor, list[torch.Tensor]]]:
    """Rows and outputs of ``layers`` for the views of this process' share of the images, batch by batch.

    From the maps in ``corpus.cached`` where they are of the same views, else from the images. Of given features
    (N, V, D) the V vectors of an image are its views.

    Args:
        corpus: the images.
        views: their views.
        layers: the layers.
        most: only the first so many views; None: all.

    Yields:
        (B,) int64 rows on the CPU, and for each layer (V, B, D) float32 on the device, averaged over the map.

    Raises:
        ImagesError: NaN or infinite values.
        OptionsError: features with one vector for each image were given.
    """
    rows = np.arange(len(corpus))[corpus.compute.shard(len(corpus))]
    given = corpus.given_views() if layers == [FEATURES] else None
    if given is not None:
        for taken in torch.from_numpy(rows).split(corpus.batch_size):
            yield taken, [given[taken.to(given.device), :most].transpose(0, 1)]
        return
    cached = corpus.cached if corpus.cached is not None and corpus.cached.views == views else None
    corpus.network.eval()
    source = _from_images(corpus, views, rows) if cached is None else _from_maps(corpus, cached, rows)
    for taken, batches in source:
        parts = []
        with torch.inference_mode(), corpus.compute.autocast():
            for images in islice(batches, most):
                upper = None if cached is None else cached.upper
                found = capture_outputs(corpus.network, images, layers, _pooled, upper=upper)
                parts.append([check_features(values) for values in found])
        yield taken, [torch.stack(values) for values in zip(*parts, strict=True)]


def image_features(corpus: Corpus, views: Views) -> torch.Tensor:
    """(N, D) float32 features of the images themselves, which are their first view, scaled to length 1.

    Advances the current phase by N.
    """
    rows, parts = [], []
    for taken, (features,) in view_outputs(corpus, views, [FEATURES], most=1):
        rows.append(taken)
        parts.append(torch.nn.functional.normalize(features[0], dim=1))
    own = torch.cat(parts)
    found = torch.zeros(len(corpus), own.shape[1], device=own.device)
    found[torch.cat(rows).to(own.device)] = own
    return corpus.compute.sum_shards(found)


def cache_maps(corpus: Corpus, views: Views, layer: Layer) -> bool:
    """Set ``corpus.cached`` to the maps of ``layer``.

    Returns:
        Whether there are cached maps: False where there is no room for them, or where the backbone cannot be cut at
        ``layer``.
    """
    rows = np.arange(len(corpus))
    _, seen = next(corpus.pixel_batches(rows[:2]))
    upper = upper_part(corpus.network.eval(), layer, plain(seen, corpus.size))
    maps = None if upper is None else room_for((len(corpus), views.n, *layer.shape), corpus.compute.precision)
    if upper is None or maps is None:
        return False
    corpus.observer.phase("cache", len(corpus))
    for taken, batches in _from_images(corpus, views, rows):
        with torch.inference_mode(), corpus.compute.autocast():
            for view, images in enumerate(batches):
                (found,) = capture_outputs(corpus.network, images, [layer], torch.Tensor.clone)
                maps[taken, view] = found.to(maps)
    corpus.cached = CachedMaps(views, upper, maps)
    return True


def _from_images(
    corpus: Corpus, views: Views, rows: NDArray[np.int64]
) -> Iterator[tuple[torch.Tensor, Iterator[torch.Tensor]]]:
    """Batches of rows, and all views of their images, one view at a time."""
    for taken, pixels in corpus.pixel_batches(rows):
        yield taken, views.of(pixels, corpus.size)


def _from_maps(
    corpus: Corpus, cached: CachedMaps, rows: NDArray[np.int64]
) -> Iterator[tuple[torch.Tensor, Iterator[torch.Tensor]]]:
    """Batches of rows, and the maps of all their views, one view at a time."""
    for taken in corpus.row_batches(rows, corpus.batch_size):
        yield taken, (corpus.on_device(cached.one_view(taken, view)) for view in range(cached.views.n))


def _pooled(maps: torch.Tensor) -> torch.Tensor:
    return averaged(maps).float()
