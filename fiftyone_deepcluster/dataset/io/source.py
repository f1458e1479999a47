"""``SampleSource``: the images of a collection, as passed to the rest of the package."""

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
        dataset: dataset that contains the samples, also for views and patches.
        samples: the collection as given; a patches view if the images are patches.
        ids: N ids: of samples, or of objects if ``patches_field`` is set.
        sample_ids: N ids of the samples that contain the images; equal to ``ids`` without patches.
        images: N paths, with a box if the image is a patch.
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
