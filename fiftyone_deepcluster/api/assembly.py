"""Creates image store, network and corpus from options and images, for fitting and prediction."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

import numpy as np

from fiftyone_deepcluster.core.progress import check_observer

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    from fiftyone_deepcluster.core.progress import Observer
    from fiftyone_deepcluster.core.types import Assignment
    from fiftyone_deepcluster.features.corpus import Corpus
    from fiftyone_deepcluster.images.cache.open_images import ImageStore
    from fiftyone_deepcluster.images.intensity import Color
    from fiftyone_deepcluster.methods.base import Options, Parts

ImageInput = Any
"""A sequence of paths or ``ImageRef``, or a uint8 array (N, H, W) or (N, H, W, C)."""


@contextmanager
def open_store(images: ImageInput, resolved: Options, observer: Observer) -> Iterator[ImageStore]:
    """The decoded images, closed on exit.

    Raises:
        InputError: ``observer`` lacks the observer's methods.
    """
    from fiftyone_deepcluster.images.cache.open_images import Decode, open_images

    check_observer(observer)
    decode = Decode(
        size=resolved.decoded_side,
        color="gray" if resolved.color == "gray" else "rgb",
        crop=resolved.image_fit == "crop",
        enlarge=resolved.enlarge,
    )
    store = open_images(images, decode, observer=observer)
    try:
        yield store
    finally:
        store.close()


def assemble(
    resolved: Options,
    store: ImageStore,
    observer: Observer,
    given: torch.Tensor | None,
    images: ImageInput = None,
) -> tuple[Corpus, Parts]:
    """Corpus with the initial network, and the method's parts; ``images`` are needed for training only."""
    from fiftyone_deepcluster.backbones.synced_norms import sync_norms
    from fiftyone_deepcluster.core.devices import choose_compute
    from fiftyone_deepcluster.features.corpus import Corpus
    from fiftyone_deepcluster.images.originals import Originals

    compute = choose_compute(resolved.device, resolved.precision)
    parts = build_parts(resolved)
    sync_norms(parts.network, compute, parts.synced_norms)
    size, augment = resolved.image_size or store.shape[1], parts.training_spec.augment
    color: Color = "gray" if resolved.color == "gray" else "rgb"
    cut = images is not None and bool(augment.specs(size))
    originals = Originals(images, store.kept, color) if cut else None
    corpus = Corpus(
        store, parts.network, compute, size=size, batch_size=parts.batch_size, observer=observer, given=given,
        augment=augment, originals=originals,
    )  # fmt: skip
    return corpus, parts


def build_parts(resolved: Options) -> Parts:
    """The method's parts, with random weights drawn from the run's seed."""
    from fiftyone_deepcluster.core.process_state import seeded_torch
    from fiftyone_deepcluster.core.seeds import derive

    with seeded_torch(derive(resolved.seed, "weights")):
        return resolved.build()


class Spread:
    """Expands values of the M readable images to all N images."""

    def __init__(self, store: ImageStore) -> None:
        self._kept = store.kept
        self._errors = store.errors
        self._n = len(store.kept) + len(store.errors)

    def __call__(self, values: NDArray[Any], missing: float) -> NDArray[Any]:
        """(M, ...) -> (N, ...), ``missing`` for unreadable images."""
        if len(self._kept) == self._n:
            return values
        found = np.full((self._n, *values.shape[1:]), missing, dtype=values.dtype)
        found[self._kept] = values
        return found

    def assignment(self, found: Assignment) -> Assignment:
        """The assignment of all images, from that of the readable ones."""
        return replace(
            found,
            labels=self(found.labels, -1),
            confidence=self(found.confidence, np.nan),
            distance=self(found.distance, np.nan),
            margin=self(found.margin, np.nan),
            embeddings=self(found.embeddings, 0),
            errors=dict(self._errors),
        )


class NoPixels:
    """A store for given features: rows without pixels."""

    def __init__(self, features: NDArray[np.float32]) -> None:
        finite = np.isfinite(features.reshape(len(features), -1)).all(axis=1)
        self.kept = np.flatnonzero(finite)
        self.errors = {
            int(row): "it has no embedding, or one that is not finite" for row in np.flatnonzero(~finite)
        }
        self.shape = (len(self.kept), 1, 1, 1)

    def read(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Black images of one pixel; their content is never used."""
        return np.zeros((len(rows), 1, 1, 1), np.uint8)

    def close(self) -> None:
        """No resources to release."""

    def __enter__(self) -> NoPixels:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def environment(corpus: Corpus) -> dict[str, str]:
    """Versions, device and precision, for the record."""
    packages = (
        "fiftyone-deepcluster", "torch", "torchvision", "timm", "transformers", "scikit-learn", "umap-learn", "numpy",
    )  # fmt: skip
    found = {name: version(name) for name in packages if _installed(name)}
    device = corpus.compute.device
    found["python"] = platform.python_version()
    found["device"] = str(device)
    found["precision"] = str(corpus.compute.precision).removeprefix("torch.")
    return found


def _installed(package: str) -> bool:
    try:
        version(package)
    except PackageNotFoundError:
        return False
    return True
