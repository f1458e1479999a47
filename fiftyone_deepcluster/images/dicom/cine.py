"""Cine series with one file per image: selection of the first time point of every slice.

The cardiac-MR paper keeps every slice at t = 0 (Kart et al., section 3). In a multi-frame file that is the
first frame. In a series of single-frame files, those with the same position and orientation are one slice,
of which the earliest file is kept.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from fiftyone_deepcluster.images.cache.worker_pool import PoolJob
from fiftyone_deepcluster.images.dicom.elements import raw_bytes, raw_texts

if TYPE_CHECKING:
    from collections.abc import Iterable

_PLACE = ("ImagePositionPatient", "ImageOrientationPatient")
# Sort keys, by priority.
_TIMES = ("TemporalPositionIdentifier", "TriggerTime", "InstanceNumber")
_UNKNOWN = float("inf")


@dataclass(frozen=True)
class MomentJob(PoolJob):
    """Job that reads slice position and time from headers.

    Attributes:
        paths: paths of DICOM files.
    """

    paths: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.paths)

    def halves(self) -> tuple[MomentJob, MomentJob]:
        """See ``PoolJob.halves``."""
        half = len(self.paths) // 2
        return replace(self, paths=self.paths[:half]), replace(self, paths=self.paths[half:])

    def work(self) -> list[list[Any] | None]:
        """For each file, its series with slice position, and its times; None if it has no position."""
        return [_moment(path) for path in self.paths]

    def crashed(self) -> None:
        """See ``PoolJob.crashed``."""


def at_start(moments: Iterable[tuple[str, list[Any] | None]]) -> set[str]:
    """Files to keep: the earliest of each slice of a series, and all files without a position.

    Args:
        moments: path and result of ``MomentJob``, in any order; ties in time are broken by path.
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
        # Damaged files may raise anything; they are reported by rendering.
        return None
    if not series or not all(places):
        return None
    return [" ".join([series, *places]), [_number(raw_texts(found, name)) for name in _TIMES]]


def _number(texts: list[str]) -> float:
    try:
        return float(texts[0])
    except (IndexError, ValueError):
        return _UNKNOWN
