"""What the methods of a review return."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fiftyone_deepcluster.dataset.review.overview import Picture


@dataclass(frozen=True)
class Change:
    """Effect of an edit, or with ``dry_run`` the effect that it would have.

    Attributes:
        n_changed: number of images whose value changes.
        n_kept: number of images left unchanged because they already have another label.
        text: description of the edit.
        clusters: names of the clusters that it changes, creates or removes.
        counted: ``n_changed`` in words, such as "3 images"; for patches "3 objects".
    """

    n_changed: int
    n_kept: int
    text: str
    clusters: tuple[str, ...] = ()
    counted: str = ""


@dataclass(frozen=True)
class SplitPart:
    """A part that a split would make.

    Attributes:
        size: number of images.
        pictures: images nearest to its mean.
    """

    size: int
    pictures: list[Picture]


@dataclass(frozen=True)
class CommitRow:
    """What writing the name of a cluster to a field would do.

    Attributes:
        cluster: name of the cluster, which is the label.
        n_changed: number of images whose label changes.
        n_kept: number of images that keep another label.
    """

    cluster: str
    n_changed: int
    n_kept: int


@dataclass(frozen=True)
class Progress:
    """How much of a run was reviewed. Images in no cluster do not count.

    Attributes:
        n_clusters: number of clusters.
        n_reviewed: number of reviewed clusters.
        n_images: number of images in clusters.
        n_images_reviewed: number of images in reviewed clusters.
    """

    n_clusters: int
    n_reviewed: int
    n_images: int
    n_images_reviewed: int
