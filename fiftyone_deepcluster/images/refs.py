"""References to input images: files, boxes or frames within files, or an array."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias, Union

import numpy as np

from fiftyone_deepcluster.core.arguments import is_sequence, masked_problem, short
from fiftyone_deepcluster.errors import ImagesError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

Box: TypeAlias = "tuple[float, float, float, float]"
Images: TypeAlias = Union["Sequence[str | Path | ImageRef]", "NDArray[np.uint8]"]


# FiftyOne makes paths absolute, which turns s3://bucket/a.png into /current/folder/s3:/bucket/a.png.
_ADDRESS = re.compile(r"(?:^|.*[/\\])([A-Za-z][A-Za-z0-9+.-]+):[/\\]+(.*)", re.DOTALL)


@dataclass(frozen=True)
class ImageRef:
    """One image: a file, or a box or a frame of it.

    Attributes:
        path: path of the file.
        box: x, y, width and height relative to the upright image, as FiftyOne's bounding boxes;
            None for the whole image.
        frame: index of the frame in a multi-frame file, from 0.
    """

    path: str
    box: Box | None = None
    frame: int = 0


def as_refs(images: Sequence[str | Path | ImageRef]) -> list[ImageRef]:
    """Every image of a sequence as an ``ImageRef``.

    Raises:
        ImagesError: no images, a single path instead of a list, or an item of another type.
    """
    if isinstance(images, str | os.PathLike):
        raise ImagesError(
            f"images={short(os.fspath(images))} is a single path; give a list of paths, such as "
            "sorted(Path(folder).glob('*.png'))"
        )
    if not is_sequence(images):
        raise ImagesError(
            f"images={short(images)} is not a list of images; give paths, or a uint8 array (N, H, W)"
        )
    if len(images) == 0:
        raise ImagesError("there are no images; give at least one path")
    return [_as_ref(item, row) for row, item in enumerate(images)]


def address_of(path: str) -> str | None:
    """The address that a path is or was, such as ``s3://bucket/a.png``; None for a path of a file."""
    found = _ADDRESS.fullmatch(path)
    return None if found is None else f"{found[1]}://{found[2]}"


def not_a_file(address: str) -> str:
    """Reason why an address cannot be read, with the way out."""
    return f"{address} is an address, and only files are read; download it, and give the path of the copy"


def check_array(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """An array of images as a view (N, H, W, C).

    Raises:
        ImagesError: the array is empty, not uint8, has masked entries, or not of shape (N, H, W) or (N, H, W, 1 or 3).
    """
    shape = images.shape
    if images.dtype != np.uint8:
        raise ImagesError(
            f"images is an array of {images.dtype}; give uint8 values in 0..255 "
            "(for floats in 0..1: (images * 255).astype('uint8'))"
        )
    masked = masked_problem(images)
    if masked:
        raise ImagesError(f"images {masked}; fill them, such as images.filled(0)")
    if images.ndim not in (3, 4) or (images.ndim == 4 and shape[3] not in (1, 3)):
        raise ImagesError(f"images has shape {shape}; give (N, H, W), (N, H, W, 1) or (N, H, W, 3)")
    if images.size == 0:
        raise ImagesError(f"images has shape {shape}, which is empty; give at least one image")
    return images if images.ndim == 4 else images[..., None]


def _as_ref(item: object, row: int) -> ImageRef:
    if isinstance(item, ImageRef):
        return item
    if isinstance(item, str | os.PathLike):
        return ImageRef(os.fsdecode(item))
    stacked = "one array for all images (numpy.stack), " if isinstance(item, np.ndarray) else ""
    raise ImagesError(
        f"images has an entry of type {type(item).__name__} (at {row}); give {stacked}a path or an fdc.ImageRef"
    )
