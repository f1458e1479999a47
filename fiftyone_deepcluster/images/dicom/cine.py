"""Recordings over time that come as one file an image: which file shows a slice at its start.

The cardiac-MR paper keeps every slice at t = 0 (Kart et al., section 3). Where a recording is one file with
many frames, that is its first frame; where it is many files, those of one series at one place in the body
belong together, and the earliest is wanted.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from fiftyone_deepcluster.images.cache.worker_pool import PoolJob
from fiftyone_deepcluster.images.dicom.header import raw_bytes, raw_texts

if TYPE_CHECKING:
    from collections.abc import Iterable

_PLACE = ("ImagePositionPatient", "ImageOrientationPatient")
# The first of these that tells two files apart decides.
_TIMES = ("TemporalPositionIdentifier", "TriggerTime", "InstanceNumber")
_UNKNOWN = float("inf")


@dataclass(frozen=True)
class MomentJob(PoolJob):
    """Files of which place and time are to be read.

    Attributes:
        paths: of DICOM files.
    """

    paths: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.paths)

    def halves(self) -> tuple[MomentJob, MomentJob]:
        """See ``Job.halves``."""
        half = len(self.paths) // 2
        return replace(self, paths=self.paths[:half]), replace(self, paths=self.paths[half:])

    def work(self) -> list[list[Any] | None]:
        """For each file its series and place, and its times; None where it says nothing of its place."""
        return [_moment(path) for path in self.paths]

    def crashed(self) -> None:
        """See ``Job.crashed``."""


def at_start(moments: Iterable[tuple[str, list[Any] | None]]) -> set[str]:
    """The files to keep: of each series and place the earliest, and those that say nothing of their place.

    Args:
        moments: file and what ``MomentJob`` answered, in any order; of equal times the first path wins.
    """
    kept: set[str] = set()
    earliest: dict[str, tuple[list[float], str]] = {}
    for path, moment in moments:
        if moment is None:
            kept.add(path)
            continue
        slice_, times = moment
        if slice_ not in earliest or (times, path) < earliest[slice_]:
            earliest[slice_] = (times, path)
    return kept | {path for _, path in earliest.values()}


def _moment(path: str) -> list[Any] | None:
    import pydicom

    try:
        found = pydicom.dcmread(
            path, stop_before_pixels=True, force=True, specific_tags=["SeriesInstanceUID", *_PLACE, *_TIMES]
        )
        series, *places = (raw_bytes(found, name).hex() for name in ("SeriesInstanceUID", *_PLACE))
    except Exception:
        # Damaged files raise anything; they are reported when they are rendered.
        return None
    if not series or not all(places):
        return None
    return [" ".join([series, *places]), [_number(raw_texts(found, name)) for name in _TIMES]]


def _number(texts: list[str]) -> float:
    try:
        return float(texts[0])
    except (IndexError, ValueError):
        return _UNKNOWN
