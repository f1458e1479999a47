"""``SampleSource``: the images of a collection, as passed to the rest of the package."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

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

    def rows(self, rows: Sequence[int]) -> SampleSource:
        """The images ``rows``, in that order; ``samples`` stays the same."""
        return replace(
            self,
            ids=[self.ids[row] for row in rows],
            sample_ids=[self.sample_ids[row] for row in rows],
            images=[self.images[row] for row in rows],
        )

    def choose(self, ids: Sequence[str]) -> SampleSource:
        """The images with the given ids, in that order, without those that do not exist; a view of these samples.

        No query contains the ids: one of more than 800,000 would be too long for MongoDB.
        """
        if list(ids) == self.ids:
            return self
        places = {name: row for row, name in enumerate(self.ids)}
        chosen = self.rows([places[name] for name in ids if name in places])
        return replace(chosen, samples=self.samples.select(chosen.ids, ordered=True))
