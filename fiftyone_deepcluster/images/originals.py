"""Random resized crops of the original images, as DeepCluster trains on them.

The store holds decoded squares, which have lost the margins and the resolution of the originals. A crop of an original
decodes its file once more: several times slower, and what the papers do.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fiftyone_deepcluster.images.decode import Interpolation, fit_to, read_image
from fiftyone_deepcluster.images.intensity import Color, recolor
from fiftyone_deepcluster.images.refs import as_refs, check_array

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from fiftyone_deepcluster.images.refs import Images

TRIES = 10
"""Windows that are drawn before the center of the image is taken, as in torchvision's RandomResizedCrop."""


@dataclass(frozen=True)
class CropSpec:
    """One crop of every image.

    Attributes:
        area: minimum and maximum share of the image's area.
        ratio: minimum and maximum aspect ratio.
        size: side of the result in pixels.
        interpolation: of crops that are enlarged; others are reduced bilinearly with antialiasing.
    """

    area: tuple[float, float]
    ratio: tuple[float, float]
    size: int
    interpolation: Interpolation = "bilinear"


class Originals:
    """The images at full resolution, by row of the store. Reading is thread-safe.

    Args:
        images: paths, refs, or a uint8 array, as given to ``open_images``.
        kept: (M,) row in ``images`` of each row of the store.
        color: channels of the crops.
    """

    def __init__(self, images: Images, kept: NDArray[np.int64], color: Color) -> None:
        self._array = check_array(images) if isinstance(images, np.ndarray) else None
        self._refs = [] if isinstance(images, np.ndarray) else as_refs(images)
        self._kept = kept
        self._color = color

    def crops(self, rows: NDArray[np.int64], specs: Sequence[CropSpec], seed: int) -> list[NDArray[np.uint8]]:
        """Random crops (B, size, size, C) uint8 of these rows, one array for each spec.

        Raises:
            UnreadableImageError: a file has changed or gone since the images were opened.
        """
        rng = np.random.default_rng(seed)
        found: list[list[NDArray[np.uint8]]] = [[] for _ in specs]
        for row in rows.tolist():
            image = self._read(row)
            for crops, spec in zip(found, specs, strict=True):
                window = draw_window(image.shape[0], image.shape[1], spec, rng)
                crops.append(_cut(image, window, spec))
        return [np.stack(crops) for crops in found]

    def _read(self, row: int) -> NDArray[np.uint8]:
        at = int(self._kept[row])
        if self._array is not None:
            return recolor(self._array[at], self._color)
        return read_image(self._refs[at], self._color)


def draw_window(
    height: int, width: int, spec: CropSpec, rng: np.random.Generator
) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of a random window, as torchvision's RandomResizedCrop.

    Area and logarithm of the aspect ratio are uniform. A window that does not fit is drawn again; after ``TRIES`` the
    largest one with an allowed aspect ratio is taken from the center.
    """
    for _ in range(TRIES):
        area = height * width * rng.uniform(*spec.area)
        ratio = math.exp(rng.uniform(math.log(spec.ratio[0]), math.log(spec.ratio[1])))
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            left, top = int(rng.integers(width - w + 1)), int(rng.integers(height - h + 1))
            return left, top, left + w, top + h
    ratio = min(max(width / height, spec.ratio[0]), spec.ratio[1])
    w = max(1, min(width, round(height * ratio)))
    h = max(1, min(height, round(width / ratio)))
    left, top = (width - w) // 2, (height - h) // 2
    return left, top, left + w, top + h


def _cut(image: NDArray[np.uint8], window: tuple[int, int, int, int], spec: CropSpec) -> NDArray[np.uint8]:
    left, top, right, bottom = window
    return fit_to(image[top:bottom, left:right], spec.size, spec.size, enlarge=spec.interpolation)
