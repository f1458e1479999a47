"""The settings of the scripts that DAC's authors released, one for each data set.

They are not the algorithm of the paper: see ``docs/dev/dac.md``. Only ``cifar10-2`` is DAC; the others are DAC*.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

from fiftyone_deepcluster.backbones.conv_block import ConvBlock

ScriptName = Literal["mnist", "cifar10-1", "cifar10-2", "stl10", "imagenet10", "imagenet-dog"]

RELEASED_PAIR = -math.log(1e-7)
"""Loss in ``cifar10_2.py`` of a pair whose true relation the network gives probability 0."""

MINI_BATCH = 32


@dataclass(frozen=True)
class Script:
    """One script; its macro-batches have 1000 images, its optimizer is RMSprop with learning rate 0.001.

    Attributes:
        star: whether it is DAC*, with one threshold for all pairs.
        blocks: convolutions with max pooling; a 1 x 1 convolution and average pooling follow.
        upper: u in the first round, and towards the last.
        lower: l likewise; None: equal to u.
        rounds: epochs over all images.
        inner_epochs: epochs on the targets of a macro-batch.
        batch_size: images per mini-batch.
        rotate: maximum rotation in degrees.
        shift: maximum shift as a share of the side.
        zoom: bounds of the zoom, drawn for each axis.
        shift_channels: maximum number that is added to a channel.
        flip: horizontal flips.
        pooled_norm: batch norm after every pooling, too.
        last_relu: a ReLU before the restraint layer.
        kind: loss of a pair, as in ``PairLoss``.
        hold: weight of the self-distillation.
        hold_on: what it compares: the softmax, or the label features of length 1.
        across_views: pairs of one view of an image and another view of the other.
    """

    star: bool
    blocks: tuple[ConvBlock, ...]
    upper: tuple[float, float]
    lower: tuple[float, float] | None
    rounds: int
    inner_epochs: int = 10
    batch_size: int = MINI_BATCH
    rotate: float = 10.0
    shift: float = 0.1
    zoom: tuple[float, float] = (0.95, 1.05)
    shift_channels: float = 0.05
    flip: bool = True
    pooled_norm: bool = False
    last_relu: bool = True
    kind: Literal["entropy", "squares", "distance"] = "entropy"
    hold: float = 10.0
    hold_on: Literal["softmax", "features"] = "features"
    across_views: bool = False

    def thresholds(self, rounds: int) -> tuple[tuple[float, float], tuple[float, float], float]:
        """U and l at λ = 0 with their slopes, and the step of λ, for a run of ``rounds`` rounds."""
        start, end = self.upper
        lower = (start, -1.0) if self.lower is None else (self.lower[0], 1.0)
        return (start, -1.0), lower, (start - end) / rounds

    def augmentation(self) -> dict[str, Any]:
        """Options of ``Augment``.

        The script's factor of 0.975 or 0.95 on all pixels and the mean that it subtracts from them are left out: batch
        norm behind the first, unpadded convolution removes both.
        """
        return {
            "rotate": self.rotate,
            "shift": self.shift,
            "scale": self.zoom,
            "scale_axes": True,
            "shift_channels": self.shift_channels,
            "flip": self.flip,
        }


_TWO = (ConvBlock(3, 64, 3, 2), ConvBlock(3, 128, 3, 2))
_STL = (*_TWO, ConvBlock(3, 256, 3, 2))

SCRIPTS: dict[ScriptName, Script] = {
    "mnist": Script(
        True, _TWO, (0.9, 0.5), None, 20, inner_epochs=5, batch_size=128, flip=False, pooled_norm=True,
        kind="squares", hold=0.0, hold_on="softmax", across_views=True,
    ),
    "cifar10-1": Script(
        True, (ConvBlock(2, 64, 3, 2), ConvBlock(2, 128, 3, 2)), (0.99, 0.75), None, 50, rotate=20.0, shift=0.18,
        zoom=(0.85, 1.15), shift_channels=0.1, last_relu=False, hold_on="softmax",
    ),
    "cifar10-2": Script(
        False, _TWO, (0.99, 0.895), (0.8, 0.895), 50, shift=0.09, last_relu=False, kind="distance",
        # The script divides the loss of the pairs once more by its mini-batch; ours is a mean over pairs.
        hold=MINI_BATCH / RELEASED_PAIR, hold_on="softmax",
    ),
    "stl10": Script(True, _STL, (0.99, 0.5), None, 75),
    "imagenet10": Script(True, _STL, (0.99, 0.75), None, 50),
    "imagenet-dog": Script(True, (ConvBlock(2, 64, 5, 4), ConvBlock(2, 128, 3, 4)), (0.99, 0.75), None, 50),
}  # fmt: skip
"""By data set; ``cifar100.py`` has the settings of ``cifar10-1`` with 20 clusters."""
