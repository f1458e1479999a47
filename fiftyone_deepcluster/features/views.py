"""Several views of every image: the image, its mirror image, and crops."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch

from fiftyone_deepcluster.core.seeds import derive
from fiftyone_deepcluster.images.augment import N_DRAWS, Augment, plain

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

_HASHED = 4096
"""About so many pixel values of an image are hashed."""


@dataclass(frozen=True)
class Views:
    """View 0 is the image, view 1 its mirror image, all further views are crops.

    Every image has crops of its own, which are drawn from a hash of its pixels. So an image has the same views in
    every set of images and with every seed: a finished run can encode new ones.

    Attributes:
        n: number of views.
        crop: minimum area of a crop, as a share of the image's.
        jitter: maximum change of brightness and of contrast, as a fraction.
    """

    n: int
    crop: float = 0.35
    jitter: float = 0.3

    @cached_property
    def augment(self) -> Augment:
        """The augmentation that draws the crops."""
        return Augment(
            crop=(self.crop, 1.0),
            flip=True,
            brightness=self.jitter,
            contrast=self.jitter,
            interpolation="bicubic",
        )

    def of(self, pixels: torch.Tensor, size: int) -> Iterator[torch.Tensor]:
        """The views (B, C, size, size) float32 in 0..1 of images (B, C, H, W) uint8, one view at a time."""
        image = plain(pixels, size)
        yield image
        yield image.flip(-1)
        hashes = pixel_hashes(pixels)
        for view in range(2, self.n):
            yield self.augment.change(pixels, size, draws_of(hashes, view))


def pixel_hashes(pixels: torch.Tensor) -> NDArray[np.uint64]:
    """(B,) a number for every image (B, C, H, W) uint8; equal images have equal numbers."""
    flat = pixels.flatten(1)
    values = flat[:, :: max(1, flat.shape[1] // _HASHED)].long()
    weights = np.random.default_rng(derive(0, "views")).integers(1, 2**24, values.shape[1])
    # Whole numbers below 2^63: the sum is the same in every order and on every device.
    return (values * torch.from_numpy(weights).to(values.device)).sum(dim=1).cpu().numpy().astype(np.uint64)


def draws_of(hashes: NDArray[np.uint64], view: int) -> torch.Tensor:
    """(B, ``N_DRAWS``) float32 in 0..1: splitmix64 (Steele, Lea and Flood 2014) of the hashes (B,) and a view."""
    steps = np.arange(1, N_DRAWS + 1, dtype=np.uint64) + np.uint64(view * N_DRAWS)
    mixed = hashes[:, None] + steps * np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed ^= mixed >> np.uint64(31)
    return torch.from_numpy((mixed >> np.uint64(40)).astype(np.float32) / np.float32(2**24))
