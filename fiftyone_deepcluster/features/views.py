"""Several views of every image: the image, its mirror image, and crops."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch

from fiftyone_deepcluster.core.seeds import derive
from fiftyone_deepcluster.images.augment import N_DRAWS, Augment, plain


@dataclass(frozen=True)
class Views:
    """View 0 is the image, view 1 its mirror image; each further view is one crop, the same for all images.

    So an image has the same views in every set of images and with every seed: a finished run can encode new ones.

    Attributes:
        n: number of views.
        crop: smallest area of a crop, as a share of the image's.
        jitter: largest change of brightness and of contrast, as a fraction.
    """

    n: int
    crop: float = 0.35
    jitter: float = 0.3

    @cached_property
    def _augment(self) -> Augment:
        return Augment(crop=(self.crop, 1.0), flip=True, brightness=self.jitter, contrast=self.jitter)

    @cached_property
    def _draws(self) -> torch.Tensor:
        generator = torch.Generator().manual_seed(derive(0, "views"))
        return torch.rand(self.n, N_DRAWS, generator=generator)

    def of(self, pixels: torch.Tensor, size: int, view: int) -> torch.Tensor:
        """One view (B, C, size, size) float32 in 0..1 of images (B, C, H, W) uint8."""
        if view < 2:
            images = plain(pixels, size)
            return images.flip(-1) if view else images
        return self._augment.change(pixels, size, self._draws[view].expand(len(pixels), -1))
