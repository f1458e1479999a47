"""Data augmentation of batches on the device, with random parameters per image.

Crop, resize, rotation, shear, zoom, shift and flip are composed into one affine map per image, so pixels
are interpolated once. Random numbers are drawn on the CPU from the given generator: a seed gives the same
augmentation on every device.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from fiftyone_deepcluster.core.devices import send
from fiftyone_deepcluster.errors import OptionsError
from fiftyone_deepcluster.images.colors import blur, grayscale, jitter, shift_channels
from fiftyone_deepcluster.images.decode import Interpolation
from fiftyone_deepcluster.images.originals import CropSpec

if TYPE_CHECKING:
    import torch

N_DRAWS = 12
"""Random numbers per image. All are always drawn, so enabling one option does not change the others."""


class Augment(BaseModel):
    """Random augmentation of training images; disabled by default."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rotate: float = Field(0.0, ge=0, le=180, description="Maximum rotation in degrees, in both directions.")
    shift: float = Field(
        0.0, ge=0, le=1, description="Maximum shift as a fraction of the side, in both axes."
    )
    scale: tuple[float, float] = Field((1.0, 1.0), description="Minimum and maximum zoom; above 1 enlarges.")
    scale_axes: bool = Field(False, description="Draw the zoom of each axis independently.")
    shear: float = Field(
        0.0, ge=0, le=1, description="Maximum horizontal shear, as a fraction of the height."
    )
    crop: tuple[float, float] | None = Field(
        None, description="Minimum and maximum area fraction of a random resized crop; none: no random crop."
    )
    ratio: tuple[float, float] = Field(
        (3 / 4, 4 / 3), description="Minimum and maximum aspect ratio of the crop."
    )
    flip: bool = Field(False, description="Horizontal flip with probability 0.5.")
    brightness: float = Field(0.0, ge=0, le=1, description="Maximum change of brightness, as a fraction.")
    contrast: float = Field(0.0, ge=0, le=1, description="Maximum change of contrast, as a fraction.")
    original: bool = Field(
        False,
        description="Cut crops from the original images, decoded anew in every epoch, instead of decoded squares.",
    )
    jitter: tuple[float, float, float, float] = Field(
        (0.0, 0.0, 0.0, 0.0), description="Maximum change of brightness, contrast, saturation and hue."
    )
    jitter_share: float = Field(1.0, ge=0, le=1, description="Share of the images that are jittered.")
    grayscale: float = Field(0.0, ge=0, le=1, description="Share of the images that lose their color.")
    blur: float = Field(0.0, ge=0, le=1, description="Share of the images that are blurred.")
    sigma: tuple[float, float] = Field(
        (0.1, 2.0), description="Minimum and maximum standard deviation of the blur in pixels."
    )
    shift_channels: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Maximum value that is added to each channel of an image, in both directions.",
    )
    interpolation: Interpolation = Field(
        "bilinear",
        description="Interpolation of cropped, rotated, zoomed or shifted images; bicubic keeps enlarged ones sharper, "
        "and takes longer.",
    )
    padding: Literal["border", "zeros"] = Field(
        "border", description="Padding outside the image: repeated border pixels, or black."
    )

    @model_validator(mode="after")
    def _check(self) -> Augment:
        if self.scale_axes and self.crop is not None:
            raise ValueError(
                "scale_axes=True does not go with crop, whose ratio changes the aspect; leave one out"
            )
        if self.original and self.crop is None:
            raise ValueError("original=True cuts crops from the original images; give crop=(low, high), too")
        for name, most in (("scale", math.inf), ("crop", 1.0), ("ratio", math.inf), ("sigma", math.inf)):
            value = getattr(self, name)
            if value is not None and not 0 < value[0] <= value[1] <= most:
                raise ValueError(f"{name}={value}: give two numbers, 0 < low <= high <= {most:g}")
        return self

    def apply(self, images: torch.Tensor, size: int, generator: torch.Generator) -> torch.Tensor:
        """Augment every image with its own random parameters.

        Args:
            images: (B, C, H, W) uint8, or float in 0..1.
            size: side of the result in pixels.
            generator: random generator on the CPU.

        Returns:
            (B, C, size, size) float32 in 0..1, on the device of ``images``.
        """
        result = self._moved(images, size, generator)
        if self.shift_channels:
            result = shift_channels(result, self.shift_channels, generator)
        if any(self.jitter):
            result = jitter(result, self.jitter, self.jitter_share, generator)
        if self.grayscale:
            result = grayscale(result, self.grayscale, generator)
        return blur(result, self.blur, self.sigma, generator) if self.blur else result

    def _moved(self, images: torch.Tensor, size: int, generator: torch.Generator) -> torch.Tensor:
        """The images after all changes of position and brightness."""
        import torch

        if not (self._warps() or self.flip or self._changes_light()):
            return plain(images, size)
        return self.change(images, size, torch.rand(len(images), N_DRAWS, generator=generator))

    def change(self, images: torch.Tensor, size: int, draws: torch.Tensor) -> torch.Tensor:
        """Augment every image by given random numbers.

        Args:
            images: (B, C, H, W) uint8, or float in 0..1.
            size: side of the result in pixels.
            draws: (B, ``N_DRAWS``) float32 in 0..1 on the CPU.

        Returns:
            (B, C, size, size) float32 in 0..1, on the device of ``images``.
        """
        import torch

        if self._warps():
            result = self._warp(_as_float(images), size, draws)
        else:
            result = plain(images, size)
            if self.flip:
                mirrored = send(draws[:, 0] < 0.5, images.device).view(-1, 1, 1, 1)
                result = torch.where(mirrored, result.flip(-1), result)
        return self._change_light(result, draws) if self._changes_light() else result

    def views(
        self, images: torch.Tensor, size: int, generator: torch.Generator
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """One augmented view of every image, and None for small crops; same interface as ``MultiCrop``."""
        return self.apply(images, size, generator), None

    def specs(self, size: int) -> list[CropSpec]:
        """The crops to cut from every original image; none if the decoded images are used."""
        if not self.original or self.crop is None:
            return []
        return [CropSpec(self.crop, self.ratio, size, self.interpolation)]

    def views_of(
        self, crops: list[torch.Tensor], size: int, generator: torch.Generator
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """``views``, from crops (B, C, size, size) of the original images, one for each of ``specs``."""
        return self.without_crop().apply(crops[0], size, generator), None

    def without_crop(self) -> Augment:
        """The same augmentation of images that are crops already."""
        return self.model_copy(update={"crop": None, "original": False})

    def _warps(self) -> bool:
        return bool(self.rotate or self.shift or self.shear or self.crop or self.scale != (1.0, 1.0))

    def _changes_light(self) -> bool:
        return self.brightness > 0 or self.contrast > 0

    def _warp(self, images: torch.Tensor, size: int, draws: torch.Tensor) -> torch.Tensor:
        from torch.nn import functional

        height, width = images.shape[2:]
        maps = send(self._maps(height, width, size, draws), images.device)
        found = functional.grid_sample(
            images, _grid(maps, size), mode=self.interpolation, padding_mode=self.padding, align_corners=False
        )
        return found.clamp(0, 1) if self.interpolation == "bicubic" else found

    def _maps(self, height: int, width: int, size: int, draws: torch.Tensor) -> torch.Tensor:
        """Affine maps (B, 2, 3) from result to image coordinates, both normalized to -1..1, edge to edge."""
        import torch

        center_x, center_y, half_w, half_h = self._windows(height, width, size, draws)
        angle = _spread(draws[:, 1], math.radians(self.rotate))
        shear = _spread(draws[:, 2], self.shear)
        zoom = _between(draws[:, 3], self.scale)
        if self.scale_axes:
            half_h = half_h * zoom / _between(draws[:, 6], self.scale)  # the number of a crop's area
        mirror = torch.where(draws[:, 0] < 0.5, -1.0, 1.0) if self.flip else torch.ones(len(draws))
        cos, sin = angle.cos() / zoom, angle.sin() / zoom
        # Rotation @ [[1, shear], [0, 1]] @ diag(mirror * half_w, half_h), in pixels of the image.
        rows = (
            (cos * mirror * half_w, (cos * shear - sin) * half_h, center_x),
            (sin * mirror * half_w, (sin * shear + cos) * half_h, center_y),
        )
        maps = torch.stack([torch.stack(row, dim=1) for row in rows], dim=1)
        return maps / torch.tensor([width / 2, height / 2]).view(1, 2, 1)

    def _windows(
        self, height: int, width: int, size: int, draws: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """Crop center x, y (relative to the image center) and half width, half height, in pixels, each (B,)."""
        import torch

        if self.crop is None:
            top, left, side = _center(height, width, size)
            half = torch.full((len(draws),), side / 2)
            half_w = half_h = half
            x = torch.full((len(draws),), left + side / 2 - width / 2)
            y = torch.full((len(draws),), top + side / 2 - height / 2)
        else:
            area = _between(draws[:, 6], self.crop) * height * width
            low, high = (math.log(value) for value in self.ratio)
            ratio = _between(draws[:, 7], (low, high)).exp()
            half_w = (area * ratio).sqrt().clamp(max=width) / 2
            half_h = (area / ratio).sqrt().clamp(max=height) / 2
            x = _spread(draws[:, 8], 1.0) * (width / 2 - half_w)
            y = _spread(draws[:, 9], 1.0) * (height / 2 - half_h)
        x = x + _spread(draws[:, 4], self.shift) * 2 * half_w
        y = y + _spread(draws[:, 5], self.shift) * 2 * half_h
        return x, y, half_w, half_h

    def _change_light(self, images: torch.Tensor, draws: torch.Tensor) -> torch.Tensor:
        factors = send(1 + _spread(draws[:, 10], self.brightness), images.device)
        images = (images * factors.view(-1, 1, 1, 1)).clamp(0, 1)
        if self.contrast == 0:
            return images
        factors = send(1 + _spread(draws[:, 11], self.contrast), images.device)
        gray = images.mean(dim=(1, 2, 3), keepdim=True)
        return (gray + (images - gray) * factors.view(-1, 1, 1, 1)).clamp(0, 1)


class MultiCrop(BaseModel):
    """Multi-crop augmentation: large and small crops of every image (Caron et al. 2020, "SwAV", section 3.3).

    Small crops are cheap and train the network to assign a part of an image to the cluster of the whole.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    large: Augment = Field(description="Augmentation of large crops.")
    small: Augment = Field(description="Augmentation of small crops.")
    n_large: int = Field(2, ge=1, description="Large crops per image, at the network's input size.")
    n_small: int = Field(4, ge=0, description="Small crops per image.")
    small_size: int = Field(ge=4, description="Side of the small crops in pixels.")

    def views(
        self, images: torch.Tensor, size: int, generator: torch.Generator
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Crops (n_large·B, C, size, size) and (n_small·B, C, small_size, small_size), all first crops first."""
        large = self.large.apply(images.repeat(self.n_large, 1, 1, 1), size, generator)
        if not self.n_small:
            return large, None
        return large, self.small.apply(images.repeat(self.n_small, 1, 1, 1), self.small_size, generator)

    def specs(self, size: int) -> list[CropSpec]:
        """The crops to cut from every original image; none if the decoded images are used."""
        return self.large.specs(size) * self.n_large + self.small.specs(self.small_size) * self.n_small

    def views_of(
        self, crops: list[torch.Tensor], size: int, generator: torch.Generator
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """``views``, from crops of the original images, one for each of ``specs``."""
        import torch

        large, small = crops[: self.n_large], crops[self.n_large :]
        found = self.large.without_crop().apply(torch.cat(large), size, generator)
        if not small:
            return found, None
        return found, self.small.without_crop().apply(torch.cat(small), self.small_size, generator)


Augmentation = Augment | MultiCrop


def plain(images: torch.Tensor, size: int) -> torch.Tensor:
    """Center crop of every image, without random augmentation.

    Args:
        images: (B, C, H, W) uint8, or float in 0..1; images smaller than ``size`` are enlarged.
        size: side of the result in pixels.

    Returns:
        (B, C, size, size) float32 in 0..1.
    """
    from torch.nn import functional

    top, left, side = _center(images.shape[2], images.shape[3], size)
    result = _as_float(images[:, :, top : top + side, left : left + side])
    if side == size:
        return result
    return functional.interpolate(result, (size, size), mode="bilinear", align_corners=False)


def _center(height: int, width: int, size: int) -> tuple[int, int, int]:
    """Top, left and side of the center crop; its side is ``size``, or the shorter side of smaller images."""
    if size < 1:
        raise OptionsError(f"size={size} is not a valid image size; give at least 1")
    side = min(size, height, width)
    return (height - side) // 2, (width - side) // 2, side


def _grid(maps: torch.Tensor, size: int) -> torch.Tensor:
    """Sampling grid (B, size, size, 2): source coordinates of each pixel of the result.

    An affine map is the sum of a term of the column and a term of the row: adding the two takes a tenth of
    the time of a matrix product per pixel.
    """
    import torch

    places = (torch.arange(size, device=maps.device) * 2 + 1) / size - 1
    columns = (maps[:, :, 0, None] * places + maps[:, :, 2, None]).transpose(1, 2)
    rows = (maps[:, :, 1, None] * places).transpose(1, 2)
    return rows[:, :, None] + columns[:, None]


def _as_float(images: torch.Tensor) -> torch.Tensor:
    import torch

    if images.dtype == torch.uint8:
        return images.float().div_(255)
    return images.float()


def _spread(draws: torch.Tensor, most: float) -> torch.Tensor:
    """Draws in 0..1 scaled to -most..most."""
    return (draws * 2 - 1) * most


def _between(draws: torch.Tensor, bounds: tuple[float, float]) -> torch.Tensor:
    return bounds[0] + draws * (bounds[1] - bounds[0])
