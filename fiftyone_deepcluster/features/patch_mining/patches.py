"""Activations of the patches of an image at several scales, and the spatial cells of the patches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy as np
    import torch
    from numpy.typing import NDArray

    from fiftyone_deepcluster.features.corpus import Corpus

CELLS = 5
"""The whole image and its four quarters."""


Scale = tuple["torch.Tensor", "torch.Tensor"]
"""Activations (B, P, D) float32 of P patches per image, and patch centers (P, 2), (y, x) in 0..1."""


@dataclass(frozen=True)
class Patches:
    """How patches are extracted.

    Attributes:
        source: ``crops``: each crop of the image is passed through the network (as in the paper); ``maps``: averaged
            windows of a layer's maps, by one forward pass per image.
        scales: sides of the patches as shares of the image side.
        stride: step between patches, as a share of the image side.
        layer: layer of the activations; None: the network's features (crops), or the last layer with maps (maps).
    """

    source: Literal["crops", "maps"]
    scales: tuple[float, ...]
    stride: float
    layer: str | None

    def of(self, corpus: Corpus, rows: NDArray[np.int64]) -> Iterator[tuple[torch.Tensor, list[Scale]]]:
        """Batches of (B,) int64 rows on the CPU, and the patches at each scale; no two scales have equal windows."""
        return self._windows(corpus, rows) if self.source == "maps" else self._crops(corpus, rows)

    def _grids(self, sides: torch.Size) -> list[_Grid]:
        """The windows of each scale; on small maps some scales round to the same ones, which are taken once."""
        return list(dict.fromkeys(_Grid.of(sides, scale, self.stride) for scale in self.scales))

    def count(self, corpus: Corpus) -> int:
        """Number of patches of the first scale in each image."""
        import numpy as np

        _, scales = next(iter(self.of(corpus, np.zeros(1, dtype=np.int64))))
        return len(scales[0][1])

    def _windows(self, corpus: Corpus, rows: NDArray[np.int64]) -> Iterator[tuple[torch.Tensor, list[Scale]]]:
        from torch.nn import functional

        for taken, maps in corpus.maps(rows, self.layer):
            found = []
            for grid in self._grids(maps.shape[2:]):
                pooled = functional.avg_pool2d(maps, grid.window, grid.step)
                found.append((pooled.flatten(2).transpose(1, 2), grid.middles))
            yield taken, found

    def _crops(self, corpus: Corpus, rows: NDArray[np.int64]) -> Iterator[tuple[torch.Tensor, list[Scale]]]:
        import torch

        activations_of = _activations_of(corpus, self.layer)
        for taken, pixels in corpus.pixel_batches(rows):
            found = []
            for grid in self._grids(pixels.shape[2:]):
                middles = grid.middles
                cut = pixels.unfold(2, grid.window[0], grid.step[0]).unfold(3, grid.window[1], grid.step[1])
                each = max(1, corpus.batch_size // len(middles))  # images at a time
                parts = [
                    activations_of(_resized(part, corpus.size)).unflatten(0, (-1, len(middles)))
                    for part in cut.split(each)
                ]
                found.append((torch.cat(parts), middles))
            yield taken, found


@dataclass(frozen=True)
class _Grid:
    """Sliding windows over an image or map: sides, window and step as (height, width)."""

    sides: tuple[int, int]
    window: tuple[int, int]
    step: tuple[int, int]

    @classmethod
    def of(cls, sides: torch.Size, scale: float, stride: float) -> _Grid:
        down, across = (int(side) for side in sides)

        def part(share: float) -> tuple[int, int]:
            return max(1, round(share * down)), max(1, round(share * across))

        return cls((down, across), part(scale), part(stride))

    @property
    def middles(self) -> torch.Tensor:
        import torch

        places = [
            (torch.arange((side - window) // step + 1) * step + window / 2) / side
            for side, window, step in zip(self.sides, self.window, self.step, strict=True)
        ]
        return torch.cartesian_prod(*places).view(-1, 2)


def cells(middles: torch.Tensor) -> torch.Tensor:
    """(P, 2) patch centers -> (P, 5) bool: in the image and in each quarter. Empty quarters get all patches."""
    import torch

    quarter = (middles[:, 0] >= 0.5).long() * 2 + (middles[:, 1] >= 0.5).long()
    inside = torch.cat(
        [torch.ones(len(middles), 1, dtype=torch.bool), quarter[:, None] == torch.arange(4)], 1
    )
    inside[:, ~inside.any(dim=0)] = True
    return inside


def strongest(scores: torch.Tensor, middles: torch.Tensor) -> torch.Tensor:
    """(B, P, V) scores -> (B, 5, V), the maximum within each cell."""
    import torch

    inside = cells(middles).to(scores.device)
    return torch.stack([scores[:, inside[:, cell]].amax(dim=1) for cell in range(CELLS)], dim=1)


def _activations_of(corpus: Corpus, layer: str | None) -> Callable[[torch.Tensor], torch.Tensor]:
    """A function from images (B, C, size, size) in 0..1 to activations (B, D) float32."""
    import torch

    from fiftyone_deepcluster.backbones.layers import capture_outputs, choose_layers, layers_of
    from fiftyone_deepcluster.features.streaming import averaged

    network, device = corpus.network.eval(), corpus.compute.device
    blank = torch.zeros(1, corpus.store.shape[3], corpus.size, corpus.size, device=device)
    layers = choose_layers(layers_of(network, blank), [layer], "layer") if layer else []

    def activations_of(images: torch.Tensor) -> torch.Tensor:
        with torch.no_grad(), corpus.compute.autocast():
            if not layers:
                found: torch.Tensor = network.features(images)
                return found.float()
            return averaged(capture_outputs(network, images, layers, torch.Tensor.clone)[0].float())

    return activations_of


def _resized(cut: torch.Tensor, size: int) -> torch.Tensor:
    """(B, C, y, x, h, w) uint8 -> (B·y·x, C, size, size) float in 0..1."""
    from torch.nn import functional

    patches = cut.permute(0, 2, 3, 1, 4, 5).flatten(0, 2).float() / 255
    return functional.interpolate(patches, (size, size), mode="bilinear", align_corners=False)
