"""Images of a zip file, in folders that are named by their classes: CLASS/name.jpg, .png or .dcm."""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from fiftyone_deepcluster.images.decode import read_image
from fiftyone_deepcluster.images.refs import ImageRef

SUFFIXES = (".jpg", ".jpeg", ".png", ".dcm")


def image_names(archive: zipfile.ZipFile) -> tuple[list[str], np.ndarray]:
    """Sorted names of the images in a zip, and the number (N,) int64 of each one's folder.

    Exits with a message if there is no image.
    """
    names = sorted(name for name in archive.namelist() if name.lower().endswith(SUFFIXES))
    if not names:
        raise SystemExit(
            f"{archive.filename} has no image among its {len(archive.namelist())} files; give a zip of "
            f"CLASS/name with one of {', '.join(SUFFIXES)}"
        )
    folders = [Path(name).parent.name for name in names]
    return names, np.unique(folders, return_inverse=True)[1].astype(np.int64)


@contextmanager
def extracted(path: Path) -> Iterator[tuple[list[str], np.ndarray]]:
    """Paths of the images in a temporary folder, and classes (N,) int64."""
    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(path) as archive:
        names, classes = image_names(archive)
        yield [archive.extract(name, folder) for name in names], classes


def gray_images(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Gray images (N, H, W) uint8 of one size, decoded as the package does, and classes (N,) int64.

    Exits with a message if the sizes differ.
    """
    with extracted(path) as (paths, classes):
        images = [read_image(ImageRef(one), "gray")[..., 0] for one in paths]
    sizes = sorted({image.shape for image in images})
    if len(sizes) > 1:
        listed = ", ".join(f"{height} x {width}" for height, width in sizes[:5])
        raise SystemExit(
            f"{path} has images of {len(sizes)} sizes ({listed}); resize them to one size, or use "
            "benchmarks.cardiac or benchmarks.natural, which read images of any size"
        )
    return np.stack(images), classes
