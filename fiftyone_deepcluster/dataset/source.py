"""A FiftyOne collection becomes a list of images: checked first, read in bulk, joined by id."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import fiftyone as fo
    import numpy as np
    from numpy.typing import NDArray

    from fiftyone_deepcluster.images.source import ImageRef


@dataclass(frozen=True)
class Source:
    """The N images of a collection, in its order.

    Attributes:
        dataset: the dataset that the samples live in, also for views and patches.
        samples: the collection as it was given.
        ids: N ids: of samples, or of the objects where ``patches_field`` is set.
        sample_ids: N ids of the samples that hold the images; the same as ``ids`` without patches.
        images: N paths, with a box where the image is a patch.
        patches_field: the Detections field whose objects are the images, or None.
    """

    dataset: fo.Dataset
    samples: fo.core.collections.SampleCollection
    ids: list[str]
    sample_ids: list[str]
    images: list[ImageRef]
    patches_field: str | None = None

    def __len__(self) -> int:
        return len(self.ids)


def collect(samples: fo.core.collections.SampleCollection, patches_field: str | None = None) -> Source:
    """The images of a dataset, a view, a patches view or a group slice.

    Args:
        samples: the collection. A patches view (``to_patches``) gives one image an object.
        patches_field: a Detections field whose objects are the images, for a collection of whole images.

    Raises:
        ImagesError: no FiftyOne collection, nothing in it, or media that are no images.
        InputError: ``patches_field`` is no Detections field of the collection.
    """
    raise NotImplementedError


def read_truth(source: Source, truth_field: str) -> list[object | None]:
    """The known class of every image, None where there is none.

    Raises:
        InputError: the field is missing, or neither Classification, string, integer nor boolean.
    """
    raise NotImplementedError


def read_embeddings(source: Source, field: str) -> list[NDArray[np.float32] | None]:
    """The vector of every image in an existing field, None where there is none.

    Raises:
        InputError: the field is missing, holds no vectors, or vectors of different lengths.
    """
    raise NotImplementedError
