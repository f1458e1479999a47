"""DAC's network: an All-ConvNet that ends in the restraint layer and outputs label features."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import nn

from fiftyone_deepcluster.backbones.conv_block import ConvBlock

_AUTHORS_MIN = 28
"""Smallest side in pixels for which the blocks follow the authors' networks."""

_MIN_SIDE = 8
"""Smallest side of maps for another block: three unpadded convolutions reduce 8 pixels to 2."""

_MAX_WIDTH_FACTOR = 4
"""Largest width of a block, as a multiple of the first: the second has 2 times its width, later ones 4 times."""


class Restraint(nn.Module):
    """Maps scores to label features: non-negative and of length 1 (Chang et al., equations 9a and 9b).

    exp(x - max x) divided by its Euclidean length, which is softmax(x) / |softmax(x)|.
    """

    def forward(self, scores: torch.Tensor) -> torch.Tensor:
        """(B, K) -> (B, K) float32, or float64 for float64 input."""
        scores = scores.to(torch.promote_types(scores.dtype, torch.float32))
        positive = (scores - scores.amax(1, keepdim=True)).exp()
        length: torch.Tensor = torch.linalg.vector_norm(positive, dim=1, keepdim=True)
        return positive / length


class AllConvNet(nn.Module):
    """All-convolutional network whose depth depends on the image size, with the restraint layer.

    Blocks of three unpadded 3 x 3 convolutions, each with batch norm and ReLU, and max pooling; a 1 x 1
    convolution to one map per cluster; global average pooling; two small linear layers initialized to the
    identity. 28 and 32 pixels give two blocks and 96 give three, as in the authors' networks for MNIST,
    CIFAR-10 (``cifar10_2.py``) and STL-10. Smaller images, which the paper does not use, get two blocks of
    two padded convolutions and no second pooling: for 16 pixels the average then covers 8 x 8 positions, where
    unpadded convolutions would leave one.
    Batch norm precedes the final scores, so that no score can be the largest for all images of a batch.

    Args:
        channels: channels of the images.
        size: side of the images in pixels.
        n_clusters: number of label features.
        width: filters of the first block.
        norm_pooled: batch norm after every max pooling, too, as in the authors' script for MNIST; only for images
            of 28 pixels and more.
        norm_average: batch norm after the average pooling.
        last_relu: a ReLU before the restraint layer, as in the authors' scripts of DAC* (not in that of DAC).
            All images without a positive score then get the same label features.
        blocks: blocks instead of those for the size; where images are too small for them, those for the size.
    """

    relu_before_head = False

    def __init__(
        self,
        channels: int,
        size: int,
        n_clusters: int,
        *,
        width: int = 64,
        norm_pooled: bool = False,
        norm_average: bool = True,
        last_relu: bool = False,
        blocks: tuple[ConvBlock, ...] | None = None,
    ) -> None:
        super().__init__()
        layers, filters, side = _blocks(channels, size, blocks or _for_size(size, width), norm_pooled)
        self.layers = nn.Sequential(
            *layers,
            *_convolution(filters, n_clusters, 1),
            nn.AvgPool2d(side),
            nn.BatchNorm2d(n_clusters) if norm_average else nn.Identity(),
            nn.Flatten(),
        )
        self.full = nn.Sequential(
            nn.Linear(n_clusters, n_clusters, bias=False), nn.BatchNorm1d(n_clusters), nn.ReLU(),
            nn.Linear(n_clusters, n_clusters, bias=False), nn.BatchNorm1d(n_clusters),
            nn.ReLU() if last_relu else nn.Identity(),
        )  # fmt: skip
        self.restraint = Restraint()
        self.dim = n_clusters
        self._initialize()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) -> label features (B, K) float32."""
        maps = self.layers(images).float()
        # float32: differences of a thousandth in these small layers decide which pairs are selected.
        with torch.autocast(maps.device.type, enabled=False):
            return self.restraint(self.full(maps))  # type: ignore[no-any-return]

    def _initialize(self) -> None:
        """He initialization (fan-in) for convolutions, the identity for linear layers."""
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_in", nonlinearity="relu")
            elif isinstance(layer, nn.Linear):
                nn.init.eye_(layer.weight)


def _for_size(size: int, width: int) -> tuple[ConvBlock, ...]:
    """Blocks of three convolutions while the maps are large enough; none for images of less than 28 pixels."""
    found, side, wide = [], size, width
    while size >= _AUTHORS_MIN and side >= _MIN_SIDE:
        found.append(ConvBlock(3, wide, 3, 2))
        side, wide = found[-1].side(side), min(2 * wide, _MAX_WIDTH_FACTOR * width)
    return tuple(found) or (ConvBlock(2, width, 3, 2), ConvBlock(2, 2 * width, 3, 2))


def _blocks(
    channels: int, size: int, blocks: tuple[ConvBlock, ...], norm_pooled: bool
) -> tuple[list[nn.Module], int, int]:
    """Layers of all blocks, the filters of the last block, and the side of its maps."""
    sides = [size]
    for block in blocks:
        sides.append(block.side(sides[-1]))
    if size < _AUTHORS_MIN or sides[-1] < 1:
        # Smaller images than the authors': padded convolutions, and no second pooling.
        first, second = ConvBlock(2, blocks[0].filters, 3, 2), ConvBlock(2, 2 * blocks[0].filters, 3, 2)
        padded = [*_convolutions(channels, first, padding=1), nn.MaxPool2d(2)]
        return [*padded, *_convolutions(first.filters, second, padding=1)], second.filters, size // 2
    layers: list[nn.Module] = []
    filters = channels
    for block in blocks:
        layers += [*_convolutions(filters, block, padding=0), nn.MaxPool2d(block.pool)]
        layers += [nn.BatchNorm2d(block.filters)] if norm_pooled else []
        filters = block.filters
    return layers, filters, sides[-1]


def _convolutions(before: int, block: ConvBlock, *, padding: int) -> list[nn.Module]:
    wide = [before] + block.convolutions * [block.filters]
    return [layer for one, two in pairwise(wide) for layer in _convolution(one, two, block.kernel, padding)]


def _convolution(before: int, after: int, kernel: int, padding: int = 0) -> list[nn.Module]:
    convolution = nn.Conv2d(before, after, kernel, padding=padding, bias=False)
    return [convolution, nn.BatchNorm2d(after), nn.ReLU(inplace=True)]
