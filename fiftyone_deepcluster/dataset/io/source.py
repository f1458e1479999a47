"""The images of a collection, as the rest of the package is given them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import fiftyone as fo

    from fiftyone_deepcluster.images.refs import ImageRef


@dataclass(frozen=True)
class SampleSource:
    """The N images of a collection, in its order.

    Attributes:
        dataset: the dataset that the samples live in, also for views and patches.
        samples: the collection as it was given; a patches view where the images are patches.
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
